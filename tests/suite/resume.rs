//! A download that was cut off goes on where it stopped, and ends with the right file whatever has happened since.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;

use super::harness::{Host, Run, until};
use super::server::{Answer, Exchange, MODIFIED, Server, manifest, sha256};

const PARTIAL: &str = "srv/target/.sysupdate.partial.app_1.raw";
/// What arrives of the payload before the line breaks.
const CUT: usize = 600_000;
const BLOCK: usize = 4096;

/// One megabyte without a period that a wrong offset could hide in, and with zeros in the middle.
fn payload() -> String {
    let mut text = (0..130_000).fold(String::new(), |mut text, index| {
        let _ = write!(text, "{index:08}");
        text
    });
    text.replace_range(300_000..320_000, &"\0".repeat(20_000));
    text
}

fn whole(payload: &str) -> Answer {
    let tag = format!("\"{}\"", &sha256(payload.as_bytes())[..16]);
    Answer::ok(payload)
        .ranges()
        .header("ETag", tag)
        .header("Last-Modified", MODIFIED)
}

/// What happens to what is on disk.
type Damage = fn(&Case);
/// What the server says then.
type Serve = fn(&Case) -> Answer;

struct Case {
    server: Server,
    host: Host,
    payload: String,
}

impl Case {
    fn new() -> Self {
        let (server, payload) = (Server::new(), payload());
        server.put("/SHA256SUMS", manifest(&[("app_1.raw", &payload)]));
        let host = Host::with_app(&server);
        Self {
            server,
            host,
            payload,
        }
    }

    /// A host on which a download was interrupted by a signal.
    fn interrupted(signal: Signal) -> Self {
        let case = Self::new();
        case.server
            .answer("/app_1.raw", whole(&case.payload).stalled(CUT));
        let running = case.host.start(&["update"]);
        let file = case.host.path(PARTIAL);
        until("half of it is on disk", || {
            fs::metadata(&file).is_ok_and(|file| file.len() >= 512 * 1024)
        });
        running.signal(signal);
        running.finish();
        assert_eq!(
            case.host.tree("srv/target"),
            [".sysupdate.partial.app_1.raw 0600"]
        );
        case.server.put("/app_1.raw", case.payload.as_str());
        case.server.take_log();
        case
    }

    /// An update that must end with the right file; the requests for the payload.
    #[track_caller]
    fn completes(&self) -> (Run, Vec<Exchange>) {
        let run = self.host.update();
        self.stands();
        (run, self.requests())
    }

    #[track_caller]
    fn stands(&self) {
        assert_eq!(
            self.host.tree("srv/target"),
            ["app.raw -> app_1.raw", "app_1.raw 0644"]
        );
        assert!(
            self.host.read("srv/target/app.raw") == self.payload,
            "whole"
        );
        let name = "user.sysupdate.partial";
        let mark = rustix::fs::getxattr(self.host.path("srv/target/app_1.raw"), name, &mut [0; 9]);
        assert_eq!(
            mark,
            Err(rustix::io::Errno::NODATA),
            "it is no partial file any more"
        );
    }

    fn requests(&self) -> Vec<Exchange> {
        let mut log = self.server.take_log();
        log.retain(|exchange| exchange.method == "GET" && exchange.path == "/app_1.raw");
        log
    }

    /// Changes bytes of what is on disk.
    fn damage(&self, position: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt as _;
        let file = fs::OpenOptions::new()
            .write(true)
            .open(self.host.path(PARTIAL));
        file.and_then(|file| file.write_all_at(bytes, position))
            .expect("written");
    }

    fn length(&self) -> u64 {
        fs::metadata(self.host.path(PARTIAL))
            .expect("it exists")
            .len()
    }
}

#[track_caller]
fn first_byte(exchange: &Exchange) -> usize {
    let range = exchange.range.as_deref().expect("a range was asked for");
    range
        .strip_prefix("bytes=")
        .and_then(|text| text.strip_suffix('-'))
        .and_then(|text| text.parse().ok())
        .expect("all that follows was asked for")
}

#[test]
fn after_an_interrupt_only_the_rest_is_fetched() {
    for signal in [Signal::INT, Signal::TERM] {
        let case = Case::interrupted(signal);
        let there = usize::try_from(case.length()).expect("small");
        assert!(there >= 512 * 1024, "{there}");
        let (run, requests) = case.completes();
        assert_eq!(requests.len(), 1, "{requests:?}");
        assert_eq!(requests[0].status, 206);
        assert_eq!(
            first_byte(&requests[0]),
            there - there % BLOCK,
            "all that was written was kept"
        );
        assert!(requests[0].if_range.is_some(), "{requests:?}");
        run.says("Resuming ");
    }
}

#[test]
fn after_a_kill_what_is_on_disk_is_not_fetched_again() {
    let case = Case::interrupted(Signal::KILL);
    let there = usize::try_from(case.length()).expect("small");
    let (_, requests) = case.completes();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(first_byte(&requests[0]), there - there % BLOCK);
}

#[test]
fn a_network_failure_keeps_what_has_come() {
    let case = Case::new();
    case.server
        .first("/app_1.raw", [whole(&case.payload).short(CUT)]);
    case.server.answer("/app_1.raw", Answer::status(503));
    case.host
        .run(&["update"])
        .fails()
        .says("failed with code 503");
    assert_eq!(
        case.host.tree("srv/target"),
        [".sysupdate.partial.app_1.raw 0600"]
    );
    assert_eq!(case.length(), CUT as u64, "every byte that came");
    case.server.put("/app_1.raw", case.payload.as_str());
    case.requests();
    let (_, requests) = case.completes();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(first_byte(&requests[0]), CUT - CUT % BLOCK);
}

#[test]
fn a_damaged_beginning_costs_one_clean_download_and_no_more() {
    let rows: [(&str, Damage); 3] = [
        ("garbage in it", |case| case.damage(5000, b"garbage")),
        ("zeros where data was", |case| case.damage(8192, &[0; 8192])),
        ("garbage behind it", |case| {
            case.damage(case.length(), b"tail");
        }),
    ];
    for (what, damage) in rows {
        let case = Case::interrupted(Signal::KILL);
        damage(&case);
        let (run, requests) = case.completes();
        let asked: Vec<_> = requests
            .iter()
            .map(|exchange| (exchange.range.is_some(), exchange.status))
            .collect();
        if what == "garbage behind it" {
            assert!(asked.len() <= 2, "{what}: {asked:?}");
        } else {
            assert_eq!(asked, [(true, 206), (false, 200)], "{what}");
            run.says("Starting over");
        }
    }
}

#[test]
fn zeros_that_a_power_cut_leaves_at_the_end_are_fetched() {
    let case = Case::interrupted(Signal::KILL);
    let there = usize::try_from(case.length()).expect("small");
    case.damage(case.length() + 99_999, &[0]);
    let (_, requests) = case.completes();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(first_byte(&requests[0]), there - there % BLOCK);
}

#[test]
fn a_server_that_never_fits_is_asked_twice_and_then_it_is_an_error() {
    let case = Case::interrupted(Signal::INT);
    let tampered = case.payload.replace("00099999", "tampered");
    case.server
        .answer("/app_1.raw", Answer::ok(tampered).ranges());
    case.host
        .run(&["update"])
        .fails()
        .says("does not match expected checksum");
    let asked: Vec<_> = case
        .requests()
        .iter()
        .map(|exchange| (exchange.range.is_some(), exchange.status))
        .collect();
    // Its tag is another, so that it sends everything at once: there is no seam, and nothing to start over.
    assert_eq!(asked, [(true, 200)]);
    assert_eq!(case.length(), 0, "nothing can be continued from it");
    case.host.run(&["update"]).fails();
    assert_eq!(case.requests().len(), 1, "nor is it tried");
    case.server.put("/app_1.raw", case.payload.as_str());
    case.completes();
}

#[test]
fn whatever_a_server_answers_to_a_range_the_file_is_right() {
    let plain = |case: &Case| Answer::ok(case.payload.as_str());
    let rows: [(&str, Serve, &[u16]); 8] = [
        (
            "no ranges",
            |case| Answer::ok(case.payload.as_str()),
            &[200],
        ),
        (
            "another tag",
            |case| {
                Answer::ok(case.payload.as_str())
                    .ranges()
                    .header("ETag", "\"new\"")
            },
            &[200],
        ),
        (
            "no tag, and ranges whatever the condition",
            |case| Answer::ok(case.payload.as_str()).ranges().unconditional(),
            &[206],
        ),
        (
            "416",
            |case| Answer::ok(case.payload.as_str()).refusing_ranges(),
            &[416, 200],
        ),
        (
            "another part",
            |case| Answer::ok(case.payload.as_str()).mislabelled("bytes 0-9/10"),
            &[206, 200],
        ),
        (
            "no label",
            |case| Answer::ok(case.payload.as_str()).mislabelled("garbage"),
            &[206, 200],
        ),
        (
            "the right label on the wrong bytes",
            |case| Answer::ok(case.payload.as_str()).shifted(),
            &[206, 200],
        ),
        (
            "a redirect",
            |_| Answer::redirect(302, "/elsewhere"),
            &[302],
        ),
    ];
    for (what, serve, statuses) in rows {
        let case = Case::interrupted(Signal::INT);
        case.server.answer("/elsewhere", plain(&case).ranges());
        case.server.answer("/app_1.raw", serve(&case));
        let (_, requests) = case.completes();
        let got: Vec<_> = requests.iter().map(|exchange| exchange.status).collect();
        assert_eq!(got, statuses, "{what}");
    }
}

#[test]
fn a_file_that_got_shorter_is_no_file_of_the_manifest() {
    let case = Case::interrupted(Signal::INT);
    case.server
        .answer("/app_1.raw", Answer::ok("short").ranges().unconditional());
    case.host
        .run(&["update"])
        .fails()
        .says("does not match expected checksum");
    case.server.put("/app_1.raw", case.payload.as_str());
    case.completes();
}

#[test]
fn what_is_whole_already_is_not_asked_for() {
    let case = Case::interrupted(Signal::INT);
    // As a run leaves it that is killed just before the name is given.
    let file = fs::OpenOptions::new()
        .append(true)
        .open(case.host.path(PARTIAL));
    let there = usize::try_from(case.length()).expect("small");
    std::io::Write::write_all(
        &mut file.expect("it opens"),
        &case.payload.as_bytes()[there..],
    )
    .expect("written");
    fs::set_permissions(case.host.path(PARTIAL), fs::Permissions::from_mode(0o644)).expect("set");
    let (run, requests) = case.completes();
    assert_eq!(requests, []);
    run.says("is here already");
}

#[test]
fn a_beginning_of_another_content_is_not_gone_on_with() {
    let mut case = Case::interrupted(Signal::INT);
    case.payload = case.payload.replace("00000001", "anewbyte");
    let listed = manifest(&[("app_1.raw", &case.payload)]);
    case.server.put("/SHA256SUMS", listed);
    case.server.put("/app_1.raw", case.payload.as_str());
    // Other bytes under a known name have to be accepted first.
    case.host.run(&["--accept-manifest", "list"]).succeeds();
    case.requests();
    let (_, requests) = case.completes();
    assert_eq!((requests.len(), &requests[0].range), (1, &None));
}

#[test]
fn what_is_unpacked_on_its_way_begins_again() {
    let case = Case::new();
    let packed = zstd::encode_all(case.payload.as_bytes(), 1).expect("packed");
    let half = packed.len() / 2;
    case.server
        .put("/SHA256SUMS", format!("{}  app_1.raw\n", sha256(&packed)));
    case.server.answer(
        "/app_1.raw",
        Answer::ok(packed.clone()).ranges().short(half),
    );
    case.host.run(&["update"]).fails();
    case.server.put("/app_1.raw", packed);
    case.requests();
    let (_, requests) = case.completes();
    assert_eq!((requests.len(), &requests[0].range), (1, &None));
}
