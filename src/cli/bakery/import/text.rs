//! The native definition of what is imported, as text: minimal, and commented.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::quoted;
use super::Context;
use crate::definition::transfer::{
    ActivationMode, Keys, Overrides, Place, Source, SourceAccess, Transfer, Units, Verification,
};
use crate::pattern::Patterns;

const UNSIGNED: &str = "# Nobody signs this source. With a key: verify = \"minisign\" or \"openpgp\", and keys = [\"/FILE\"].\n";
/// Versions that are kept where a definition does not say how many.
const INSTANCES: u64 = 3;

/// The definition of an image that nothing defines.
pub(super) struct Draft<'a> {
    pub(super) name: &'a str,
    pub(super) url: String,
    pub(super) directory: &'a Path,
    pub(super) link: &'a Path,
    pub(super) range: Option<String>,
}

/// Whether the native form, as it is written here, can say all that the transfer does; the error says what it cannot.
pub(super) fn can_be_said(transfer: &Transfer) -> Result<(), String> {
    let target = transfer.target();
    let overrides = Overrides {
        mode: target.overrides.mode,
        read_only: target.overrides.read_only,
        ..Overrides::default()
    };
    let access = match transfer.source() {
        Source::Url(source) => source.access.clone(),
        Source::Directory(_) | Source::Github(_) => SourceAccess::default(),
    };
    let beyond = [
        (
            !matches!(target.place, Place::Files(_)) || transfer.source_word() == "github",
            "partitions or directories",
        ),
        (
            !transfer.features.is_empty() || !transfer.requisite_features.is_empty(),
            "features",
        ),
        (
            !transfer.changelog.is_empty() || !transfer.appstream.is_empty(),
            "URLs of change logs",
        ),
        (
            !transfer.check.is_empty() || transfer.check.settle.is_some(),
            "health checks",
        ),
        (transfer.authentication.max_age.is_some(), "X-MaxAge="),
        (!transfer.remove_temporary, "RemoveTemporary="),
        (
            *target.overrides != overrides,
            "settings of partitions or boot counters",
        ),
        (
            access != SourceAccess::default(),
            "mirrors, headers or credentials",
        ),
    ];
    match beyond.iter().find(|(is_said, _)| *is_said) {
        Some((_, what)) => Err(format!("it has {what}, which you would have to write anew")),
        None => Ok(()),
    }
}

/// A transfer in the native form; `files` are the definitions that it stands in for.
pub(super) fn of_transfer(
    context: &Context<'_>,
    name: &str,
    transfer: &Transfer,
    files: &[PathBuf],
    reboots: Option<&Path>,
) -> String {
    let mut text = head(name);
    let files: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "# Read instead of the definition it was made of, which can be removed.\nreplaces = {}\n",
        list(&files)
    );
    settings(&mut text, transfer);
    let architecture = context.session.loader.host.architecture.as_deref();
    let (key, base, patterns) = match transfer.source() {
        Source::Url(source) => ("url", source.base.clone(), &source.patterns),
        Source::Directory(source) => ("path", source.path.display().to_string(), &source.patterns),
        // Not of systemd's form.
        Source::Github(source) => ("url", source.url.clone(), &source.patterns),
    };
    let _ = writeln!(text, "\n[source]\n{key} = {}", quoted(&literal(&base)));
    if let Source::Url(source) = transfer.source()
        && source.manifest != "SHA256SUMS"
    {
        let _ = writeln!(text, "manifest = {}", quoted(&source.manifest));
    }
    let match_source = matches(patterns, architecture);
    if match_source != [format!("{}-@v-%a.raw", literal(&name.replace('@', "@@")))] {
        let is_series = match_source.iter().any(|pattern| pattern.contains(".@v"));
        if is_series {
            text.push_str(
                "# @v is only what the pattern leaves open. For whole versions, and a series that is changed with one word, write\n\
                 # range = \"~1.32\" in [transfer], and NAME-@v-%a.raw here.\n",
            );
        }
        let _ = writeln!(text, "match = {}", one_or_list(&match_source));
    }
    let target = transfer.target();
    let _ = writeln!(
        text,
        "\n[target]\npath = {}",
        quoted(&literal(
            &target
                .place
                .directory()
                .unwrap_or(Path::new("/"))
                .display()
                .to_string()
        ))
    );
    let match_target = matches(target.patterns, architecture);
    if *target.patterns != patterns.for_target() {
        let _ = writeln!(text, "match = {}", one_or_list(&match_target));
    }
    if let Some(link) = target.current_symlink {
        let link = quoted(&literal(&link.display().to_string()));
        let _ = writeln!(text, "current_symlink = {link}");
    }
    if transfer.instances_max != INSTANCES {
        let _ = writeln!(text, "instances_max = {}", transfer.instances_max);
    }
    if let Some(mode) = target.overrides.mode {
        let _ = writeln!(text, "mode = 0o{mode:o}");
    }
    if let Some(read_only) = target.overrides.read_only {
        let _ = writeln!(text, "read_only = {read_only}");
    }
    activation(&mut text, transfer, reboots);
    text
}

/// The definition of an image that nothing defines.
pub(super) fn of_image(draft: &Draft<'_>, reboots: Option<&Path>) -> String {
    let mut text = head(draft.name);
    text.push_str("[transfer]\n");
    if let Some(range) = &draft.range {
        let _ = writeln!(
            text,
            "# Its cluster has to be led from one series to the next: change this when it is.\nrange = {}",
            quoted(range)
        );
    }
    text.push_str(UNSIGNED);
    let _ = writeln!(
        text,
        "verify = \"none\"\n\n[source]\nurl = {}\n\n[target]\npath = {}\ncurrent_symlink = {}",
        quoted(&literal(&draft.url)),
        quoted(&literal(&draft.directory.display().to_string())),
        quoted(&literal(&draft.link.display().to_string()))
    );
    if let Some(drop_in) = reboots {
        text.push_str("\n[activate]\n");
        reboot(&mut text, drop_in);
    }
    text
}

fn head(name: &str) -> String {
    format!(
        "# /etc/sysupdate/transfer.d/{name}.toml, written by `sysupdate import`. Change it as you like.\n\n"
    )
}

/// `[transfer]`.
fn settings(text: &mut String, transfer: &Transfer) {
    text.push_str("[transfer]\n");
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "{key} = {value}");
    };
    if let Some(description) = &transfer.description {
        line("description", quoted(description));
    }
    if let Some(version) = &transfer.min_version {
        line("min_version", quoted(&literal(version.value.as_str())));
    }
    if let Some(version) = &transfer.max_version {
        line("max_version", quoted(&literal(version.value.as_str())));
    }
    if let Some(range) = &transfer.range {
        line("range", quoted(&range.value.to_string()));
    }
    let versions = |versions: Vec<&str>| {
        let versions: Vec<String> = versions.into_iter().map(literal).collect();
        list(&versions)
    };
    if !transfer.skip.is_empty() {
        let skip = transfer.skip.iter().map(|at| at.value.as_str());
        line("skip", versions(skip.collect()));
    }
    if !transfer.protected.is_empty() {
        let protected = transfer
            .protected
            .iter()
            .map(crate::version::Version::as_str);
        line("protect_version", versions(protected.collect()));
    }
    if transfer.authentication.threshold != 1 {
        line("threshold", transfer.authentication.threshold.to_string());
    }
    if let Keys::Listed(keys) = &transfer.authentication.keys {
        let keys: Vec<String> = keys
            .iter()
            .map(|key| literal(&key.display().to_string()))
            .collect();
        line("keys", list(&keys));
    }
    match transfer.verification {
        Verification::Skip => {
            text.push_str(UNSIGNED);
            text.push_str("verify = \"none\"\n");
        }
        way => {
            let _ = writeln!(text, "verify = \"{}\"", way.word());
        }
    }
}

/// `[activate]`, if it says anything.
fn activation(text: &mut String, transfer: &Transfer, reboots: Option<&Path>) {
    let activation = &transfer.activation;
    let by_drop_in = reboots.filter(|_| activation.mode == ActivationMode::Auto);
    let is_silent = activation.mode == ActivationMode::Auto
        && by_drop_in.is_none()
        && activation.restart == Units::Auto
        && activation.reload == Units::Auto;
    if is_silent {
        return;
    }
    text.push_str("\n[activate]\n");
    if let Some(drop_in) = by_drop_in {
        reboot(text, drop_in);
    } else {
        let mode = match activation.mode {
            ActivationMode::Auto => "auto",
            ActivationMode::Refresh => "refresh",
            ActivationMode::Stage => "stage",
            ActivationMode::Reboot => "reboot",
        };
        let _ = writeln!(text, "mode = \"{mode}\"");
    }
    for (key, units) in [
        ("restart", &activation.restart),
        ("reload", &activation.reload),
    ] {
        if let Units::Named(units) = units {
            let _ = writeln!(text, "{key} = {}", list(units));
        }
    }
}

fn reboot(text: &mut String, drop_in: &Path) {
    let _ = writeln!(
        text,
        "# As {} had it: a new version is noted in /run/reboot-required and takes effect with the next boot.\n\
         # Without this line it takes effect at once.\nmode = \"reboot\"",
        drop_in.display()
    );
}

/// The patterns as texts, with this machine's architecture as the specifier that it was, or might have been.
fn matches(patterns: &Patterns, architecture: Option<&str>) -> Vec<String> {
    let own = architecture.map(|architecture| format!("-{architecture}.raw"));
    let texts = patterns.iter().map(|pattern| {
        let text = literal(pattern.as_str());
        match own.as_ref().and_then(|own| text.strip_suffix(own.as_str())) {
            Some(stem) => format!("{stem}-%a.raw"),
            None => text,
        }
    });
    texts.collect()
}

/// Text in which specifiers are expanded, so that it stands for itself.
fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

fn one_or_list(texts: &[String]) -> String {
    match texts {
        [one] => quoted(one),
        several => list(several),
    }
}
