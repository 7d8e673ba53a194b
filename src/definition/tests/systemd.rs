//! systemd's form: dialect, keys, checks (compat 1 sections 1, 3 and 4).

use std::path::{Path, PathBuf};

use super::*;
use crate::definition::transfer::{ActivationMode, Keys, Verification};
use crate::version::Version;

pub(super) const APP: &str = "[Transfer]\nProtectVersion=1\n\n\n\n[Source]\nType=url-file\nPath=https://example.org/app/\nMatchPattern=app_@v.raw\n\
                              [Target]\nType=regular-file\nPath=/srv/target/\nMatchPattern=app_@v.raw\nCurrentSymlink=app.raw\n";

const FILE: &str = "run/sysupdate.d/10-app.transfer";

/// A world with [`APP`] and more lines in `[Target]`; the first of them is line 15.
fn app_and(lines: &str) -> World {
    World::with(FILE, format!("{APP}{lines}"))
}

/// A world with a drop-in beside [`APP`]; its lines count from 1.
pub(super) fn app_with_drop_in(text: &str) -> World {
    let world = World::with(FILE, APP);
    world.write("etc/sysupdate.d/10-app.transfer.d/x.conf", text);
    world
}

pub(super) fn version(text: &str) -> Version {
    text.parse().expect("tests write valid versions")
}

#[test]
fn a_plain_definition_becomes_a_transfer() {
    let world = World::with(FILE, APP);
    let transfer = world.transfer("");
    assert_eq!(transfer.id, "10-app");
    assert_eq!(transfer.file, PathBuf::from(FILE));
    assert_eq!(transfer.protected, [version("1")]);
    assert_eq!(transfer.verification, Verification::OpenPgp);
    assert!(transfer.enabled && transfer.remove_temporary);
    assert_eq!(transfer.instances_max, 3);
    assert!(
        matches!(source(&transfer), Source::Url(url) if url.base == "https://example.org/app/" && url.manifest == "SHA256SUMS")
    );
    assert_eq!(target(&transfer).directory, Path::new("/srv/target"));
    assert_eq!(
        target(&transfer).current_symlink.as_deref(),
        Some(Path::new("app.raw"))
    );
    assert_eq!(world.said(), Vec::<String>::new());
}

#[test]
fn every_key_lands_in_its_field() {
    let world = app_and(
        "PartitionUUID=0fc63daf-8483-4772-8e79-3d69d8477de4\nPartitionFlags=0x10\nPartitionNoAuto=yes\nPartitionGrowFileSystem=no\n\
         PartitionZeroFill=yes\nMatchPartitionType=usr-x86-64-verity\nReadOnly=1\nMode=0755\nTriesLeft=0x3\nTriesDone=1\nInstancesMax=5\n\
         RemoveTemporary=no\nCurrentSymlink=/var//lib/./x/%o.raw/\nMatchPattern=b_@v.raw app_@v.raw\nX-Unknown=1\n\
         [Transfer]\nMinVersion=%w\nMaxVersion=9\nVerify=no\nChangeLog=https://example.org/@v\nAppStream=http://example.org/%a\n\
         Features=a 'b c'\nRequisiteFeatures=r\nX-VersionRange=~1.32\nX-SkipVersion=1.0 2.0~rc1\nX-SkipVersion=3\nX-Description=An app\n\
         [Source]\nX-Manifest=SUMS\n[X-Activate]\nMode=stage\nRestart=a.service b@c.socket\nReload=d.service\n[X-Other]\nMode=junk\nnothing\n",
    );
    let transfer = world.transfer("");
    assert_eq!(world.said(), Vec::<String>::new());
    let overrides = &target(&transfer).overrides;
    assert_eq!(
        overrides
            .partition_uuid
            .map(|uuid| uuid.to_string())
            .as_deref(),
        Some("0fc63daf-8483-4772-8e79-3d69d8477de4")
    );
    assert_eq!(
        (
            overrides.partition_flags,
            overrides.no_auto,
            overrides.grow_file_system
        ),
        (Some(16), Some(true), Some(false))
    );
    assert_eq!(
        (overrides.read_only, overrides.mode),
        (Some(true), Some(0o755))
    );
    assert_eq!(
        (overrides.tries_left, overrides.tries_done),
        (Some(3), Some(1))
    );
    assert_eq!(
        (transfer.instances_max, transfer.remove_temporary),
        (5, false)
    );
    assert_eq!(
        target(&transfer).current_symlink.as_deref(),
        Some(Path::new("/var/lib/x/flatcar.raw"))
    );
    assert_eq!(target_patterns(&transfer), ["app_@v.raw", "b_@v.raw"]);
    let minimum = transfer.min_version.as_ref().expect("it is set");
    assert_eq!(
        (minimum.value.as_str(), minimum.origin.to_string().as_str()),
        ("4.2", "run/sysupdate.d/10-app.transfer:31")
    );
    assert_eq!(
        transfer
            .max_version
            .map(|bound| bound.value.to_string())
            .as_deref(),
        Some("9")
    );
    assert_eq!(transfer.verification, Verification::Skip);
    assert_eq!(
        (transfer.changelog, transfer.appstream),
        (
            vec!["https://example.org/@v".to_owned()],
            vec!["http://example.org/x86-64".to_owned()]
        )
    );
    assert_eq!(
        (transfer.features, transfer.requisite_features),
        (vec!["a".to_owned(), "b c".to_owned()], vec!["r".to_owned()])
    );
    assert!(!transfer.enabled);
    assert_eq!(
        transfer
            .range
            .map(|range| range.value.to_string())
            .as_deref(),
        Some("~1.32")
    );
    assert_eq!(
        transfer
            .skip
            .iter()
            .map(|skip| skip.value.as_str())
            .collect::<Vec<_>>(),
        ["1.0", "2.0~rc1", "3"]
    );
    assert_eq!(transfer.description.as_deref(), Some("An app"));
    assert_eq!(transfer.activation.mode, ActivationMode::Stage);
    assert_eq!(
        transfer.activation.restart.named(),
        ["a.service", "b@c.socket"]
    );
    assert_eq!(transfer.activation.reload.named(), ["d.service"]);
    let Route::Blob {
        source: BlobSource::Url(url),
        ..
    } = transfer.route
    else {
        panic!("a URL was given")
    };
    assert_eq!(url.manifest, "SUMS");
}

/// Lines, and what is said of the last of them.
const BAD_VALUES: &[(&str, &str)] = &[
    (
        "Mode=9999",
        "Failed to parse Mode=9999, ignoring: Invalid argument",
    ),
    (
        "Mode=10000",
        "Failed to parse Mode=10000, ignoring: Numerical result out of range",
    ),
    ("Mode=", "Failed to parse Mode=, ignoring: Invalid argument"),
    (
        "Mode=0600 # c",
        "Failed to parse Mode=0600 # c, ignoring: Invalid argument",
    ),
    (
        "TriesLeft=-1",
        "Failed to parse TriesLeft=-1, ignoring: Numerical result out of range",
    ),
    (
        "ReadOnly=maybe",
        "Failed to parse ReadOnly=maybe, ignoring: Invalid argument",
    ),
    (
        "RemoveTemporary=",
        "Failed to parse RemoveTemporary=, ignoring: Invalid argument",
    ),
    (
        "InstancesMax=many",
        "Failed to parse InstancesMax= value, ignoring: many",
    ),
    (
        "MatchPartitionType=root-vax",
        "Failed to parse partition type, ignoring: root-vax",
    ),
    (
        "PartitionUUID=x",
        "Failed to parse partition UUID, ignoring: x",
    ),
    (
        "PartitionFlags=-1",
        "Failed to parse partition flags, ignoring: -1",
    ),
    (
        "CurrentSymlink=a/../%o",
        "CurrentSymlink= path is not normalized, ignoring: a/../flatcar",
    ),
    (
        "CurrentSymlink=%Z",
        "Failed to expand specifiers in CurrentSymlink=, ignoring: %Z",
    ),
    (
        "PathRelativeTo=moon",
        "Failed to parse PathRelativeTo=moon, ignoring: Invalid argument",
    ),
    (
        "Type=bogus",
        "Failed to parse Type=bogus, ignoring: Invalid argument",
    ),
    (
        "Path=%Z",
        "Failed to expand specifiers in Path=, ignoring: %Z",
    ),
    (
        "MatchPattern=app_@v.raw %Z  c_@v d_@v",
        "Failed to expand specifiers in MatchPattern=, ignoring: c_@v d_@v",
    ),
    (
        "MatchPattern=%Z",
        "Failed to expand specifiers in MatchPattern=, ignoring: (null)",
    ),
    ("Mode", "Missing '=', ignoring line."),
    (" = 1", "Missing key name before '=', ignoring line."),
    (
        "[Transfer]\nMinVersion=a b%o",
        "MinVersion= string is not valid, ignoring: a bflatcar",
    ),
    (
        "[Transfer]\nProtectVersion=%A",
        "ProtectVersion= string is not valid, ignoring: ",
    ),
    (
        "[Transfer]\nVerify=maybe",
        "Failed to parse Verify=maybe, ignoring: Invalid argument",
    ),
    (
        "[Transfer]\nChangeLog=ftp://%o",
        "ChangeLog= URL is not valid, ignoring: ftp://%o",
    ),
    (
        "[Transfer]\nFeatures='a",
        "Failed to parse Features='a, ignoring: Invalid argument",
    ),
];

#[test]
fn bad_values_warn_in_systemd_words_and_change_nothing() {
    for &(line, message) in BAD_VALUES {
        let world = app_and(line);
        let transfer = world.transfer("");
        let number = if line.starts_with('[') { 16 } else { 15 };
        assert_eq!(
            world.said(),
            [format!("{FILE}:{number}: {message}")],
            "{line}"
        );
        assert_eq!(
            target(&transfer).overrides,
            crate::definition::transfer::Overrides::default(),
            "{line}"
        );
        assert_eq!(
            (transfer.instances_max, &transfer.min_version),
            (3, &None),
            "{line}"
        );
        assert_eq!(
            target(&transfer).current_symlink.as_deref(),
            Some(Path::new("app.raw")),
            "{line}"
        );
        assert_eq!(
            (transfer.protected.len(), target_patterns(&transfer).len()),
            (1, 1),
            "{line}"
        );
    }
    for count in [0, 1] {
        let world = app_and(&format!("InstancesMax={count}"));
        assert_eq!(world.transfer("").instances_max, 2);
        assert_eq!(
            world.said(),
            [format!(
                "{FILE}:15: InstancesMax= value must be at least 2, bumping: {count}"
            )]
        );
    }
}

#[test]
fn empty_assignments_reset() {
    let world = app_and(
        "InstancesMax=7\nInstancesMax=\nReadOnly=yes\nReadOnly=\nCurrentSymlink=\nPartitionFlags=1\nPartitionFlags=\n[Transfer]\nProtectVersion=\n\
         MinVersion=1\nMinVersion=\nFeatures=a\nFeatures=\n[Source]\nMatchPattern=\nMatchPattern=new_@v\n",
    );
    let transfer = world.transfer("");
    assert_eq!(
        (
            transfer.instances_max,
            transfer.protected.len(),
            transfer.min_version.is_none(),
            transfer.enabled
        ),
        (3, 0, true, true)
    );
    assert_eq!(
        (
            target(&transfer).overrides.read_only,
            target(&transfer).overrides.partition_flags
        ),
        (None, None)
    );
    assert_eq!(target(&transfer).current_symlink, None);
    let Route::Blob {
        source: BlobSource::Url(url),
        ..
    } = transfer.route
    else {
        panic!("a URL was given")
    };
    assert_eq!(
        url.patterns
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>(),
        ["new_@v"]
    );
    assert_eq!(world.said(), Vec::<String>::new());
}

#[test]
fn unknown_names_warn_with_a_hint_of_their_own() {
    for (lines, said) in [
        (
            "Bogus=1",
            vec!["15: Unknown key 'Bogus' in section [Target], ignoring."],
        ),
        (
            "type=1",
            vec![
                "15: Unknown key 'type' in section [Target], ignoring.",
                "15: Did you mean 'Type='?",
            ],
        ),
        (
            "[Source]\nInstancesMax=3",
            vec![
                "16: Unknown key 'InstancesMax' in section [Source], ignoring.",
                "16: 'InstancesMax=' belongs into section [Target].",
            ],
        ),
        (
            "[Weird]\nA=1\nB\n[Weird]",
            vec![
                "15: Unknown section 'Weird'. Ignoring.",
                "18: Unknown section 'Weird'. Ignoring.",
            ],
        ),
        (
            "[target]",
            vec![
                "15: Unknown section 'target'. Ignoring.",
                "15: Did you mean '[Target]'?",
            ],
        ),
        (
            "[X-Activate]\nRestrat=a.service",
            vec![
                "16: Unknown key 'Restrat' in section [X-Activate], ignoring.",
                "16: Did you mean 'Restart='?",
            ],
        ),
        ("[X-Foo]\nA=1\nX-A=\n[Target]\nX-InstancesMax=2", vec![]),
    ] {
        let world = app_and(lines);
        world.transfer("");
        let said: Vec<_> = said
            .into_iter()
            .map(|text| {
                if text.contains("Did you") || text.contains("belongs") {
                    format!("hint: {FILE}:{text}")
                } else {
                    format!("{FILE}:{text}")
                }
            })
            .collect();
        assert_eq!(world.said(), said, "{lines}");
    }
    let world = World::with(FILE, format!("A=1\nnothing\n{APP}"));
    world.transfer("");
    assert_eq!(
        world.said(),
        [1, 2].map(|line| format!("{FILE}:{line}: Assignment outside of section. Ignoring."))
    );
}

#[test]
fn damaged_files_are_refused_in_two_lines() {
    for (lines, first, errno) in [
        (
            "MatchPattern=app.raw",
            "MatchPattern= string is not valid, refusing: app.raw",
            "Invalid argument",
        ),
        (
            "MatchPattern=ok_@v app_@v_@q.raw",
            "MatchPattern= string is not valid, refusing: app_@v_@q.raw",
            "Invalid argument",
        ),
        (
            "MatchPattern=a*@v",
            "MatchPattern= string is not valid, refusing: a*@v",
            "Invalid request code",
        ),
        (
            "MatchPattern=a\\q@v",
            "MatchPattern= string is not valid, refusing: a\\q@v",
            "Invalid request code",
        ),
        (
            "MatchPattern=a\\xff@v",
            "MatchPattern= string is not valid, refusing: a\\xff@v",
            "Invalid argument",
        ),
        (
            "MatchPattern=**/a@v",
            "'**/' prefix is only supported in a source MatchPattern=, refusing: **/a@v",
            "Invalid argument",
        ),
        ("[Target", "Invalid section header '[Target'", "Bad message"),
        ("[]", "Section header invalid '[]'", "Bad message"),
    ] {
        let refusal = app_and(lines).refusal("");
        assert_eq!(
            refusal,
            format!("{FILE}:15: {first}\n{FILE}:15: Failed to parse file: {errno}"),
            "{lines}"
        );
    }
    let refusal = app_and("[Source]\nMatchPattern=**/a/@v").refusal("");
    assert!(
        refusal.contains(
            ":16: The pattern after a '**/' prefix must be a valid filename, refusing: **/a/@v\n"
        ),
        "{refusal}"
    );
    let world = World::with(FILE, b"[Transfer]\nX=\xff\n");
    assert!(world.refusal("").starts_with(&format!(
        "{FILE}:2: String is not UTF-8 clean, ignoring assignment: X=\u{fffd}\n"
    )));
    let world = app_with_drop_in("[Target]\n[Broken");
    assert!(world.refusal("").starts_with(
        "etc/sysupdate.d/10-app.transfer.d/x.conf:2: Invalid section header '[Broken'\n"
    ));
    let many: Vec<String> = (0..2000)
        .map(|number| format!("MatchPattern=p{number}_@v\n"))
        .collect();
    assert!(
        app_and(&many.concat())
            .refusal("")
            .contains("more than 1024 entries")
    );
}

#[test]
fn the_kind_of_signature_is_apart_from_whether_it_is_asked_for() {
    let transfer = |lines: &str| app_and(&format!("[Transfer]\n{lines}")).transfer("");
    let signed = transfer(
        "X-Signature=minisign\nX-Keys=/a '/b c'\nX-Keys=/d\nX-Threshold=2\nX-MaxAge=2 weeks",
    );
    assert_eq!(signed.verification, Verification::Minisign);
    let paths = ["/a", "/b c", "/d"].map(PathBuf::from).to_vec();
    assert_eq!(signed.authentication.keys, Keys::Listed(paths));
    assert_eq!(signed.authentication.threshold, 2);
    let max_age = signed.authentication.max_age.expect("it is set");
    assert_eq!(max_age.value.as_secs(), 1_209_600);

    let unsigned = transfer("X-Signature=minisign\nVerify=no");
    assert_eq!(unsigned.verification, Verification::Skip);
    assert_eq!(unsigned.authentication.scheme, Verification::Minisign);
    let Keys::Usual(places) = unsigned.authentication.keys else {
        panic!("no keys are named");
    };
    assert_eq!(places[0], Path::new("/etc/sysupdate/keys/default.pub"));

    let reset = transfer(
        "X-Signature=minisign\nX-Signature=\nX-Keys=/a\nX-Keys=\nX-Threshold=3\nX-Threshold=\nX-MaxAge=1d\nX-MaxAge=",
    );
    assert_eq!(reset.verification, Verification::OpenPgp);
    assert_eq!(reset.authentication.threshold, 1);
    assert!(matches!(reset.authentication.keys, Keys::Usual(_)));
    assert!(reset.authentication.max_age.is_none());
}

#[test]
fn our_own_keys_are_strict() {
    for (lines, message) in [
        (
            "[Transfer]\nX-VersionRange=latest",
            "16: 'latest' is no valid 'X-VersionRange=': ",
        ),
        (
            "[Transfer]\nX-SkipVersion=1 a/b",
            "16: 'a/b' is no valid 'X-SkipVersion=', which is a version",
        ),
        (
            "[Transfer]\nX-SkipVersion='1",
            "16: ''1' is no valid 'X-SkipVersion=', which is a version",
        ),
        (
            "[Transfer]\nMaxVersion=a b",
            "16: 'a b' is no valid 'MaxVersion=', which is a version",
        ),
        (
            "[Source]\nX-Manifest=../x",
            "16: '../x' is no valid 'X-Manifest=', which is a file name",
        ),
        (
            "[X-Activate]\nMode=now",
            "16: 'now' is no valid 'Mode=', which is one of auto, refresh, stage, reboot",
        ),
        (
            "[X-Activate]\nRestart=a.service --now",
            "16: '--now' is no valid 'Restart=', which is the name of a unit",
        ),
        (
            "[Transfer]\nX-Keys=/etc/a k",
            "16: 'k' is no valid 'X-Keys=', which is an absolute path",
        ),
        (
            "[Transfer]\nX-Keys=/etc/keys/",
            "16: '/etc/keys/' is no valid 'X-Keys=', which is an absolute path",
        ),
        (
            "[Transfer]\nX-Signature=none",
            "16: 'none' is no valid 'X-Signature=', which is one of openpgp, minisign",
        ),
        (
            "[Transfer]\nX-Threshold=17",
            "16: '17' is out of range for 'X-Threshold=', which is a number of keys from 1 to 16",
        ),
        (
            "[Transfer]\nX-MaxAge=0",
            "16: '0' is out of range for 'X-MaxAge=', which is a time span",
        ),
        (
            "[Transfer]\nX-MaxAge=1d\nVerify=no",
            "16: a manifest's age is that of its signature, but verification is turned off",
        ),
        (
            "[Source]\nX-Mirrors=x",
            "16: 'x' is no valid 'X-Mirrors=', which is an http://, https:// or file:/ URL without a password",
        ),
        (
            "[X-Activate]\nSettle=3 fortnights",
            "16: '3 fortnights' is no valid 'Settle=', which is a time span of at most an hour, as \"20s\" or \"2min\"",
        ),
    ] {
        let refusal = app_and(lines).refusal("");
        assert!(
            refusal.starts_with(&format!("{FILE}:{message}")),
            "{refusal}"
        );
    }
}

const TYPE_MESSAGE: &str =
    "Source Type= must be one of url-file, url-tar, tar, regular-file, directory, subvolume.";

/// Whole files, and why they are refused.
const CHECKS: &[(&str, &str)] = &[
    ("", TYPE_MESSAGE),
    ("[Source]\nType=bogus", TYPE_MESSAGE),
    ("[Source]\nType=partition", TYPE_MESSAGE),
    (
        "[Source]\nType=url-file\n[Target]\nType=tar",
        "Target Type= must be one of partition, regular-file, directory, subvolume.",
    ),
    (
        "[Source]\nType=url-file\n[Target]\nType=directory",
        "Target type 'directory' is incompatible with source type 'url-file', refusing.",
    ),
    (
        "[Source]\nType=tar\n[Target]\nType=regular-file",
        "Target type 'regular-file' is incompatible with source type 'tar', refusing.",
    ),
    (
        "[Source]\nType=url-file",
        "Source specification lacks Path=.",
    ),
    (
        "[Source]\nType=url-file\nPath=http://a\nPath=",
        "Source specification lacks Path=.",
    ),
    (
        "[Source]\nType=regular-file\nPath=/a\nPathRelativeTo=explicit",
        "PathRelativeTo=explicit requires --transfer-source= to be specified.",
    ),
    (
        "[Source]\nType=regular-file\nPath=a\n[Target]\nPathRelativeTo=explicit",
        "PathRelativeTo=explicit can only be used in source specifications.",
    ),
    (
        "[Source]\nType=regular-file\nPath=a",
        "Source path is not a normalized, absolute path: a",
    ),
    (
        "[Source]\nType=regular-file\nPath=/a/../b",
        "Source path is not a normalized, absolute path: /a/../b",
    ),
    (
        "[Source]\nType=url-file\nPath=nourl",
        "Source path is not a valid HTTP or HTTPS URL: nourl",
    ),
    (
        "[Source]\nType=url-file\nPath=http://a",
        "Source specification lacks MatchPattern=.",
    ),
    (
        "[Source]\nType=directory\nPath=/a\nMatchPattern=**/@v",
        "MatchPattern= with '**/' prefix is not supported for source Type=directory and Type=subvolume, refusing.",
    ),
    (
        "[Source]\nType=url-file\nPath=http://a\nMatchPattern=@v",
        "Target specification lacks Path= field.",
    ),
    (
        "[Source]\nType=url-file\nPath=http://a\nMatchPattern=@v\n[Target]\nPath=srv/target",
        "Target path is not a normalized, absolute path: srv/target",
    ),
    (
        "[Source]\nType=url-file\nPath=http://a\nMatchPattern=@v\n[Target]\nPath=/dev/sda\nCurrentSymlink=x",
        "Current symlink must be absolute path if target is partition: x",
    ),
];

#[test]
fn the_checks_come_in_order_with_their_exact_words() {
    for &(lines, message) in CHECKS {
        assert_eq!(
            World::with(FILE, lines.replace("[Target]", "\n[Target]") + "\n#").refusal(""),
            format!("{FILE}:1: {message}"),
            "{lines}"
        );
    }
    let missing =
        "[Source]\nType=url-file\nPath=http://a\nMatchPattern=@v\n[Target]\nPath=/dev/sda";
    let refusal = World::with(FILE, missing).refusal("");
    assert!(
        refusal.starts_with("Failed to resolve '")
            && refusal.ends_with("/dev/sda': No such file or directory"),
        "{refusal}"
    );
    let automatic = "[Source]\nType=regular-file\nPath=auto\nMatchPattern=@v\n[Target]\nPath=/b";
    assert_eq!(
        World::with(FILE, automatic).refusal(""),
        "Automatic root path discovery only supported for partition resources."
    );
}

#[test]
fn every_allowed_pair_has_its_route_and_no_other_has() {
    let sources = [
        "url-file",
        "url-tar",
        "tar",
        "regular-file",
        "directory",
        "subvolume",
    ];
    let targets = ["regular-file", "partition", "directory", "subvolume"];
    for source in sources {
        for target in targets {
            let path = if source.starts_with("url-") {
                "http://a"
            } else {
                "/a"
            };
            let text = format!(
                "[Source]\nType={source}\nPath={path}\nMatchPattern=@v\n[Target]\nType={target}\nPath=/usr\n"
            );
            let world = World::with(FILE, &text);
            world.write("usr/x", "");
            let of_files = matches!(source, "url-file" | "regular-file");
            if of_files == matches!(target, "regular-file" | "partition") {
                let transfer = world.transfer("");
                assert_eq!(transfer.source_word(), source);
                assert_eq!(transfer.target().place.word(), target);
                let kept = if target == "partition" { u64::MAX } else { 3 };
                assert_eq!(transfer.instances_max, kept, "{source} {target}");
            } else {
                let message = format!(
                    "Target type '{target}' is incompatible with source type '{source}', refusing."
                );
                assert_eq!(world.refusal(""), format!("{FILE}:1: {message}"));
            }
        }
    }
}

#[test]
fn a_target_without_patterns_takes_those_of_the_source() {
    let text =
        "[Source]\nType=regular-file\nPath=/a\nMatchPattern=**/x_@v y_@v x_@v\n[Target]\nPath=/";
    let world = World::with(FILE, text);
    let transfer = world.transfer("");
    assert_eq!(source_patterns(&transfer), ["**/x_@v", "y_@v", "x_@v"]);
    assert_eq!(target_patterns(&transfer), ["x_@v", "y_@v"]);
    assert_eq!(target(&transfer).directory, Path::new("/"));
    let message = "Target specification lacks MatchPattern= expression. Assuming same value as in source specification.";
    assert_eq!(world.said(), [format!("hint: {FILE}:1: {message}")]);
}

#[test]
fn an_explicit_source_lies_below_the_transfer_source() {
    let world = World::with(
        FILE,
        "[Source]\nType=regular-file\nPath=/a/\nPathRelativeTo=explicit\nMatchPattern=@v\n[Target]\nPath=/b",
    );
    let loader = Loader {
        transfer_source: Some(Path::new("/mnt/usb")),
        boot: crate::definition::BootPaths::default(),
        ..world.loader()
    };
    let component = loader
        .load(&ComponentName::Default, &world.log)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(
        matches!(source(&component.transfers[0]), Source::Directory(directory) if directory.path == Path::new("/mnt/usb/a"))
    );
}
