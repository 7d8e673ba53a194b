//! Versions that are directories: unpacked from archives, or copied.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::harness::Host;
use super::server::{Answer, Server, sha256};

/// An archive with a file, a directory and links; `mode` is that of its top.
fn archive(version: &str, mode: u32) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let header = |kind, mode| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(1_577_836_800);
        // Nobody but root could give it to somebody else.
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_size(0);
        header
    };
    let mut append = |mut header: tar::Header, path: &str, data: &[u8]| {
        header.set_size(data.len() as u64);
        builder
            .append_data(&mut header, path, data)
            .expect("appended");
    };
    append(header(tar::EntryType::Directory, mode), "./", b"");
    append(header(tar::EntryType::Directory, 0o755), "sub", b"");
    append(
        header(tar::EntryType::Regular, 0o640),
        "sub/version",
        version.as_bytes(),
    );
    let mut link = header(tar::EntryType::Symlink, 0o777);
    builder
        .append_link(&mut link, "link", "sub/version")
        .expect("appended");
    let mut link = header(tar::EntryType::Link, 0o640);
    builder
        .append_link(&mut link, "hard", "sub/version")
        .expect("appended");
    builder.into_inner().expect("finished")
}

fn publish(server: &Server, versions: &[&str]) {
    let lines = versions.iter().map(|version| {
        let bytes = archive(version, 0o750);
        let line = format!("{}  app-{version}.tar\n", sha256(&bytes));
        server.put(&format!("/app-{version}.tar"), bytes);
        line
    });
    let manifest: String = lines.collect();
    server.put("/SHA256SUMS", manifest);
}

fn define(host: &Host, source: &str, target: &str) {
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &format!(
            "[Transfer]\nVerify=no\n\n[Source]\n{source}\n\n[Target]\nPath=/srv/target\nMatchPattern=app-@v\n\
             CurrentSymlink=app\nInstancesMax=2\n{target}\n"
        ),
    );
}

fn host(server: &Server, target: &str) -> Host {
    let host = Host::new();
    let source = format!(
        "Type=url-tar\nPath={}\nMatchPattern=app-@v.tar",
        server.base
    );
    define(&host, &source, target);
    host
}

fn names(host: &Host) -> Vec<String> {
    let entries = fs::read_dir(host.path("srv/target")).expect("readable");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn an_archive_becomes_a_directory_and_old_ones_go_after_the_switch() {
    let server = Server::new();
    publish(&server, &["1"]);
    let host = host(&server, "");
    host.update().says(&format!(
        "Successfully installed '{}/app-1.tar' (url-tar) as 'ROOT/srv/target/app-1' (directory).",
        server.base
    ));
    assert_eq!(names(&host), ["app", "app-1"]);
    assert_eq!(host.read("srv/target/app/link"), "1");
    let metadata = |path: &str| fs::metadata(host.path(path)).expect("there");
    assert_eq!(
        metadata("srv/target/app-1").permissions().mode() & 0o7777,
        0o750
    );
    assert_eq!(metadata("srv/target/app-1").mtime(), 1_577_836_800);
    let (hard, soft) = (
        metadata("srv/target/app-1/hard"),
        metadata("srv/target/app-1/sub/version"),
    );
    assert_eq!(hard.ino(), soft.ino());
    host.run(&["list", "1"])
        .succeeds()
        .shows("directory ROOT/srv/target/app-1");
    publish(&server, &["1", "2", "3"]);
    host.run(&["update", "2"]).succeeds();
    host.update()
        .says("Removing old 'ROOT/srv/target/app-1' (directory).");
    assert_eq!(names(&host), ["app", "app-2", "app-3"]);
    assert_eq!(host.read("srv/target/app/sub/version"), "3");
    host.run(&["vacuum", "-m", "1"]).succeeds();
    assert_eq!(names(&host), ["app", "app-3"]);
    host.run(&["update"]).succeeds().says("No update needed.");
}

#[test]
fn acquired_trees_wait_under_the_pending_name() {
    let server = Server::new();
    publish(&server, &["1"]);
    let host = host(&server, "");
    host.run(&["acquire"]).succeeds();
    assert_eq!(names(&host), [".sysupdate.pending.app-1"]);
    host.run(&["update", "--offline"])
        .succeeds()
        .says("'ROOT/srv/target/.sysupdate.pending.app-1' (directory) as 'ROOT/srv/target/app-1' (directory)");
    assert_eq!(names(&host), ["app", "app-1"]);
}

#[test]
fn wrong_bytes_leave_nothing_but_a_mark_and_the_next_run_mends_it() {
    let server = Server::new();
    publish(&server, &["1"]);
    let host = host(&server, "");
    host.update();
    publish(&server, &["1", "2"]);
    server.answer("/app-2.tar", Answer::ok(archive("x", 0o750)));
    host.run(&["update"])
        .fails()
        .says("Checksum of downloaded resource does not match");
    assert_eq!(names(&host), [".sysupdate.partial.app-2", "app", "app-1"]);
    let left = fs::read_dir(host.path("srv/target/.sysupdate.partial.app-2")).expect("readable");
    assert_eq!(left.count(), 0, "what cannot be used takes no room");
    host.run(&["--offline", "list", "2"])
        .succeeds()
        .shows("partial");
    publish(&server, &["1", "2"]);
    host.update();
    assert_eq!(names(&host), ["app", "app-1", "app-2"]);
    for (version, garbage, says) in [
        (3, b"no archive".to_vec(), "Unrecognized archive format"),
        (
            4,
            archive("4", 0o755)[..700].to_vec(),
            "the archive is damaged",
        ),
    ] {
        let name = format!("app-{version}.tar");
        let manifest = format!("{}  {name}\n", sha256(&garbage));
        server.put(&format!("/{name}"), garbage);
        server.put("/SHA256SUMS", manifest);
        host.run(&["update"]).fails().says(says);
        assert_eq!(host.read("srv/target/app/sub/version"), "2");
    }
    host.run(&["vacuum"])
        .succeeds()
        .says("Removing old partial 'ROOT/srv/target/.sysupdate.partial.app-4' (directory).");
    assert_eq!(names(&host), ["app", "app-1", "app-2"]);
}

#[test]
fn an_archive_that_reaches_out_is_refused() {
    let server = Server::new();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    header.set_mode(0o644);
    header.as_old_mut().name[..6].copy_from_slice(b"../pwn");
    header.set_cksum();
    builder.append(&header, &b"pwn"[..]).expect("appended");
    let bytes = builder.into_inner().expect("finished");
    server.put("/SHA256SUMS", format!("{}  app-1.tar\n", sha256(&bytes)));
    server.put("/app-1.tar", bytes);
    let host = host(&server, "");
    host.run(&["update"])
        .fails()
        .says("Invalid path name in entry, refusing. ('../pwn')");
    assert!(!host.path("srv/target/pwn").exists());
}

#[test]
fn directories_are_copied_with_all_that_is_in_them() {
    for (source, target) in [
        ("directory", "directory"),
        ("subvolume", "subvolume"),
        ("directory", "subvolume"),
    ] {
        let host = Host::new();
        define(
            &host,
            &format!("Type={source}\nPath=/srv/source\nMatchPattern=app-@v"),
            &format!("Type={target}"),
        );
        host.write("srv/source/app-1/deep/er/file", "content");
        host.write("srv/source/app-2", "a file is no directory");
        let top = host.path("srv/source/app-1");
        fs::hard_link(top.join("deep/er/file"), top.join("hard")).expect("linked");
        symlink("deep/er", top.join("link")).expect("linked");
        symlink("app-1", host.path("srv/source/app-3")).expect("linked");
        fs::set_permissions(&top, fs::Permissions::from_mode(0o700)).expect("set");
        host.update().says(&format!(
            "'ROOT/srv/source/app-1' ({source}) as 'ROOT/srv/target/app-1' ({target})"
        ));
        assert_eq!(host.read("srv/target/app/link/file"), "content");
        let metadata = |path: &str| fs::symlink_metadata(host.path(path)).expect("there");
        assert_eq!(
            metadata("srv/target/app-1").permissions().mode() & 0o7777,
            0o700
        );
        assert_eq!(
            metadata("srv/target/app-1/hard").ino(),
            metadata("srv/target/app-1/deep/er/file").ino()
        );
        assert_eq!(
            metadata("srv/target/app-1").mtime(),
            metadata("srv/source/app-1").mtime()
        );
        assert_eq!(metadata("srv/target/app-1/hard").nlink(), 2);
    }
}

#[test]
fn a_read_only_directory_is_installed_and_can_go_again() {
    let server = Server::new();
    publish(&server, &["1"]);
    let host = host(&server, "ReadOnly=yes");
    host.update();
    assert_eq!(host.read("srv/target/app/sub/version"), "1");
    let is_immutable = || fs::write(host.path("srv/target/app-1/new"), "x").is_err();
    // Only root can make it so, and not on every file system.
    let expected = rustix::process::geteuid().is_root() && is_immutable();
    publish(&server, &["1", "2"]);
    host.update();
    publish(&server, &["2", "3"]);
    host.update();
    assert_eq!(
        names(&host),
        ["app", "app-2", "app-3"],
        "immutable: {expected}"
    );
    // For whoever removes the directory of this test.
    host.write("etc/sysupdate.d/10-app.transfer", "");
    host.run(&["cleanup"]).succeeds();
    assert_eq!(names(&host), [""; 0]);
}

#[test]
fn a_directory_that_a_cut_has_left_changeable_is_protected_before_its_link_moves() {
    let server = Server::new();
    publish(&server, &["1"]);
    let host = host(&server, "ReadOnly=yes");
    host.update();
    let tree = host.path("srv/target/app-1");
    let flags = || rustix::fs::ioctl_getflags(fs::File::open(&tree).expect("it opens"));
    let before = flags();
    // The state between the rename and the link: only root can make it, and only where there is such a mark.
    if let Ok(marked) = before {
        let bare = marked.difference(rustix::fs::IFlags::IMMUTABLE);
        rustix::fs::ioctl_setflags(fs::File::open(&tree).expect("it opens"), bare).expect("set");
    }
    host.remove("srv/target/app");
    host.update();
    assert_eq!(host.read("srv/target/app/sub/version"), "1");
    assert_eq!(flags(), before);
    // For whoever removes the directory of this test.
    host.write("etc/sysupdate.d/10-app.transfer", "");
    host.run(&["cleanup"]).succeeds();
}

#[test]
fn trees_without_an_owner_are_cleaned_up() {
    let server = Server::new();
    publish(&server, &["1"]);
    let host = host(&server, "");
    host.update();
    host.remove("etc/sysupdate.d/10-app.transfer");
    host.write("srv/target/mine/file", "mine");
    host.write(
        "srv/target/.sysupdate.partial.app-7/half",
        "left by a removal that was cut off",
    );
    host.run(&["cleanup"])
        .succeeds()
        .says("Successfully removed 'app-1' which is no longer owned by any transfer files.");
    assert_eq!(names(&host), ["mine"]);
}

/// An archive of a system extension with this release file.
fn extension(release: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let path = "usr/lib/extension-release.d/extension-release.app";
    for (path, data) in [("usr/bin/app", "program"), (path, release)] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o755);
        header.set_mtime(0);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_size(data.len() as u64);
        builder
            .append_data(&mut header, path, data.as_bytes())
            .expect("appended");
    }
    builder.into_inner().expect("finished")
}

#[test]
fn an_extension_that_is_a_directory_is_looked_into_before_its_link_moves() {
    let server = Server::new();
    let host = Host::new();
    host.write("etc/os-release", "ID=thisos\nVERSION_ID=1\n");
    let source = format!(
        "[source]\nurl = '{}'\ntype = 'url-tar'\nmatch = 'app-@v.tar'\n",
        server.base
    );
    let native = format!("[transfer]\nverify = 'none'\n{source}[target]\nmatch = 'app-@v'\n");
    host.write("etc/sysupdate/transfer.d/app.toml", &native);
    let publish = |archives: &[(&str, Vec<u8>)]| {
        let lines = archives.iter().map(|(version, bytes)| {
            server.put(&format!("/app-{version}.tar"), bytes.clone());
            format!("{}  app-{version}.tar\n", sha256(bytes))
        });
        let manifest: String = lines.collect();
        server.put("/SHA256SUMS", manifest);
    };
    let fits = extension("ID=thisos\nVERSION_ID=1\n");
    publish(&[("1", fits.clone())]);
    host.run(&["-C", "app", "update"]).succeeds();
    assert_eq!(host.read("var/lib/extensions/app/usr/bin/app"), "program");
    publish(&[("1", fits), ("2", extension("ID=thisos\nVERSION_ID=2\n"))]);
    host.run(&["-C", "app", "update"])
        .says("built for VERSION_ID=2, this host is 1");
    let link = fs::read_link(host.path("var/lib/extensions/app")).expect("a link");
    assert!(link.ends_with("app-1"), "{}", link.display());
    host.run(&["-C", "app", "list", "--why"])
        .succeeds()
        .shows("built for VERSION_ID=2, this host is 1");
}
