//! The global file, `/etc/sysupdate/config.toml`, as a run obeys it.

use super::harness::{Host, app};
use super::server::{Answer, Server, manifest};

const FILE: &str = "etc/sysupdate/config.toml";

fn published() -> Server {
    let server = Server::new();
    server.put("/SHA256SUMS", manifest(&[("app_1.raw", "one")]));
    server.put("/app_1.raw", "one");
    server
}

#[test]
fn a_rewrite_leads_all_requests_elsewhere_and_the_definition_stays_as_it_is() {
    let server = published();
    let host = Host::new();
    host.write(
        "etc/sysupdate.d/10-app.transfer",
        &app("http://publisher.invalid/app", "Verify=no\n", ""),
    );
    host.write(
        FILE,
        &format!(
            "[network.rewrites]\n\"http://publisher.invalid/app\" = \"{}\"\n",
            server.base
        ),
    );
    host.run(&["update"]).succeeds();
    assert_eq!(host.read("srv/target/app.raw"), "one");
}

#[test]
fn what_the_file_says_is_obeyed_and_the_command_line_has_the_last_word() {
    let server = published();
    let host = Host::with_app(&server);
    host.write(
        FILE,
        "[network]\nproxy = \"http://127.0.0.1:9\"\nretries = 0\n",
    );
    host.run(&["check-new"]).fails();
    assert_eq!(server.take_log(), [], "everything goes through the proxy");
    host.write(FILE, "[network]\nretries = 0\n");
    host.run(&["check-new"]).succeeds().prints("1\n");
}

#[test]
fn a_mistake_in_the_file_stops_every_verb_with_its_place() {
    let server = published();
    let host = Host::with_app(&server);
    host.write(FILE, "[network]\nretires = 3\n");
    for verb in ["list", "check-new", "update", "status"] {
        host.run(&[verb])
            .fails()
            .says("etc/sysupdate/config.toml:2:1: ")
            .says("'retries'");
    }
    assert_eq!(server.take_log(), []);
}

#[test]
fn a_manifest_that_drips_a_little_too_fast_to_be_stalled_has_to_be_whole_in_time() {
    let server = Server::new();
    server.publish(&[("app_1.raw", "one")]);
    let drips = Answer::ok("a".repeat(100_000)).dripping();
    server.answer("/SHA256SUMS", drips);
    let host = Host::with_app(&server);
    host.write(
        "etc/sysupdate/config.toml",
        "[network]\nmanifest_timeout = \"1s\"\n",
    );
    host.run(&["check-new"])
        .fails()
        .says("/SHA256SUMS' takes longer than 1 s");
}
