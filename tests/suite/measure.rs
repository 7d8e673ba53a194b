//! How much: room on the disk, large files, long texts, and nothing at all.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::harness::{Host, app};
use super::server::{Answer, Server, manifest, sha256};

const FILES: [(&str, &str); 4] = [
    ("app_1.raw", "one"),
    ("app_2.raw", "two"),
    ("app_3.raw", "three"),
    ("app_4.raw", "four"),
];

/// Versions 1 to 3 stand, one of them is kept from now on, and 4 is published.
fn crowded() -> (Server, Host) {
    let (server, host) = (Server::new(), Host::new());
    host.app(&server, "", "InstancesMax=9\n");
    for count in 1..=3 {
        server.publish(&FILES[..count]);
        host.update();
    }
    // Something worth removing.
    for name in ["app_1.raw", "app_2.raw"] {
        fs::write(
            host.path(&format!("srv/target/{name}")),
            vec![7; 256 * 1024],
        )
        .expect("written");
    }
    host.app(&server, "", "InstancesMax=1\n");
    server.publish(&FILES);
    server.take_log();
    (server, host)
}

fn announce(server: &Server, path: &str, bytes: u64) {
    let head = Answer::ok("").header("Content-Length", bytes.to_string());
    server.answer(&format!("HEAD {path}"), head);
}

#[test]
fn an_announced_size_that_no_removal_makes_room_for_removes_nothing() {
    let volume = rustix::fs::statvfs(std::env::temp_dir()).expect("a file system");
    let free = volume.f_bavail * volume.f_frsize;
    for announced in [free + (4 << 30), 1 << 60, u64::MAX] {
        let (server, host) = crowded();
        let before = host.tree("srv/target");
        announce(&server, "/app_4.raw", announced);
        for _ in 0..2 {
            host.run(&["update"])
                .fails()
                .says("not enough space in 'ROOT");
            assert_eq!(host.tree("srv/target"), before, "{announced}");
            assert_eq!(host.read("srv/target/app.raw"), "three");
        }
        let asked = server.take_requests();
        assert!(
            !asked.iter().any(|line| line.contains("app_4")),
            "{announced}: {asked:?}"
        );
    }
}

#[test]
fn announced_sizes_that_add_up_to_more_than_a_number_holds_are_refused() {
    let (server, host) = crowded();
    let second = app(&server.base, "", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    let files = [FILES[3], ("two_4.raw", "FOUR")];
    server.publish(&files);
    for (name, _) in files {
        announce(&server, &format!("/{name}"), 1 << 63);
    }
    let before = host.tree("srv/target");
    host.run(&["update"])
        .fails()
        .says("not enough space in 'ROOT");
    assert_eq!(host.tree("srv/target"), before);
}

#[track_caller]
fn arrives_with_holes(content: &[u8], islands: u64) {
    let server = Server::new();
    server.put(
        "/SHA256SUMS",
        format!("{}  app_1.raw\n", sha256(content)).as_str(),
    );
    server.put("/app_1.raw", content);
    let host = Host::with_app(&server);
    host.update();
    let path = host.path("srv/target/app_1.raw");
    let file = fs::metadata(&path).expect("it stands");
    assert_eq!(file.len(), content.len() as u64);
    assert!(
        file.blocks() * 512 < islands,
        "{} bytes on disk for {}",
        file.blocks() * 512,
        file.len()
    );
    assert!(fs::read(path).expect("readable") == content, "identical");
}

#[test]
fn long_zeros_are_holes() {
    let mut content = vec![0; 3 * 1024 * 1024 + 100];
    content[5000..5003].copy_from_slice(b"abc");
    content[1_500_000] = 1;
    arrives_with_holes(&content, 1024 * 1024);
    // The end is a hole, or everything is.
    arrives_with_holes(&content[..2 * 1024 * 1024], 1024 * 1024);
    arrives_with_holes(&vec![0; 1024 * 1024 + 1], 256 * 1024);
}

#[test]
fn a_large_file_arrives_as_it_is() {
    let mut content = vec![0; 70 * 1024 * 1024 + 123];
    let end = content.len();
    // The first and the last bytes, a run over the border of two pieces, and one that is longer than a piece.
    content[0] = 1;
    content[end - 1] = 2;
    content[3 * 1024 * 1024 - 5..3 * 1024 * 1024 + 7].fill(3);
    for (offset, byte) in content[20_000_001..22_500_003].iter_mut().enumerate() {
        *byte = u8::try_from(offset % 251).unwrap_or_default() + 1;
    }
    arrives_with_holes(&content, 8 * 1024 * 1024);
}

#[test]
fn many_duplicates_are_told_of_in_few_lines() {
    let names: Vec<String> = (1..=30)
        .flat_map(|version| [format!("app_{version}.raw"), format!("b_{version}.raw")])
        .collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    let server = Server::new();
    server.publish(&files);
    let host = Host::new();
    let text = app(&server.base, "", "").replacen("=app_@v.raw", "=app_@v.raw b_@v.raw", 1);
    host.write("etc/sysupdate.d/10-app.transfer", &text);
    for verb in ["list", "check-new", "update"] {
        let run = host.run(&[verb]).succeeds();
        let about = |line: &&str| line.contains("Multiple instances") || line.contains(" more.");
        let count = run.stderr.lines().filter(about).count();
        assert!((1..=11).contains(&count), "{count} lines: {run:#?}");
        assert!(run.stderr.contains("and 20 more."), "{run:#?}");
    }
    // Few are told of one by one.
    server.put("/SHA256SUMS", manifest(&files[..6]));
    let run = host.run(&["list"]).succeeds();
    assert_eq!(
        run.stderr.matches("Multiple instances").count(),
        3,
        "{run:#?}"
    );
    run.keeps_quiet_about(" more.");
}

#[test]
fn nothing_defined_leaves_no_trace() {
    for verb in [
        "update",
        "vacuum",
        "acquire",
        "list",
        "check-new",
        "components",
        "pending",
    ] {
        for more in [&[][..], &["--offline"], &["-C", "nobody"], &["-A"]] {
            let host = Host::new();
            host.run(&[more, &[verb]].concat());
            let left: Vec<_> = fs::read_dir(host.path("")).expect("the root").collect();
            assert!(left.is_empty(), "{verb} {more:?}: {left:?}");
        }
    }
}
