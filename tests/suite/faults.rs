//! Every fault of a server, for every kind of file, once and for good: the tree is right, the message is right, and it
//! ends in time.
//!
//! The rows are generated: faults × (manifest, signature, payload) × (the next request is answered rightly, only the
//! next run is). What must hold of all of them is said in [`Case::judge`].

use std::io::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::harness::{Host, Run};
use super::server::{Answer, Server, manifest};
use super::signatures::{ALICE, signed, trusting};

/// A file that a run asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Manifest,
    Signature,
    Payload,
}

const OBJECTS: [Object; 3] = [Object::Manifest, Object::Signature, Object::Payload];

impl Object {
    fn path(self) -> &'static str {
        match self {
            Self::Manifest => "/SHA256SUMS",
            Self::Signature => "/SHA256SUMS.sha256.asc",
            Self::Payload => "/app_2.raw",
        }
    }

    /// A manifest that its signature does not fit is fetched once more, with its signature: they may have been replaced
    /// between the two requests. A payload whose digest is wrong is an error.
    fn refetched(self) -> Once {
        match self {
            Self::Manifest | Self::Signature => Once::Healed,
            Self::Payload => Once::Fatal,
        }
    }

    /// What is told of contents that are not what was published.
    fn mismatch(self) -> &'static str {
        match self {
            Self::Manifest | Self::Signature => "Signature verification failed",
            Self::Payload => "does not match expected checksum",
        }
    }
}

/// What becomes of a run in which the fault happens once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Once {
    /// It is made good.
    Healed,
    /// It is an error at once.
    Fatal,
    /// Nothing, even if it happens always.
    Harmless,
}

/// What a server does wrong.
struct Fault {
    name: &'static str,
    /// What it answers instead of the right bytes, one after the other; the last one stays.
    answers: fn(&[u8]) -> Vec<Answer>,
    once: fn(Object) -> Once,
    /// What is told when it stays.
    says: fn(Object) -> &'static str,
    /// Whether it makes sense for that file.
    fits: fn(Object) -> bool,
}

impl Fault {
    const fn new(
        name: &'static str,
        answers: fn(&[u8]) -> Vec<Answer>,
        once: fn(Object) -> Once,
        says: fn(Object) -> &'static str,
    ) -> Self {
        Self {
            name,
            answers,
            once,
            says,
            fits: |_| true,
        }
    }

    const fn only(self, fits: fn(Object) -> bool) -> Self {
        Self { fits, ..self }
    }
}

fn healed(_: Object) -> Once {
    Once::Healed
}

fn fatal(_: Object) -> Once {
    Once::Fatal
}

fn harmless(_: Object) -> Once {
    Once::Harmless
}

fn ranged(bytes: &[u8]) -> Answer {
    Answer::ok(bytes).ranges().header("ETag", "\"a\"")
}

fn half(bytes: &[u8]) -> Answer {
    ranged(bytes).short(bytes.len() * 3 / 4)
}

fn other(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 1).collect()
}

fn bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..70 {
        encoder.write_all(&vec![0; 1 << 20]).expect("written");
    }
    encoder.finish().expect("finished")
}

const FAULTS: &[Fault] = &[
    Fault::new(
        "no answer",
        |_| vec![Answer::garbage("")],
        healed,
        |_| "Transfer failed",
    ),
    Fault::new(
        "another protocol",
        |_| vec![Answer::garbage("SSH-2.0-x\r\n\r\n")],
        healed,
        |_| "Transfer failed",
    ),
    Fault::new(
        "silence",
        |_| vec![Answer::silent()],
        healed,
        |_| "no answer for",
    ),
    Fault::new(
        "headers without end",
        |_| vec![Answer::endless_head()],
        healed,
        |_| "Transfer failed",
    ),
    Fault::new(
        "interim answers without end",
        |_| vec![Answer::endless_hints()],
        healed,
        |_| "no answer for",
    ),
    Fault::new(
        "broken off before the first byte",
        |bytes| vec![ranged(bytes).short(0)],
        healed,
        |_| "Transferred a partial file",
    ),
    Fault::new(
        "broken off in the middle",
        |bytes| vec![half(bytes), ranged(bytes).short(0)],
        healed,
        |_| "Transferred a partial file",
    ),
    Fault::new(
        "reset before the answer",
        |bytes| vec![ranged(bytes).reset(0)],
        healed,
        |_| "Transfer failed",
    ),
    Fault::new(
        "reset in the middle",
        |bytes| {
            let half = ranged(bytes).reset(bytes.len() / 2);
            vec![half, ranged(bytes).reset(1)]
        },
        healed,
        |_| "Transferred a partial file",
    ),
    Fault::new(
        "chunks that break off",
        |bytes| vec![ranged(bytes).short_chunks(bytes.len() / 2)],
        healed,
        |_| "Transfer failed",
    ),
    Fault::new(
        "stalled in the middle",
        |bytes| vec![ranged(bytes).stalled(bytes.len() / 2)],
        healed,
        |_| "stalled: fewer than",
    ),
    Fault::new(
        "dripping",
        |bytes| vec![ranged(bytes).dripping()],
        healed,
        |_| "stalled: fewer than",
    ),
    Fault::new(
        "cut off without a word",
        |bytes| vec![Answer::ok(&bytes[..bytes.len() / 2]).unannounced()],
        Object::refetched,
        Object::mismatch,
    ),
    Fault::new(
        "other bytes",
        |bytes| vec![Answer::ok(other(bytes))],
        Object::refetched,
        Object::mismatch,
    ),
    Fault::new(
        "a length that is too small",
        |bytes| vec![Answer::ok(bytes).header("Content-Length", "70")],
        Object::refetched,
        Object::mismatch,
    ),
    Fault::new(
        "a length that is too large",
        |bytes| vec![ranged(bytes).header("Content-Length", "9999999")],
        healed,
        |object| match object {
            // The server itself says that nothing follows.
            Object::Payload => "was replaced while it was read",
            _ => "Transferred a partial file",
        },
    ),
    Fault::new(
        "bytes without end",
        |bytes| vec![Answer::ok(bytes).endless()],
        fatal,
        |object| match object {
            Object::Manifest => "larger than 64 MiB",
            _ => "Failed to retrieve signature file",
        },
    )
    .only(|object| object != Object::Payload),
    Fault::new(
        "chunks without end",
        |bytes| vec![Answer::ok(bytes).endless_chunks()],
        fatal,
        |object| match object {
            Object::Manifest => "larger than 64 MiB",
            _ => "Failed to retrieve signature file",
        },
    )
    .only(|object| object != Object::Payload),
    Fault::new(
        "more than was announced",
        |bytes| {
            let more = [bytes, bytes].concat();
            vec![Answer::ok(more).header("Content-Length", bytes.len().to_string())]
        },
        harmless,
        |_| "",
    ),
    Fault::new(
        "a part instead of the whole",
        |bytes| {
            let part = Answer::status(206).header("Content-Range", "bytes 0-9/999");
            vec![part.body(&bytes[..10])]
        },
        fatal,
        |_| "failed with code 206",
    ),
    Fault::new(
        "a bomb",
        |_| vec![Answer::ok(bomb())],
        fatal,
        |object| match object {
            Object::Manifest => "larger than 64 MiB",
            Object::Signature => "Failed to retrieve signature file",
            Object::Payload => "does not match expected checksum",
        },
    ),
    Fault::new(
        "redirects in a circle",
        |_| vec![Answer::redirect(302, "/circle")],
        fatal,
        |_| "Number of redirects hit maximum amount",
    ),
    Fault::new(
        "a redirect to a file",
        |_| vec![Answer::redirect(302, "file:///etc/passwd")],
        fatal,
        |_| "Unsupported protocol",
    ),
    Fault::new(
        "a redirect to another scheme",
        |_| vec![Answer::redirect(307, "ftp://127.0.0.1/x")],
        fatal,
        |_| "Unsupported protocol",
    ),
    Fault::new(
        "a redirect that has expired",
        |_| vec![Answer::redirect(302, "/expired")],
        fatal,
        |_| "failed with code 403",
    ),
    Fault::new(
        "403",
        |_| vec![Answer::status(403)],
        fatal,
        |_| "failed with code 403",
    ),
    Fault::new(
        "500",
        |_| vec![Answer::status(500)],
        healed,
        |_| "failed with code 500",
    ),
    Fault::new(
        "429 for a moment",
        |_| vec![Answer::status(429).header("Retry-After", "0")],
        healed,
        |_| "failed with code 429",
    ),
    Fault::new(
        "503 for an hour",
        |_| vec![Answer::status(503).header("Retry-After", "3600")],
        fatal,
        |_| "failed with code 503",
    ),
    // What follows is answered to the request for the rest of a payload that broke off.
    Fault::new(
        "everything instead of the rest",
        |bytes| vec![half(bytes), Answer::ok(other(bytes))],
        healed,
        |_| "does not match expected checksum",
    )
    .only(|object| object == Object::Payload),
    Fault::new(
        "the rest of another state",
        |bytes| {
            let changed = Answer::ok(other(bytes)).unconditional();
            vec![half(bytes), changed.header("ETag", "\"b\"")]
        },
        healed,
        |_| "does not match expected checksum",
    )
    .only(|object| object == Object::Payload),
    Fault::new(
        "another part than the rest",
        |bytes| {
            vec![
                half(bytes),
                Answer::ok(other(bytes)).mislabelled("bytes 0-9/10"),
            ]
        },
        healed,
        |_| "does not match expected checksum",
    )
    .only(|object| object == Object::Payload),
    Fault::new(
        "other bytes as the rest",
        |bytes| {
            let shifted = ranged(&other(bytes)).unconditional();
            vec![half(bytes), shifted]
        },
        healed,
        |_| "does not match expected checksum",
    )
    .only(|object| object == Object::Payload),
    Fault::new(
        "no such part",
        |bytes| vec![half(bytes), ranged(&other(bytes)).refusing_ranges()],
        healed,
        |_| "does not match expected checksum",
    )
    .only(|object| object == Object::Payload),
];

/// When the right bytes are there again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repair {
    SameRun,
    NextRun,
}

struct Case {
    fault: &'static Fault,
    object: Object,
    repair: Repair,
}

/// Version 1 is installed, version 2 is there.
struct Scene {
    server: Server,
    host: Host,
    payload: String,
    listed: String,
}

impl Scene {
    fn new() -> Self {
        let (server, host) = trusting();
        let first = manifest(&[("app_1.raw", "one")]);
        server.put("/SHA256SUMS.sha256.asc", signed(&ALICE, &first));
        host.update();
        let payload = "0123456789abcdef".repeat(32 * 1024);
        let listed = manifest(&[("app_1.raw", "one"), ("app_2.raw", &payload)]);
        server.answer("/circle", Answer::redirect(302, "/circle"));
        server.answer("/expired", Answer::status(403));
        let scene = Self {
            server,
            host,
            payload,
            listed,
        };
        scene.serve();
        scene
    }

    fn bytes(&self, object: Object) -> Vec<u8> {
        match object {
            Object::Manifest => self.listed.clone().into_bytes(),
            Object::Signature => signed(&ALICE, &self.listed),
            Object::Payload => self.payload.clone().into_bytes(),
        }
    }

    fn serve(&self) {
        for object in OBJECTS {
            self.server
                .answer(object.path(), ranged(&self.bytes(object)));
        }
    }

    fn update(&self) -> Run {
        self.host.run(&["update", "--network-timeout=1"])
    }

    /// What holds while version 2 is not installed.
    fn old_stands(&self) -> Result<(), String> {
        let mut tree = self.host.tree("srv/target");
        tree.retain(|line| line != ".sysupdate.partial.app_2.raw 0600");
        let content = self.host.read("srv/target/app.raw");
        if tree == ["app.raw -> app_1.raw", "app_1.raw 0644"] && content == "one" {
            return Ok(());
        }
        Err(format!("the old version does not stand: {tree:?}"))
    }

    fn new_stands(&self) -> Result<(), String> {
        let tree = self.host.tree("srv/target");
        let wanted = ["app.raw -> app_2.raw", "app_1.raw 0644", "app_2.raw 0644"];
        if tree == wanted && self.host.read("srv/target/app.raw") == self.payload {
            return Ok(());
        }
        Err(format!("the new version does not stand: {tree:?}"))
    }
}

impl Case {
    fn judge(&self) -> Result<(), String> {
        let scene = Scene::new();
        let path = self.object.path();
        let mut answers = (self.fault.answers)(&scene.bytes(self.object));
        if self.repair == Repair::NextRun {
            scene
                .server
                .answer(path, answers.pop().expect("there is one"));
        }
        scene.server.first(path, answers);
        let begin = Instant::now();
        let run = scene.update();
        if begin.elapsed() > Duration::from_secs(60) {
            return Err(format!("it took {:?}", begin.elapsed()));
        }
        let passes = match (self.fault.once)(self.object) {
            Once::Healed => self.repair == Repair::SameRun,
            Once::Fatal => false,
            Once::Harmless => true,
        };
        if passes {
            if run.code != Some(0) {
                return Err(format!("it was not healed: {run:#?}"));
            }
            return scene.new_stands();
        }
        let says = (self.fault.says)(self.object);
        if run.code != Some(1) || !run.stdout.is_empty() || !run.stderr.contains(says) {
            return Err(format!("no '{says}' in {run:#?}"));
        }
        scene.old_stands()?;
        scene.serve();
        scene.server.first(path, []);
        let run = scene.update();
        if run.code != Some(0) {
            return Err(format!("it does not go on: {run:#?}"));
        }
        scene.new_stands()
    }
}

#[test]
fn whatever_a_server_does_the_host_is_whole_and_the_run_ends() {
    let mut cases = Vec::new();
    for fault in FAULTS {
        for object in OBJECTS.into_iter().filter(|object| (fault.fits)(*object)) {
            for repair in [Repair::SameRun, Repair::NextRun] {
                cases.push(Case {
                    fault,
                    object,
                    repair,
                });
            }
        }
    }
    assert!(cases.len() > 120, "{} rows", cases.len());
    let (cases, complaints) = (Mutex::new(cases), Mutex::new(Vec::new()));
    // Most of them wait most of the time.
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().expect("not poisoned").pop() else {
                        break;
                    };
                    if let Err(complaint) = case.judge() {
                        let (fault, object) = (case.fault.name, case.object);
                        let text = format!("{fault}, {object:?}, {:?}: {complaint}", case.repair);
                        complaints.lock().expect("not poisoned").push(text);
                    }
                }
            });
        }
    });
    let complaints = complaints.into_inner().expect("not poisoned");
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

/// Addresses that a redirect leads to may live for one request only.
#[test]
fn a_redirect_is_asked_for_again_when_its_target_has_expired() {
    let scene = Scene::new();
    let bytes = scene.bytes(Object::Payload);
    scene.server.first(
        "/app_2.raw",
        [
            Answer::redirect(302, "/signed?1"),
            Answer::redirect(302, "/signed?2"),
        ],
    );
    scene.server.first("/signed?1", [half(&bytes)]);
    scene.server.answer("/signed?1", Answer::status(403));
    scene.server.answer("/signed?2", ranged(&bytes));
    scene.update().succeeds();
    scene.new_stands().expect("whole");
}
