use std::io;

use super::*;
use crate::host::Host;

fn run(program: &str, arguments: &[&str]) -> io::Result<(String, bool)> {
    match (program, arguments) {
        ("systemctl", ["--version"]) => Ok(("systemd 262 (262.1-1)\n+PAM".to_owned(), true)),
        ("getconf", _) => Ok(("glibc 2.41\n".to_owned(), true)),
        ("systemd-detect-virt", []) => Ok(("kvm\n".to_owned(), true)),
        ("systemd-detect-virt", ["--quiet", "--container"]) => Ok((String::new(), false)),
        ("systemd-detect-virt", _) => Ok((String::new(), true)),
        _ => Err(io::Error::from_raw_os_error(2)),
    }
}

fn answer(machine: &str, key: &'static str, values: &[&str]) -> String {
    let host = Host {
        machine_id: Some(machine.to_owned()),
        boot_id: Some("b".repeat(32)),
        architecture: Some("x86-64".to_owned()),
        hostname: "Node-1".to_owned(),
        kernel_release: "6.18.44-1-amd64".to_owned(),
        os_release: Some(
            [("ID", "flatcar"), ("VERSION_ID", "10.2"), ("EMPTY", "")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        ..Host::default()
    };
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("here"), "").expect("written");
    std::os::unix::fs::symlink("nowhere", directory.path().join("link")).expect("a link");
    let root = Root::open(directory.path()).expect("opened");
    let scene = Scene {
        root: &root,
        host: &host,
        credentials: &[directory.path().to_path_buf(), "/nonexistent".into()],
        machine_info: None,
        run: &run,
    };
    let conditions = [(
        key,
        values.iter().map(|value| (*value).to_owned()).collect(),
    )]
    .into();
    let suggestion = Suggestion {
        explicit: None,
        conditions,
    };
    match scene.suggests(&suggestion) {
        Ok(true) => "yes".to_owned(),
        Ok(false) => "no".to_owned(),
        Err(error) => error.to_string(),
    }
}

const MACHINE: &str = "2123456789abcdef0123456789abcdef";

#[test]
fn each_condition_has_the_answer_of_the_real_tool() {
    const INVALID: &str = "Invalid argument";
    for (key, value, expected) in [
        ("SuggestOnArchitecture", "x86-64", "yes"),
        ("SuggestOnArchitecture", "native", "yes"),
        ("SuggestOnArchitecture", "amd64", "no"),
        ("SuggestOnArchitecture", "! amd64", "yes"),
        ("SuggestOnFirmware", "smbios-field(x)", INVALID),
        ("SuggestOnFirmware", "smbios-field()", INVALID),
        ("SuggestOnFirmware", "smbios-field(x = y", INVALID),
        ("SuggestOnFirmware", "smbios-field(a/b = y)", INVALID),
        ("SuggestOnFirmware", "smbios-field(x = y z)", INVALID),
        ("SuggestOnFirmware", "smbios-field(no_such_field = y)", "no"),
        ("SuggestOnFirmware", "device-tree-compatible(x", "no"),
        ("SuggestOnFirmware", "bios", "no"),
        ("SuggestOnVirtualization", "yes", "yes"),
        ("SuggestOnVirtualization", "no", "no"),
        ("SuggestOnVirtualization", "kvm", "yes"),
        ("SuggestOnVirtualization", "docker", "no"),
        ("SuggestOnVirtualization", "container", "no"),
        ("SuggestOnHost", "node-*", "yes"),
        ("SuggestOnHost", "other", "no"),
        ("SuggestOnHost", MACHINE, "yes"),
        (
            "SuggestOnHost",
            "21234567-89ab-cdef-0123-456789abcdef",
            "yes",
        ),
        ("SuggestOnHost", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", "yes"),
        ("SuggestOnFraction", "0%", "no"),
        ("SuggestOnFraction", "100%", "yes"),
        ("SuggestOnFraction", "foo 17.60%", "no"),
        ("SuggestOnFraction", "foo 17.61%", "yes"),
        ("SuggestOnFraction", "foo 1761‱", "yes"),
        ("SuggestOnFraction", "foo 176.1‰", "yes"),
        ("SuggestOnFraction", "50", INVALID),
        ("SuggestOnFraction", "1.234%", INVALID),
        ("SuggestOnFraction", "a b 5%", INVALID),
        ("SuggestOnFraction", "x%", INVALID),
        (
            "SuggestOnFraction",
            "100.01%",
            "Numerical result out of range",
        ),
        ("SuggestOnVersion", "systemd >= 262", "yes"),
        ("SuggestOnVersion", "systemd >= 262.1", "no"),
        ("SuggestOnVersion", "systemd = 262.1", "no"),
        ("SuggestOnVersion", "systemd 26?", "yes"),
        ("SuggestOnVersion", "systemd", "yes"),
        ("SuggestOnVersion", "glibc >=2.41", "yes"),
        ("SuggestOnVersion", ">=1 <99", "yes"),
        ("SuggestOnVersion", "kernel \">= 1\" \"< 99\"", "yes"),
        ("SuggestOnVersion", "foo >= 1", "no"),
        ("SuggestOnVersion", "6.18*", "yes"),
        ("SuggestOnVersion", "systemd >=", INVALID),
        ("SuggestOnVersion", ">= 1 < 99", INVALID),
        ("SuggestOnVersion", "systemd >= 261 < 263", INVALID),
        ("SuggestOnVersion", "systemd >= 263 < 264", "no"),
        ("SuggestOnCredential", "here", "yes"),
        ("SuggestOnCredential", "link", "yes"),
        ("SuggestOnCredential", "absent", "no"),
        ("SuggestOnCredential", "../x", "no"),
        ("SuggestOnSecurity", "unknown", "no"),
        ("SuggestOnOSRelease", "ID=flatcar", "yes"),
        ("SuggestOnOSRelease", "ID=flatcar VERSION_ID>=10", "yes"),
        ("SuggestOnOSRelease", "ID=flatcar VERSION_ID>=11", "no"),
        ("SuggestOnOSRelease", "NOPE!=x", "yes"),
        ("SuggestOnOSRelease", "ID$=flat*", "yes"),
        ("SuggestOnOSRelease", "NOPE=", INVALID),
        ("SuggestOnOSRelease", "NOPE=\"\"", INVALID),
        ("SuggestOnOSRelease", "ID", INVALID),
        ("SuggestOnOSRelease", "ID = x", INVALID),
        ("SuggestOnOSRelease", "1D=x", INVALID),
        ("SuggestOnMachineTag", "t", "no"),
        ("SuggestOnMachineTag", "!t", "yes"),
    ] {
        assert_eq!(answer(MACHINE, key, &[value]), expected, "{key}={value}");
    }
}

#[test]
fn a_fraction_is_the_same_part_of_all_machines_as_the_real_tool_takes() {
    let half = |value: &str| -> Vec<String> {
        (0..8)
            .map(|number| format!("{number}123456789abcdef0123456789abcdef"))
            .map(|machine| answer(&machine, "SuggestOnFraction", &[value]))
            .collect()
    };
    assert_eq!(
        half("50%"),
        ["no", "yes", "no", "yes", "no", "yes", "yes", "no"]
    );
    assert_eq!(
        half("foo 50%"),
        ["no", "no", "yes", "yes", "no", "yes", "no", "yes"]
    );
}

#[test]
fn conditions_add_up_as_the_real_tool_adds_them() {
    const YES: &str = "ID=flatcar";
    const NO: &str = "ID=other";
    const BAD: &str = "ID";
    let error = "Invalid argument";
    let trigger = |value: &str| format!("|{value}");
    let (yes, no, bad) = (trigger(YES), trigger(NO), trigger(BAD));
    for (values, expected) in [
        (vec![], "no"),
        (vec![YES, YES], "yes"),
        (vec![YES, NO], "no"),
        (vec![NO, yes.as_str()], "no"),
        (vec![YES, &no], "no"),
        (vec![&no, &yes], "yes"),
        (vec![&bad, &yes], "yes"),
        (vec![&bad, &no], error),
        (vec![&bad], error),
        (vec![BAD, &no], "no"),
        (vec![BAD, &yes], error),
        (vec![BAD, NO], "no"),
        (vec![NO, BAD], "no"),
        (vec!["!|ID=other"], error),
        (vec!["| ! ID=other"], "yes"),
        (vec!["!ID"], error),
    ] {
        assert_eq!(
            answer(MACHINE, "SuggestOnOSRelease", &values),
            expected,
            "{values:?}"
        );
    }
}
