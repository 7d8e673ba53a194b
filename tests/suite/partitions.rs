//! Versions in partitions: which one is written, what its type says meanwhile, what goes for it, and what never does.

use super::disk::{GENERIC, Image, SLOT};
use super::harness::Host;
use super::server::{Answer, Server, sha256};

/// A host with an image of partitions with these labels, and a transfer from the server into it.
fn host(server: &Server, sector: u64, labels: &[&str], target: &str) -> (Host, Image) {
    let host = Host::new();
    let image = Image::new(&host.path("srv/disk.img"), sector, labels);
    define(&host, server, "", target);
    (host, image)
}

fn define(host: &Host, server: &Server, transfer: &str, target: &str) {
    host.write(
        "etc/sysupdate.d/10-root.transfer",
        &format!(
            "[Transfer]\nVerify=no\n{transfer}\n[Source]\nType=url-file\nPath={}\nMatchPattern=root_@v.raw\n\n[Target]\n\
             Type=partition\nPath=/srv/disk.img\nMatchPattern=root_@v\nMatchPartitionType={GENERIC}\n{target}\n",
            server.base
        ),
    );
}

const ONE: (&str, &str) = ("root_1.raw", "version one");
const TWO: (&str, &str) = ("root_2.raw", "version two");
const THREE: (&str, &str) = ("root_3.raw", "version three");

#[test]
fn versions_take_turns_in_two_partitions_and_the_newest_stays() {
    for sector in [512, 4096] {
        let server = Server::new();
        server.publish(&[ONE]);
        let (host, image) = host(&server, sector, &["_empty", "_empty"], "");
        let before = image.entries();
        host.update()
            .says("Successfully installed")
            .says("as 'ROOT/srv/disk.img1' (partition)");
        assert_eq!(image.labels(), ["root_1", "_empty"]);
        let content = image.content(1);
        assert!(
            content.starts_with(b"version one\xee"),
            "the rest stays as it was"
        );
        assert_eq!(image.content(2), [0xee].repeat(content.len()));
        assert_eq!(image.entries()[0].uuid, before[0].uuid);
        server.publish(&[ONE, TWO]);
        host.update();
        assert_eq!(image.labels(), ["root_1", "root_2"]);
        server.publish(&[TWO, THREE]);
        host.update()
            .says("Removing old 'ROOT/srv/disk.img1' (partition).");
        assert_eq!(image.labels(), ["root_3", "root_2"]);
        assert!(image.content(1).starts_with(b"version three"));
        assert_eq!(host.run(&["check-new"]).code, Some(1));
        let listed = host.run(&["list", "3"]).succeeds();
        assert!(
            listed.stdout.contains("partition ROOT/srv/disk.img1"),
            "{}",
            listed.stdout
        );
        host.run(&["vacuum", "-m", "1"]).succeeds();
        assert_eq!(image.labels(), ["root_3", "_empty"]);
        host.run(&["update", "2"]).succeeds();
        assert_eq!(image.labels(), ["root_3", "root_2"]);
        let none = host.tree("var/lib/systemd");
        assert!(none.is_empty(), "partitions are not on record: {none:?}");
    }
}

#[test]
fn a_plan_names_the_partition_that_is_emptied_and_there_is_no_link_to_roll_back() {
    let server = Server::new();
    server.publish(&[ONE, TWO, THREE]);
    let (host, image) = host(&server, 512, &["_empty", "_empty"], "");
    host.run(&["update", "1"]).succeeds();
    host.run(&["update", "2"]).succeeds();
    host.run(&["plan"])
        .succeeds()
        .shows("→ ROOT/srv/disk.img1")
        .shows("remove old 'ROOT/srv/disk.img1'");
    let plan = host.run(&["--json=short", "plan"]).succeeds().stdout;
    let root = host.path("").display().to_string();
    host.write(
        "plan.json",
        &plan.replace("ROOT", root.trim_end_matches('/')),
    );
    let saved = host.path("plan.json").display().to_string();
    host.run(&["apply", &saved]).succeeds();
    assert_eq!(image.labels(), ["root_3", "root_2"]);
    host.run(&["rollback"])
        .fails()
        .says("<default> has no current symlink that could lead to another version");
}

#[test]
fn what_is_acquired_has_another_type_until_it_is_installed() {
    let server = Server::new();
    server.publish(&[ONE]);
    let target =
        "PartitionUUID=11111111-2222-3333-4444-555555555555\nPartitionFlags=0x8000000000000001";
    let (host, image) = host(&server, 512, &["other", "_empty", "_empty"], target);
    host.run(&["acquire"]).succeeds();
    assert_eq!(image.labels(), ["other", "root_1?", "_empty"]);
    host.run(&["list", "1"]).succeeds().shows("pending");
    host.run(&["update", "--offline"]).succeeds();
    assert_eq!(image.labels(), ["other", "root_1", "_empty"]);
    let entry = &image.entries()[1];
    assert_eq!(entry.uuid[..4], [0x11; 4]);
    assert_eq!(entry.flags, 0x8000_0000_0000_0001);
}

#[test]
fn a_download_that_fails_costs_no_version_and_is_begun_again() {
    let server = Server::new();
    server.publish(&[ONE]);
    let (host, image) = host(&server, 512, &["_empty", "_empty"], "");
    host.update();
    server.publish(&[ONE, TWO]);
    server.answer("/root_2.raw", Answer::ok("version twx"));
    host.run(&["update"])
        .fails()
        .says("Checksum of downloaded resource does not match");
    assert_eq!(image.labels(), ["root_1", "root_2?"]);
    let listed = host.run(&["--offline", "list", "2"]).succeeds();
    assert!(listed.stdout.contains("partial"), "{}", listed.stdout);
    server.publish(&[ONE, TWO]);
    host.update();
    assert_eq!(image.labels(), ["root_1", "root_2"]);
    server.publish(&[ONE, TWO, THREE]);
    server.answer("/root_3.raw", Answer::ok("version thrxx"));
    host.run(&["update"]).fails();
    assert_eq!(image.labels(), ["root_3?", "root_2"]);
    host.run(&["vacuum"])
        .succeeds()
        .says("Removing old partial 'ROOT/srv/disk.img1' (partition).");
    assert_eq!(image.labels(), ["_empty", "root_2"]);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_goes() {
    let server = Server::new();
    let large = "x".repeat(usize::try_from(SLOT).expect("small") + 1);
    server.publish(&[ONE]);
    let (host, image) = host(&server, 512, &["_empty", "_empty"], "");
    host.update();
    server.publish(&[ONE, TWO]);
    host.update();
    server.publish(&[TWO, ("root_3.raw", &large)]);
    host.run(&["update"])
        .fails()
        .says("does not fit into 'ROOT/srv/disk.img1', which has 262144 bytes");
    assert_eq!(image.labels(), ["root_1", "root_2"]);
    // One that does not say how large it is gets as far as its partition goes, not further.
    server.publish(&[TWO, ("root_3.raw", &large)]);
    server.answer("/root_3.raw", Answer::ok(large.clone()).unannounced());
    let next = image.content(2);
    host.run(&["update"]).fails().says("does not fit");
    assert_eq!(image.labels(), ["root_3?", "root_2"]);
    assert!(image.content(2) == next, "the neighbour is untouched");
    // And one that fits to the last byte is taken.
    let exact = &large[1..];
    server.publish(&[TWO, ("root_4.raw", exact)]);
    host.update();
    assert_eq!(image.labels(), ["root_4", "root_2"]);
    assert!(image.content(1) == exact.as_bytes() && image.content(2) == next);
}

#[test]
fn protected_versions_stay_and_what_runs_is_known_by_that() {
    let server = Server::new();
    server.publish(&[ONE, TWO]);
    let (host, image) = host(&server, 512, &["_empty", "_empty"], "");
    host.run(&["update", "1"]).succeeds();
    host.update();
    server.publish(&[ONE, TWO, THREE]);
    // Version 1 runs: the newer one, which nobody has booted, goes.
    define(&host, &server, "ProtectVersion=1", "");
    host.update();
    assert_eq!(image.labels(), ["root_1", "root_3"]);
    define(&host, &server, "ProtectVersion=1\nProtectVersion=3", "");
    server.publish(&[ONE, TWO, THREE, ("root_4.raw", "version four")]);
    host.run(&["update"])
        .fails()
        .says("No available partition of a suitable size found.")
        .says("keeps version 3");
    assert_eq!(image.labels(), ["root_1", "root_3"]);
}

#[test]
fn one_partition_or_none_of_the_type_is_refused_by_name() {
    let server = Server::new();
    server.publish(&[ONE]);
    let (host, image) = host(&server, 512, &["_empty", "something else"], "");
    host.run(&["update"]).fails().says(&format!(
        "Partition table has less than two partition slots of the right type {GENERIC} (linux-generic) and matching the \
         expected pattern 'root_@v', refusing."
    ));
    assert_eq!(image.labels(), ["_empty", "something else"]);
    define(&host, &server, "", "MatchPartitionType=esp");
    host.run(&["update"]).fails().says("(esp)");
    host.remove("srv/disk.img");
    host.run(&["list"])
        .fails()
        .says("Failed to resolve 'ROOT/srv/disk.img'");
    host.write("srv/disk.img", "no disk at all");
    host.run(&["list"])
        .fails()
        .says("no partition table can be read from 'ROOT/srv/disk.img'");
}

#[test]
fn the_rest_of_a_partition_is_zeroed_where_that_is_wanted() {
    let server = Server::new();
    server.publish(&[ONE]);
    let (host, image) = host(&server, 512, &["_empty", "_empty"], "PartitionZeroFill=yes");
    host.update();
    let content = image.content(1);
    assert!(content.starts_with(b"version one\0"));
    assert!(content[11..].iter().all(|byte| *byte == 0));
    assert!(image.content(2).iter().all(|byte| *byte == 0xee));
    // Zeros of the payload itself are written in any case.
    let zeros = format!("start{}end", "\0".repeat(100_000));
    server.publish(&[("root_2.raw", &zeros)]);
    define(&host, &server, "", "PartitionZeroFill=no");
    host.update();
    let content = image.content(2);
    assert!(content.starts_with(zeros.as_bytes()));
    assert!(content[zeros.len()..].iter().all(|byte| *byte == 0xee));
}

#[test]
fn a_damaged_copy_of_the_table_is_mended_by_the_next_update() {
    for is_first in [true, false] {
        let server = Server::new();
        server.publish(&[ONE]);
        let (host, image) = host(&server, 4096, &["_empty", "_empty"], "");
        image.damage(is_first);
        host.update();
        assert_eq!(image.labels(), ["root_1", "_empty"]);
    }
}

#[test]
fn a_label_that_is_too_long_is_refused() {
    let server = Server::new();
    let name = "n".repeat(34);
    server.put(
        "/SHA256SUMS",
        format!("{}  root_{name}.raw\n", sha256(b"x")),
    );
    server.put(&format!("/root_{name}.raw"), "x");
    let (host, image) = host(&server, 512, &["_empty", "_empty"], "");
    host.run(&["update"]).fails().says(&format!(
        "Formatted pattern is not suitable as GPT partition label, refusing: root_{name}"
    ));
    assert_eq!(image.labels(), ["_empty", "_empty"]);
}

#[test]
fn local_files_and_packed_ones_are_written_as_well() {
    let server = Server::new();
    let host = Host::new();
    let image = Image::new(&host.path("srv/disk.img"), 512, &["_empty", "_empty"]);
    define(&host, &server, "", "CurrentSymlink=/run/current");
    let text = host.read("etc/sysupdate.d/10-root.transfer");
    let text = text.replace("Type=url-file", "Type=regular-file");
    let text = text.replace(&format!("Path={}", server.base), "Path=/srv/source");
    host.write("etc/sysupdate.d/10-root.transfer", &text);
    let packed = zstd::encode_all(&b"unpacked on its way"[..], 1).expect("packed");
    host.write("srv/source/root_1.raw", "");
    std::fs::write(host.path("srv/source/root_1.raw"), packed).expect("written");
    host.update();
    assert!(image.content(1).starts_with(b"unpacked on its way\xee"));
    let link = std::fs::read_link(host.path("run/current")).expect("a link");
    assert_eq!(link, std::path::Path::new("../srv/disk.img1"));
    host.run(&["update"]).succeeds().says("No update needed.");
}
