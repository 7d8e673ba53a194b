//! The newest version that fits: images are looked into before they come, and before a link moves.

use super::extension::{BALLAST, FITS, NEXT, Parts, define, host, publish, squashfs, sysext};
use super::harness::{Host, Run};
use super::server::{Answer, Server};

const STORE: &str = "var/lib/extensions.d/app";
const LINK: &str = "var/lib/extensions/app.raw";

fn app(host: &Host, arguments: &[&str]) -> Run {
    host.run(&[&["-C", "app"], arguments].concat())
}

/// 1.0 and 2.0 fit, 3.0 is for the next OS.
fn server(parts: Parts) -> Server {
    let server = Server::new();
    let images = [
        ("3.0", sysext("app", NEXT)),
        ("2.0", sysext("app", FITS)),
        ("1.0", sysext("app", &format!("{FITS}#1.0\n"))),
    ];
    publish(&server, parts, &images);
    server
}

/// Requests for a whole file, of which nothing but a part was asked for counts as none.
fn downloads(server: &Server) -> Vec<String> {
    server
        .take_log()
        .into_iter()
        .filter(|one| one.method == "GET" && one.path.starts_with("/app_") && one.status == 200)
        .filter(|one| one.range.is_none())
        .map(|one| one.path)
        .collect()
}

fn linked(host: &Host) -> String {
    let text = std::fs::read_link(host.path(LINK)).expect("a link");
    let name = text.file_name().expect("a name");
    name.to_string_lossy().into_owned()
}

#[test]
fn the_newest_that_fits_is_taken_and_the_newest_is_not_downloaded() {
    let server = server(Parts::Sent);
    let host = host(&server);
    app(&host, &["update"])
        .succeeds()
        .says("Selected update '2.0' for install.");
    assert_eq!(linked(&host), "app_2.0.raw");
    let log = server.take_log();
    let whole = |path: &str| {
        log.iter()
            .filter(|one| one.path == path && one.status == 200 && one.method == "GET")
            .count()
    };
    assert_eq!(whole("/app_3.0.raw"), 0);
    assert_eq!(whole("/app_1.0.raw"), 0);
    // A look costs a part of it.
    let looks = log
        .iter()
        .filter(|one| one.path == "/app_3.0.raw" && one.status == 206)
        .count();
    assert!(
        (1..=8).contains(&looks),
        "{looks} blocks of {BALLAST} bytes"
    );
    app(&host, &["update"]).succeeds().says("No update needed.");
    assert_eq!(linked(&host), "app_2.0.raw");
}

#[test]
fn whoever_wants_no_look_before_the_download_gets_it_afterwards() {
    let server = server(Parts::Sent);
    let host = host(&server);
    host.write("etc/sysupdate/config.toml", "[compat]\npeek = false\n");
    app(&host, &["update"]).succeeds();
    assert_eq!(linked(&host), "app_2.0.raw");
    let whole = ["/app_3.0.raw", "/app_2.0.raw"];
    assert_eq!(
        downloads(&server),
        whole,
        "the newest came, and was not linked"
    );
}

#[test]
fn a_look_is_kept_and_costs_no_second_request() {
    let server = server(Parts::Sent);
    let host = host(&server);
    app(&host, &["check-new"]).succeeds().prints("2.0\n");
    assert!(
        server
            .take_log()
            .iter()
            .any(|one| one.path == "/app_3.0.raw")
    );
    app(&host, &["check-new"]).succeeds().prints("2.0\n");
    let log = server.take_log();
    assert!(log.iter().all(|one| one.path == "/SHA256SUMS"), "{log:?}");
    // Published anew with other bytes, it is another image.
    publish(
        &server,
        Parts::Sent,
        &[
            ("3.0", sysext("app", &format!("{FITS}#new\n"))),
            ("2.0", sysext("app", FITS)),
        ],
    );
    app(&host, &["--accept-manifest", "check-new"])
        .succeeds()
        .prints("3.0\n");
}

#[test]
fn looks_that_are_kept_do_not_become_more_and_more() {
    let server = server(Parts::Sent);
    let host = host(&server);
    let kept = "var/cache/sysupdate/images";
    for number in 0..1024 {
        host.write(&format!("{kept}/{number:064x}.json"), "{}");
    }
    app(&host, &["check-new"]).succeeds().prints("2.0\n");
    let left = host.tree(kept).len();
    assert!((1..1024).contains(&left), "{left} looks are kept");
}

#[test]
fn a_look_that_was_garbled_is_taken_again() {
    let server = server(Parts::Sent);
    let host = host(&server);
    app(&host, &["check-new"]).succeeds().prints("2.0\n");
    for line in host.tree("var/cache/sysupdate/images") {
        let name = line.split(' ').next().expect("a name").to_owned();
        host.write(&format!("var/cache/sysupdate/images/{name}"), "{garbled");
    }
    app(&host, &["check-new"]).succeeds().prints("2.0\n");
}

/// Anybody can serve blocks of another image than the one whose digest is in the manifest: only the whole has that.
#[test]
fn a_look_at_what_nobody_has_verified_decides_nothing_for_long() {
    let fits = sysext("app", FITS);
    let misfit = sysext("app", &format!("{NEXT}#\n"));
    let part = |image: &[u8]| Answer::ok(image.to_vec()).ranges();
    // An image for the next OS that looks as if it fitted: it comes, and is looked into when it is here.
    let server = Server::new();
    publish(&server, Parts::Sent, &[("1.0", misfit.clone())]);
    let host = host(&server);
    server.answer("/app_1.0.raw", part(&fits));
    app(&host, &["check-new"]).succeeds().prints("1.0\n");
    server.answer("/app_1.0.raw", part(&misfit));
    app(&host, &["update"]);
    assert_eq!(downloads(&server), ["/app_1.0.raw"]);
    assert!(!host.path(LINK).exists(), "{:?}", host.tree(STORE));
    // One that fits and looked as if it did not: whoever served that is believed for a day.
    let (server, now) = (Server::new(), jiff::Timestamp::now().as_second());
    publish(&server, Parts::Sent, &[("1.0", fits.clone())]);
    let host = super::extension::host(&server);
    server.answer("/app_1.0.raw", part(&misfit));
    app(&host, &["update"]).succeeds();
    server.answer("/app_1.0.raw", part(&fits));
    app(&host, &["update"]).succeeds();
    assert!(downloads(&server).is_empty() && !host.path(LINK).exists());
    for line in host.tree("var/cache/sysupdate/images") {
        let name = line.split(' ').next().expect("a name").to_owned();
        let path = format!("var/cache/sysupdate/images/{name}");
        let text = host.read(&path);
        let mut glimpse: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        glimpse["seen"] = (now - 25 * 60 * 60).into();
        host.write(&path, &glimpse.to_string());
    }
    app(&host, &["update"]).succeeds();
    assert_eq!(linked(&host), "app_1.0.raw");
}

#[test]
fn without_parts_the_misfit_is_found_after_its_download_and_the_next_best_taken() {
    let server = server(Parts::Ignored);
    let host = host(&server);
    // Nobody can tell yet.
    app(&host, &["check-new"]).succeeds().prints("3.0\n");
    server.take_log();
    app(&host, &["update"])
        .succeeds()
        .says("Version '3.0' is passed over: built for VERSION_ID=2, this host is 1.\n");
    assert_eq!(linked(&host), "app_2.0.raw");
    let complete = downloads(&server);
    assert_eq!(complete, ["/app_3.0.raw", "/app_2.0.raw"]);
    // From now on it is known.
    app(&host, &["check-new"]).prints("");
    app(&host, &["update"]).succeeds().says("No update needed.");
    assert_eq!(downloads(&server), [""; 0], "not again");
    app(&host, &["vacuum"]).succeeds();
    app(&host, &["update"]).succeeds().says("No update needed.");
    assert_eq!(
        downloads(&server),
        [""; 0],
        "not after it was cleared away either"
    );
    assert_eq!(linked(&host), "app_2.0.raw");
}

#[test]
fn what_is_no_extension_for_this_link_is_never_linked() {
    let release = "usr/lib/extension-release.d/extension-release";
    let cases: [(Vec<u8>, &str); 5] = [
        (
            squashfs(&[("usr/bin/app", "x")]),
            "it is no system extension: it has no release file",
        ),
        (
            sysext("other", FITS),
            "its release file is for the name 'other', not 'app'",
        ),
        (
            sysext("app", "VERSION_ID=1\n"),
            "its release file names no OS (ID=)",
        ),
        (
            squashfs(&[("etc/extension-release.d/extension-release.app", FITS)]),
            "it is no system extension: it has no release file",
        ),
        (
            squashfs(&[(
                &format!("{release}.app"),
                "ID=thisos\nVERSION_ID=1\nARCHITECTURE=s390x\n",
            )]),
            "built for ARCHITECTURE=s390x",
        ),
    ];
    for (image, why) in cases {
        for parts in [Parts::Sent, Parts::Ignored] {
            let server = Server::new();
            publish(&server, parts, &[("1.0", image.clone())]);
            let host = host(&server);
            let run = app(&host, &["update"]).succeeds();
            run.says("No update needed. None of the offered versions fits");
            assert!(!host.path(LINK).is_symlink(), "{why}, {parts:?}");
            let listing = app(&host, &["list", "--why"]).succeeds();
            assert!(listing.stdout.contains(why), "{parts:?}: {listing:?}");
        }
    }
}

#[test]
fn a_directory_in_the_place_of_a_symlink_of_this_system_is_a_misfit() {
    let server = Server::new();
    let image = squashfs(&[
        ("usr/lib/extension-release.d/extension-release.app", FITS),
        ("usr/sbin/app", "x"),
    ]);
    publish(&server, Parts::Sent, &[("1.0", image)]);
    let host = host(&server);
    host.write("usr/bin/x", "x");
    app(&host, &["check-new"]).succeeds().prints("1.0\n");
    host.link("usr/sbin", "bin");
    let listing = app(&host, &["list", "--why"]).succeeds();
    let why = "its directory /usr/sbin would take the place of this system's symlink";
    assert!(listing.stdout.contains(why), "{listing:?}");
}

#[test]
fn a_misfit_is_refused_by_name_as_well() {
    for parts in [Parts::Sent, Parts::Ignored] {
        let server = server(parts);
        let host = host(&server);
        app(&host, &["update"]).succeeds();
        app(&host, &["update", "3.0"])
            .fails()
            .says("Selected update '3.0' is excluded, refusing: built for VERSION_ID=2, this host is 1")
            .says("hint: `sysupdate list --why` shows the reason of each version");
        assert_eq!(linked(&host), "app_2.0.raw", "{parts:?}");
    }
    // Where nobody has looked yet, it is the download that tells.
    let server = server(Parts::Ignored);
    let host = host(&server);
    let run = app(&host, &["update", "3.0"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    run.says("built for VERSION_ID=2, this host is 1");
    assert!(!host.path(LINK).is_symlink());
}

#[test]
fn an_older_version_that_fits_comes_by_name() {
    let server = server(Parts::Sent);
    let host = host(&server);
    app(&host, &["update", "1.0"]).succeeds();
    assert_eq!(linked(&host), "app_1.0.raw");
}

#[test]
fn the_reasons_of_all_that_was_looked_at_are_shown() {
    let server = server(Parts::Sent);
    let host = host(&server);
    let listing = app(&host, &["--json=short", "list", "--why"])
        .succeeds()
        .json();
    let text = listing.to_string();
    assert!(
        text.contains("built for VERSION_ID=2, this host is 1"),
        "{text}"
    );
    assert!(text.contains("newest version that fits"), "{text}");
    assert!(text.contains("older than the candidate 2.0"), "{text}");
    let plan = app(&host, &["--json=short", "plan"]).succeeds().json();
    let plan = &plan["components"][0];
    assert_eq!(plan["version"], "2.0");
    assert_eq!(plan["reasons"][0]["version"], "3.0");
    assert_eq!(
        plan["reasons"][0]["reason"],
        "built for VERSION_ID=2, this host is 1"
    );
    assert!(!host.path(STORE).exists(), "looking changes nothing");
}

#[test]
fn a_damaged_image_is_passed_over_before_it_is_linked() {
    let mut image = sysext("app", FITS);
    // The superblock says gzip, its tables lie past the end of the file.
    let end = image.len() / 2;
    image.truncate(end);
    for parts in [Parts::Sent, Parts::Ignored] {
        let server = Server::new();
        publish(
            &server,
            parts,
            &[("2.0", image.clone()), ("1.0", sysext("app", FITS))],
        );
        let host = host(&server);
        app(&host, &["update"])
            .succeeds()
            .says("Version '2.0' is passed over: damaged squashfs image: ");
        assert_eq!(linked(&host), "app_1.0.raw", "{parts:?}");
        app(&host, &["update"]).succeeds();
        assert_eq!(linked(&host), "app_1.0.raw", "{parts:?}");
    }
}

#[test]
fn what_cannot_be_looked_into_counts_as_fitting() {
    let server = Server::new();
    publish(&server, Parts::Sent, &[("1.0", b"btrfs, perhaps".to_vec())]);
    let host = host(&server);
    app(&host, &["update"]).succeeds();
    assert_eq!(linked(&host), "app_1.0.raw");
}

#[test]
fn a_server_that_fails_while_it_is_looked_at_leaves_the_question_open() {
    let server = server(Parts::Sent);
    server.answer("/app_3.0.raw", Answer::status(500));
    let host = host(&server);
    app(&host, &["--retry-delay=1", "check-new"])
        .succeeds()
        .prints("3.0\n");
}

#[test]
fn the_next_system_chooses_other_versions() {
    let server = server(Parts::Sent);
    let host = host(&server);
    host.write("next", "ID=thisos\nVERSION_ID=2\n");
    let next = format!("--for-os-release={}", host.path("next").display());
    app(&host, &["check-new", &next]).succeeds().prints("3.0\n");
    let plan = app(&host, &["--json=short", "plan", &next])
        .succeeds()
        .json();
    assert_eq!(plan["components"][0]["version"], "3.0");
    let listing = app(&host, &["list", "--why", &next]).succeeds();
    assert!(
        listing.stdout.contains("newest version that fits"),
        "{listing:?}"
    );
    for verb in [&["update"][..], &["vacuum"], &["rollback"], &["status"]] {
        app(&host, &[verb, &[&next]].concat())
            .fails()
            .says("--for-os-release= cannot be used with");
    }
    app(&host, &["update"]).succeeds();
    app(&host, &["acquire", &next]).succeeds();
    assert_eq!(linked(&host), "app_2.0.raw", "acquiring moves no link");
    assert!(
        host.path(STORE)
            .join(".sysupdate.pending.app_3.0.raw")
            .exists()
    );
    // What the next system needs does not come by itself on this one.
    app(&host, &["update"]).succeeds();
    assert_eq!(linked(&host), "app_2.0.raw");
}

#[test]
fn a_file_that_is_no_os_release_is_refused() {
    let server = server(Parts::Sent);
    let host = host(&server);
    host.write("empty", "NAME=x\n");
    let empty = format!("--for-os-release={}", host.path("empty").display());
    app(&host, &["check-new", &empty])
        .fails()
        .says("'ROOT/empty' is no os-release file: it has no ID=");
    let absent = format!("--for-os-release={}", host.path("absent").display());
    app(&host, &["check-new", &absent])
        .fails()
        .says("cannot read 'ROOT/absent'");
}

#[test]
fn the_gate_opens_once_everything_that_fits_is_here() {
    let server = server(Parts::Sent);
    let host = host(&server);
    host.write("next", "ID=thisos\nVERSION_ID=2\n");
    host.write("last", "ID=thisos\nVERSION_ID=3\n");
    let next = format!("--for-os-release={}", host.path("next").display());
    let last = format!("--for-os-release={}", host.path("last").display());
    app(&host, &["gate"])
        .fails()
        .says("gate: --for-os-release=FILE is missing.");
    app(&host, &["update"]).succeeds();
    app(&host, &["gate", &next])
        .succeeds()
        .prints("")
        .says("app: 3.0 fits.");
    assert_eq!(linked(&host), "app_2.0.raw");
    server.take_log();
    app(&host, &["gate", &next]).succeeds();
    assert_eq!(downloads(&server), [""; 0], "it is here already");
    app(&host, &["gate", &last])
        .fails()
        .says("No image that fits is here for: app.");
    host.run(&["-A", "gate", &last])
        .fails()
        .says("No image that fits is here for: app.");
}

#[test]
fn after_a_change_of_the_system_the_links_lead_to_what_fits() {
    let server = server(Parts::Sent);
    let host = host(&server);
    host.write("next", "ID=thisos\nVERSION_ID=2\n");
    let next = format!("--for-os-release={}", host.path("next").display());
    app(&host, &["update"]).succeeds();
    app(&host, &["gate", &next]).succeeds();
    app(&host, &["select"]).succeeds();
    assert_eq!(linked(&host), "app_2.0.raw");
    // The next system boots.
    host.write("etc/os-release", "ID=thisos\nVERSION_ID=2\n");
    server.take_log();
    app(&host, &["select"]).succeeds();
    assert_eq!(
        linked(&host),
        "app_3.0.raw",
        "what was acquired for it is installed"
    );
    // And the old one again.
    host.write("etc/os-release", "ID=thisos\nVERSION_ID=1\n");
    host.run(&["-A", "select"]).succeeds();
    assert_eq!(linked(&host), "app_2.0.raw");
    assert!(
        server.take_log().is_empty(),
        "early at a boot there is no network"
    );
}

#[test]
fn a_hold_and_a_range_are_told_before_a_look_is_taken() {
    let server = server(Parts::Sent);
    let host = host(&server);
    define(&host, &server, "transfer.max_version = \"2.9\"\n");
    app(&host, &["check-new"]).succeeds().prints("2.0\n");
    let log = server.take_log();
    assert!(log.iter().all(|one| one.path != "/app_3.0.raw"), "{log:?}");
}

#[test]
fn a_host_that_went_back_to_an_older_os_gets_the_newest_for_that_one() {
    let server = server(Parts::Sent);
    let host = host(&server);
    host.write("etc/os-release", "ID=thisos\nVERSION_ID=2\n");
    app(&host, &["update"]).succeeds();
    assert_eq!(linked(&host), "app_3.0.raw");
    host.write("etc/os-release", "ID=thisos\nVERSION_ID=1\n");
    app(&host, &["check-new"]).succeeds().prints("2.0\n");
    app(&host, &["update"])
        .succeeds()
        .says("Selected update '2.0' for install.");
    assert_eq!(linked(&host), "app_2.0.raw");
    app(&host, &["update"]).succeeds().says("No update needed.");
    // What was installed for the other system is here still, for the way forward.
    host.write("etc/os-release", "ID=thisos\nVERSION_ID=2\n");
    server.take_log();
    app(&host, &["update"]).succeeds();
    assert_eq!(linked(&host), "app_3.0.raw");
    assert_eq!(downloads(&server), [""; 0]);
}
