//! The one table of keys: section, name in either syntax, kind of value, handler.
//!
//! Both syntaxes bring their values here as texts; a handler parses one and puts it into the draft, or says what is wrong
//! with it. It never reports: whether a fault is a warning or refuses the file is decided by the syntax.

mod handlers;

use std::time::Duration;

pub(super) use self::handlers::push_url;
use self::handlers::{
    boolean, choose_unit, path, pattern, push_pattern, push_unit, relative_to, resource_type,
    version,
};
use super::draft::{Draft, RelativeTo, ResourceType};
use super::fault::Fault;
use super::github;
use super::schema::{Key, Kind, Schema};
use super::transfer::{ActivationMode, SourceCredential, Units, Verification};
use super::value::{self, PATH_LIMIT};
use crate::gpt::types::PartitionType;
use crate::metadata::Uuid;
use crate::pattern::PatternError;
use crate::version::Version;

/// The keys of `.transfer` files, their drop-ins and native files.
pub(super) static SCHEMA: Schema<Draft> = Schema {
    sections: &[TRANSFER, SOURCE, TARGET, ACTIVATE],
    keys: &[KEYS],
};

pub(super) const TRANSFER: &str = "Transfer";
pub(super) const SOURCE: &str = "Source";
pub(super) const TARGET: &str = "Target";
pub(super) const ACTIVATE: &str = "X-Activate";

const VERSION: &str = "a version: letters, digits and . _ - + ~ ^";
const WEB_URL: &str = "an http:// or https:// URL";
const PATTERN: &str = "a pattern with @v";
const BOOLEAN: &str = "a boolean";
const INTEGER: &str = "an unsigned integer";
const TYPE: &str = "one of url-file, url-tar, tar, regular-file, directory, subvolume, partition";
/// The native form has one more. systemd's form does not: systemd would refuse a file that we take.
const SOURCE_TYPE: Kind = Kind::Choice(&[
    ("url-file", "url-file"),
    ("url-tar", "url-tar"),
    ("tar", "tar"),
    ("regular-file", "regular-file"),
    ("directory", "directory"),
    ("subvolume", "subvolume"),
    ("partition", "partition"),
    ("github", github::TYPE),
]);
const RELATIVE_TO: &str = "one of root, esp, xbootldr, boot, explicit";
const UNIT: &str = "the name of a unit";
/// The native form says in one word what systemd's form says with `Verify=` and `X-Signature=`.
const VERIFY: Kind = Kind::Choice(&[
    ("openpgp", "openpgp"),
    ("minisign", "minisign"),
    ("none", UNVERIFIED),
]);
/// No text of systemd's form: what `X-Signature=` means there is only which signature is looked for.
const UNVERIFIED: &str = "\0none";

type Setting = Key<Draft>;

const KEYS: &[Setting] = &[
    Setting::new(
        TRANSFER,
        "X-Description",
        &["description"],
        Kind::Text,
        "a text",
        |draft, raw, _| {
            draft.description = Some(raw.to_owned());
            Ok(())
        },
    )
    .resetting(|draft, _| draft.description = None)
    .ours(),
    Setting::new(
        TRANSFER,
        "MinVersion",
        &["min_version"],
        Kind::Text,
        VERSION,
        |draft, raw, scope| {
            draft.min_version = Some(scope.locate(version(raw, scope)?));
            Ok(())
        },
    )
    .resetting(|draft, _| draft.min_version = None),
    // Not known to systemd 262: an upper bound that is ignored would install what it forbids, so a bad one is refused.
    Setting::new(
        TRANSFER,
        "MaxVersion",
        &["max_version"],
        Kind::Text,
        VERSION,
        |draft, raw, scope| {
            draft.max_version = Some(scope.locate(version(raw, scope)?));
            Ok(())
        },
    )
    .resetting(|draft, _| draft.max_version = None)
    .ours(),
    Setting::new(
        TRANSFER,
        "X-VersionRange",
        &["range"],
        Kind::Text,
        "a semantic-version requirement",
        |draft, raw, scope| {
            let range = raw
                .parse()
                .map_err(|error: semver::Error| Fault::Detailed(error.to_string()))?;
            draft.range = Some(scope.locate(range));
            Ok(())
        },
    )
    .resetting(|draft, _| draft.range = None)
    .ours(),
    Setting::new(
        TRANSFER,
        "X-SkipVersion",
        &["skip"],
        Kind::Words,
        "a version",
        |draft, raw, scope| {
            // The alphabet of @v: what is to be skipped is the version of an instance.
            let version: Version = raw
                .parse()
                .map_err(|_| Fault::Invalid("string", raw.to_owned()))?;
            draft.skip.push(scope.locate(version));
            Ok(())
        },
    )
    .resetting(|draft, _| draft.skip.clear())
    .ours(),
    Setting::new(
        TRANSFER,
        "ProtectVersion",
        &["protect_version"],
        Kind::List,
        VERSION,
        |draft, raw, scope| {
            draft.protected.push(version(raw, scope)?);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.protected.clear()),
    Setting::new(
        TRANSFER,
        "Verify",
        &[],
        Kind::Boolean,
        BOOLEAN,
        |draft, raw, _| {
            draft.verified = boolean(raw)?;
            Ok(())
        },
    ),
    Setting::new(
        TRANSFER,
        "X-Signature",
        &["verify"],
        VERIFY,
        "one of openpgp, minisign",
        |draft, raw, _| {
            match raw {
                "openpgp" => draft.scheme = Verification::OpenPgp,
                "minisign" => draft.scheme = Verification::Minisign,
                UNVERIFIED => draft.verified = false,
                _ => return Err(Fault::Unparsable(value::Errno::Invalid)),
            }
            Ok(())
        },
    )
    .resetting(|draft, _| draft.scheme = Verification::OpenPgp)
    .ours(),
    Setting::new(
        TRANSFER,
        "X-Keys",
        &["keys"],
        Kind::Words,
        "an absolute path of a file with public keys",
        |draft, raw, scope| {
            let path = scope.expand(raw, PATH_LIMIT)?;
            if !value::is_normalized_absolute(&path) || path.ends_with('/') {
                return Err(Fault::NotNormalized(path));
            }
            if draft.keys.len() >= KEYS_LIMIT {
                return Err(Fault::TooMany(KEYS_LIMIT));
            }
            draft.keys.push(path.into());
            Ok(())
        },
    )
    .resetting(|draft, _| draft.keys.clear())
    .ours(),
    Setting::new(
        TRANSFER,
        "X-Threshold",
        &["threshold"],
        Kind::Integer,
        "a number of keys from 1 to 16",
        |draft, raw, _| {
            let count = value::integer(raw).map_err(Fault::Unparsable)?;
            draft.threshold = usize::try_from(count)
                .ok()
                .filter(|count| (1..=KEYS_LIMIT).contains(count))
                .ok_or(Fault::Unparsable(value::Errno::OutOfRange))?;
            Ok(())
        },
    )
    .resetting(|draft, _| draft.threshold = 1)
    .ours(),
    Setting::new(
        TRANSFER,
        "X-MaxAge",
        &["max_age"],
        Kind::Text,
        "a time span, as \"30d\" or \"2 weeks\"",
        |draft, raw, scope| {
            let span = value::span(raw).map_err(Fault::Unparsable)?;
            draft.max_age = Some(scope.locate(span));
            Ok(())
        },
    )
    .resetting(|draft, _| draft.max_age = None)
    .ours(),
    Setting::new(
        TRANSFER,
        "ChangeLog",
        &["changelog"],
        Kind::List,
        WEB_URL,
        |draft, raw, scope| push_url(&mut draft.changelog, raw, scope),
    )
    .resetting(|draft, _| draft.changelog.clear()),
    Setting::new(
        TRANSFER,
        "AppStream",
        &["appstream"],
        Kind::List,
        WEB_URL,
        |draft, raw, scope| push_url(&mut draft.appstream, raw, scope),
    )
    .resetting(|draft, _| draft.appstream.clear()),
    Setting::new(
        TRANSFER,
        "Features",
        &[],
        Kind::Words,
        "a feature",
        |draft, raw, _| {
            draft.features.push(raw.to_owned());
            Ok(())
        },
    )
    .resetting(|draft, _| draft.features.clear()),
    Setting::new(
        TRANSFER,
        "RequisiteFeatures",
        &[],
        Kind::Words,
        "a feature",
        |draft, raw, _| {
            draft.requisite_features.push(raw.to_owned());
            Ok(())
        },
    )
    .resetting(|draft, _| draft.requisite_features.clear()),
    Setting::new(
        SOURCE,
        "Type",
        &["type"],
        SOURCE_TYPE,
        TYPE,
        |draft, raw, _| match raw {
            github::TYPE => {
                draft.source.kind = Some(ResourceType::Github);
                Ok(())
            }
            _ => resource_type(&mut draft.source, raw),
        },
    ),
    Setting::new(
        SOURCE,
        "Path",
        &["url", "path"],
        Kind::Text,
        "a URL or a path",
        |draft, raw, scope| path(&mut draft.source, raw, scope),
    ),
    Setting::new(
        SOURCE,
        "PathRelativeTo",
        &[],
        Kind::Text,
        RELATIVE_TO,
        |draft, raw, _| relative_to(&mut draft.source, raw),
    )
    .resetting(|draft, _| draft.source.relative_to = RelativeTo::Root),
    Setting::new(
        SOURCE,
        "MatchPattern",
        &["match"],
        Kind::Patterns,
        PATTERN,
        |draft, raw, scope| pattern(&mut draft.source, raw, scope),
    )
    .resetting(|draft, _| draft.source.patterns.clear()),
    Setting::new(
        SOURCE,
        "X-Manifest",
        &["manifest"],
        Kind::Text,
        "a file name",
        |draft, raw, _| {
            if !value::is_file_name(raw) {
                return Err(Fault::Invalid("file name", raw.to_owned()));
            }
            draft.manifest = Some(raw.to_owned());
            Ok(())
        },
    )
    .resetting(|draft, _| draft.manifest = None)
    .ours(),
    Setting::new(
        SOURCE,
        "X-Mirrors",
        &["mirrors"],
        Kind::Words,
        "an http://, https:// or file:/ URL without a password",
        |draft, raw, scope| {
            let url = scope.expand(raw, TEXT_LIMIT)?;
            if let Some((_, _, bare)) = value::login(&url) {
                return Err(Fault::Invalid("URL", format!("{bare} with a login")));
            }
            if !value::is_source_url(&url) {
                return Err(Fault::Invalid("URL", raw.to_owned()));
            }
            draft.access.mirrors.push(url);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.access.mirrors.clear())
    .ours(),
    Setting::new(
        SOURCE,
        "X-Header",
        &["headers"],
        Kind::List,
        "'Name: value'",
        |draft, raw, scope| {
            let text = scope.expand(raw, TEXT_LIMIT)?;
            // The value may be a secret.
            let name = text.split(':').next().unwrap_or_default();
            let header =
                value::header(&text).ok_or_else(|| Fault::Invalid("header", name.to_owned()))?;
            draft.access.headers.push(header);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.access.headers.clear())
    .ours(),
    Setting::new(
        SOURCE,
        "X-Credential",
        &["credential"],
        Kind::Text,
        "the name of a credential, or the absolute path of a file",
        |draft, raw, scope| {
            let text = scope.expand(raw, PATH_LIMIT)?;
            draft.access.credential = Some(if value::is_file_name(&text) {
                SourceCredential::Named(text)
            } else if value::is_normalized_absolute(&text) {
                SourceCredential::File(text.into())
            } else {
                return Err(Fault::Invalid("credential", text));
            });
            Ok(())
        },
    )
    .resetting(|draft, _| draft.access.credential = None)
    .ours(),
    // Of sources that only the native form has.
    Setting::new(SOURCE, "X-Tag", &["tag"], Kind::Text, PATTERN, github::tag)
        .resetting(|draft, _| draft.github.tag = None)
        .ours(),
    Setting::new(
        SOURCE,
        "X-Prerelease",
        &["prerelease"],
        Kind::Boolean,
        BOOLEAN,
        github::prerelease,
    )
    .resetting(|draft, _| draft.github.prereleases = None)
    .ours(),
    Setting::new(
        SOURCE,
        "X-ApiUrl",
        &["api_url"],
        Kind::Text,
        "an https:// URL",
        github::api_url,
    )
    .resetting(|draft, _| draft.github.api = None)
    .ours(),
    Setting::new(
        TARGET,
        "Type",
        &["type"],
        Kind::Text,
        TYPE,
        |draft, raw, _| resource_type(&mut draft.target, raw),
    ),
    Setting::new(
        TARGET,
        "Path",
        &["path"],
        Kind::Text,
        "an absolute path",
        |draft, raw, scope| path(&mut draft.target, raw, scope),
    ),
    Setting::new(
        TARGET,
        "PathRelativeTo",
        &[],
        Kind::Text,
        RELATIVE_TO,
        |draft, raw, _| relative_to(&mut draft.target, raw),
    )
    .resetting(|draft, _| draft.target.relative_to = RelativeTo::Root),
    Setting::new(
        TARGET,
        "MatchPattern",
        &["match"],
        Kind::Patterns,
        PATTERN,
        |draft, raw, scope| {
            let text = scope.expand(raw, NAME_LIMIT)?;
            if text.starts_with("**/") {
                return Err(Fault::Pattern(PatternError::RecursiveTarget {
                    pattern: text,
                }));
            }
            push_pattern(&mut draft.target, &text)
        },
    )
    .resetting(|draft, _| draft.target.patterns.clear()),
    Setting::new(
        TARGET,
        "MatchPartitionType",
        &["partition_type"],
        Kind::Text,
        "a partition type",
        |draft, raw, scope| {
            let architecture = scope.host.architecture.as_deref();
            let kind = PartitionType::parse(raw, architecture)
                .ok_or(Fault::Unrecognised("partition type"))?;
            draft.partition_type = Some(kind);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.partition_type = None),
    Setting::new(
        TARGET,
        "PartitionUUID",
        &["partition_uuid"],
        Kind::Text,
        "a UUID",
        |draft, raw, _| {
            let uuid = Uuid::from_hex(raw).ok_or(Fault::Unrecognised("partition UUID"))?;
            draft.overrides.partition_uuid = Some(uuid);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.overrides.partition_uuid = None),
    Setting::new(
        TARGET,
        "PartitionFlags",
        &["partition_flags"],
        Kind::Text,
        "a hexadecimal integer",
        |draft, raw, _| {
            let flags = value::flags(raw).ok_or(Fault::Unrecognised("partition flags"))?;
            draft.overrides.partition_flags = Some(flags);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.overrides.partition_flags = None),
    Setting::new(
        TARGET,
        "PartitionNoAuto",
        &["partition_no_auto"],
        Kind::Boolean,
        BOOLEAN,
        |draft, raw, _| {
            draft.overrides.no_auto = Some(boolean(raw)?);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.overrides.no_auto = None),
    Setting::new(
        TARGET,
        "PartitionGrowFileSystem",
        &["partition_grow_file_system"],
        Kind::Boolean,
        BOOLEAN,
        |draft, raw, _| {
            draft.overrides.grow_file_system = Some(boolean(raw)?);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.overrides.grow_file_system = None),
    Setting::new(
        TARGET,
        "PartitionZeroFill",
        &["partition_zero_fill"],
        Kind::Boolean,
        BOOLEAN,
        |draft, raw, _| {
            draft.zero_fill = Some(boolean(raw)?);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.zero_fill = None),
    Setting::new(
        TARGET,
        "ReadOnly",
        &["read_only"],
        Kind::Boolean,
        BOOLEAN,
        |draft, raw, _| {
            draft.overrides.read_only = Some(boolean(raw)?);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.overrides.read_only = None),
    Setting::new(
        TARGET,
        "Mode",
        &["mode"],
        Kind::Octal,
        "an octal mode up to 7777",
        |draft, raw, _| {
            draft.overrides.mode = Some(value::mode(raw).map_err(Fault::Unparsable)?);
            Ok(())
        },
    ),
    Setting::new(
        TARGET,
        "TriesLeft",
        &["tries_left"],
        Kind::Integer,
        INTEGER,
        |draft, raw, _| {
            draft.overrides.tries_left = Some(value::integer(raw).map_err(Fault::Unparsable)?);
            Ok(())
        },
    ),
    Setting::new(
        TARGET,
        "TriesDone",
        &["tries_done"],
        Kind::Integer,
        INTEGER,
        |draft, raw, _| {
            draft.overrides.tries_done = Some(value::integer(raw).map_err(Fault::Unparsable)?);
            Ok(())
        },
    ),
    Setting::new(
        TARGET,
        "InstancesMax",
        &["instances_max"],
        Kind::Integer,
        "an integer of at least 2",
        |draft, raw, _| {
            let count =
                value::integer(raw).map_err(|_| Fault::Unrecognised("InstancesMax= value"))?;
            draft.instances_max = Some(count.max(2));
            if count < 2 {
                Err(Fault::Raised(count))
            } else {
                Ok(())
            }
        },
    )
    .resetting(|draft, _| draft.instances_max = None),
    Setting::new(
        TARGET,
        "RemoveTemporary",
        &["remove_temporary"],
        Kind::Boolean,
        BOOLEAN,
        |draft, raw, _| {
            draft.remove_temporary = boolean(raw)?;
            Ok(())
        },
    ),
    Setting::new(
        TARGET,
        "CurrentSymlink",
        &["current_symlink"],
        Kind::Text,
        "a path without '..'",
        |draft, raw, scope| {
            let text = scope.expand(raw, PATH_LIMIT)?;
            draft.current_symlink =
                Some(value::simplified(&text).ok_or(Fault::NotNormalized(text))?);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.current_symlink = None),
    Setting::new(
        ACTIVATE,
        "Mode",
        &["mode"],
        Kind::Text,
        "one of auto, refresh, stage, reboot",
        |draft, raw, _| {
            draft.activation.mode = match raw {
                "auto" => ActivationMode::Auto,
                "refresh" => ActivationMode::Refresh,
                "stage" => ActivationMode::Stage,
                "reboot" => ActivationMode::Reboot,
                _ => return Err(Fault::Unparsable(value::Errno::Invalid)),
            };
            Ok(())
        },
    )
    .resetting(|draft, _| draft.activation.mode = ActivationMode::default())
    .ours(),
    Setting::new(
        ACTIVATE,
        "Restart",
        &["restart"],
        Kind::Words,
        UNIT,
        |draft, raw, _| choose_unit(&mut draft.activation.restart, raw),
    )
    .resetting(|draft, _| draft.activation.restart = Units::Named(Vec::new()))
    .ours(),
    Setting::new(
        ACTIVATE,
        "Reload",
        &["reload"],
        Kind::Words,
        UNIT,
        |draft, raw, _| choose_unit(&mut draft.activation.reload, raw),
    )
    .resetting(|draft, _| draft.activation.reload = Units::Named(Vec::new()))
    .ours(),
    Setting::new(
        ACTIVATE,
        "CheckUnits",
        &["check.units"],
        Kind::Words,
        UNIT,
        |draft, raw, _| push_unit(&mut draft.check.units, raw),
    )
    .resetting(|draft, _| draft.check.units.clear())
    .ours(),
    Setting::new(
        ACTIVATE,
        "CheckCommand",
        &["check.command"],
        Kind::Words,
        "an absolute path of a program, and its arguments",
        |draft, raw, _| {
            if draft.check.command.is_empty() && !raw.starts_with('/') {
                return Err(Fault::NotNormalized(raw.to_owned()));
            }
            draft.check.command.push(raw.to_owned());
            Ok(())
        },
    )
    .resetting(|draft, _| draft.check.command.clear())
    .ours(),
    Setting::new(
        ACTIVATE,
        "Settle",
        &["check.settle"],
        Kind::Text,
        "a time span of at most an hour, as \"20s\" or \"2min\"",
        |draft, raw, _| {
            let span = match raw.trim() {
                "0" | "0s" => Duration::ZERO,
                text => value::span(text).map_err(Fault::Unparsable)?,
            };
            if span > SETTLE_LIMIT {
                return Err(Fault::Unparsable(value::Errno::OutOfRange));
            }
            draft.check.settle = Some(span);
            Ok(())
        },
    )
    .resetting(|draft, _| draft.check.settle = None)
    .ours(),
];

/// Longest version or pattern, in bytes.
pub(super) const NAME_LIMIT: usize = 255;

/// Longest expansion of a value that systemd does not bound, in bytes.
pub(super) const TEXT_LIMIT: usize = 1 << 20;

/// Most files with keys, and most keys that can be asked for.
const KEYS_LIMIT: usize = 16;

/// Longest time that a new version is watched.
const SETTLE_LIMIT: Duration = Duration::from_secs(3600);

/// Most patterns of one source or target.
const PATTERN_LIMIT: usize = 1024;
