//! The operator's word: back, held, planned, applied, and what is remembered of it. Below a root only files change.

use serde_json::{Value, json};

use super::harness::{Host, until};
use super::server::{Answer, Server, manifest};

const ONE: (&str, &str) = ("app_1.raw", "one");
const TWO: (&str, &str) = ("app_2.raw", "two");
const THREE: (&str, &str) = ("app_3.raw", "three");

/// A host where 1 and then 2 were installed.
fn host() -> (Server, Host) {
    let server = Server::new();
    server.publish(&[ONE]);
    let host = Host::with_app(&server);
    host.update();
    server.publish(&[ONE, TWO]);
    host.update();
    assert_eq!(host.read("srv/target/app.raw"), "two");
    server.take_log();
    (server, host)
}

fn in_use(host: &Host) -> String {
    host.read("srv/target/app.raw")
}

fn status(host: &Host) -> Value {
    host.run(&["--json=short", "status"]).succeeds().json()[0].clone()
}

/// The history as EVENT FROM TO.
fn history(host: &Host) -> Vec<String> {
    let entries = host.run(&["--json=short", "history"]).succeeds().json();
    let entries = entries.as_array().expect("a list");
    entries
        .iter()
        .map(|entry| {
            let word = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", word("event"), word("from"), word("to"))
        })
        .collect()
}

#[test]
fn rollback_goes_to_the_version_before_at_once_and_stays_there() {
    let (server, host) = host();
    host.run(&["rollback"])
        .succeeds()
        .prints("")
        .says("Selected update '1' is already installed. Switching to it.");
    assert_eq!(in_use(&host), "one");
    assert!(server.take_log().is_empty(), "it needs no server");
    // The version that was left does not come back by itself.
    host.update().says("No update needed.");
    host.run(&["check-new"]).prints("");
    assert_eq!(in_use(&host), "one");
    let status = status(&host);
    assert_eq!(status["current"], "1");
    assert_eq!(status["marked"][0]["version"], "2");
    assert_eq!(status["marked"][0]["kind"], "left");
    assert_eq!(status["marked"][0]["reason"], "rolled back to 1");
    let listing = host.run(&["list", "--why"]).succeeds().stdout;
    assert!(
        listing.contains("installed, not used: held back since "),
        "{listing}"
    );
    // A newer one does.
    server.publish(&[TWO, THREE]);
    host.update();
    assert_eq!(in_use(&host), "three");
}

#[test]
fn a_version_that_was_left_comes_back_by_name_or_after_unhold() {
    let (_server, host) = host();
    host.run(&["rollback"]).succeeds();
    host.run(&["update", "2"]).succeeds();
    assert_eq!(in_use(&host), "two");
    assert_eq!(
        status(&host)["marked"],
        json!([]),
        "whoever asks for it wants it"
    );

    host.run(&["rollback"]).succeeds();
    host.run(&["unhold"])
        .succeeds()
        .says("2 may be installed again.");
    assert_eq!(status(&host)["marked"], json!([]));
    host.update();
    assert_eq!(in_use(&host), "two");
}

#[test]
fn rollback_to_a_version_moves_either_way() {
    let (_server, host) = host();
    host.run(&["rollback", "1"]).succeeds();
    assert_eq!(in_use(&host), "one");
    host.run(&["rollback", "1"])
        .succeeds()
        .says("Selected update '1' is already installed.");
    host.run(&["rollback", "2"]).succeeds();
    assert_eq!(in_use(&host), "two");
    assert_eq!(status(&host)["marked"][0]["version"], "1");
}

#[test]
fn rollback_is_refused_where_there_is_nothing_to_go_back_to() {
    let (_server, host) = host();
    host.run(&["rollback", "7"])
        .fails()
        .says("Update '7' not found.")
        .says("hint: `sysupdate list` shows");
    host.run(&["rollback"]).succeeds();
    host.run(&["rollback"])
        .fails()
        .says("has no older version to go back to")
        .says("hint: ");
    assert_eq!(in_use(&host), "one");
    host.run(&["-C", "absent", "rollback"])
        .fails()
        .says("No transfer definitions for component 'absent' found.");
    let server = Server::new();
    server.publish(&[ONE]);
    let empty = Host::with_app(&server);
    empty
        .run(&["rollback"])
        .fails()
        .says("has no older version to go back to");
}

#[test]
fn what_went_back_while_a_rollback_waited_is_not_gone_back_from_again() {
    let (server, host) = host();
    server.publish(&[ONE, TWO, THREE]);
    host.run(&["--instances-max=3", "update"]).succeeds();
    assert_eq!(in_use(&host), "three");
    // Another run holds the lock, and goes back from 3 to 2 in the meantime, as a trial does that fails.
    server.put("/SHA256SUMS", manifest(&[("app_4.raw", "four")]));
    server.answer("/app_4.raw", Answer::ok("four").stalled(1));
    let mut holder = host.start(&["acquire"]);
    let partial = host.path("srv/target/.sysupdate.partial.app_4.raw");
    until("the holder writes", || partial.exists());
    let rollback = host.start(&["--wait=20", "rollback"]);
    let open = std::path::PathBuf::from(format!("/proc/{}/fd", rollback.child.id()));
    until("the rollback waits for the lock", || {
        let files = std::fs::read_dir(&open).expect("it runs");
        files
            .filter_map(|file| std::fs::read_link(file.ok()?.path()).ok())
            .any(|file| file.ends_with("run/sysupdate/lock"))
    });
    host.remove("srv/target/app.raw");
    host.link("srv/target/app.raw", "app_2.raw");
    holder.child.kill().expect("killed");
    holder.finish();
    rollback
        .finish()
        .succeeds()
        .says("<default> has gone back from 3 to 2 in the meantime.");
    assert_eq!(in_use(&host), "two");
    // By name there is no doubt.
    host.run(&["rollback", "1"]).succeeds();
    assert_eq!(in_use(&host), "one");
}

#[test]
fn of_several_components_each_goes_back_by_itself() {
    let (server, host) = host();
    let other = super::harness::app(&server.base, "", "").replace("/srv/target", "/srv/other");
    host.write("etc/sysupdate.other.d/10-app.transfer", &other);
    host.run(&["-A", "update"]).succeeds();
    let run = host.run(&["-A", "rollback"]).fails();
    run.says("other: other has no older version to go back to");
    assert_eq!(in_use(&host), "one");
}

#[test]
fn what_is_held_stays_until_it_is_let_go() {
    let (server, host) = host();
    host.run(&["hold"])
        .succeeds()
        .prints("")
        .says("is held: nothing newer is installed.");
    server.publish(&[TWO, THREE]);
    host.update().says("No update needed.");
    host.run(&["check-new"]).prints("");
    assert_eq!(in_use(&host), "two");
    host.run(&["update", "3"])
        .fails()
        .says("Selected update '3' is excluded, refusing: the component is held since 20")
        .says("hint: `sysupdate unhold` lets the component go on");
    let listing = host.run(&["list", "--why"]).succeeds().stdout;
    assert!(
        listing.contains("the component is held since 20"),
        "{listing}"
    );
    let since = status(&host)["held"].as_str().expect("a time").to_owned();
    // Held once more, it is held since then.
    host.run(&["hold"]).succeeds();
    assert_eq!(status(&host)["held"], since);
    // The way back is open all the same.
    host.run(&["rollback"]).succeeds();
    assert_eq!(in_use(&host), "one");
    host.run(&["unhold"])
        .succeeds()
        .says("is no longer held; 2 may be installed again.");
    host.run(&["unhold"]).succeeds().says("is not held.");
    assert_eq!(status(&host)["held"], Value::Null);
    host.update();
    assert_eq!(in_use(&host), "three");
    assert_eq!(
        host.tree("var/lib/sysupdate/marks"),
        [""; 0],
        "nothing is left of it"
    );
}

#[test]
fn a_name_with_a_typing_error_is_not_held() {
    let (_server, host) = host();
    for verb in ["hold", "unhold"] {
        host.run(&["-C", "ap", verb])
            .fails()
            .says("No transfer definitions for component 'ap' found.");
    }
    assert!(!host.path("var/lib/sysupdate/marks").exists());
}

#[test]
fn the_history_tells_what_happened_oldest_first() {
    let (_server, host) = host();
    host.run(&["rollback"]).succeeds();
    host.run(&["hold"]).succeeds();
    host.run(&["unhold"]).succeeds();
    host.run(&["update", "2"]).succeeds();
    assert_eq!(
        history(&host),
        [
            "installed - 1",
            "installed 1 2",
            "rolled-back 2 1",
            "held - -",
            "unheld - -",
            "installed 1 2",
        ]
    );
    let entries = host.run(&["--json=short", "history"]).succeeds().json();
    let entry = entries[2].as_object().expect("an object");
    let keys: Vec<&str> = entry.keys().map(String::as_str).collect();
    let mut expected = [
        "time",
        "component",
        "event",
        "from",
        "to",
        "command",
        "user",
        "seconds",
    ];
    expected.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(entry["command"], "rollback");
    assert_eq!(entry["component"], Value::Null);
    let table = host.run(&["history"]).succeeds().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 7, "{table}");
    assert!(lines[0].starts_with("TIME"), "{table}");
    assert!(lines[3].contains("rolled-back"), "{table}");
    assert!(lines[3].contains(": rollback"), "{table}");
    host.run(&["-C", "other", "history"])
        .succeeds()
        .prints("")
        .says("Nothing has happened yet.");
}

#[test]
fn nothing_has_happened_on_a_new_host() {
    let host = Host::new();
    host.run(&["history"])
        .succeeds()
        .prints("")
        .says("Nothing has happened yet.");
    host.run(&["--json=short", "history"])
        .succeeds()
        .prints("[]\n");
    assert_eq!(host.tree(""), [""; 0]);
}

#[test]
fn an_installation_that_fails_is_remembered_with_its_reason() {
    let (server, host) = host();
    server.publish(&[TWO, THREE]);
    // Where the link would be, somebody has put a directory.
    host.remove("srv/target/app.raw");
    host.write("srv/target/app.raw/file", "x");
    let run = host.run(&["update"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let entries = host.run(&["--json=short", "history"]).succeeds().json();
    let last = entries
        .as_array()
        .and_then(|list| list.last())
        .expect("an entry");
    assert_eq!(last["event"], "failed", "{run:?}");
    assert!(last["reason"].is_string(), "{last}");
}

#[test]
fn a_plan_shows_what_an_update_would_do_and_does_nothing() {
    let (server, host) = host();
    server.publish(&[ONE, TWO, THREE]);
    let before = host.tree("srv");
    let plan = host.run(&["--json=short", "plan"]).succeeds().json();
    assert_eq!(plan["format"], 1);
    let component = &plan["components"][0];
    assert_eq!(component["component"], Value::Null);
    assert_eq!(component["current"], "2");
    assert_eq!(component["version"], "3");
    assert_eq!(component["verification"], "unsigned");
    assert_eq!(component["fetch"], 5);
    assert_eq!(component["peak"], 5);
    let part = &component["parts"][0];
    assert_eq!(part["transfer"], "10-app");
    assert_eq!(part["action"], "fetch");
    assert_eq!(part["source"], format!("{}/app_3.raw", server.base));
    assert_eq!(part["sha256"], super::server::sha256(b"three"));
    assert!(
        part["path"]
            .as_str()
            .expect("a path")
            .ends_with("/srv/target/app_3.raw")
    );
    assert!(
        part["link"]
            .as_str()
            .expect("a path")
            .ends_with("/srv/target/app.raw")
    );
    assert!(
        part["linkBefore"]
            .as_str()
            .expect("a path")
            .ends_with("/srv/target/app_2.raw")
    );
    let gone = &component["removals"][0];
    assert!(
        gone["path"]
            .as_str()
            .expect("a path")
            .ends_with("/srv/target/app_1.raw")
    );
    assert_eq!(
        component["reasons"][0]["reason"],
        "newest version that fits"
    );
    assert_eq!(component["activation"]["merge"], json!([]));
    let text = host.run(&["plan"]).succeeds().stdout;
    assert!(text.contains("app_3.raw"), "{text}");
    assert!(text.contains("remove "), "{text}");
    assert!(text.contains("not 2: "), "{text}");
    assert_eq!(host.tree("srv"), before);
    let asked = server.take_requests();
    assert!(asked.iter().all(|line| !line.contains(".raw")), "{asked:?}");
    // Of what is acquired nothing is to be fetched.
    host.run(&["acquire"]).succeeds();
    let plan = host.run(&["--json=short", "plan"]).succeeds().json();
    assert_eq!(plan["components"][0]["parts"][0]["action"], "install");
    assert_eq!(plan["components"][0]["fetch"], 0);
}

#[test]
fn a_plan_with_nothing_to_do_says_why() {
    let (_server, host) = host();
    let plan = host.run(&["--json=short", "plan"]).succeeds().json();
    assert_eq!(plan["components"][0]["version"], Value::Null);
    assert_eq!(plan["components"][0]["notes"], json!(["No update needed."]));
    host.write("plan.json", &plan.to_string());
    let file = host.path("plan.json").display().to_string();
    host.run(&["apply", &file])
        .succeeds()
        .says("The plan has nothing to do.");
    host.run(&["plan", "9"])
        .fails()
        .says("Update '9' not found.");
}

#[test]
fn a_saved_plan_is_carried_out_to_the_letter() {
    let (server, host) = host();
    server.publish(&[ONE, TWO, THREE]);
    let plan = host.run(&["--json=pretty", "plan"]).succeeds().stdout;
    let plan = plan.replace(
        "ROOT",
        host.path("").display().to_string().trim_end_matches('/'),
    );
    host.write("plan.json", &plan);
    let file = host.path("plan.json").display().to_string();
    host.run(&["apply", &file]).succeeds().prints("");
    assert_eq!(in_use(&host), "three");
    assert!(!host.path("srv/target/app_1.raw").exists());
    // Once more, it does not hold.
    host.run(&["apply", &file])
        .fails()
        .says("does not hold any more: the version in use was 2 and is 3")
        .says("hint: nothing was done; make a new plan");
}

#[test]
fn a_plan_that_has_changed_is_refused_before_anything_is_done() {
    type Change = fn(&Server, &Host);
    let cases: [(Change, &str); 4] = [
        (
            |server, _| server.publish(&[ONE, TWO, ("app_3.raw", "other")]),
            "has the checksum",
        ),
        (
            |server, _| server.publish(&[ONE, TWO, THREE, ("app_4.raw", "four")]),
            "",
        ),
        (
            |_, host| {
                host.run(&["rollback"]).succeeds();
            },
            "the version in use was 2 and is 1",
        ),
        (
            |_, host| {
                host.run(&["hold"]).succeeds();
            },
            "Selected update '3' is excluded, refusing: the component is held since",
        ),
    ];
    for (change, message) in cases {
        let (server, host) = host();
        server.publish(&[ONE, TWO, THREE]);
        let plan = host.run(&["--json=short", "plan"]).succeeds().stdout;
        let plan = plan.replace(
            "ROOT",
            host.path("").display().to_string().trim_end_matches('/'),
        );
        host.write("plan.json", &plan);
        let file = host.path("plan.json").display().to_string();
        change(&server, &host);
        let before = host.tree("srv");
        let run = host.run(&["apply", &file]);
        if message.is_empty() {
            // What is newer still does not matter to whoever has decided.
            run.succeeds();
            assert_eq!(in_use(&host), "three");
        } else {
            run.fails().says(message);
            assert_eq!(host.tree("srv"), before, "{message}");
        }
    }
}

#[test]
fn what_is_no_plan_is_refused() {
    let host = Host::new();
    for (text, message) in [
        ("", "is no plan of this program"),
        ("{", "is no plan of this program"),
        ("{\"format\":1}", "is no plan of this program"),
        (
            "{\"format\":2,\"time\":\"\",\"components\":[]}",
            "has format 2, this program knows 1",
        ),
    ] {
        host.write("plan.json", text);
        let file = host.path("plan.json").display().to_string();
        host.run(&["apply", &file])
            .fails()
            .says(message)
            .says("hint: a plan is made by `sysupdate plan --json=short > FILE`");
    }
    host.run(&["apply", "/absent/plan.json"])
        .fails()
        .says("cannot read the plan '/absent/plan.json': No such file or directory");
    host.run(&["apply"])
        .fails()
        .says("apply: the file with the plan is missing.");
    let unknown = "{\"format\":1,\"time\":\"\",\"components\":[{\"component\":\"x\",\"version\":\"1\",\"current\":null,\
                   \"notes\":[],\"verification\":\"\",\"fetch\":null,\"peak\":null,\"parts\":[],\"removals\":[],\
                   \"activation\":{\"merge\":[],\"units\":[],\"later\":[],\"reboot\":false},\"reasons\":[]}]}";
    host.write("plan.json", unknown);
    let file = host.path("plan.json").display().to_string();
    host.run(&["apply", &file])
        .fails()
        .says("No transfer definitions for component 'x' found.");
}

#[test]
fn below_a_root_nothing_is_staged_or_settled() {
    let (_server, host) = host();
    host.run(&["activate"])
        .fails()
        .says("nothing is staged")
        .says("hint: `sysupdate status` shows");
    host.run(&["settle"]).succeeds().prints("");
    host.run(&["select"]).succeeds().prints("");
    assert_eq!(in_use(&host), "two");
    assert!(
        !host.path("var/lib/sysupdate/trial").exists(),
        "only files changed"
    );
}

#[test]
fn a_damaged_record_of_versions_stops_what_depends_on_it() {
    let (server, host) = host();
    host.run(&["hold"]).succeeds();
    server.publish(&[TWO, THREE]);
    let names = host.tree("var/lib/sysupdate/marks");
    let name = names[0].split(' ').next().expect("a name");
    let file = format!("var/lib/sysupdate/marks/{name}");
    for text in ["", "{\"hold\":", "[1]", "{\"holds\":{}}"] {
        host.write(&file, text);
        for verb in [
            "update",
            "acquire",
            "check-new",
            "list",
            "plan",
            "rollback",
            "hold",
            "unhold",
        ] {
            let run = host.run(&[verb]);
            run.fails()
                .says("is damaged")
                .says("hint: it says which versions are held or bad: mend it, or remove it");
        }
        let run = host.run(&["status"]);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert_eq!(in_use(&host), "two");
    }
    host.remove(&file);
    host.update();
    assert_eq!(in_use(&host), "three");
}

#[test]
fn a_damaged_trial_record_is_named_by_status() {
    let (_server, host) = host();
    for (text, message) in [("{", "is damaged"), ("{\"format\":1}", "is damaged")] {
        host.write("var/lib/sysupdate/trial/record.json", text);
        host.run(&["status"])
            .fails()
            .says(
                "the record of the unfinished trial, 'ROOT/var/lib/sysupdate/trial/record.json', ",
            )
            .says(message)
            .says("hint: look at it; ");
    }
}
