//! Features, components, cleanup: the verbs of systemd-sysupdate 262, with what it printed for the same files.

use super::harness::{Host, app};
use super::server::Server;

/// Three transfers: one plain, one that `f1` switches on, one that needs `f1` and `f2`.
fn host(server: &Server) -> Host {
    let host = Host::new();
    for (file, name, transfer) in [
        ("10-a", "a", ""),
        ("20-b", "b", "Features=f1\n"),
        ("30-c", "c", "RequisiteFeatures=f1 f2\n"),
    ] {
        let text = app(&server.base, transfer, "").replace("app", name);
        host.write(&format!("etc/sysupdate.d/{file}.transfer"), &text);
    }
    host.write(
        "etc/sysupdate.d/f1.feature",
        "[Feature]\nDescription=First one\nDocumentation=https://x.y/1\nDocumentation=https://x.y/2\n\
         AppStream=https://a.b/c\nSuggestOnArchitecture=native\n",
    );
    host.write(
        "etc/sysupdate.d/f2.feature",
        "[Feature]\nSuggestOnFirmware=smbios-field(x)\n",
    );
    host.write(
        "etc/sysupdate.d/f3.feature",
        "[Feature]\nEnabled=yes\nSuggest=no\n",
    );
    host
}

const ENABLED: &str =
    "# Generated via 'systemd-sysupdate enable-feature'\n\n[Feature]\nEnabled=yes\n";
const DROP_IN: &str = "50-systemd-sysupdate-enabled.conf";

#[test]
fn features_are_listed_as_the_original_lists_them() {
    let server = Server::new();
    let host = host(&server);
    host.run(&["features"]).succeeds().prints(
        "ENABLED SUGGESTED FEATURE DESCRIPTION DOCUMENTATION\n\
         ✗       ✓         f1      First one   https://x.y/1 https://x.y/2\n\
         ✗       -         f2      -           -\n\
         ✓       ✗         f3      -           -\n\
         \n\
         3 features listed.\n",
    );
    host.run(&["--json=short", "features"])
        .succeeds()
        .prints("{\"features\":[\"f1\",\"f2\",\"f3\"]}\n");
    host.run(&["features", "f1"]).succeeds().prints(
        "           KEY VALUE\n         Name: f1\n      Enabled: no\n    Suggested: yes\n  Description: First one\n\
         Documentation: https://x.y/1 https://x.y/2\n    AppStream: https://a.b/c\n    Transfers: 20-b 30-c\n",
    );
    host.run(&["--json=short", "features", "f1"]).succeeds().prints(
        "{\"id\":\"f1\",\"description\":\"First one\",\"documentation\":[\"https://x.y/1\",\"https://x.y/2\"],\
         \"appStream\":\"https://a.b/c\",\"enabled\":false,\"suggested\":true,\"transfers\":[\"20-b\",\"30-c\"]}\n",
    );
    let broken = host.run(&["features", "f2"]).succeeds();
    assert!(
        broken
            .stdout
            .contains("Suggested: error (Invalid argument)")
    );
    host.run(&["--json=short", "features", "f2"])
        .succeeds()
        .prints("{\"id\":\"f2\",\"enabled\":false,\"transfers\":[\"30-c\"]}\n");
    for unknown in ["nope", "a/b", ""] {
        host.run(&["features", unknown])
            .fails()
            .prints("")
            .says(&format!("Optional feature not found: {unknown}"));
    }
}

#[test]
fn without_features_there_is_a_header_and_a_word() {
    let server = Server::new();
    let host = Host::with_app(&server);
    host.run(&["features"])
        .succeeds()
        .prints("ENABLED SUGGESTED FEATURE DESCRIPTION DOCUMENTATION\n")
        .says("No features.");
    host.run(&["--no-legend", "features"])
        .succeeds()
        .prints("")
        .keeps_quiet_about("No features.");
    Host::new()
        .run(&["features"])
        .fails()
        .says("No transfer definitions found.");
}

#[test]
fn a_feature_that_is_switched_on_brings_its_files_and_takes_them_away_again() {
    let server = Server::new();
    let host = host(&server);
    server.publish(&[("a_1.raw", "a"), ("b_1.raw", "b"), ("c_1.raw", "c")]);
    host.update();
    host.run(&["enable-feature", "f1", "f2"])
        .succeeds()
        .prints("")
        .says("Feature 'f1' enabled.")
        .says("Feature 'f2' enabled.");
    let drop_in = format!("etc/sysupdate.d/f1.feature.d/{DROP_IN}");
    assert_eq!(host.read(&drop_in), ENABLED);
    host.run(&["check-new"]).succeeds().prints("1\n");
    host.update();
    assert!(host.path("srv/target/c_1.raw").exists());
    host.run(&["disable-feature", "f1"]).succeeds();
    assert!(host.read(&drop_in).ends_with("Enabled=no\n"));
    host.run(&["--json=short", "vacuum"])
        .succeeds()
        .prints("{\"removed\":0,\"disabledTransfers\":2}\n");
    assert!(!host.path("srv/target/b_1.raw").exists());
    // All names are looked at before the first file is written.
    host.remove(&drop_in);
    host.run(&["enable-feature", "f1", "a/b"])
        .fails()
        .says("Feature name invalid: a/b");
    assert!(!host.path(&drop_in).exists());
    host.run(&["enable-feature", "f1", "nope"])
        .fails()
        .says("Optional feature not found in component '<default>': nope");
    assert!(host.path(&drop_in).exists(), "the one before stays");
}

#[test]
fn suggested_ones_are_those_whose_conditions_hold() {
    let server = Server::new();
    let host = host(&server);
    host.run(&["enable-feature", "--feature-suggested"])
        .succeeds()
        .says("Enabling feature 'f1' of component '<default>'.")
        .says("Failed to determine if feature 'f2' of component '<default>' is suggested, skipping: Invalid argument");
    let written = |feature: &str| {
        host.path(&format!("etc/sysupdate.d/{feature}.feature.d/{DROP_IN}"))
            .exists()
    };
    assert_eq!(["f1", "f2", "f3"].map(written), [true, false, false]);
    host.run(&["-A", "disable-feature", "-a"]).succeeds();
    assert_eq!(["f1", "f2", "f3"].map(written), [true; 3]);
    host.write("etc/sysupdate.c.d/x", "");
    host.write("etc/sysupdate.d.d/x", "");
    host.write("etc/sysupdate.c.component", "[Component]\nSuggest=yes\n");
    host.run(&["-S", "disable-component"])
        .succeeds()
        .says("Disabling 'c'.")
        .says("Component 'c' disabled.");
    assert_eq!(
        host.read(&format!("etc/sysupdate.c.component.d/{DROP_IN}")),
        "# Generated via 'systemd-sysupdate disable-component'\n\n[Component]\nEnabled=no\n"
    );
    assert!(!host.path("etc/sysupdate.d.component.d").exists());
    host.run(&["-C", "c", "update"])
        .fails()
        .says("No transfer definitions for component 'c' found.");
    host.run(&["-C", "c", "enable-component"])
        .succeeds()
        .says("Component 'c' enabled.");
}

#[test]
fn calls_that_make_no_sense_are_refused_in_the_words_of_the_original() {
    let server = Server::new();
    let host = host(&server);
    host.write("etc/sysupdate.c.d/x", "");
    let both = "Either specify features as positional parameter or via --feature-all/--feature-suggested, not both.";
    let components = "Either specify component names as positional parameter or via \
                      --component=/--component-all/--component-suggested, not both.";
    for (arguments, text) in [
        (&["enable-feature"][..], both),
        (&["-a", "enable-feature", "f1"], both),
        (&["enable-component"], "No component specified."),
        (&["-C", "c", "enable-component", "c"], components),
        (&["enable-component", "a/b"], "Component name invalid: a/b"),
        (&["enable-component", "nope"], "Component not found: nope"),
        (
            &["enable-component", "c", "c.component"],
            "Component name invalid: c.component",
        ),
        (
            &["-a", "update"],
            "--feature-all/--feature-suggested is not supported for 'update'.",
        ),
        (
            &["-S", "update"],
            "--component-suggested currently not supported for 'update'.",
        ),
        (
            &["-S", "enable-feature", "f1"],
            "--component-suggested is not supported for 'enable-feature'.",
        ),
        (
            &["-A", "features"],
            "--component-all/--component-suggested currently not supported for 'features'.",
        ),
        (
            &["-C", "c", "--reboot", "update"],
            "The --reboot switch may not be combined with --component=/--component-all/--component-suggested, as \
             automatic reboots only apply to the booted OS version.",
        ),
        (
            &["pending"],
            "The --root=/--image= switches may not be combined with the 'pending' operation.",
        ),
        (
            &["--cleanup=no", "cleanup"],
            "Invocation of 'cleanup' with --cleanup=no is contradictory, refusing.",
        ),
        (&["features", "f1", "f2"], "Too many arguments."),
        (&["cleanup", "x"], "Too many arguments."),
    ] {
        host.run(arguments).fails().prints("").says(text);
    }
    assert!(!host.path("etc/sysupdate.c.component.d").exists());
}

#[test]
fn cleanup_removes_what_no_transfer_owns_any_more_and_nothing_else() {
    let server = Server::new();
    let host = Host::new();
    for (name, pattern) in [("a", "sub/a_@v.raw"), ("b", "b_@v.raw")] {
        let text = app(&server.base, "", "").replace("app", name);
        let text = text.replace(
            &format!("Path=/srv/target\nMatchPattern={name}_@v.raw"),
            &format!("Path=/srv/target\nMatchPattern={pattern}"),
        );
        host.write(&format!("etc/sysupdate.d/{name}.transfer"), &text);
    }
    server.publish(&[("a_1.raw", "a"), ("b_1.raw", "b")]);
    host.update();
    host.write("srv/target/sub/mine", "mine");
    host.run(&["cleanup"])
        .succeeds()
        .prints("")
        .keeps_quiet_about("removed");
    host.remove("etc/sysupdate.d/a.transfer");
    host.run(&["cleanup"])
        .succeeds()
        .says("Successfully removed 'sub/a_1.raw' which is no longer owned by any transfer files.");
    // The link that led there went with it; what somebody else put there stays.
    assert_eq!(
        host.tree("srv/target"),
        ["b.raw -> b_1.raw", "b_1.raw 0644", "sub/mine 0644"]
    );
    assert_eq!(host.tree("var/lib/systemd/sysupdate/installdb").len(), 1);
    host.remove("etc/sysupdate.d/b.transfer");
    host.run(&["-C", "nope", "cleanup"]).succeeds();
    assert!(host.path("srv/target/b_1.raw").exists());
    host.run(&["-A", "cleanup"]).succeeds();
    assert_eq!(host.tree("srv/target"), ["sub/mine 0644"]);
    assert_eq!(host.tree("var/lib/systemd/sysupdate/installdb").len(), 0);
}

#[test]
fn an_update_cleans_up_when_it_is_told_to() {
    let server = Server::new();
    let host = host(&server);
    server.publish(&[("a_1.raw", "a")]);
    host.run(&["update"]).succeeds();
    let text = host.read("etc/sysupdate.d/10-a.transfer");
    host.write(
        "etc/sysupdate.d/10-a.transfer",
        &text.replace("a_@v", "z_@v"),
    );
    server.publish(&[("a_1.raw", "a"), ("z_2.raw", "z")]);
    host.run(&["update"]).succeeds();
    assert!(host.path("srv/target/a_1.raw").exists());
    host.run(&["--cleanup=yes", "update"])
        .succeeds()
        .says("No update needed.");
    assert!(!host.path("srv/target/a_1.raw").exists());
    assert!(host.path("srv/target/z_2.raw").exists());
}

#[test]
fn kernels_go_to_the_boot_partition_with_counters() {
    let server = Server::new();
    server.publish(&[("u_1.efi", "one"), ("u_2.efi", "two")]);
    let mut host = Host::new();
    host.write("esp/EFI/Linux/other", "mine");
    host.set("SYSTEMD_ESP_PATH", "/esp");
    for place in ["esp", "xbootldr", "boot"] {
        host.write(
            "etc/sysupdate.d/u.transfer",
            &format!(
                "[Transfer]\nVerify=no\n[Source]\nType=url-file\nPath={}/\nMatchPattern=u_@v.efi\n[Target]\n\
                 Type=regular-file\nPath=/EFI/Linux\nPathRelativeTo={place}\n\
                 MatchPattern=u_@v+@l-@d.efi u_@v+@l.efi u_@v.efi\nMode=0444\nTriesLeft=3\nTriesDone=0\nInstancesMax=2\n",
                server.base
            ),
        );
        host.run(&["--json=short", "list"])
            .succeeds()
            .prints(if place == "esp" {
                "{\"current\":null,\"all\":[\"2\",\"1\"],\"appstreamUrls\":[]}\n"
            } else {
                "{\"current\":\"2\",\"all\":[\"2\",\"1\"],\"appstreamUrls\":[]}\n"
            });
        host.run(&["update"]).succeeds();
        assert_eq!(
            host.tree("esp/EFI/Linux"),
            ["other 0644", "u_2+3-0.efi 0444"],
            "{place}"
        );
    }
    // What the boot loader counts is still the same version.
    std::fs::rename(
        host.path("esp/EFI/Linux/u_2+3-0.efi"),
        host.path("esp/EFI/Linux/u_2+2-1.efi"),
    )
    .expect("renamed");
    host.run(&["update"]).succeeds().says("No update needed.");
    host.set("SYSTEMD_ESP_PATH", "/nope");
    host.run(&["list"])
        .fails()
        .says("Failed to resolve $BOOT: \"/nope\": No such file or directory");
}
