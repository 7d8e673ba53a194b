//! Extensions of a bakery: looked for, added, removed. A double of the community's redirector stands on loopback.

use std::fmt::Write as _;

use super::extension::{FITS, NEXT, OS, sysext};
use super::harness::{Host, Run};
use super::server::{Answer, Server, sha256};

pub(super) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") {
    "arm64"
} else {
    "x86-64"
};
const ELSEWHERE: &str = if cfg!(target_arch = "aarch64") {
    "x86-64"
} else {
    "arm64"
};

/// A bakery with these images; what is asked for below `/extensions` leads to `/releases`, as at the community's.
pub(super) fn bakery(images: &[(&str, &str, Vec<u8>)]) -> Server {
    let server = Server::new();
    let mut all = String::new();
    for (name, version, image) in images {
        let file = format!("{name}-{version}-{ARCHITECTURE}.raw");
        let digest = sha256(image);
        let _ = writeln!(
            all,
            "{digest}  {file}\n{digest}  {name}-{version}-{ELSEWHERE}.raw"
        );
        let release = format!("/releases/{name}-{version}/{file}");
        server.put(&release, image.clone());
        server.answer(
            &format!("/extensions/{name}/{file}"),
            Answer::redirect(302, format!("{}{release}", server.base)),
        );
    }
    for (name, ..) in images {
        let lines = all
            .lines()
            .filter(|line| line.contains(&format!("  {name}-")));
        let own = lines.collect::<Vec<_>>().join("\n") + "\n";
        server.put(&format!("/releases/{name}/SHA256SUMS"), own);
        server.answer(
            &format!("/extensions/{name}/SHA256SUMS"),
            Answer::redirect(302, format!("{}/releases/{name}/SHA256SUMS", server.base)),
        );
    }
    let _ = writeln!(all, "{}  foreign-1.0-{ELSEWHERE}.raw", sha256(b""));
    server.put("/releases/SHA256SUMS/SHA256SUMS", all);
    server.answer(
        "/extensions/SHA256SUMS",
        Answer::redirect(
            302,
            format!("{}/releases/SHA256SUMS/SHA256SUMS", server.base),
        ),
    );
    server
}

fn usual() -> Server {
    let image =
        |name: &str, version: &str, release: &str| sysext(name, &format!("{release}# {version}\n"));
    let mut images = Vec::new();
    for version in ["v1.31.9", "v1.32.1", "v1.32.2", "v1.33.0", "v1.34.0-rc.1"] {
        images.push(("kubernetes", version, image("kubernetes", version, FITS)));
    }
    images.push(("tail-scale", "1.0", image("tail-scale", "1.0", FITS)));
    images.push(("tail-scale", "1.1", image("tail-scale", "1.1", FITS)));
    images.push(("tail-scale", "2.0", image("tail-scale", "2.0", NEXT)));
    images.push(("future", "1.0", image("future", "1.0", NEXT)));
    bakery(&images)
}

fn host() -> Host {
    let host = Host::new();
    host.write("etc/os-release", OS);
    host
}

fn call(host: &Host, server: &Server, arguments: &[&str]) -> Run {
    let from = format!("--from={}/extensions", server.base);
    host.run(&[&[from.as_str()], arguments].concat())
}

fn linked(host: &Host, name: &str) -> String {
    let link = host.path(&format!("var/lib/extensions/{name}.raw"));
    let text = std::fs::read_link(link).expect("a link");
    text.file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

#[test]
fn search_shows_the_newest_version_for_this_machine() {
    let (server, host) = (usual(), host());
    let elsewhere = format!("- (only for {ELSEWHERE})");
    let width = elsewhere.len();
    let row =
        |name: &str, newest: &str, rest: &str| format!("{name:<10} {newest:<width$} {rest}\n");
    let table = [
        row("NAME", "NEWEST", "VERSIONS DEFINED"),
        row("foreign", &elsewhere, "       0 no"),
        row("future", "1.0", "       1 no"),
        row("kubernetes", "v1.34.0-rc.1", "       5 no"),
        row("tail-scale", "2.0", "       3 no"),
    ];
    call(&host, &server, &["search"])
        .succeeds()
        .prints(&table.concat());
    call(&host, &server, &["--json=short", "search", "SCALE"])
        .succeeds()
        .prints("[{\"name\":\"tail-scale\",\"newest\":\"2.0\",\"versions\":3,\"defined\":false,\"elsewhere\":[]}]\n");
    // The second look is answered from what is here.
    server.take_log();
    call(&host, &server, &["search", "nothing"])
        .fails()
        .prints("")
        .says("offers nothing whose name contains 'nothing'.");
    let log = server.take_log();
    assert!(log.iter().any(|one| one.status == 304), "{log:?}");
    call(&host, &server, &["list", "tail-scale"])
        .succeeds()
        .prints("2.0\n1.1\n1.0\n");
    call(&host, &server, &["list", "nope"])
        .fails()
        .says("No transfer definitions found.");
}

#[test]
fn add_writes_a_definition_and_installs_the_newest_that_fits() {
    let (server, host) = (usual(), host());
    call(
        &host,
        &server,
        &["add", "tail-scale", "--restart", "tailscaled.service"],
    )
    .succeeds()
    .prints("")
    .says("Added 'tail-scale'");
    assert_eq!(
        linked(&host, "tail-scale"),
        format!("tail-scale-1.1-{ARCHITECTURE}.raw")
    );
    let text = host.read("etc/sysupdate/transfer.d/tail-scale.toml");
    for line in [
        "verify = \"none\"",
        &format!("url = \"{}/extensions/tail-scale\"", server.base),
        "restart = [\"tailscaled.service\"]",
    ] {
        assert!(text.contains(line), "no {line} in {text}");
    }
    // What was written is what a run reads.
    host.run(&["-C", "tail-scale", "update"])
        .succeeds()
        .says("No update needed.");
    call(&host, &server, &["add", "tail-scale"])
        .fails()
        .says("'tail-scale' is defined already; nothing was changed.");
    assert_eq!(host.read("etc/sysupdate/transfer.d/tail-scale.toml"), text);
}

#[test]
fn a_series_is_stayed_in() {
    for (argument, range, version) in [
        ("kubernetes@1.32", "range = \"~1.32\"", "v1.32.2"),
        ("kubernetes@v1.31", "range = \"~1.31\"", "v1.31.9"),
        // Unsafe across minors, so a bare name is pinned to the newest stable series.
        ("kubernetes", "range = \"~1.33\"", "v1.33.0"),
        (
            "kubernetes@>=1.31, <1.33",
            "range = \">=1.31, <1.33\"",
            "v1.32.2",
        ),
    ] {
        let (server, host) = (usual(), host());
        let run = call(&host, &server, &["add", argument]).succeeds();
        if argument == "kubernetes" {
            run.says("'kubernetes' is pinned to its series ~1.33");
        }
        let text = host.read("etc/sysupdate/transfer.d/kubernetes.toml");
        assert!(text.contains(range), "{argument}: {text}");
        assert_eq!(
            linked(&host, "kubernetes"),
            format!("kubernetes-{version}-{ARCHITECTURE}.raw"),
            "{argument}"
        );
        host.run(&["-C", "kubernetes", "check-new"])
            .fails()
            .prints("");
    }
    let (server, host) = (usual(), host());
    call(
        &host,
        &server,
        &["add", "kubernetes@1.32", "--version", "1.32.1"],
    )
    .succeeds();
    assert_eq!(
        linked(&host, "kubernetes"),
        format!("kubernetes-v1.32.1-{ARCHITECTURE}.raw")
    );
    host.run(&["-C", "kubernetes", "check-new"])
        .succeeds()
        .prints("v1.32.2\n");
}

#[test]
fn what_cannot_be_added_leaves_nothing_behind_and_says_why() {
    let (server, host) = (usual(), host());
    for (arguments, text) in [
        (
            &["add", "kubernets"][..],
            "offers no extension 'kubernets'. Did you mean 'kubernetes'?",
        ),
        (
            &["add", "kubernetes@1.99"],
            "No version of 'kubernetes' lies in the range ~1.99; the newest are",
        ),
        (&["add", "kubernetes@one"], "'one' is no range of versions"),
        (
            &["add", "kubernetes", "--version", "9"],
            "There is no version '9' of 'kubernetes'; the newest are",
        ),
        (
            &["add", "kubernetes@1.32", "--version", "1.33.0"],
            "outside of the range ~1.32",
        ),
        (
            &["add", "foreign"],
            "has no image of 'foreign' for this architecture",
        ),
        (&["add", "future"], "fits"),
        (&["add", "../x"], "'../x' is no name of an extension"),
        (&["add"], "add: the name of the extension is missing."),
        (&["add", "tail-scale", "--mode", "never"], "mode"),
        (
            &["add", "tail-scale", "--key", "/nonexistent"],
            "The key '/nonexistent' cannot be used",
        ),
    ] {
        call(&host, &server, arguments)
            .fails()
            .prints("")
            .says(text);
        assert_eq!(host.tree("etc/sysupdate"), [""; 0], "{arguments:?}");
        assert_eq!(host.tree("var/lib/extensions"), [""; 0], "{arguments:?}");
    }
    // A download that fails as well.
    server.answer(
        &format!("/releases/tail-scale-1.1/tail-scale-1.1-{ARCHITECTURE}.raw"),
        Answer::status(404),
    );
    call(&host, &server, &["add", "tail-scale"])
        .fails()
        .says("Nothing was added: 'tail-scale' is not installed.");
    assert_eq!(host.tree("etc/sysupdate"), [""; 0]);
    host.run(&["--from=nowhere", "search"])
        .fails()
        .says("--from=nowhere is neither a URL nor a bakery of config.toml ([bakeries] has none).");
    host.run(&["--retry-delay=1", "--from=http://127.0.0.1:9/x", "search"])
        .fails()
        .says("127.0.0.1:9");
}

#[test]
fn bakeries_have_names() {
    let (server, host) = (usual(), host());
    let url = format!("{}/extensions/", server.base);
    host.write(
        "etc/sysupdate/config.toml",
        &format!("[bakeries]\ndefault = \"{url}\"\nown = \"{url}\"\n"),
    );
    for arguments in [&["search", "tail"][..], &["--from=own", "search", "tail"]] {
        host.run(arguments).succeeds();
    }
    host.run(&["add", "tail-scale"]).succeeds();
    let text = host.read("etc/sysupdate/transfer.d/tail-scale.toml");
    assert!(
        text.contains(&format!("{}/extensions/tail-scale\"", server.base)),
        "{text}"
    );
    host.run(&["--from=owm", "search"])
        .fails()
        .says("([bakeries] has default, own).");
    host.write("etc/sysupdate/config.toml", "[bakeries]\nown = 3\n");
    host.run(&["search"])
        .fails()
        .says("'own' must be a URL: http, https or file");
}

#[test]
fn a_key_is_kept_and_asked_for() {
    let (server, host) = (usual(), host());
    host.write("k.pub", "untrusted comment: minisign public key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n");
    let key = host.path("k.pub").display().to_string();
    // The double signs nothing: an image of it is not taken.
    call(&host, &server, &["add", "tail-scale", "--key", &key])
        .fails()
        .says("minisig");
    assert_eq!(host.tree("etc/sysupdate"), [""; 0]);
}

#[test]
fn remove_takes_everything_away_and_nothing_else() {
    let (server, host) = (usual(), host());
    call(&host, &server, &["add", "tail-scale"]).succeeds();
    call(&host, &server, &["add", "kubernetes@1.32"]).succeeds();
    host.write("var/lib/extensions.d/kubernetes/mine", "mine");
    host.run(&["remove", "tail-scale"])
        .fails()
        .says("'tail-scale' goes:")
        .says("definition ROOT/etc/sysupdate/transfer.d/tail-scale.toml")
        .says("Not removed without a word: call again with --yes.");
    assert_eq!(
        linked(&host, "tail-scale"),
        format!("tail-scale-1.1-{ARCHITECTURE}.raw")
    );
    host.run(&["remove", "tail-scale", "kubernetes", "--yes"])
        .succeeds()
        .says("Removed 'tail-scale'.")
        .says("Removed 'kubernetes'.");
    assert_eq!(host.tree("etc/sysupdate"), [""; 0]);
    assert_eq!(host.tree("var/lib/extensions"), [""; 0]);
    assert_eq!(host.tree("var/lib/extensions.d"), ["kubernetes/mine 0644"]);
    assert_eq!(host.tree("var/lib/systemd"), [""; 0]);
    host.run(&["remove", "tail-scale", "--yes"])
        .fails()
        .says("No transfer definitions for component 'tail-scale' found.");
}

#[test]
fn images_can_be_kept_and_foreign_definitions_are_left_alone() {
    let (server, host) = (usual(), host());
    call(&host, &server, &["add", "tail-scale"]).succeeds();
    host.run(&["remove", "tail-scale", "-y", "--keep-images"])
        .succeeds();
    assert_eq!(
        host.tree("var/lib/extensions.d"),
        [format!("tail-scale/tail-scale-1.1-{ARCHITECTURE}.raw 0644")]
    );
    // As after a removal that was cut off, the next call takes what is left.
    let rest =
        format!("'tail-scale-@v-{ARCHITECTURE}.raw' in ROOT/var/lib/extensions.d/tail-scale");
    host.run(&["remove", "tail-scale"])
        .fails()
        .says("'tail-scale' is defined no more, what is left of it goes:")
        .says(&rest);
    host.run(&["remove", "tail-scale", "-y"]).succeeds();
    assert_eq!(host.tree("var/lib/extensions.d"), [""; 0]);
    assert_eq!(host.tree("var/lib/systemd"), [""; 0]);
    host.run(&["remove", "tail-scale", "-y"])
        .fails()
        .says("No transfer definitions for component 'tail-scale' found.");
    host.write(
        "usr/lib/sysupdate/transfer.d/vendor.toml",
        &format!(
            "transfer.verify = \"none\"\nsource.url = \"{}/extensions/tail-scale\"\n",
            server.base
        ),
    );
    host.run(&["remove", "vendor", "-y"])
        .fails()
        .says("'vendor' is defined by")
        .says("nothing was removed");
    assert!(
        host.path("usr/lib/sysupdate/transfer.d/vendor.toml")
            .exists()
    );
}
