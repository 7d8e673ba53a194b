//! Where systemd's files come from: precedence, masks, drop-ins, features, components (compat 1 sections 2, 6, 7).

use std::path::Path;

use super::systemd::{APP, app_with_drop_in, version};
use super::*;

#[test]
fn the_first_directory_wins_and_masks_hide() {
    let world = World::with("usr/lib/sysupdate.d/10-a.transfer", "broken, but hidden\n[");
    world.write("run/sysupdate.d/10-a.transfer", APP);
    world.write("usr/lib/sysupdate.d/05-b.transfer", APP);
    world.write("usr/lib/sysupdate.d/20-empty.transfer", "[");
    world.write("etc/sysupdate.d/20-empty.transfer", "");
    world.write("usr/lib/sysupdate.d/30-null.transfer", "[");
    world.link("usr/local/lib/sysupdate.d/30-null.transfer", "/dev/null");
    world.write("etc/sysupdate.d/.hidden.transfer", "[");
    world.write("etc/sysupdate.d/.transfer", "[");
    world.write("etc/sysupdate.d/x.transfer~", "[");
    world.write("etc/sysupdate.d/directory.transfer/x", "[");
    world.write("etc/sysupdate.d/legacy.conf", "[");
    world.link("etc/sysupdate.d/40-gone.transfer", "/nowhere");
    world.link(
        "etc/sysupdate.d/50-link.transfer",
        "../../usr/lib/sysupdate.d/05-b.transfer",
    );
    let component = world.load("").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(ids(&component), ["05-b", "10-a", "50-link"]);
    assert_eq!(
        world.said(),
        ["Failed to chase 'etc/sysupdate.d/40-gone.transfer': No such file or directory"]
    );
}

#[test]
fn drop_ins_apply_by_name_whatever_their_directory() {
    let world = World::with("run/sysupdate.d/a.transfer", APP);
    world.write(
        "usr/lib/sysupdate.d/a.transfer.d/20.conf",
        "[Target]\nInstancesMax=20\n[Transfer]\nProtectVersion=20",
    );
    world.write(
        "etc/sysupdate.d/a.transfer.d/10.conf",
        "[Target]\nInstancesMax=10\n[Transfer]\nProtectVersion=10",
    );
    world.write("usr/lib/sysupdate.d/a.transfer.d/10.conf", "[");
    world.write("etc/sysupdate.d/a.transfer.d/30.txt", "[");
    world.write("etc/sysupdate.d/transfer.d/30.conf", "[");
    world.write("etc/sysupdate.d/alone.transfer.d/30.conf", "[");
    let transfer = world.transfer("");
    assert_eq!(transfer.instances_max, 20);
    assert_eq!(
        transfer.protected,
        [version("1"), version("10"), version("20")]
    );

    world.link("etc/sysupdate.d/a.transfer.d/40.conf", "/dev/null");
    assert_eq!(
        world.refusal(""),
        "Failed to open etc/sysupdate.d/a.transfer.d/40.conf: File descriptor in bad state"
    );
}

#[test]
fn conf_files_count_only_where_there_is_no_transfer() {
    let world = World::with("usr/lib/sysupdate.d/old.conf", APP);
    world.link("etc/sysupdate.d/new.transfer", "/dev/null");
    world.write(
        "etc/sysupdate.d/old.conf.d/x.conf",
        "[Target]\nInstancesMax=9",
    );
    let component = world.load("").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (ids(&component), component.transfers[0].instances_max),
        (vec!["old"], 9)
    );
    assert_eq!(
        world.said(),
        ["As of v257, transfer definitions should have the '.transfer' extension."]
    );
    assert!(world.loader().has_default(&world.log).expect("it loads"));

    let world = World::with("usr/lib/sysupdate.d/only.feature", "");
    assert!(!world.loader().has_default(&world.log).expect("it loads"));
    assert_eq!(world.said(), Vec::<String>::new());
}

#[test]
fn a_definitions_directory_replaces_the_others() {
    let world = World::with("etc/sysupdate.d/a.transfer", "[");
    world.write("opt/defs/b.transfer", APP);
    world.write("opt/defs/b.transfer.d/x.conf", "[Target]\nInstancesMax=4");
    world.write("opt/defs/f.feature", "[Feature]\nEnabled=yes");
    let loader = Loader {
        directory: Some(Path::new("/opt/defs")),
        ..world.loader()
    };
    let component = loader
        .load(&ComponentName::Default, &world.log)
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (ids(&component), component.transfers[0].instances_max),
        (vec!["b"], 4)
    );
    assert_eq!(
        loader
            .features(&ComponentName::Default, &world.log)
            .expect("they load")
            .len(),
        1
    );
    let missing = Loader {
        directory: Some(Path::new("/nosuch")),
        ..world.loader()
    };
    assert!(
        missing
            .load(&ComponentName::Default, &world.log)
            .expect("it is like an empty one")
            .transfers
            .is_empty()
    );
}

#[test]
fn on_the_host_itself_messages_name_absolute_files() {
    let world = World::with("b.transfer", format!("{APP}Bogus=1\n"));
    let host = Root::host();
    let loader = Loader {
        root: &host,
        directory: Some(world.directory.path()),
        ..world.loader()
    };
    let component = loader
        .load(&ComponentName::Default, &world.log)
        .unwrap_or_else(|error| panic!("{error}"));
    let file = world.directory.path().join("b.transfer");
    assert_eq!(component.transfers[0].file, file);
    assert_eq!(
        world.said(),
        [format!(
            "{}:15: Unknown key 'Bogus' in section [Target], ignoring.",
            file.display()
        )]
    );
}

#[test]
fn features_decide_who_takes_part() {
    for (features, requisites, enabled) in [
        ("", "", true),
        ("on", "", true),
        ("off on", "", true),
        ("off", "", false),
        ("unknown", "", false),
        ("", "on switched", true),
        ("", "on off", false),
        ("on", "masked", false),
    ] {
        let world = app_with_drop_in(&format!(
            "[Transfer]\nFeatures={features}\nRequisiteFeatures={requisites}"
        ));
        world.write("usr/lib/sysupdate.d/on.feature", "[Feature]\nEnabled=yes");
        world.write(
            "usr/lib/sysupdate.d/off.feature",
            "[Feature]\nDescription=x",
        );
        world.write(
            "usr/lib/sysupdate.d/switched.feature",
            "[Feature]\nEnabled=no",
        );
        world.write(
            "etc/sysupdate.d/switched.feature.d/50-systemd-sysupdate-enabled.conf",
            "# by a verb\n\n[Feature]\nEnabled=yes\n",
        );
        world.write(
            "usr/lib/sysupdate.d/masked.feature",
            "[Feature]\nEnabled=yes",
        );
        world.write("etc/sysupdate.d/masked.feature", "");
        assert_eq!(
            world.transfer("").enabled,
            enabled,
            "Features={features} RequisiteFeatures={requisites}"
        );
        assert_eq!(world.said(), Vec::<String>::new());
    }
}

#[test]
fn feature_and_component_keys_are_known() {
    let common = "Description=a%H\nDocumentation=https://example.org/%o\nDocumentation=ftp://x\nDocumentation=https://b\nEnabled=maybe\n\
                  Suggest=yes\nSuggestOnHost=|!%o\nSuggestOnFraction=50%%\nSuggestOnHost=\nSuggestOnHost=b\nSuggestOnVersion=%Z\n";
    let world = World::with(
        "etc/sysupdate.d/f.feature",
        format!("[Feature]\n{common}AppStream=https://c\n"),
    );
    let features = world
        .loader()
        .features(&ComponentName::Default, &world.log)
        .expect("they load");
    let feature = &features[0];
    assert_eq!(
        (
            feature.id.as_str(),
            feature.enabled,
            feature.description.as_deref()
        ),
        ("f", false, Some("a%H"))
    );
    assert_eq!(
        feature.documentation,
        ["https://example.org/flatcar", "https://b"]
    );
    assert_eq!(
        (feature.appstream.as_deref(), feature.suggestion.explicit),
        (Some("https://c"), Some(true))
    );
    let conditions = BTreeMap::from([
        ("SuggestOnFraction", vec!["50%".to_owned()]),
        ("SuggestOnHost", vec!["b".to_owned()]),
    ]);
    assert_eq!(feature.suggestion.conditions, conditions);
    let file = "etc/sysupdate.d/f.feature";
    assert_eq!(
        world.said(),
        [
            format!("{file}:4: Documentation= URL is not valid, ignoring: ftp://x"),
            format!("{file}:6: Failed to parse Enabled=maybe, ignoring: Invalid argument"),
            format!("{file}:12: Failed to expand specifiers in SuggestOnVersion=, ignoring: %Z"),
        ]
    );

    let world = World::with(
        "usr/lib/sysupdate.c.component",
        format!("[Component]\n{common}AppStream=https://c\n"),
    );
    world.write("usr/lib/sysupdate.c.d/a.transfer", APP);
    world.write(
        "etc/sysupdate.c.component.d/50-systemd-sysupdate-enabled.conf",
        "[Component]\nEnabled=no\n",
    );
    let component = world.load("c").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (component.enabled, component.description.as_deref()),
        (false, Some("a%H"))
    );
    assert_eq!(
        (component.documentation.len(), ids(&component)),
        (2, vec!["a"])
    );
    assert!(world.said().contains(&"usr/lib/sysupdate.c.component:13: Unknown key 'AppStream' in section [Component], ignoring.".to_owned()));

    world.write("etc/sysupdate.c.component", "");
    let component = world.load("c").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (component.enabled, component.description),
        (false, None),
        "an empty file masks, drop-ins still count"
    );
    world.write(
        "etc/sysupdate.c.d/b.transfer",
        APP.replace("[Source]", "[Transfer]\nX-Description=An app\n[Source]"),
    );
    let component = world.load("c").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(component.description.as_deref(), Some("An app"));
    world.link("run/sysupdate.n.component", "/dev/null");
    assert_eq!(
        world.refusal("n"),
        "Failed to open run/sysupdate.n.component: File descriptor in bad state"
    );
    assert!(
        world
            .load("nosuch")
            .expect("nothing defined is no error")
            .transfers
            .is_empty()
    );
}
