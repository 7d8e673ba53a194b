//! Every definition that is shown to users, in `transfer.d-examples/` and in the README, loads without a warning where
//! it says that it belongs; those of the directory choose the right version of what a server offers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use jiff::tz::TimeZone;
use sysupdate::definition::{ComponentName, DefinitionError, Loader};
use sysupdate::event::{Event, Reporter, Severity};
use sysupdate::fetch::{Body, Fetch, FetchError, Request, Response, Seams};
use sysupdate::host::Host;
use sysupdate::inventory::remote::{Freshness, Manifests, Policy, RemoteError};
use sysupdate::plan::{self, Decision, Goal, Reach};
use sysupdate::root::Root;
use sysupdate::session::{Requirement, Session, SessionError};
use sysupdate::verify::memory::Acceptance;

use super::minisign::MADE;
use super::minisigner::Pair;

/// An example, and what follows from it on an x86-64 host without any installed version.
struct Case {
    file: &'static str,
    component: &'static str,
    signed: Signed,
    candidate: &'static str,
    target: &'static str,
    link: &'static str,
    restart: &'static [&'static str],
}

/// How an example wants its manifest to be authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signed {
    No,
    OpenPgp,
    Minisign,
}

const EXTENSION: Case = Case {
    file: "",
    component: "",
    signed: Signed::No,
    candidate: "",
    target: "",
    link: "",
    restart: &[],
};

const CASES: [Case; 10] = [
    Case {
        file: "wasmtime.toml",
        component: "wasmtime",
        // Numbers are compared as numbers, and 24.0.1 is for arm64 only.
        candidate: "24.0.0",
        target: "/var/lib/extensions.d/wasmtime/wasmtime-24.0.0-x86-64.raw",
        link: "/var/lib/extensions/wasmtime.raw",
        ..EXTENSION
    },
    Case {
        file: "kubernetes.toml",
        component: "kubernetes",
        // v1.33.0 is out of range, v1.32.7 for arm64 only.
        candidate: "v1.32.2",
        target: "/var/lib/extensions.d/kubernetes/kubernetes-v1.32.2-x86-64.raw",
        link: "/var/lib/extensions/kubernetes.raw",
        restart: &["kubelet.service"],
        ..EXTENSION
    },
    Case {
        file: "sysupdate.kubernetes.d/kubernetes-v1.32.conf",
        component: "kubernetes",
        candidate: "2",
        target: "/opt/extensions/kubernetes/kubernetes-v1.32.2-x86-64.raw",
        link: "/etc/extensions/kubernetes.raw",
        ..EXTENSION
    },
    Case {
        file: "tailscale.toml",
        component: "tailscale",
        // 1.80.1 is skipped.
        candidate: "1.80.0",
        target: "/var/lib/extensions.d/tailscale/tailscale-1.80.0-x86-64.raw",
        link: "/var/lib/extensions/tailscale.raw",
        restart: &["tailscaled.service"],
        ..EXTENSION
    },
    Case {
        file: "docker-compose.toml",
        component: "docker-compose",
        // docker-28.0.4 is another extension.
        candidate: "2.24.5",
        target: "/var/lib/extensions.d/docker-compose/docker-compose-2.24.5-x86-64.raw",
        link: "/var/lib/extensions/docker-compose.raw",
        ..EXTENSION
    },
    Case {
        file: "cloud-agent.toml",
        component: "cloud-agent",
        // v2.0.0 is a pre-release, v1.5.0 for arm64 only.
        candidate: "1.4.0",
        target: "/var/lib/extensions.d/cloud-agent/cloud-agent-1.4.0-x86-64.raw",
        link: "/var/lib/extensions/cloud-agent.raw",
        ..EXTENSION
    },
    Case {
        file: "geoip.toml",
        component: "geoip",
        signed: Signed::OpenPgp,
        candidate: "2026.11",
        target: "/var/lib/geoip/country-2026.11.mmdb",
        link: "/var/lib/geoip/country.mmdb",
        ..EXTENSION
    },
    Case {
        file: "sysupdate.edge-agent.d/edge-agent.transfer",
        component: "edge-agent",
        signed: Signed::OpenPgp,
        candidate: "2.1.0",
        target: "/var/lib/extensions.d/edge-agent/edge-agent-2.1.0-x86-64.raw",
        link: "/var/lib/extensions/edge-agent.raw",
        restart: &["edge-agent.service"],
    },
    Case {
        file: "edge-agent.toml",
        component: "edge-agent",
        signed: Signed::Minisign,
        candidate: "2.1.0",
        target: "/var/lib/extensions.d/edge-agent/edge-agent-2.1.0-x86-64.raw",
        link: "/var/lib/extensions/edge-agent.raw",
        restart: &["edge-agent.service"],
    },
    Case {
        file: "site-config.toml",
        component: "site-config",
        signed: Signed::OpenPgp,
        candidate: "10",
        target: "/var/lib/confexts.d/site-config/site-config-10.raw",
        link: "/var/lib/confexts/site-config.raw",
        ..EXTENSION
    },
];

#[test]
fn every_example_is_in_the_table() {
    let mut found = Vec::new();
    for entry in fs::read_dir(examples()).expect("the directory of examples") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(
                fs::read_dir(&path)
                    .expect("a directory")
                    .map(|entry| entry.expect("an entry").path()),
            );
        } else {
            found.push(path);
        }
    }
    let mut found: Vec<_> = found
        .iter()
        .map(|path| {
            path.strip_prefix(examples())
                .expect("inside")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    found.sort();
    let mut listed: Vec<_> = CASES.iter().map(|case| case.file.to_owned()).collect();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn every_example_loads_silently_and_chooses_the_right_version() {
    for case in &CASES {
        let place = Place::new();
        place.install(&fs::read_to_string(examples().join(case.file)).expect("an example"));
        let server = Server::signed(MANIFEST);
        place.survey(case.component, &server, |found| {
            let surveyed = found.expect(case.file);
            let [transfer] = &surveyed.component.transfers[..] else {
                panic!("{}: one transfer", case.file)
            };
            assert_eq!(
                transfer.activation.restart.named(),
                case.restart,
                "{}",
                case.file
            );
            let resolution = surveyed.resolve();
            let candidate = resolution
                .candidate
                .map(|index| resolution.sets[index].version.as_str());
            assert_eq!(candidate, Some(case.candidate), "{}", case.file);
            for set in resolution.sets.iter().flat_map(|set| &set.parts) {
                let name = set
                    .available
                    .map_or_else(String::new, |instance| instance.location.to_string());
                assert!(!name.contains("arm64"), "{}: {name}", case.file);
            }
            let request = plan::Request {
                version: None,
                goal: Goal::Install,
                reach: Reach::Online,
                instances_max: None,
            };
            match plan::decide(&resolution, &surveyed.transfers(), request).expect(case.file) {
                Decision::Do(plan) => {
                    assert_eq!(plan.steps[0].path, Path::new(case.target), "{}", case.file);
                }
                Decision::Nothing { idle, .. } => panic!("{}: {idle:?}", case.file),
            }
            let link = surveyed.inventories[0]
                .link
                .as_ref()
                .map(|link| link.path.as_path());
            assert_eq!(link, Some(Path::new(case.link)), "{}", case.file);
        });
        // The bakery's own form comes with the notice that it is an old one.
        let notice = "As of v257, transfer definitions should have the '.transfer' extension.";
        let legacy = Path::new(case.file)
            .extension()
            .is_some_and(|extension| extension == "conf");
        let expected = if legacy {
            vec![notice.to_owned()]
        } else {
            Vec::new()
        };
        assert_eq!(place.warnings(), expected, "{}", case.file);
    }
}

#[test]
fn examples_that_ask_for_a_signature_get_nothing_without_a_good_one() {
    let changed = MANIFEST.replace("0000  wasmtime", "000f  wasmtime");
    for case in &CASES {
        let place = Place::new();
        place.install(&fs::read_to_string(examples().join(case.file)).expect("an example"));
        place.survey(case.component, &Server::unsigned(), |found| {
            let refused_for = match &found {
                Err(SessionError::Remote(RemoteError::NoSignature(_))) => Signed::OpenPgp,
                Err(SessionError::Remote(RemoteError::NoMinisign { .. })) => Signed::Minisign,
                other => {
                    assert!(other.is_ok(), "{}: {other:?}", case.file);
                    Signed::No
                }
            };
            assert_eq!(refused_for, case.signed, "{}", case.file);
        });
        let tampered = Server {
            manifest: &changed,
            ..Server::signed(MANIFEST)
        };
        place.survey(case.component, &tampered, |found| {
            let refused_for = match &found {
                Err(SessionError::Remote(RemoteError::Signature { .. })) => Signed::OpenPgp,
                Err(SessionError::Remote(RemoteError::Minisign { .. })) => Signed::Minisign,
                other => {
                    assert!(other.is_ok(), "{}: {other:?}", case.file);
                    Signed::No
                }
            };
            assert_eq!(refused_for, case.signed, "{}", case.file);
        });
    }
}

#[test]
fn both_forms_at_once_are_refused() {
    let refused = |error: &SessionError| {
        matches!(
            error,
            SessionError::Definition(DefinitionError::DefinedTwice { .. })
        )
    };
    for component in ["kubernetes", "edge-agent"] {
        let place = Place::new();
        for case in CASES.iter().filter(|case| case.component == component) {
            place.install(&fs::read_to_string(examples().join(case.file)).expect("an example"));
        }
        place.survey(component, &Server::unsigned(), |found| {
            assert!(found.as_ref().is_err_and(refused), "{found:?}");
        });
    }
}

/// A block of the README whose first line names a place below /etc is a definition.
#[test]
fn definitions_in_the_readme_load_silently() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"))
        .expect("the README");
    let blocks = readme
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.split_once('\n'));
    let definitions: Vec<&str> = blocks
        .map(|(_, text)| text)
        .filter(|text| text.starts_with("# /etc/sysupdate"))
        .collect();
    assert!(!definitions.is_empty());
    for definition in definitions {
        let place = Place::new();
        let component = place.install(definition);
        let (root, host) = (place.root(), host());
        let loader = Loader {
            root: &root,
            host: &host,
            directory: None,
            transfer_source: None,
            boot: sysupdate::definition::BootPaths::default(),
        };
        let loaded = loader
            .load(&component.parse().expect("a name"), &place.heard)
            .expect(definition);
        assert_eq!(loaded.transfers.len(), 1, "{definition}");
        assert_eq!(place.warnings(), Vec::<String>::new(), "{definition}");
    }
}

/// A host that definitions are copied to.
struct Place {
    directory: tempfile::TempDir,
    heard: Heard,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            heard: Heard::default(),
        }
    }

    fn root(&self) -> Root {
        Root::open(self.directory.path()).expect("a root")
    }

    /// Puts a definition where its first line says; returns the component it defines there.
    fn install(&self, text: &str) -> String {
        let first = text.lines().next().unwrap_or_default();
        let path = first
            .strip_prefix("# /")
            .unwrap_or_else(|| panic!("'{first}' says where the file belongs"));
        let outer = self.directory.path().join(path);
        fs::create_dir_all(outer.parent().expect("a directory")).expect("made");
        File::create(&outer)
            .and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("written");
        let parts: Vec<&str> = path.split('/').collect();
        match parts[..] {
            ["etc", "sysupdate", "transfer.d", file] => file.strip_suffix(".toml"),
            ["etc", directory, _] => directory
                .strip_prefix("sysupdate.")
                .and_then(|name| name.strip_suffix(".d")),
            _ => None,
        }
        .unwrap_or_else(|| panic!("'{first}' is a place where definitions are looked for"))
        .to_owned()
    }

    fn survey(
        &self,
        component: &str,
        server: &Server<'_>,
        judge: impl FnOnce(Result<sysupdate::session::Surveyed, SessionError>),
    ) {
        let keyring = self.directory.path().join("keyring.pgp");
        File::create(&keyring)
            .and_then(|mut file| file.write_all(&unhexadecimal(KEY)))
            .expect("written");
        let keys = self.directory.path().join("etc/sysupdate/keys");
        fs::create_dir_all(&keys).expect("made");
        for (name, pair) in ["alice", "bob"].into_iter().zip(pairs()) {
            File::create(keys.join(format!("edge-agent-{name}.pub")))
                .and_then(|mut file| file.write_all(pair.public().as_bytes()))
                .expect("written");
        }
        let (root, host) = (self.root(), host());
        let loader = Loader {
            root: &root,
            host: &host,
            directory: None,
            transfer_source: None,
            boot: sysupdate::definition::BootPaths::default(),
        };
        let policy = Policy {
            keyring: Some(keyring),
            freshness: Freshness::Enforced,
            acceptance: Acceptance::Never,
            manifest_timeout: Duration::from_secs(60),
            now: "2026-12-01T00:00:00Z".parse().expect("a time"),
            zone: || TimeZone::UTC,
        };
        let manifests = Manifests::new(server, &root, policy, &self.heard);
        let session = Session {
            root: &root,
            loader: &loader,
            manifests: &manifests,
            reporter: &self.heard,
            verification: None,
            fetch: server,
            credentials: None,
            os: &sysupdate::compat::Os::new(BTreeMap::new(), None),
            peek: None,
        };
        let name: ComponentName = component.parse().expect("a name");
        let loaded = session.load(&name, Requirement::EnabledTransfer);
        judge(loaded.and_then(|component| session.survey(component, Reach::Online)));
    }

    fn warnings(&self) -> Vec<String> {
        self.heard.0.lock().expect("not poisoned").clone()
    }
}

/// Keeps warnings and errors.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Reporter for Heard {
    fn report(&self, event: &Event<'_>) {
        if event.severity() >= Severity::Warning {
            self.0.lock().expect("not poisoned").push(event.to_string());
        }
    }
}

/// Serves the same manifest, and perhaps signatures, below every base.
struct Server<'a> {
    manifest: &'a str,
    /// By the suffix of their file.
    signatures: Vec<(&'static str, Vec<u8>)>,
}

impl<'a> Server<'a> {
    fn unsigned() -> Self {
        Self {
            manifest: MANIFEST,
            signatures: Vec::new(),
        }
    }

    fn signed(manifest: &'a str) -> Self {
        let minisign = pairs().map(|pair| pair.sign(manifest.as_bytes(), MADE));
        Self {
            manifest,
            signatures: vec![
                (".gpg", unhexadecimal(SIGNATURE)),
                (".minisig", minisign.concat().into_bytes()),
            ],
        }
    }
}

/// Who signs with minisign.
fn pairs() -> [Pair; 2] {
    [1, 2].map(Pair::new)
}

impl Fetch for Server<'_> {
    fn open(&self, request: &Request<'_>) -> Result<Response, FetchError> {
        let name = request.url.rsplit('/').next().unwrap_or_default();
        let suffix = name.strip_prefix("SHA256SUMS").unwrap_or("/");
        let mut signatures = self.signatures.iter();
        let bytes = match suffix {
            _ if name == "releases?per_page=100&page=1" => Some(RELEASES.as_bytes().to_vec()),
            "" => Some(self.manifest.as_bytes().to_vec()),
            _ => signatures
                .find(|(own, _)| *own == suffix)
                .map(|(_, signature)| signature.clone()),
        };
        let bytes = bytes.ok_or_else(|| FetchError::Status {
            url: request.url.to_owned(),
            code: 404,
        })?;
        let length = Some(bytes.len() as u64);
        let reader = Box::new(Cursor::new(bytes));
        Ok(Response::Body(Body {
            length,
            part: None,
            tag: None,
            seams: Seams::default(),
            validators: None,
            modified: None,
            continues: false,
            reader,
        }))
    }

    fn size(&self, _: &str) -> Result<Option<u64>, FetchError> {
        Ok(None)
    }
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("transfer.d-examples")
}

fn host() -> Host {
    let os_release = BTreeMap::from([("ID".to_owned(), "flatcar".to_owned())]);
    Host {
        architecture: Some("x86-64".to_owned()),
        os_release: Some(os_release),
        ..Host::default()
    }
}

fn unhexadecimal(digits: &str) -> Vec<u8> {
    let pairs = digits
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).expect("ASCII"));
    pairs
        .map(|pair| u8::from_str_radix(pair, 16).expect("a byte"))
        .collect()
}

/// What the API of a repository says.
const RELEASES: &str = r#"[
{"tag_name": "v2.0.0", "prerelease": true, "assets": [{"id": 1, "name": "cloud-agent-2.0.0-x86-64.raw", "size": 1,
    "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000001"}]},
{"tag_name": "v1.5.0", "assets": [{"id": 2, "name": "cloud-agent-1.5.0-arm64.raw", "size": 1,
    "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000002"}]},
{"tag_name": "v1.4.0", "assets": [{"id": 3, "name": "cloud-agent-1.4.0-x86-64.raw", "size": 1,
    "digest": "sha256:0000000000000000000000000000000000000000000000000000000000000003"}]}
]"#;

/// All that the examples choose from; signed, so not a byte of it can change.
const MANIFEST: &str = "\
0000000000000000000000000000000000000000000000000000000000000000  wasmtime-9.0.0-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000001  wasmtime-24.0.0-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000002  wasmtime-24.0.1-arm64.raw
0000000000000000000000000000000000000000000000000000000000000003  kubernetes-v1.31.9-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000004  kubernetes-v1.32.1-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000005  kubernetes-v1.32.2-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000006  kubernetes-v1.32.2-arm64.raw
0000000000000000000000000000000000000000000000000000000000000007  kubernetes-v1.32.7-arm64.raw
0000000000000000000000000000000000000000000000000000000000000008  kubernetes-v1.33.0-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000009  tailscale-1.78.3-x86-64.raw
000000000000000000000000000000000000000000000000000000000000000a  tailscale-1.80.0-x86-64.raw
000000000000000000000000000000000000000000000000000000000000000b  tailscale-1.80.1-x86-64.raw
000000000000000000000000000000000000000000000000000000000000000c  docker-28.0.4-x86-64.raw
000000000000000000000000000000000000000000000000000000000000000d  docker-compose-2.2.5-x86-64.raw
000000000000000000000000000000000000000000000000000000000000000e  docker-compose-2.24.5-x86-64.raw
000000000000000000000000000000000000000000000000000000000000000f  docker-compose-2.24.5-arm64.raw
0000000000000000000000000000000000000000000000000000000000000010  docker-compose-2.24.6-arm64.raw
0000000000000000000000000000000000000000000000000000000000000011  country-2026.09.mmdb.xz
0000000000000000000000000000000000000000000000000000000000000012  country-2026.11.mmdb.xz
0000000000000000000000000000000000000000000000000000000000000013  edge-agent-1.9.0-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000014  edge-agent-2.1.0-x86-64.raw
0000000000000000000000000000000000000000000000000000000000000015  edge-agent-2.2.0-arm64.raw
0000000000000000000000000000000000000000000000000000000000000016  site-config-9.raw
0000000000000000000000000000000000000000000000000000000000000017  site-config-10.raw
";

/// `gpg --export` of an Ed25519 key made for these tests, without expiry.
const KEY: &str = "\
    9833046955b90016092b06010401da470f01010740ea9fd435e7866cf665d2629a4a8ae544b283414c191202b05b1a767b937aaf99b421\
    5075626c6973686572203c7075626c6973686572406578616d706c652e6f72673e8890041316080038162104ea1241cc7983c634707ba5\
    d33a4375cf54f4987405026955b900021b03050b0908070206150a09080b020416020301021e01021780000a09103a4375cf54f49874f2\
    d10100a07fa5a1b830c465e46984fbfbc7f9f6beb80b97d782b1b0c246d1f9646494b2010082c3308b24bd14e3a3c062e044172f9762fb\
    80dc283af7c6c97592ba9c9a560e";

/// `gpg --detach-sign` of [`MANIFEST`] with it.
const SIGNATURE: &str = "\
    887504001608001d162104ea1241cc7983c634707ba5d33a4375cf54f49874050269570a80000a09103a4375cf54f4987493690100ed61\
    f7aadb8b9505dffb187ef6bd54e4585ded51f2be251ced0e4c95e687552e00ff7a89ece3f2089ae5ac355782b107d94488a6ee1acebaa6\
    08668314fa250e9805";
