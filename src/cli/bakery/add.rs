//! `add`: writes the definition of an extension and installs its newest version that fits.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::transaction::{Purpose, Transaction};
use super::super::{Context, Exit, Verb};
use super::{SERIES, definition_path, quoted, unknown, url, write};
use crate::catalog::Offer;
use crate::definition::ComponentName;
use crate::definition::transfer::ActivationMode;
use crate::error::Error;
use crate::inventory::link::LinkState;
use crate::plan::{Goal, Reach, Request};
use crate::session::{Requirement, SessionError};
use crate::storage::atomic;
use crate::version::{Version, VersionRange};

const KEYS: &str = "/etc/sysupdate/keys";
/// The largest public key, in bytes.
const KEY_LIMIT: u64 = 1024 * 1024;

/// What is to be written.
struct Draft<'a> {
    name: &'a str,
    url: String,
    range: Option<String>,
    key: Option<Key>,
}

/// A public key of the publisher.
struct Key {
    scheme: &'static str,
    path: PathBuf,
    content: Vec<u8>,
}

/// Defines an extension and installs its newest version that fits, or the one that is asked for.
pub(in super::super) fn add(
    context: &Context<'_>,
    verb: &Verb,
    argument: &str,
) -> Result<Exit, Error> {
    let (name, range) = argument
        .split_once('@')
        .map_or((argument, None), |(name, range)| (name, Some(range)));
    let component = component(context, name)?;
    let request = &context.settings.bakery;
    let url = url(context)?;
    let catalog = context.session.catalog(&url)?;
    let offer = catalog
        .find(name)
        .ok_or_else(|| unknown(&catalog, &url, name))?;
    if offer.versions.is_empty() {
        return Err(Error::Request(format!(
            "'{url}' has no image of '{name}' for this architecture ({}), only for {}.",
            context
                .session
                .loader
                .host
                .architecture
                .as_deref()
                .unwrap_or("unknown"),
            offer.elsewhere.join(", ")
        )));
    }
    let version = wanted(offer, name, request.version.as_deref())?;
    let draft = Draft {
        name,
        url: format!("{url}/{name}"),
        range: pinned(context, name, range, offer, version)?,
        key: request
            .key
            .as_deref()
            .map(|file| key(name, file))
            .transpose()?,
    };
    let text = render(context, &draft);
    let path = definition_path(name);
    let lock = context.lock(verb)?;
    if let Some(key) = &draft.key {
        write(context, &key.path, &key.content)?;
    }
    write(context, &path, text.as_bytes())?;
    let installed = install(context, &component, version);
    drop(lock);
    match installed {
        Ok(Exit::Success) => {
            context.say(&format!(
                "Added '{name}': '{}' defines it, `sysupdate update -C {name}` updates it.",
                context.root.outer(&path).display()
            ));
            if !request.now {
                context
                    .say("It takes effect with the next boot, or at once by `sysupdate activate`.");
            }
            Ok(Exit::Success)
        }
        other if is_linked(context, &component) => {
            context.say(&format!(
                "'{name}' is defined by '{}' and linked, and not everything is done: `sysupdate update -C {name}` goes on.",
                context.root.outer(&path).display()
            ));
            other
        }
        other => {
            // Whoever reads the error calls again; a definition that nothing came of would be in the way.
            let mut gone = vec![path];
            gone.extend(draft.key.map(|key| key.path));
            for path in gone {
                let _ = atomic::remove_file_and_empty_parents(
                    context.root,
                    &path,
                    path.parent().unwrap_or(Path::new("/")),
                    context.executor.durability,
                );
            }
            context.say(&format!("Nothing was added: '{name}' is not installed."));
            other
        }
    }
}

/// The component, which must be new.
fn component(context: &Context<'_>, name: &str) -> Result<ComponentName, Error> {
    if ["flatcar-", "oem-"].iter().any(|own| name.starts_with(own)) {
        return Err(Error::Request(format!(
            "'{name}' is not added: names that begin with flatcar- or oem- belong to the operating system."
        )));
    }
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "._+-".contains(sign);
    let parsed: Result<ComponentName, _> = name.parse();
    let component = match parsed {
        Ok(component) if name.chars().all(plain) && !name.starts_with('.') => component,
        _ => {
            return Err(Error::Request(format!(
                "'{name}' is no name of an extension: letters, digits and . _ + - only."
            )));
        }
    };
    let known = context.session.loader.names().map_err(SessionError::from)?;
    if known.contains(&component) {
        return Err(Error::Request(format!(
            "'{name}' is defined already; nothing was changed. `sysupdate update -C {name}` updates it, `sysupdate remove \
             {name}` takes it away."
        )));
    }
    Ok(component)
}

/// The version that is asked for, if one is; it must be offered. A leading `v` need not be written.
fn wanted<'o>(
    offer: &'o Offer,
    name: &str,
    asked: Option<&str>,
) -> Result<Option<&'o Version>, Error> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let same = |version: &&Version| {
        version.as_str() == asked || version.as_str().strip_prefix('v') == Some(asked)
    };
    offer.versions.iter().find(same).map(Some).ok_or_else(|| {
        let newest: Vec<&str> = offer.versions.iter().take(5).map(Version::as_str).collect();
        Error::Request(format!(
            "There is no version '{asked}' of '{name}'; the newest are {}.",
            newest.join(", ")
        ))
    })
}

/// The range that the definition gets: the one that is asked for, or the series of the newest version for those that
/// must not leave theirs by themselves.
fn pinned(
    context: &Context<'_>,
    name: &str,
    range: Option<&str>,
    offer: &Offer,
    version: Option<&Version>,
) -> Result<Option<String>, Error> {
    let Some(text) = range else {
        if !SERIES.contains(&name) {
            return Ok(None);
        }
        let newest = version.or_else(|| {
            let stable = |version: &&Version| {
                version
                    .to_semantic()
                    .is_some_and(|version| version.pre.is_empty())
            };
            offer.versions.iter().find(stable)
        });
        let Some(semantic) = newest.and_then(Version::to_semantic) else {
            return Ok(None);
        };
        let range = format!("~{}.{}", semantic.major, semantic.minor);
        context.say(&format!(
            "'{name}' is pinned to its series {range}: a later one is taken when you change `range` in its definition."
        ));
        return Ok(Some(range));
    };
    let bare = text.strip_prefix('v').unwrap_or(text);
    let text = if bare.starts_with(|sign: char| sign.is_ascii_digit()) {
        format!("~{bare}")
    } else {
        text.to_owned()
    };
    let parsed: VersionRange = text.parse().map_err(|error| {
        Error::Request(format!(
            "'{text}' is no range of versions ({error}): write 1.32, ~1.32, ^2, or \">=1.30, <1.33\"."
        ))
    })?;
    if let Some(version) = version
        && !parsed.contains(version)
    {
        return Err(Error::Request(format!(
            "Version '{version}' is outside of the range {text}."
        )));
    }
    if !offer
        .versions
        .iter()
        .any(|version| parsed.contains(version))
    {
        let newest: Vec<&str> = offer.versions.iter().take(5).map(Version::as_str).collect();
        return Err(Error::Request(format!(
            "No version of '{name}' lies in the range {text}; the newest are {}.",
            newest.join(", ")
        )));
    }
    Ok(Some(text))
}

/// Reads a public key, and finds out of which kind it is.
fn key(name: &str, file: &Path) -> Result<Key, Error> {
    let failed = |why: String| {
        Error::Request(format!(
            "The key '{}' cannot be used: {why}.",
            file.display()
        ))
    };
    let path = std::path::absolute(file).map_err(|error| failed(error.to_string()))?;
    let content = crate::root::Root::host()
        .read(&path, KEY_LIMIT)
        .map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&content);
    let is_minisign = text.starts_with("untrusted comment:") || text.trim_start().starts_with("RW");
    let is_armoured = text.contains("-----BEGIN PGP PUBLIC KEY BLOCK-----");
    let is_binary = content.first().is_some_and(|byte| byte & 0x80 != 0);
    let (scheme, suffix) = match () {
        () if is_minisign => ("minisign", "pub"),
        () if is_armoured => ("openpgp", "asc"),
        () if is_binary => ("openpgp", "gpg"),
        () => {
            return Err(failed(
                "it is neither an OpenPGP nor a minisign public key".to_owned(),
            ));
        }
    };
    Ok(Key {
        scheme,
        path: Path::new(KEYS).join(format!("{name}.{suffix}")),
        content,
    })
}

/// The text of the definition.
fn render(context: &Context<'_>, draft: &Draft<'_>) -> String {
    let request = &context.settings.bakery;
    let mut text = format!(
        "# /etc/sysupdate/transfer.d/{}.toml, written by `sysupdate add`. Change it as you like.\n\n[transfer]\n",
        draft.name
    );
    // Writing to a string cannot fail.
    if let Some(range) = &draft.range {
        let _ = writeln!(
            text,
            "# Only versions in this range are installed (a semantic-version requirement; a leading v is ignored).\nrange = {}",
            quoted(range)
        );
    }
    if let Some(key) = &draft.key {
        let _ = writeln!(
            text,
            "# Nothing is installed that is not signed with this key.\nverify = \"{}\"\nkeys = [{}]",
            key.scheme,
            quoted(&key.path.display().to_string())
        );
    } else {
        context.warn(&format!(
            "'{}' is taken as it comes over the network: no key was given (`--key=FILE`).",
            draft.name
        ));
        text.push_str(
            "# The bakery publishes no signatures. With a key: verify = \"minisign\" or \"openpgp\", and keys = [\"/FILE\"].\n\
             verify = \"none\"\n",
        );
    }
    let _ = writeln!(text, "\n[source]\nurl = {}", quoted(&draft.url));
    if request.mode.is_some() || !request.restart.is_empty() {
        text.push_str("\n[activate]\n");
        if let Some(mode) = &request.mode {
            let _ = writeln!(text, "mode = {}", quoted(mode));
        }
        if !request.restart.is_empty() {
            let units: Vec<String> = request.restart.iter().map(|unit| quoted(unit)).collect();
            let _ = writeln!(
                text,
                "# Restarted after each update, if they are active.\nrestart = [{}]",
                units.join(", ")
            );
        }
    }
    text
}

/// Whether a version of it is in use: then it must not be without a definition.
fn is_linked(context: &Context<'_>, name: &ComponentName) -> bool {
    let loaded = context.session.load(name, Requirement::AnyTransfer);
    loaded
        .and_then(|component| context.session.survey(component, Reach::Offline))
        .is_ok_and(|surveyed| {
            let mut links = surveyed.inventories.iter().flat_map(|one| &one.link);
            links.any(|link| matches!(link.state, LinkState::To(_)))
        })
}

/// Installs what has just been defined.
fn install(
    context: &Context<'_>,
    name: &ComponentName,
    version: Option<&Version>,
) -> Result<Exit, Error> {
    let mut component = context.load(name, Requirement::EnabledTransfer)?;
    if !context.settings.bakery.now {
        for transfer in &mut component.transfers {
            transfer.activation.mode = ActivationMode::Stage;
        }
    }
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    let request = Request {
        version: version.map(Version::as_str),
        goal: Goal::Install,
        reach: Reach::Online,
        instances_max: context.settings.instances_max,
    };
    transaction.update(vec![component], request);
    let exit = transaction.tally.exit();
    if exit == Exit::Success && transaction.installed.is_none() && !is_linked(context, name) {
        return Err(Error::Request(format!(
            "No version of '{name}' fits this system; `sysupdate search` shows what there is."
        )));
    }
    Ok(exit)
}
