//! Definitions, in both forms.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sysupdate::definition::{BootPaths, Component, ComponentName, ComponentSettings, Loader};
use sysupdate::event::Silent;
use sysupdate::host::Host;
use sysupdate::root::Root;

use crate::Work;

pub(crate) fn systemd() -> Work {
    let directory = tempfile::tempdir().expect("a directory");
    for number in 10..30 {
        let name = format!("{number}-app.transfer");
        lay(directory.path(), &name, &TRANSFER.replace("app", &name));
        lay(directory.path(), &format!("{name}.d/more.conf"), DROP_IN);
    }
    lay(directory.path(), "extra.feature", FEATURE);
    Box::new(move || load(directory.path()).transfers.len())
}

/// What a directory with definitions defines.
pub(crate) fn load(directory: &Path) -> Component {
    let (root, host) = (Root::host(), host());
    let loader = Loader {
        directory: Some(directory),
        ..loader(&root, &host)
    };
    loader
        .load(&ComponentName::Default, &Silent)
        .expect("they are right")
}

pub(crate) fn native() -> Work {
    let (root, host) = (Root::host(), host());
    Box::new(move || {
        let loader = loader(&root, &host);
        let path = Path::new("/etc/sysupdate/transfer.d/app.toml");
        let transfers = (0..20).map(|_| {
            let mut settings = ComponentSettings::default();
            loader
                .native_transfer("app", path, NATIVE.as_bytes(), &mut settings, &Silent)
                .expect("it is right")
        });
        transfers.filter(|transfer| transfer.enabled).count()
    })
}

fn loader<'a>(root: &'a Root, host: &'a Host) -> Loader<'a> {
    Loader {
        root,
        host,
        directory: None,
        transfer_source: None,
        boot: BootPaths::default(),
    }
}

fn host() -> Host {
    let os_release = [
        ("ID", "counts"),
        ("VERSION_ID", "12"),
        ("IMAGE_VERSION", "7"),
    ];
    let os_release = os_release.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Host {
        os_release: Some(BTreeMap::from(os_release)),
        machine_id: Some("0123456789abcdef0123456789abcdef".to_owned()),
        architecture: Some("x86-64".to_owned()),
        hostname: "counts".to_owned(),
        ..Host::default()
    }
}

pub(crate) fn lay(directory: &Path, name: &str, text: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().expect("it has one")).expect("created");
    fs::write(path, text).expect("written");
}

pub(crate) const TRANSFER: &str = "\
# All that systemd knows, and some of what it does not.
[Transfer]
MinVersion=0.1
ProtectVersion=%A
Features=extra
ChangeLog=https://example.org/app-@v.txt
AppStream=https://example.org/app.xml
Verify=no
X-VersionRange=>=1.2, <4
X-SkipVersion=1.2.3 1.2.4

[Source]
Type=url-file
Path=https://example.org/%m/%w
MatchPattern=app_@v_%a_@h.raw.xz \\
             app_@v_%a.raw.xz
X-Mirrors=https://one.example.org https://two.example.org

[Target]
Type=regular-file
Path=/var/lib/extensions.d
MatchPattern=app_@v+@l-@d.raw app_@v.raw
CurrentSymlink=/var/lib/extensions/app.raw
Mode=0644
InstancesMax=3
TriesLeft=3
TriesDone=0

[X-Activate]
Mode=refresh
Restart=app.service
";

const DROP_IN: &str = "[Target]\nInstancesMax=4\n[Transfer]\nProtectVersion=1.2.9\n";

pub(crate) const FEATURE: &str = "[Feature]\nDescription=Something more\nEnabled=yes\n";

const NATIVE: &str = r#"
documentation = ["https://example.org/app"]

[transfer]
description = "All that there is"
min_version = "0.1"
range = ">=1.2, <4"
skip = ["1.2.3", "1.2.4"]
verify = "minisign"
keys = ["/etc/sysupdate/keys/alice.pub", "/etc/sysupdate/keys/bob.pub"]
threshold = 2
max_age = "90d"

[source]
url = "https://example.org/%m/%w"
match = ["app_@v_%a_@h.raw.xz", "app_@v_%a.raw.xz"]
mirrors = ["https://one.example.org", "https://two.example.org"]

[target]
path = "/var/lib/extensions.d"
match = ["app_@v+@l-@d.raw", "app_@v.raw"]
current_symlink = "/var/lib/extensions/app.raw"
instances_max = 3

[activate]
mode = "refresh"
restart = ["app.service"]

[check]
units = ["app.service"]
command = ["/usr/bin/app", "--version"]
settle = "20s"
"#;
