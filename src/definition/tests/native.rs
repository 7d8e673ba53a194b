//! The native form: defaults, strictness, positions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::definition::github::Prereleases;
use crate::definition::transfer::{ActivationMode, Keys, Units, Verification};

const FILE: &str = "etc/sysupdate/transfer.d/kubernetes.toml";

fn native(text: &str) -> World {
    World::with(FILE, text)
}

#[test]
fn one_line_makes_an_extension() {
    let world = World::with(
        "usr/lib/sysupdate/transfer.d/wasmtime.toml",
        "[source]\nurl = \"https://extensions.flatcar.org/extensions/wasmtime\"\n",
    );
    let transfer = world.transfer("wasmtime");
    assert_eq!(transfer.id, "wasmtime");
    assert_eq!(
        transfer.file,
        PathBuf::from("usr/lib/sysupdate/transfer.d/wasmtime.toml")
    );
    assert!(
        matches!(source(&transfer), Source::Url(url) if url.base.ends_with("/wasmtime") && url.manifest == "SHA256SUMS")
    );
    assert_eq!(source_patterns(&transfer), ["wasmtime-@v-x86-64.raw"]);
    assert_eq!(target_patterns(&transfer), ["wasmtime-@v-x86-64.raw"]);
    assert_eq!(
        target(&transfer).directory,
        Path::new("/var/lib/extensions.d/wasmtime")
    );
    assert_eq!(
        target(&transfer).current_symlink.as_deref(),
        Some(Path::new("/var/lib/extensions/wasmtime.raw"))
    );
    assert_eq!(
        (
            transfer.instances_max,
            transfer.verification,
            transfer.enabled
        ),
        (3, Verification::OpenPgp, true)
    );
    assert_eq!(transfer.activation.mode, ActivationMode::Auto);
    assert_eq!(world.said(), Vec::<String>::new());
}

#[test]
fn the_releases_of_a_repository_are_a_source() {
    let world = native(
        "[source]\ntype = \"github\"\nurl = \"https://GitHub.com/example/agent/\"\ntag = \"v@v\"\nmanifest = \"SUMS\"\n\
         headers = [\"Accept: text/plain\"]\n",
    );
    let transfer = world.transfer("kubernetes");
    let Source::Github(github) = source(&transfer) else {
        panic!("{transfer:?}")
    };
    assert_eq!(github.url, "https://GitHub.com/example/agent");
    assert_eq!(github.api, "https://api.github.com/repos/example/agent");
    assert_eq!(github.manifest, "SUMS");
    assert_eq!(source_patterns(&transfer), ["kubernetes-@v-x86-64.raw"]);
    assert_eq!(github.prereleases, Prereleases::Ignored);
    assert!(!github.is_private());
    let [listing, assets] = github.parts();
    assert_eq!(assets.0, format!("{}/releases/assets", listing.0));
    let accepted: Vec<_> = [listing.1, assets.1]
        .concat()
        .into_iter()
        .filter(|(name, _)| name == "Accept")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(
        accepted, ["text/plain"; 2],
        "what the definition says counts"
    );
    let own = native(
        "[source]\ntype = \"github\"\nurl = \"https://ghe.example.com/a/b\"\napi_url = \"https://ghe.example.com/api/v3\"\n\
         prerelease = true\nheaders = [\"authorization: Bearer x\"]\n",
    );
    let transfer = own.transfer("kubernetes");
    let Source::Github(github) = source(&transfer) else {
        panic!("{transfer:?}")
    };
    assert_eq!(github.api, "https://ghe.example.com/api/v3/repos/a/b");
    assert_eq!(github.prereleases, Prereleases::Offered);
    assert!(github.is_private());
}

#[test]
fn every_setting_lands_in_its_field() {
    let world = native(
        r#"
description = "Node tools"
documentation = ["https://a", "https://b"]
[transfer]
description = "The transfer"
range = "~1.32"
min_version = "1"
max_version = "2"
protect_version = ["1.5", "1.6"]
skip = ["1.32.1"]
verify = "none"
changelog = "https://c/@v"
appstream = ["https://d"]
[source]
type = "regular-file"
path = "/srv/%o"
match = ["a b-@v", "**/c-@v"]
manifest = "SUMS"
[target]
type = "regular-file"
path = "/opt/x"
mode = 0o644
instances_max = 5
read_only = true
tries_left = 3
tries_done = 1
remove_temporary = false
[activate]
mode = "refresh"
restart = ["kubelet.service"]
reload = []
"#,
    );
    let component = world
        .load("kubernetes")
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        (
            component.description.as_deref(),
            component.documentation.len()
        ),
        (Some("Node tools"), 2)
    );
    let transfer = &component.transfers[0];
    assert_eq!(transfer.description.as_deref(), Some("The transfer"));
    assert_eq!(
        transfer
            .range
            .as_ref()
            .map(|range| range.origin.to_string()),
        Some(format!("{FILE}:6"))
    );
    assert_eq!(
        (
            transfer.protected.len(),
            transfer.skip.len(),
            transfer.verification
        ),
        (2, 1, Verification::Skip)
    );
    assert_eq!((transfer.changelog.len(), transfer.appstream.len()), (1, 1));
    assert!(
        matches!(source(transfer), Source::Directory(directory) if directory.path == Path::new("/srv/flatcar"))
    );
    assert_eq!(source_patterns(transfer), ["a b-@v", "**/c-@v"]);
    assert_eq!(target_patterns(transfer), ["a b-@v", "c-@v"]);
    let overrides = &target(transfer).overrides;
    assert_eq!(
        (
            overrides.mode,
            overrides.read_only,
            overrides.tries_left,
            overrides.tries_done
        ),
        (Some(0o644), Some(true), Some(3), Some(1))
    );
    assert_eq!(
        (transfer.instances_max, transfer.remove_temporary),
        (5, false)
    );
    assert_eq!(
        target(transfer).current_symlink,
        None,
        "a path of one's own has no default symlink"
    );
    assert_eq!(
        (
            transfer.activation.mode,
            transfer.activation.restart.named().len()
        ),
        (ActivationMode::Refresh, 1)
    );
    assert_eq!(world.said(), Vec::<String>::new());
}

#[test]
fn verification_is_said_in_one_word_with_its_keys() {
    let url = "[source]\nurl = \"https://a\"\n[transfer]\n";
    let world = native(&format!(
        "{url}verify = \"minisign\"\nkeys = [\"/etc/%o.pub\", \"/b\"]\nthreshold = 2\nmax_age = \"30d\""
    ));
    let transfer = world.transfer("kubernetes");
    assert_eq!(transfer.verification, Verification::Minisign);
    let authentication = transfer.authentication;
    assert_eq!(
        authentication.keys,
        Keys::Listed(vec!["/etc/flatcar.pub".into(), "/b".into()])
    );
    assert_eq!(authentication.threshold, 2);
    let max_age = authentication.max_age.expect("it is set");
    assert_eq!(
        (max_age.value.as_secs(), max_age.origin.line),
        (2_592_000, 7)
    );

    let usual = |directory| PathBuf::from(format!("{directory}/sysupdate/keys/kubernetes.pub"));
    for (word, verification, scheme) in [
        ("minisign", Verification::Minisign, Verification::Minisign),
        ("openpgp", Verification::OpenPgp, Verification::OpenPgp),
        ("none", Verification::Skip, Verification::OpenPgp),
    ] {
        let transfer = native(&format!("{url}verify = \"{word}\"")).transfer("kubernetes");
        assert_eq!(transfer.verification, verification);
        assert_eq!(transfer.authentication.scheme, scheme);
        assert_eq!(transfer.authentication.threshold, 1);
        assert_eq!(
            transfer.authentication.keys,
            Keys::Usual(
                ["/etc", "/run", "/usr/local/lib", "/usr/lib"]
                    .map(usual)
                    .to_vec()
            )
        );
    }
}

#[test]
fn health_and_units_are_read_and_an_empty_list_means_none() {
    let transfer = native(
        "[source]\nurl = \"http://x/\"\n[activate]\nrestart = []\nreload = \"auto\"\n[check]\nunits = [\"a.service\"]\n\
         command = [\"/usr/bin/a\", \"--version\"]\nsettle = \"1min 30s\"\n",
    )
    .transfer("kubernetes");
    assert_eq!(transfer.activation.restart, Units::Named(Vec::new()));
    assert_eq!(transfer.activation.reload, Units::Auto);
    assert_eq!(transfer.check.units, ["a.service"]);
    assert_eq!(transfer.check.command, ["/usr/bin/a", "--version"]);
    assert_eq!(transfer.check.settle, Some(Duration::from_secs(90)));
}

/// What follows a good source, and the refusal.
const REFUSALS: &[(&str, &str)] = &[
    (
        "[target]\ninstance_max = 3",
        ":4:1: unknown key 'instance_max' in [target], did you mean 'instances_max'?\n  instance_max = 3",
    ),
    (
        "[target]\n  zzz = 3",
        ":4:3: unknown key 'zzz' in [target]\n    zzz = 3",
    ),
    (
        "[tranfer]",
        ":3:2: unknown key 'tranfer' at the top level, did you mean 'transfer'?\n  [tranfer]",
    ),
    (
        "[transfer]\nfeatures = []",
        ":4:1: unknown key 'features' in [transfer]\n  features = []",
    ),
    (
        "target.mode = 420",
        ":3:1: unknown key 'target' in [source]\n  target.mode = 420",
    ),
    (
        "[target]\nmode = 420",
        ":4:8: 'mode' must be written in octal, as 0o644 or \"0644\"\n  mode = 420",
    ),
    (
        "[target]\nmode = \"9\"",
        ":4:8: '9' is no valid 'mode', which is an octal mode up to 7777\n  mode = \"9\"",
    ),
    (
        "[target]\nmode = 0o10000",
        ":4:8: '10000' is out of range for 'mode', which is an octal mode up to 7777\n  mode = 0o10000",
    ),
    (
        "[target]\ninstances_max = \"3\"",
        ":4:17: 'instances_max' must be an integer\n  instances_max = \"3\"",
    ),
    (
        "[target]\ninstances_max = -3",
        ":4:17: 'instances_max' must be an unsigned integer of at most 64 bits\n  instances_max = -3",
    ),
    (
        "[target]\ninstances_max = 1",
        ":4:17: 'instances_max' must be at least 2, not 1\n  instances_max = 1",
    ),
    (
        "[target]\nread_only = \"yes\"",
        ":4:13: 'read_only' must be true or false\n  read_only = \"yes\"",
    ),
    (
        "[target]\ncurrent_symlink = \"\"",
        ":4:19: '' is no valid 'current_symlink', which is a path without '..'\n  current_symlink = \"\"",
    ),
    (
        "[transfer]\nskip = [\"é\", 3]",
        ":4:14: 'skip' must be a list of strings\n  skip = [\"é\", 3]",
    ),
    (
        "[transfer]\nverify = true",
        ":4:10: 'verify' must be \"openpgp\", \"minisign\" or \"none\"\n  verify = true",
    ),
    (
        "[transfer]\nkeys = [\"/a\", \"b\"]",
        ":4:15: 'b' is no valid 'keys', which is an absolute path of a file with public keys\n  keys = [\"/a\", \"b\"]",
    ),
    (
        "[transfer]\nthreshold = 0",
        ":4:13: '0' is out of range for 'threshold', which is a number of keys from 1 to 16\n  threshold = 0",
    ),
    (
        "[transfer]\nverify = \"none\"\nmax_age = \"30d\"",
        ":5:1: a manifest's age is that of its signature, but verification is turned off: remove one of the two settings\n  max_age",
    ),
    (
        "[transfer]\nmax_age = \"soon\"",
        ":4:11: 'soon' is no valid 'max_age', which is a time span, as \"30d\" or \"2 weeks\"\n  max_age = \"soon\"",
    ),
    (
        "mirrors = [\"h\"]",
        ":3:12: 'h' is no valid 'mirrors', which is an http://, https:// or file:/ URL without a password",
    ),
    (
        "mirrors = [\"http://u:p@h\"]",
        ":3:12: 'http://h with a login' is no valid 'mirrors', which is an http://, https:// or file:/ URL without a password",
    ),
    (
        "headers = [\"Host: x\"]",
        ":3:12: 'Host' is no valid 'headers', which is 'Name: value'",
    ),
    (
        "credential = \"a/b\"",
        ":3:14: 'a/b' is no valid 'credential', which is the name of a credential, or the absolute path of a file",
    ),
    (
        "[check]\nunit = []",
        ":4:1: unknown key 'unit' in [check], did you mean 'units'?\n  unit = []",
    ),
    (
        "[activate]\nunits = []",
        ":4:1: unknown key 'units' in [activate]\n  units = []",
    ),
    (
        "[check]\ncommand = [\"curl\"]",
        ":4:12: 'curl' is no valid 'command', which is an absolute path of a program, and its arguments\n  command = [\"curl\"]",
    ),
    (
        "[check]\nsettle = \"2h\"",
        ":4:10: '2h' is out of range for 'settle', which is a time span of at most an hour, as \"20s\" or \"2min\"\n  settle = \"2h\"",
    ),
    (
        "match = \"a-@v %Z\"",
        ":3:9: cannot expand the specifiers of 'match': 'a-@v %Z'\n  match = \"a-@v %Z\"",
    ),
    (
        "match = [\"x-@v\", \"app.raw\"]",
        ":3:18: 'app.raw' is no valid pattern: ",
    ),
    (
        "path = \"/a\"",
        ":3:1: only one of 'url' and 'path' can be the source\n  path = \"/a\"",
    ),
    ("url = 1", ":3:1: duplicate key"),
    ("broken", ":3:7: "),
];

#[test]
fn an_archive_becomes_a_directory_without_a_suffix() {
    let world = native("[source]\nurl = 'https://a'\ntype = 'url-tar'");
    let transfer = world.transfer("kubernetes");
    assert_eq!(
        (transfer.source_word(), transfer.target().place.word()),
        ("url-tar", "directory")
    );
    assert_eq!(
        source_patterns(&transfer),
        [
            "kubernetes-@v-x86-64.tar.zst",
            "kubernetes-@v-x86-64.tar.xz",
            "kubernetes-@v-x86-64.tar.gz",
            "kubernetes-@v-x86-64.tar"
        ]
    );
    assert_eq!(target_patterns(&transfer), ["kubernetes-@v-x86-64"]);
    let link = transfer.target().link();
    assert_eq!(
        link.as_deref(),
        Some(Path::new("/var/lib/extensions/kubernetes"))
    );
}

#[test]
fn what_is_not_understood_is_refused_with_its_place() {
    let url = "[source]\nurl = \"https://a\"\n";
    for &(text, refusal) in REFUSALS {
        let found = native(&format!("{url}{text}")).refusal("kubernetes");
        assert!(
            found.starts_with(&format!("{FILE}{refusal}")),
            "{text}: {found}"
        );
    }
    for (text, refusal) in [
        ("", None),
        (
            "#\n",
            Some(":1:1: the source has no 'url' (nor 'path')\n  #"),
        ),
        (
            "[source]\n",
            Some(":1:1: the source has no 'url' (nor 'path')\n  [source]"),
        ),
        (
            "source = 1",
            Some(":1:1: 'source' must be a table\n  source = 1"),
        ),
        (
            "[[source]]\nurl = 'https://a'",
            Some(":1:3: 'source' must be a table\n  [[source]]"),
        ),
        (
            "\n[source]\nurl = 'ftp://a'",
            Some(":3:1: Source path is not a valid HTTP or HTTPS URL: ftp://a\n  url = 'ftp://a'"),
        ),
    ] {
        let world = native(text);
        match refusal {
            None => assert!(
                world
                    .load("kubernetes")
                    .expect("an empty file is a mask")
                    .transfers
                    .is_empty()
            ),
            Some(refusal) => assert_eq!(
                world.refusal("kubernetes"),
                format!("{FILE}{refusal}"),
                "{text}"
            ),
        }
    }
}

#[test]
fn hostile_files_are_refused_without_harm() {
    let world = World::with(FILE, b"[source]\nurl = \"\xff\"");
    assert_eq!(
        world.refusal("kubernetes"),
        format!("{FILE}:2:8: the text is not UTF-8\n  url = \"")
    );
    let world = native("[source]\nurl = \"https://a\"\n\"\\u001b[2J\" = 1 # \u{7f}");
    let refusal = world.refusal("kubernetes");
    assert!(!refusal.contains(['\u{1b}', '\u{7f}']), "{refusal}");
    for text in [
        "a = [".repeat(10_000),
        "[".repeat(100_000),
        format!("a{}", ".a".repeat(50_000)),
        "é".repeat(1000),
        "x = \"\"\"".to_owned(),
    ] {
        assert!(native(&text).load("kubernetes").is_err());
    }
    for (count, refused) in [(16, false), (17, true)] {
        let keys: Vec<String> = (0..count).map(|number| format!("'/{number}'")).collect();
        let text = format!(
            "[source]\nurl = 'https://a'\n[transfer]\nkeys = [{}]",
            keys.join(", ")
        );
        let loaded = native(&text).load("kubernetes");
        assert_eq!(loaded.is_err(), refused, "{count} files with keys");
    }
    let world = native(&" ".repeat(3 << 20));
    assert_eq!(world.refusal("kubernetes"), format!("cannot read '{FILE}'"));
}

#[test]
fn precedence_and_masks_are_those_of_systemd_files() {
    let world = World::with("usr/lib/sysupdate/transfer.d/kubernetes.toml", "broken");
    world.write(
        "run/sysupdate/transfer.d/kubernetes.toml",
        "[source]\nurl = 'https://a'",
    );
    assert_eq!(
        world.transfer("kubernetes").file,
        Path::new("run/sysupdate/transfer.d/kubernetes.toml")
    );
    world.link(FILE, "/dev/null");
    assert!(
        world
            .load("kubernetes")
            .expect("it is masked")
            .transfers
            .is_empty()
    );
}

#[test]
fn a_component_is_defined_in_one_place() {
    let world = native("[source]\nurl = 'https://a'");
    world.write("usr/lib/sysupdate.kubernetes.d/f.feature", "");
    world.link("usr/lib/sysupdate.kubernetes.d/m.transfer", "/dev/null");
    world.write(
        "etc/sysupdate.kubernetes.component.d/x.conf",
        "[Component]\nEnabled=no\nDescription=From a drop-in",
    );
    let component = world
        .load("kubernetes")
        .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((component.transfers.len(), component.enabled), (1, false));
    assert_eq!(component.description.as_deref(), Some("From a drop-in"));

    world.write("usr/lib/sysupdate.kubernetes.d/a.transfer", "[");
    assert_eq!(
        world.refusal("kubernetes"),
        format!(
            "component 'kubernetes' is defined twice, by '{FILE}' and by 'usr/lib/sysupdate.kubernetes.d/a.transfer'"
        )
    );
}

#[test]
fn a_native_file_may_stand_in_for_definitions_that_it_names() {
    let old = "etc/sysupdate.kubernetes.d/a.transfer";
    let native = format!("replaces = ['/{old}']\n[source]\nurl = 'https://a'\n");
    let world = World::with(FILE, &native);
    // What it stands in for is not even read, nor does anything come out that it hid.
    world.write(old, "[");
    world.write("etc/sysupdate.kubernetes.d/b.conf", "[");
    assert_eq!(world.transfer("kubernetes").file, PathBuf::from(FILE));
    assert_eq!(world.said(), Vec::<String>::new());
    world.write("run/sysupdate.kubernetes.d/c.transfer", "[");
    assert_eq!(
        world.refusal("kubernetes"),
        format!(
            "component 'kubernetes' is defined twice, by '{FILE}' and by 'run/sysupdate.kubernetes.d/c.transfer'"
        )
    );
    let world = World::with(FILE, "replaces = ['a']\n[source]\nurl = 'https://a'\n");
    assert!(world.refusal("kubernetes").contains("replaces"));
}

#[test]
fn names_with_signs_of_patterns_are_literal_or_refused() {
    let text = "[source]\nurl = 'https://a'";
    let transfer = World::with("etc/sysupdate/transfer.d/a@v%o.toml", text).transfer("a@v%o");
    assert_eq!(source_patterns(&transfer), ["a@@v%o-@v-x86-64.raw"]);
    assert_eq!(
        target(&transfer).directory,
        Path::new("/var/lib/extensions.d/a@v%o")
    );
    let world = World::with("etc/sysupdate/transfer.d/a*.toml", text);
    let refusal = world.refusal("a*");
    assert!(
        refusal.contains("the name of the component makes no default for 'source.match': "),
        "{refusal}"
    );
    let world = World::with(
        "etc/sysupdate/transfer.d/a*.toml",
        format!("{text}\nmatch = 'a-@v'"),
    );
    assert_eq!(source_patterns(&world.transfer("a*")), ["a-@v"]);
}
