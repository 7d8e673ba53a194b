//! Hosts that were set up by hand, as the bakery's documentation says, are taken over with what they have installed.

use super::bakery::{ARCHITECTURE, bakery};
use super::extension::{FITS, OS, sysext};
use super::harness::{Host, Run};
use super::server::Server;

const NOOP: &str = "[Source]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n[Target]\nType=regular-file\nPath=/\n";
const SERVICE: &str = "etc/systemd/system/systemd-sysupdate.service.d";

fn definition(server: &Server, name: &str, pattern: &str) -> String {
    let base = &server.base;
    format!(
        "[Transfer]\nVerify=false\n[Source]\nType=url-file\nPath={base}/extensions/{name}/\nMatchPattern={pattern}-%a.raw\n\
         [Target]\nInstancesMax=3\nType=regular-file\nPath=/opt/extensions/{name}\nCurrentSymlink=/etc/extensions/{name}.raw\n"
    )
}

fn install(host: &Host, name: &str, version: &str) {
    let file = format!("{name}-{version}-{ARCHITECTURE}.raw");
    let image = sysext(name, &format!("{FITS}# {version}\n"));
    let path = host.path(&format!("opt/extensions/{name}"));
    std::fs::create_dir_all(&path).expect("made");
    std::fs::write(path.join(&file), image).expect("written");
    host.link(
        &format!("etc/extensions/{name}.raw"),
        &format!("/opt/extensions/{name}/{file}"),
    );
}

fn usual() -> Server {
    let image = |name: &str, version: &str| sysext(name, &format!("{FITS}# {version}\n"));
    let images: Vec<_> = [
        ("docker", "28.0.0"),
        ("docker", "28.0.4"),
        ("kubernetes", "v1.32.1"),
        ("kubernetes", "v1.32.2"),
        ("kubernetes", "v1.33.0"),
        ("k3s", "v1.31.1+k3s1"),
        ("k3s", "v1.31.2+k3s1"),
        ("k3s", "v1.32.0+k3s1"),
    ]
    .into_iter()
    .map(|(name, version)| (name, version, image(name, version)))
    .collect();
    bakery(&images)
}

/// A host as the documentation makes it: kubernetes within a series, with reboots, and docker, merged at once; k3s was only
/// ever put there.
fn flatcar(server: &Server) -> Host {
    let host = Host::new();
    host.write("etc/os-release", OS);
    host.write("usr/lib/sysupdate.d/noop.transfer", NOOP);
    host.write("etc/sysupdate.d/noop.conf", NOOP);
    let series = definition(server, "kubernetes", "kubernetes-v1.32.@v");
    host.write("etc/sysupdate.kubernetes.d/kubernetes-v1.32.conf", &series);
    host.write(
        "etc/sysupdate.docker.d/docker.conf",
        &definition(server, "docker", "docker-@v"),
    );
    host.write(
        "etc/sysupdate.docker.d/docker.conf.d/10-keep.conf",
        "[Target]\nInstancesMax=5\n",
    );
    install(&host, "kubernetes", "v1.32.1");
    install(&host, "docker", "28.0.0");
    install(&host, "k3s", "v1.31.1+k3s1");
    host.link("etc/extensions/docker-flatcar.raw", "/dev/null");
    let service =
        |name: &str| format!("ExecStartPre=/usr/lib/systemd/systemd-sysupdate -C {name} update\n");
    host.write(
        &format!("{SERVICE}/kubernetes.conf"),
        &format!(
            "[Service]\nExecStartPre=/usr/bin/sh -c \"readlink --canonicalize /etc/extensions/kubernetes.raw > /tmp/kubernetes\"\n{}\
             ExecStartPost=/usr/bin/sh -c \"if ! cmp --silent /tmp/kubernetes /tmp/kubernetes-new; then touch /run/reboot-required; fi\"\n",
            service("kubernetes")
        ),
    );
    host.write(
        &format!("{SERVICE}/docker.conf"),
        &format!("[Service]\n{}", service("docker")),
    );
    host.write(
        &format!("{SERVICE}/sysext.conf"),
        "[Service]\nExecStartPost=systemctl restart systemd-sysext\n",
    );
    host.write(
        &format!("{SERVICE}/mine.conf"),
        "[Service]\nExecStartPost=/opt/bin/mine\n",
    );
    host.link(
        "etc/systemd/system/timers.target.wants/systemd-sysupdate.timer",
        "/usr/lib/systemd/system/systemd-sysupdate.timer",
    );
    host
}

fn import(host: &Host, server: &Server, arguments: &[&str]) -> Run {
    let from = format!("--from={}/extensions", server.base);
    host.run(&[&[from.as_str(), "import"], arguments].concat())
}

/// Everything but what this program writes.
fn foreign(host: &Host) -> Vec<String> {
    let mut lines = host.tree("");
    lines.retain(|line| !line.starts_with("etc/sysupdate/") && !line.contains("/sysupdate/"));
    lines
}

/// What the host says, without the port and the architecture.
fn plain(run: &Run, server: &Server) -> String {
    let port = server.base.rsplit(':').next().expect("a port");
    run.stderr
        .replace(port, "PORT")
        .replace(ARCHITECTURE, "ARCH")
}

#[test]
fn a_host_that_was_set_up_by_hand_is_taken_over() {
    let server = usual();
    let host = flatcar(&server);
    let before = foreign(&host);
    let refused = import(&host, &server, &[]).fails();
    refused.says("Not imported without a word: call again with --yes.");
    assert_eq!(host.tree("etc/sysupdate"), [""; 0]);

    server.take_log();
    let run = import(&host, &server, &["--yes"]).succeeds().prints("");
    insta::assert_snapshot!(plain(&run, &server), @r#"
    'docker' is imported from 'ROOT/etc/sysupdate.docker.d/docker.conf':
      definition ROOT/etc/sysupdate/transfer.d/docker.toml
      link ROOT/etc/extensions/docker.raw
      image ROOT/opt/extensions/docker/docker-28.0.0-ARCH.raw, which is installed
    'k3s' is imported from its image and 'http://127.0.0.1:PORT/extensions':
      definition ROOT/etc/sysupdate/transfer.d/k3s.toml
      link ROOT/etc/extensions/k3s.raw
      image ROOT/opt/extensions/k3s/k3s-v1.31.1+k3s1-ARCH.raw, which is installed
    'kubernetes' is imported from 'ROOT/etc/sysupdate.kubernetes.d/kubernetes-v1.32.conf':
      definition ROOT/etc/sysupdate/transfer.d/kubernetes.toml
      link ROOT/etc/extensions/kubernetes.raw
      image ROOT/opt/extensions/kubernetes/kubernetes-v1.32.1-ARCH.raw, which is installed
      updates wait for a reboot, as 'ROOT/etc/systemd/system/systemd-sysupdate.service.d/kubernetes.conf' had it
    Imported 'docker': version 28.0.0 is installed.
    Imported 'k3s': version v1.31.1+k3s1 is installed.
    Imported 'kubernetes': version 1 is installed.
    Superfluous now; nothing of it was changed. These commands take it away:
      rm ROOT/etc/sysupdate.docker.d/docker.conf ROOT/etc/sysupdate.docker.d/docker.conf.d/10-keep.conf
      rmdir --ignore-fail-on-non-empty ROOT/etc/sysupdate.docker.d/docker.conf.d ROOT/etc/sysupdate.docker.d
      rm ROOT/etc/sysupdate.kubernetes.d/kubernetes-v1.32.conf
      rmdir --ignore-fail-on-non-empty ROOT/etc/sysupdate.kubernetes.d
      rm ROOT/etc/sysupdate.d/noop.conf
      rm ROOT/etc/systemd/system/systemd-sysupdate.service.d/docker.conf ROOT/etc/systemd/system/systemd-sysupdate.service.d/kubernetes.conf ROOT/etc/systemd/system/systemd-sysupdate.service.d/sysext.conf
      # look at ROOT/etc/systemd/system/systemd-sysupdate.service.d/mine.conf yourself: it does more than updates and merges of what is defined
      systemctl --root=ROOT disable systemd-sysupdate.timer
      systemctl --root=ROOT enable sysupdate.timer
    "#);
    assert_eq!(
        foreign(&host),
        before,
        "nothing of anybody else's was touched"
    );
    let asked: Vec<String> = server.take_log().into_iter().map(|one| one.path).collect();
    assert!(
        asked.iter().all(|path| path.ends_with("/SHA256SUMS")),
        "{asked:?}"
    );
    let text = host.read("etc/sysupdate/transfer.d/kubernetes.toml");
    insta::assert_snapshot!(text.replace(&server.base, "BASE"), @r##"
    # /etc/sysupdate/transfer.d/kubernetes.toml, written by `sysupdate import`. Change it as you like.

    # Read instead of the definition it was made of, which can be removed.
    replaces = ["/etc/sysupdate.kubernetes.d/kubernetes-v1.32.conf"]

    [transfer]
    # Nobody signs this source. With a key: verify = "minisign" or "openpgp", and keys = ["/FILE"].
    verify = "none"

    [source]
    url = "BASE/extensions/kubernetes/"
    # @v is only what the pattern leaves open. For whole versions, and a series that is changed with one word, write
    # range = "~1.32" in [transfer], and NAME-@v-%a.raw here.
    match = "kubernetes-v1.32.@v-%a.raw"

    [target]
    path = "/opt/extensions/kubernetes"
    current_symlink = "/etc/extensions/kubernetes.raw"

    [activate]
    # As /etc/systemd/system/systemd-sysupdate.service.d/kubernetes.conf had it: a new version is noted in /run/reboot-required and takes effect with the next boot.
    # Without this line it takes effect at once.
    mode = "reboot"
    "##);
}

#[test]
fn what_is_taken_over_is_updated_with_the_old_definitions_and_without() {
    let server = usual();
    let host = flatcar(&server);
    let run = import(&host, &server, &["--yes"]).succeeds();
    // First with both forms there, then with the old one taken away as it was told.
    for _ in 0..2 {
        let list = host
            .run(&["-C", "kubernetes", "list", "--json=short"])
            .succeeds()
            .json();
        assert_eq!(list["current"], "1", "{list}");
        assert_eq!(
            host.run(&["-C", "docker", "check-new"]).succeeds().stdout,
            "28.0.4\n"
        );
        assert_eq!(
            host.run(&["-C", "k3s", "check-new"]).succeeds().stdout,
            "v1.31.2+k3s1\n"
        );
        for line in run
            .stderr
            .lines()
            .filter_map(|line| line.strip_prefix("  rm "))
        {
            for path in line.split(' ').map(|path| path.replace("ROOT/", "")) {
                if host.path(&path).exists() {
                    host.remove(&path);
                }
            }
        }
    }
    import(&host, &server, &[])
        .succeeds()
        .says("There is nothing to import.")
        .keeps_quiet_about("  rm ");
    host.run(&["update", "-A", "--no-activate"]).succeeds();
    for (name, file) in [
        ("kubernetes", "kubernetes-v1.32.2"),
        ("docker", "docker-28.0.4"),
        ("k3s", "k3s-v1.31.2+k3s1"),
    ] {
        let link = std::fs::read_link(host.path(&format!("etc/extensions/{name}.raw")));
        let link = link.expect("a link").display().to_string();
        let file = format!("opt/extensions/{name}/{file}-{ARCHITECTURE}.raw");
        assert_eq!(link, format!("../../{file}"));
    }
}

#[test]
fn a_second_import_has_nothing_to_do_and_an_old_definition_may_stay() {
    let server = usual();
    let host = flatcar(&server);
    import(&host, &server, &["-y"]).succeeds();
    let tree = host.tree("etc");
    import(&host, &server, &[])
        .succeeds()
        .says("There is nothing to import.")
        .says("rm ROOT/etc/sysupdate.kubernetes.d/kubernetes-v1.32.conf");
    assert_eq!(host.tree("etc"), tree);
    // Another definition beside those that were replaced is one too many, as ever.
    host.write(
        "etc/sysupdate.docker.d/other.conf",
        &definition(&server, "docker", "docker-@v"),
    );
    host.run(&["-C", "docker", "list"])
        .fails()
        .says("component 'docker' is defined twice");
}

#[test]
fn what_the_native_form_cannot_say_stays_as_it_is_and_is_told() {
    let server = usual();
    let cases: &[(&str, &str, &str)] = &[
        ("etc/sysupdate.two.d/a.conf", "", "it has 2 transfers"),
        (
            "etc/sysupdate.mirror.d/a.transfer",
            "[Source]\nX-Mirrors=https://b.example\n",
            "it has mirrors, headers or credentials",
        ),
        (
            "etc/sysupdate.boot.d/a.transfer",
            "[Target]\nPathRelativeTo=root\n",
            "PathRelativeTo=",
        ),
        (
            "usr/lib/sysupdate.vendor.d/a.transfer",
            "",
            "is not the operator's",
        ),
        (
            "etc/sysupdate.oem-tools.d/a.transfer",
            "",
            "belong to the operating system",
        ),
        (
            "etc/sysupdate.log.d/a.transfer",
            "[Transfer]\nChangeLog=https://b.example/@v\n",
            "it has URLs of change logs",
        ),
    ];
    for (path, more, why) in cases {
        let host = Host::new();
        let text = definition(&server, "docker", "docker-@v");
        host.write(path, &format!("{text}{more}"));
        if why.contains("2 transfers") {
            host.write(
                "etc/sysupdate.two.d/b.conf",
                &text.replace("/docker", "/other"),
            );
        }
        let before = host.tree("");
        import(&host, &server, &["-y"])
            .succeeds()
            .says(why)
            .says("It is updated by the definition that it has.")
            .says("There is nothing to import.");
        assert_eq!(host.tree(""), before, "{path}");
    }
}

#[test]
fn links_that_nobody_defines_are_judged_one_by_one() {
    let server = usual();
    let host = Host::new();
    host.write("etc/os-release", OS);
    install(&host, "docker", "28.0.0");
    install(&host, "unheard-of", "1.0");
    host.write("etc/extensions/plain.raw", "an image");
    host.link(
        "etc/extensions/gone.raw",
        "/opt/extensions/gone/gone-1-x86-64.raw",
    );
    host.write("opt/extensions/odd.raw", "an image");
    host.link("etc/extensions/odd.raw", "/opt/extensions/odd.raw");
    host.link("etc/extensions/containerd-flatcar.raw", "/dev/null");
    let run = import(&host, &server, &["-y"]).succeeds();
    run.says("Imported 'docker': version 28.0.0 is installed.")
        .says("offers no 'unheard-of'; `--from=` names another bakery")
        .says("etc/extensions/plain.raw' is not imported: it is an image and no link")
        .says("etc/extensions/gone.raw' is not imported: it leads to no file")
        .says("whose name is not odd-VERSION-")
        .keeps_quiet_about("containerd-flatcar");
    assert_eq!(host.tree("etc/sysupdate"), ["transfer.d/docker.toml 0644"]);
}

#[test]
fn without_a_network_what_is_defined_is_imported_and_the_rest_is_told() {
    let server = usual();
    let host = flatcar(&server);
    let run = host.run(&["import", "-y", "--offline"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    run.says("Imported 'kubernetes': version 1 is installed.")
        .says("etc/extensions/k3s.raw' is not imported: nothing defines it");
    assert_eq!(
        host.tree("etc/sysupdate"),
        [
            "transfer.d/docker.toml 0644",
            "transfer.d/kubernetes.toml 0644"
        ]
    );
}

#[test]
fn a_mask_and_a_broken_definition_are_left_alone() {
    let server = usual();
    let host = flatcar(&server);
    host.link("etc/sysupdate/transfer.d/docker.toml", "/dev/null");
    host.write(
        "etc/sysupdate.kubernetes.d/kubernetes-v1.32.conf",
        "[Transfer]\n",
    );
    let run = import(&host, &server, &["-y"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    run.says("docker.toml' exists already")
        .says("'kubernetes' is not imported: ")
        .says("Correct that first.")
        .says("Imported 'k3s'");
}
