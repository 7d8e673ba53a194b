//! The global file `sysupdate/config.toml`: what holds for all sources and runs.
//!
//! Owns where it lies (the first of /etc, /run, /usr/local/lib and /usr/lib that has one; an empty one is none), its keys and
//! their values. It is optional; a setting that is not given is `None`, and its default is that of whoever uses it. Strict as
//! the native definitions are. Nothing here opens what a path or a URL names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::toml::de::DeValue;

use super::error::DefinitionError;
use super::search::{self, DIRECTORIES, Kind, Search};
use super::toml::{Entry, Text, entries};
use super::transfer::{Located, Origin};
use super::value;
use super::window::Window;
use crate::event::Reporter;
use crate::root::Root;

/// All global settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[network]`.
    pub network: Network,
    /// `[compat]`.
    pub compat: Compat,
    /// `[metrics]`.
    pub metrics: Metrics,
    /// `[reboot]`.
    pub reboot: Reboot,
    /// `[bakeries]`: names and the URLs they stand for, in the order of the file.
    pub bakeries: Vec<Located<Bakery>>,
}

/// What monitoring reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metrics {
    /// The text file for the Prometheus node exporter.
    pub textfile: Option<Located<PathBuf>>,
}

/// When this host may be rebooted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reboot {
    /// The window of the week, in local time.
    pub window: Option<Located<Window>>,
}

/// A place that offers extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bakery {
    /// What it is called in `--from NAME`.
    pub name: String,
    /// The URL that its `SHA256SUMS`, and a directory per extension, lie below.
    pub url: String,
}

/// How sources are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// The proxy for everything, instead of those of the environment.
    pub proxy: Option<Located<String>>,
    /// Certificates (PEM) of authorities that are trusted beside the system's.
    pub ca_file: Option<Located<PathBuf>>,
    /// The certificate (PEM) that this host shows; never without [`Self::client_key`].
    pub client_certificate: Option<Located<PathBuf>>,
    /// Its key (PEM).
    pub client_key: Option<Located<PathBuf>>,
    /// Where URLs lead instead, in the order of the file.
    pub rewrites: Vec<Located<Rewrite>>,
    /// The bandwidth of all downloads together, in bytes per second.
    pub limit_rate: Option<Located<u64>>,
    /// How long a connection may take.
    pub connect_timeout: Option<Located<Duration>>,
    /// What must arrive at least over the window, in bytes per second.
    pub stall_rate: Option<Located<u64>>,
    /// Over how long that is measured.
    pub stall_window: Option<Located<Duration>>,
    /// How often a failed request is repeated; 0 for never.
    pub retries: Option<Located<u64>>,
    /// The pause before the first repetition.
    pub retry_delay: Option<Located<Duration>>,
    /// When no repetition is begun any more.
    pub retry_deadline: Option<Located<Duration>>,
    /// How long a manifest may take, and how long a signature.
    pub manifest_timeout: Option<Located<Duration>>,
    /// Downloads at a time, at least 1.
    pub jobs: Option<Located<u64>>,
}

/// How images are judged before they are installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compat {
    /// Whether an image is looked into before it is downloaded.
    pub peek: Option<Located<bool>>,
}

/// One prefix of URLs and what stands for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// What a URL begins with.
    pub from: String,
    /// What it begins with instead.
    pub to: String,
}

impl Config {
    /// Reads the file of a root; without one every setting has its default.
    ///
    /// # Errors
    /// When it cannot be read, or anything in it is not understood.
    pub fn load(root: &Root, reporter: &dyn Reporter) -> Result<Self, DefinitionError> {
        let directories = DIRECTORIES.map(|directory| Path::new(directory).join("sysupdate"));
        let search = Search {
            root,
            reporter,
            directories: directories.to_vec(),
        };
        let Some((path, Kind::File)) = search.first("config.toml")? else {
            return Ok(Self::default());
        };
        let shown = search::shown(root, &path);
        match root.read(&path, super::NATIVE_LIMIT) {
            Ok(bytes) => Self::parse(&bytes, &shown),
            Err(source) => Err(DefinitionError::Read {
                path: shown,
                source,
            }),
        }
    }

    /// Parses the text of a file called `path` in messages.
    ///
    /// # Errors
    /// When anything in it is not understood, or does not fit together.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, DefinitionError> {
        let text = Text::decode(bytes, path)?;
        let mut config = Self::default();
        for table in entries(&text.parse()?) {
            if table.name == BAKERIES {
                config.bakeries = bakeries(&text, &table)?;
                continue;
            }
            let known = KEYS.iter().filter(|key| key.table == table.name);
            if known.clone().next().is_none() {
                let tables = KEYS.iter().map(|key| key.table).chain([BAKERIES]);
                return Err(text.unknown(&table, "at the top level", home(table.name), tables));
            }
            let DeValue::Table(inner) = table.value else {
                let message = format!("'{}' must be a table", table.name);
                return Err(text.refuse(table.span.start, message));
            };
            for entry in entries(inner) {
                let Some(key) = known.clone().find(|key| key.name == entry.name) else {
                    let names = known.clone().map(|key| key.name);
                    let place = format!("in [{}]", table.name);
                    return Err(text.unknown(&entry, &place, home(entry.name), names));
                };
                let setting = Setting {
                    text: &text,
                    entry: &entry,
                    origin: text.origin(entry.span.start),
                };
                (key.set)(&mut config, &setting)?;
            }
        }
        config.network.check(&text, bytes)?;
        Ok(config)
    }
}

/// The one table whose keys are the user's own names.
const BAKERIES: &str = "bakeries";

fn bakeries(text: &Text<'_>, table: &Entry<'_>) -> Result<Vec<Located<Bakery>>, DefinitionError> {
    let DeValue::Table(inner) = table.value else {
        let message = format!("'{BAKERIES}' must be a table of names and URLs");
        return Err(text.refuse(table.span.start, message));
    };
    let bakery = |entry: Entry<'_>| {
        let setting = Setting {
            text,
            entry: &entry,
            origin: text.origin(entry.span.start),
        };
        setting.text("a URL: http, https or file", |url| {
            value::is_source_url(url).then(|| Bakery {
                name: entry.name.to_owned(),
                url: url.to_owned(),
            })
        })
    };
    entries(inner).into_iter().map(bakery).collect()
}

impl Network {
    fn check(&self, text: &Text<'_>, bytes: &[u8]) -> Result<(), DefinitionError> {
        let (one, other) = match (&self.client_certificate, &self.client_key) {
            (Some(one), None) => (one, "client_key"),
            (None, Some(one)) => (one, "client_certificate"),
            _ => return Ok(()),
        };
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let start = lines.take(one.origin.line - 1).map(<[u8]>::len).sum();
        Err(text.refuse(
            start,
            format!("'{other}' is missing: a certificate and its key go together"),
        ))
    }
}

/// A key of the file.
struct Key {
    table: &'static str,
    name: &'static str,
    set: fn(&mut Config, &Setting<'_>) -> Result<(), DefinitionError>,
}

const fn network(
    name: &'static str,
    set: fn(&mut Config, &Setting<'_>) -> Result<(), DefinitionError>,
) -> Key {
    Key {
        table: "network",
        name,
        set,
    }
}

const KEYS: &[Key] = &[
    network("proxy", |config, setting| {
        let expects = "a URL that begins with http:// or https://";
        let url = setting.text(expects, |text| {
            value::is_web_url(text).then(|| text.to_owned())
        })?;
        config.network.proxy = Some(url);
        Ok(())
    }),
    network("ca_file", |config, setting| {
        config.network.ca_file = Some(setting.path()?);
        Ok(())
    }),
    network("client_certificate", |config, setting| {
        config.network.client_certificate = Some(setting.path()?);
        Ok(())
    }),
    network("client_key", |config, setting| {
        config.network.client_key = Some(setting.path()?);
        Ok(())
    }),
    network("rewrites", |config, setting| {
        config.network.rewrites = setting.rewrites()?;
        Ok(())
    }),
    network("limit_rate", |config, setting| {
        config.network.limit_rate = Some(setting.size()?);
        Ok(())
    }),
    network("connect_timeout", |config, setting| {
        config.network.connect_timeout = Some(setting.span()?);
        Ok(())
    }),
    network("stall_rate", |config, setting| {
        config.network.stall_rate = Some(setting.size()?);
        Ok(())
    }),
    network("stall_window", |config, setting| {
        config.network.stall_window = Some(setting.span()?);
        Ok(())
    }),
    network("retries", |config, setting| {
        config.network.retries = Some(setting.count(0, 100)?);
        Ok(())
    }),
    network("retry_delay", |config, setting| {
        config.network.retry_delay = Some(setting.span()?);
        Ok(())
    }),
    network("retry_deadline", |config, setting| {
        config.network.retry_deadline = Some(setting.span()?);
        Ok(())
    }),
    network("manifest_timeout", |config, setting| {
        config.network.manifest_timeout = Some(setting.span()?);
        Ok(())
    }),
    network("jobs", |config, setting| {
        config.network.jobs = Some(setting.count(1, 256)?);
        Ok(())
    }),
    Key {
        table: "metrics",
        name: "textfile",
        set: |config, setting| {
            config.metrics.textfile = Some(setting.path()?);
            Ok(())
        },
    },
    Key {
        table: "reboot",
        name: "window",
        set: |config, setting| {
            let window = setting.text("a window, as \"Mon..Fri 02:00-04:00\"", |text| {
                text.parse().ok()
            })?;
            config.reboot.window = Some(window);
            Ok(())
        },
    },
    Key {
        table: "compat",
        name: "peek",
        set: |config, setting| {
            let DeValue::Boolean(peek) = setting.entry.value else {
                return Err(setting.wrong("true or false"));
            };
            config.compat.peek = Some(setting.located(*peek));
            Ok(())
        },
    },
];

/// A value in its place.
struct Setting<'a> {
    text: &'a Text<'a>,
    entry: &'a Entry<'a>,
    origin: Origin,
}

impl Setting<'_> {
    fn located<T>(&self, value: T) -> Located<T> {
        Located {
            value,
            origin: self.origin.clone(),
        }
    }

    fn wrong(&self, expects: &str) -> DefinitionError {
        let message = format!("'{}' must be {expects}", self.entry.name);
        self.text.refuse(self.entry.value_start, message)
    }

    fn text<T>(
        &self,
        expects: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Located<T>, DefinitionError> {
        let parsed = match self.entry.value {
            DeValue::String(text) => parse(text),
            _ => None,
        };
        parsed
            .map(|value| self.located(value))
            .ok_or_else(|| self.wrong(expects))
    }

    fn path(&self) -> Result<Located<PathBuf>, DefinitionError> {
        self.text("an absolute path without '//', '.' and '..'", |text| {
            let is_file = value::is_normalized_absolute(text) && !text.ends_with('/');
            is_file.then(|| text.into())
        })
    }

    fn span(&self) -> Result<Located<Duration>, DefinitionError> {
        self.text("a time span, as \"30s\" or \"5min\"", |text| {
            value::span(text).ok()
        })
    }

    fn size(&self) -> Result<Located<u64>, DefinitionError> {
        self.text("a number of bytes, as \"512K\" or \"10M\"", |text| {
            value::size(text).ok()
        })
    }

    fn count(&self, least: u64, most: u64) -> Result<Located<u64>, DefinitionError> {
        let number = match self.entry.value {
            DeValue::Integer(integer) => {
                u64::from_str_radix(integer.as_str(), integer.radix()).ok()
            }
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .map(|number| self.located(number))
            .ok_or_else(|| self.wrong(&format!("an integer from {least} to {most}")))
    }

    fn rewrites(&self) -> Result<Vec<Located<Rewrite>>, DefinitionError> {
        let DeValue::Table(table) = self.entry.value else {
            return Err(self.wrong("a table of URL prefixes"));
        };
        let rewrite = |entry: Entry<'_>| {
            if !value::is_source_url(entry.name) {
                let name = entry.name.escape_debug();
                let message = format!("'{name}' must be a URL: http, https or file");
                return Err(self.text.refuse(entry.span.start, message));
            }
            let place = Setting {
                text: self.text,
                entry: &entry,
                origin: self.text.origin(entry.span.start),
            };
            place.text("a URL: http, https or file", |text| {
                value::is_source_url(text).then(|| Rewrite {
                    from: entry.name.to_owned(),
                    to: text.to_owned(),
                })
            })
        };
        entries(table).into_iter().map(rewrite).collect()
    }
}

/// The table that a key of this name belongs in.
fn home(name: &str) -> Option<&'static str> {
    let key = KEYS.iter().find(|key| key.name == name)?;
    Some(key.table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text.as_bytes(), Path::new("etc/sysupdate/config.toml"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_setting_lands_in_its_field() {
        let config = parse(
            r#"
[network]
proxy = "http://proxy:3128"
ca_file = "/etc/ca.pem"
client_certificate = "/etc/host.pem"
client_key = "/etc/host.key"
limit_rate = "10M"
connect_timeout = "30s"
stall_rate = "1K"
stall_window = "1min"
retries = 5
retry_delay = "1s"
retry_deadline = "1h"
manifest_timeout = "5min"
jobs = 4
[network.rewrites]
"https://extensions.flatcar.org/" = "https://mirror.internal/flatcar/"
"https://a" = "file:///srv/a"
[compat]
peek = true
[metrics]
textfile = "/var/lib/node/sysupdate.prom"
[reboot]
window = "Sat 02:00-04:00"
[bakeries]
own = "https://images.internal/sysext"
"#,
        )
        .expect("it is right");
        let network = config.network;
        let seconds = |span: Option<Located<Duration>>| span.map(|span| span.value.as_secs());
        assert_eq!(network.proxy.expect("set").value, "http://proxy:3128");
        assert_eq!(
            network.ca_file.expect("set").value,
            Path::new("/etc/ca.pem")
        );
        assert_eq!(
            (
                network.client_certificate.expect("set").value,
                network.client_key.expect("set").origin.line
            ),
            ("/etc/host.pem".into(), 6)
        );
        assert_eq!(network.limit_rate.expect("set").value, 10 << 20);
        assert_eq!(network.stall_rate.expect("set").value, 1024);
        assert_eq!(seconds(network.connect_timeout), Some(30));
        assert_eq!(seconds(network.stall_window), Some(60));
        assert_eq!(network.retries.expect("set").value, 5);
        assert_eq!(seconds(network.retry_delay), Some(1));
        assert_eq!(seconds(network.retry_deadline), Some(3600));
        assert_eq!(seconds(network.manifest_timeout), Some(300));
        assert_eq!(network.jobs.expect("set").value, 4);
        let origins: Vec<_> = network
            .rewrites
            .iter()
            .map(|rewrite| rewrite.origin.line)
            .collect();
        assert_eq!(origins, [17, 18]);
        assert_eq!(config.compat.peek.map(|peek| peek.value), Some(true));
        assert_eq!(
            config.metrics.textfile.expect("set").value,
            Path::new("/var/lib/node/sysupdate.prom")
        );
        let window = config.reboot.window.expect("set").value;
        assert_eq!(window.to_string(), "Sat 02:00-04:00");
        assert_eq!(config.bakeries[0].value.name, "own");
        assert_eq!(KEYS.len(), 17, "a new key belongs into this test");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_place() {
        for (text, refusal) in [
            (
                "[netwrok]",
                ":1:2: unknown key 'netwrok' at the top level, did you mean 'network'?\n  [netwrok]",
            ),
            (
                "jobs = 1",
                ":1:1: unknown key 'jobs' at the top level, it belongs in [network]\n  jobs = 1",
            ),
            (
                "network = 1",
                ":1:1: 'network' must be a table\n  network = 1",
            ),
            (
                "[network]\nretires = 1",
                ":2:1: unknown key 'retires' in [network], did you mean 'retries'?\n  retires = 1",
            ),
            (
                "[compat]\nretries = 1",
                ":2:1: unknown key 'retries' in [compat], it belongs in [network]\n  retries = 1",
            ),
            (
                "[network]\nproxy = \"proxy:1\"",
                ":2:9: 'proxy' must be a URL that begins with http:// or https://\n",
            ),
            ("[network]\nproxy = 1", ":2:9: 'proxy' must be a URL"),
            (
                "[network]\nca_file = \"ca.pem\"",
                ":2:11: 'ca_file' must be an absolute path",
            ),
            (
                "[network]\nlimit_rate = 5",
                ":2:14: 'limit_rate' must be a number of bytes, as \"512K\" or \"10M\"\n",
            ),
            (
                "[network]\nlimit_rate = \"0\"",
                ":2:14: 'limit_rate' must be a number of bytes",
            ),
            (
                "[network]\nstall_window = \"soon\"",
                ":2:16: 'stall_window' must be a time span, as \"30s\"",
            ),
            (
                "[network]\njobs = 0",
                ":2:8: 'jobs' must be an integer from 1 to 256\n",
            ),
            (
                "[network]\nretries = -1",
                ":2:11: 'retries' must be an integer from 0 to 100\n",
            ),
            (
                "[network]\nrewrites = []",
                ":2:12: 'rewrites' must be a table of URL prefixes\n",
            ),
            (
                "[network.rewrites]\n\"a\" = \"https://b\"",
                ":2:1: 'a' must be a URL: http, https or file\n",
            ),
            (
                "[network.rewrites]\n\"https://a\" = \"b\"",
                ":2:15: 'https://a' must be a URL: http, https or file\n",
            ),
            (
                "[compat]\npeek = \"yes\"",
                ":2:8: 'peek' must be true or false\n",
            ),
            (
                "[network]\njobs = 1\n client_key = \"/k\"",
                ":3:1: 'client_certificate' is missing: a certificate and its key go together\n   client_key",
            ),
            (
                "[network]\nclient_certificate = \"/k\"",
                ":2:1: 'client_key' is missing",
            ),
            ("[network", ":1:9: "),
        ] {
            let found = parse(text).expect_err(text);
            let refusal = format!("etc/sysupdate/config.toml{refusal}");
            assert!(found.starts_with(&refusal), "{text}: {found}");
        }
        let garbage = Config::parse(b"\xff", Path::new("x")).expect_err("no UTF-8");
        assert_eq!(garbage.to_string(), "x:1:1: the text is not UTF-8\n  ");
    }
    #[test]
    fn the_first_file_counts_and_an_empty_one_is_a_mask() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = Root::open(directory.path()).expect("it opens");
        let write = |place: &str, text: &str| {
            let path = directory.path().join(place).join("sysupdate");
            std::fs::create_dir_all(&path).expect("made");
            std::fs::write(path.join("config.toml"), text).expect("written");
        };
        let jobs = || {
            let config = Config::load(&root, &Silent).map_err(|error| error.to_string());
            config.map(|config| config.network.jobs.map(|jobs| jobs.value))
        };
        assert_eq!(jobs(), Ok(None));
        write("usr/lib", "[network]\njobs = 2");
        assert_eq!(jobs(), Ok(Some(2)));
        write("run", "[network]\njobs = 3");
        assert_eq!(jobs(), Ok(Some(3)));
        write("etc", "");
        assert_eq!(jobs(), Ok(None));
        write("etc", "x");
        assert!(jobs().is_err_and(|error| error.starts_with("etc/sysupdate/config.toml:1:")));
    }
}
