//! What a source has shown before is held against what it shows now.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;

use super::harness::Host;
use super::minisign::{MADE, publish, trusting};
use super::server::{Server, manifest, sha256};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
const OTHER_TWO: (&str, &str) = ("app_2.raw", "other two");
const SEEN: &str = "var/lib/sysupdate/seen";

fn unsigned(files: &[(&str, &str)]) -> (Server, Host) {
    let server = Server::new();
    server.publish(files);
    let host = Host::with_app(&server);
    host.update();
    (server, host)
}

/// The only file of the memory.
fn page(host: &Host) -> PathBuf {
    let mut entries = fs::read_dir(host.path(SEEN)).expect("the memory");
    let entry = entries.next().expect("a file").expect("an entry");
    assert!(entries.next().is_none(), "one source has one file");
    entry.path()
}

#[test]
fn an_unchanged_source_is_not_written_down_again() {
    let (server, host) = unsigned(&[ONE]);
    let page = page(&host);
    let text = fs::read_to_string(&page).expect("readable");
    assert!(
        text.contains(&format!("{}/SHA256SUMS", server.base)) && text.contains(&sha256(b"one")),
        "{text}"
    );
    let metadata = fs::metadata(&page).expect("it exists");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
    // Nothing can be written there now, root or not: a write would replace the inode.
    for verb in ["list", "check-new", "update", "acquire"] {
        host.run(&[verb]);
        let now = fs::metadata(&page).expect("it exists");
        assert_eq!(now.ino(), metadata.ino(), "{verb}");
        assert_eq!(now.mtime_nsec(), metadata.mtime_nsec(), "{verb}");
    }
    server.publish(&[ONE, TWO]);
    host.run(&["check-new"]).succeeds();
    assert_ne!(
        fs::metadata(&page).expect("it exists").ino(),
        metadata.ino()
    );
}

#[test]
fn a_changed_version_of_an_unsigned_source_is_passed_over_until_it_is_accepted() {
    let (server, host) = unsigned(&[ONE]);
    server.publish(&[ONE, TWO]);
    host.run(&["check-new"]).succeeds().prints("2\n");
    server.publish(&[ONE, OTHER_TWO]);
    let message = format!(
        "'app_2.raw' has the checksum {}, but it had {} when it was seen here on 20",
        sha256(b"other two"),
        sha256(b"two")
    );
    let consequence = "Z; what has changed is passed over until `--accept-manifest` accepts it.";
    // However often it is shown.
    for _ in 0..2 {
        for verb in ["check-new", "update", "acquire"] {
            let run = host.run(&[verb]).says(&message).says(consequence);
            assert_eq!(run.stdout, "", "{verb}: {run:?}");
        }
    }
    assert_eq!(host.read("srv/target/app.raw"), "one");
    let why = host.run(&["list", "--why"]).succeeds().says(&message);
    assert!(
        why.stdout
            .contains("another checksum than when it was seen here on 20"),
        "{why:?}"
    );
    host.run(&["update", "2"])
        .fails()
        .says("Selected update '2' is excluded, refusing: another checksum than when it was seen here on 20")
        .says("hint: `--accept-manifest` accepts what is offered now, once");
    let quiet = host.run(&["--offline", "list"]).succeeds();
    quiet.keeps_quiet_about("checksum");
    // The others are not held up by it.
    server.publish(&[ONE, OTHER_TWO, ("app_3.raw", "three")]);
    host.update().says(&message);
    assert_eq!(host.read("srv/target/app.raw"), "three");
    host.run(&["--accept-manifest", "list"])
        .succeeds()
        .says("has changed (accepted): 'app_2.raw' has the checksum");
    host.run(&["update", "2"])
        .succeeds()
        .keeps_quiet_about("checksum");
    assert_eq!(host.read("srv/target/app.raw"), "other two");
    // Once: the next change is not accepted.
    server.publish(&[ONE, TWO, ("app_3.raw", "three")]);
    host.run(&["list"])
        .succeeds()
        .says("'app_2.raw' has the checksum");
}

#[test]
fn what_was_acquired_before_its_source_changed_it_waits_for_somebody_who_knows() {
    let (server, host) = unsigned(&[ONE]);
    server.publish(&[ONE, TWO]);
    host.run(&["acquire"]).succeeds();
    server.publish(&[ONE, OTHER_TWO]);
    server.take_log();
    host.update().says("'app_2.raw' has the checksum");
    assert_eq!(host.read("srv/target/app.raw"), "one");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 200"]);
    // The publisher is back at what it was: nothing has to be fetched.
    server.publish(&[ONE, TWO]);
    host.update().keeps_quiet_about("checksum");
    assert_eq!(host.read("srv/target/app.raw"), "two");
    assert_eq!(server.take_requests(), ["GET /SHA256SUMS 200"]);
}

#[test]
fn of_a_file_that_is_listed_twice_what_was_seen_before_counts() {
    let (server, host) = unsigned(&[ONE]);
    server.publish(&[ONE, TWO]);
    host.run(&["check-new"]).succeeds();
    let other = manifest(&[("app_2.raw", "other two")]);
    let lines = [manifest(&[ONE, TWO]), other.clone()];
    for text in [lines.concat(), [&*other, &*manifest(&[TWO, ONE])].concat()] {
        server.put("/SHA256SUMS", text);
        host.run(&["check-new"])
            .succeeds()
            .prints("2\n")
            .says("'app_2.raw' has the checksum");
    }
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
}

#[test]
fn a_vanished_version_of_an_unsigned_source_is_told_once() {
    let (server, host) = unsigned(&[ONE, TWO]);
    server.publish(&[ONE]);
    host.run(&["list"])
        .succeeds()
        .says("the newest version in it is '1', but '2' was seen here on 20");
    host.run(&["list"]).succeeds().keeps_quiet_about("was seen");
    server.publish(&[]);
    host.update().says("it offers no version, but '1' was seen");
    // What comes back has to be what it was.
    server.publish(&[ONE, OTHER_TWO]);
    host.run(&["list"])
        .succeeds()
        .says("'app_2.raw' has the checksum");
    server.publish(&[ONE, TWO]);
    host.run(&["list"]).succeeds().keeps_quiet_about("was seen");
}

#[test]
fn a_signed_source_is_held_to_its_times_and_versions() {
    let (server, host, pair) = trusting("");
    let publish = |files: &[(&str, &str)], seconds| publish(&server, files, &[&pair], seconds);
    publish(&[ONE, TWO], MADE);
    host.update();
    // Signed before.
    publish(&[ONE], MADE - 60);
    for verb in ["list", "check-new", "update"] {
        host.run(&[verb])
            .fails()
            .says("it was signed on 2026-09-30T23:59:00Z, but one that was signed on 2026-10-01T00:00:00Z was seen here on 20")
            .says("hint: nothing was changed. The server may be showing an old manifest");
    }
    // Signed later, but the newest version is gone.
    publish(&[ONE], MADE + 60);
    host.run(&["update"])
        .fails()
        .says("the newest version in it is '1', but '2' was seen");
    // At the same time, with other bytes.
    publish(&[ONE, OTHER_TWO], MADE);
    host.run(&["update"])
        .fails()
        .says("'app_2.raw' has the checksum");
    // Signed later: the publisher has rebuilt it.
    publish(&[ONE, OTHER_TWO], MADE + 60);
    host.run(&["list"])
        .succeeds()
        .says("has changed: 'app_2.raw'");
    host.run(&["list"])
        .succeeds()
        .keeps_quiet_about("app_2.raw' has");
    assert_eq!(host.read("srv/target/app.raw"), "two");
    // A withdrawn version is accepted once.
    publish(&[ONE], MADE + 120);
    host.run(&["check-new"]).fails();
    host.run(&["--accept-manifest", "check-new"]).prints("");
    host.update().keeps_quiet_about("was seen");
    publish(&[ONE, TWO], MADE);
    host.run(&["list"])
        .fails()
        .says("it was signed on 2026-10-01");
}

#[test]
fn signed_and_unsigned_looks_are_remembered_apart() {
    let (server, host, pair) = trusting("");
    server.publish(&[ONE, ("app_9.raw", "evil")]);
    host.run(&["--verify=no", "list"]).succeeds();
    publish(&server, &[ONE, TWO], &[&pair], MADE);
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
    assert_eq!(host.tree(SEEN).len(), 2);
}

#[test]
fn two_transfers_of_one_source_have_their_own_newest_version() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "a"), ("two_9.raw", "b")]);
    let host = Host::with_app(&server);
    let second = super::harness::app(&server.base, "", "").replace("app", "two");
    host.write("etc/sysupdate.d/20-two.transfer", &second);
    host.run(&["list"]).succeeds();
    assert_eq!(host.tree(SEEN).len(), 2);
    server.publish(&[("app_2.raw", "a"), ("two_8.raw", "b"), ("two_9.raw", "b")]);
    host.run(&["list"]).succeeds().keeps_quiet_about("was seen");
    server.publish(&[("app_2.raw", "a"), ("two_8.raw", "b")]);
    host.run(&["list"])
        .succeeds()
        .says("the newest version in it is '8', but '9' was seen");
}

#[test]
fn a_local_tree_without_signatures_may_be_published_again() {
    let host = Host::new();
    let base = format!("file://{}", host.path("pool").display());
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &super::harness::app(&base, "", ""),
    );
    for files in [&[ONE, TWO][..], &[ONE, OTHER_TWO], &[ONE]] {
        for (name, content) in files {
            host.write(&format!("pool/{name}"), content);
        }
        host.write("pool/SHA256SUMS", &manifest(files));
        host.update().keeps_quiet_about("was seen");
    }
    assert_eq!(host.tree(SEEN), [""; 0]);
}

#[test]
fn a_memory_that_cannot_be_kept_stops_nobody_who_looks() {
    let (server, mut host) = unsigned(&[ONE]);
    let page = page(&host);
    fs::write(&page, "damaged").expect("written");
    host.run(&["list"])
        .succeeds()
        .says("cannot read 'ROOT/var/lib/sysupdate/seen/")
        .says("which says what was seen of");
    host.run(&["list"])
        .succeeds()
        .keeps_quiet_about("cannot read");
    fs::remove_dir_all(host.path(SEEN)).expect("removed");
    host.write(SEEN, "a file in the way");
    host.set("SYSTEMD_LOG_LEVEL", "debug");
    for arguments in [
        &["list"][..],
        &["check-new"],
        &["--accept-manifest", "list"],
    ] {
        let run = host.run(arguments);
        assert!(run.stderr.contains("is not remembered: "), "{run:?}");
    }
    server.publish(&[ONE, TWO]);
    host.run(&["check-new"]).succeeds().prints("2\n");
}

#[test]
fn memory_lies_in_the_root_of_the_run() {
    let (server, first) = unsigned(&[ONE]);
    server.publish(&[("app_1.raw", "other")]);
    first.run(&["list"]).says("'app_1.raw' has the checksum");
    // Another root has seen nothing.
    Host::with_app(&server).update();
}
