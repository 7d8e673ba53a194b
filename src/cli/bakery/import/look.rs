//! What can be imported: definitions in systemd's form, and links to images that nothing defines.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use super::super::{SERIES, url};
use super::text::{self, Draft};
use super::units::HandWritten;
use super::{Adoption, Context, link_of, place};
use crate::catalog::Catalog;
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::event::{Silent, chain};
use crate::extension::ExtensionKind;
use crate::pattern::{Pattern, Patterns};
use crate::plan::Reach;
use crate::session::SessionError;
use crate::version::Version;

/// Where links to extensions are looked for.
const LINKS: [&str; 2] = ["/etc/extensions", "/var/lib/extensions"];
/// The largest definition that is looked through for what the native form cannot say, in bytes.
const FILE_LIMIT: u64 = 1 << 20;

/// What a look has found.
pub(super) struct Found {
    pub(super) adoptions: Vec<Adoption>,
    /// What is not imported, and why, a line each.
    pub(super) left: Vec<String>,
    /// Whether everything could be looked at.
    pub(super) is_complete: bool,
}

/// An image that a link leads to and nothing defines.
struct Orphan {
    name: ComponentName,
    link: PathBuf,
    image: PathBuf,
    directory: PathBuf,
    version: Version,
}

pub(super) fn look(context: &Context<'_>, units: &HandWritten) -> Result<Found, Error> {
    let mut found = Found {
        adoptions: Vec::new(),
        left: Vec::new(),
        is_complete: true,
    };
    let loader = context.session.loader;
    let names = loader.names().map_err(SessionError::from)?;
    let mut links = BTreeSet::new();
    for name in std::iter::once(ComponentName::Default).chain(names.iter().cloned()) {
        let component = match loader.load(&name, &Silent) {
            Ok(component) => component,
            Err(error) => {
                let why = chain(&SessionError::from(error));
                found.left.push(format!(
                    "'{name}' is not imported: {why}. Correct that first."
                ));
                found.is_complete = false;
                continue;
            }
        };
        links.extend(
            component
                .transfers
                .iter()
                .filter_map(|one| link_of(context, one)),
        );
        if name == ComponentName::Default {
            found.left.extend(default_component(&component));
            continue;
        }
        let is_native = loader.native(&name).map_err(SessionError::from)?.is_some();
        if component.transfers.is_empty() || is_native {
            continue;
        }
        match defined(context, units, &component) {
            Ok(adoption) => found.adoptions.push(adoption),
            Err(why) => found.left.push(format!(
                "'{name}' is not imported: {why}. It is updated by the definition that it has."
            )),
        }
    }
    let orphans = orphans(context, &names, &links, &mut found.left);
    if !orphans.is_empty() {
        offered(context, units, orphans, &mut found)?;
    }
    found.adoptions.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(found)
}

/// What the default component defines apart from nothing: it has no native form.
fn default_component(component: &Component) -> Vec<String> {
    let real = component
        .transfers
        .iter()
        .filter(|transfer| !transfer.is_noop());
    real.map(|transfer| {
        format!(
            "'{}' is not imported: it belongs to the default component, which has no file of its own form. It is updated by \
             `sysupdate update` as it is.",
            transfer.file.display()
        )
    })
    .collect()
}

/// A component in systemd's form; the error says why it has to stay in it.
fn defined(
    context: &Context<'_>,
    units: &HandWritten,
    component: &Component,
) -> Result<Adoption, String> {
    let name = component.name.clone();
    is_ours(&name)?;
    let [transfer] = &component.transfers[..] else {
        let count = component.transfers.len();
        return Err(format!(
            "it has {count} transfers, and a native file has one"
        ));
    };
    let files = context.session.loader.files(&name);
    let files = files.map_err(|error| chain(&SessionError::from(error)))?;
    let foreign = files.iter().find(|file| !file.starts_with("/etc"));
    if let Some(file) = foreign {
        return Err(format!("'{}' is not the operator's", file.display()));
    }
    for file in &files {
        let bytes = context.root.read(file, FILE_LIMIT).unwrap_or_default();
        if String::from_utf8_lossy(&bytes).contains("PathRelativeTo") {
            return Err(format!("'{}' says PathRelativeTo=", file.display()));
        }
    }
    text::can_be_said(transfer)?;
    let path = free(context, &name)?;
    let link = link_of(context, transfer);
    let image = link.as_deref().and_then(|link| leads_to(context, link));
    let stem = link
        .as_deref()
        .and_then(stem)
        .unwrap_or_else(|| name.to_string());
    let reboots = units
        .reboots(&[&name.to_string(), &stem])
        .map(Path::to_path_buf);
    let main: Vec<PathBuf> = files
        .into_iter()
        .filter(|file| file.parent().is_some_and(|parent| !is_drop_in(parent)))
        .collect();
    let text = text::of_transfer(
        context,
        &name.to_string(),
        transfer,
        &main,
        reboots.as_deref(),
    );
    let shown = context.root.outer(main.first().ok_or("it has no file")?);
    Ok(Adoption {
        origin: format!("'{}'", shown.display()),
        original: Some(transfer.clone()),
        name,
        path,
        text,
        image,
        link,
        reboots,
    })
}

/// Whether files in this directory add to another file.
fn is_drop_in(directory: &Path) -> bool {
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".transfer.d") || name.ends_with(".conf.d")
}

fn is_ours(name: &ComponentName) -> Result<(), String> {
    let name = name.to_string();
    if ["flatcar-", "oem-"].iter().any(|own| name.starts_with(own)) {
        return Err(
            "names that begin with flatcar- or oem- belong to the operating system".to_owned(),
        );
    }
    Ok(())
}

/// Where the definition goes, if nothing is there: a mask is somebody's word, too.
fn free(context: &Context<'_>, name: &ComponentName) -> Result<PathBuf, String> {
    let path = place(name);
    let is_there = context.root.read_link(&path).is_ok();
    if is_there {
        let path = context.root.outer(&path);
        return Err(format!("'{}' exists already", path.display()));
    }
    Ok(path)
}

fn leads_to(context: &Context<'_>, link: &Path) -> Option<PathBuf> {
    context.root.read_link(link).ok().flatten()?;
    let image = context.root.canonicalize(link).ok()?;
    let kind = FileType::from_raw_mode(context.root.stat(&image).ok()?.st_mode);
    (kind == FileType::RegularFile).then_some(image)
}

/// The name of the extension that a link is for.
fn stem(link: &Path) -> Option<String> {
    let name = link.file_name()?.to_str()?;
    Some(name.strip_suffix(".raw")?.to_owned())
}

/// Links that no definition has, to images whose names say what they are.
fn orphans(
    context: &Context<'_>,
    names: &[ComponentName],
    known: &BTreeSet<PathBuf>,
    left: &mut Vec<String>,
) -> Vec<Orphan> {
    let mut orphans: Vec<Orphan> = Vec::new();
    for directory in LINKS {
        let Ok(opened) = context.root.directory(Path::new(directory)) else {
            continue;
        };
        for entry in opened.entries().unwrap_or_default() {
            let link = opened.path().join(&entry.name);
            let Some(name) = stem(&link).and_then(|stem| stem.parse().ok()) else {
                continue;
            };
            if known.contains(&link) || is_ours(&name).is_err() {
                continue;
            }
            let is_taken = names.contains(&name) || orphans.iter().any(|one| one.name == name);
            match orphan(context, entry.kind, &link, name, is_taken) {
                Ok(orphan) => orphans.extend(orphan),
                Err(why) => left.push(format!(
                    "'{}' is not imported: {why}.",
                    context.root.outer(&link).display()
                )),
            }
        }
    }
    orphans
}

/// What a link leads to; nothing where it is a mask.
fn orphan(
    context: &Context<'_>,
    kind: FileType,
    link: &Path,
    name: ComponentName,
    is_taken: bool,
) -> Result<Option<Orphan>, String> {
    if kind != FileType::Symlink {
        return Err(
            "it is an image and no link, so nothing says its version; move it away, then `sysupdate add` gets one".to_owned(),
        );
    }
    if context.root.read_link(link).ok().flatten().as_deref() == Some(Path::new("/dev/null")) {
        return Ok(None);
    }
    if is_taken {
        return Err(format!("'{name}' is defined, with another link"));
    }
    let image = leads_to(context, link).ok_or("it leads to no file")?;
    let host = context.session.loader.host;
    let architecture = host.architecture.as_deref().unwrap_or_default();
    let version = image
        .file_name()
        .and_then(|file| file.to_str())
        .and_then(|file| file.strip_prefix(&format!("{name}-")))
        .and_then(|rest| rest.strip_suffix(&format!("-{architecture}.raw")))
        .filter(|version| is_version(version))
        .and_then(|version| version.parse::<Version>().ok());
    let shown = context.root.outer(&image);
    let version = version.ok_or_else(|| {
        format!(
            "it leads to '{}', whose name is not {name}-VERSION-{architecture}.raw",
            shown.display()
        )
    })?;
    let directory = image.parent().unwrap_or(Path::new("/")).to_path_buf();
    if ExtensionKind::entry(&directory.join("x.raw")).is_some_and(|(_, name)| name == "x") {
        return Err(format!(
            "'{}' lies among the extensions, where each version is merged; move it to /var/lib/extensions.d/{name}",
            shown.display()
        ));
    }
    alone(context, &name, &directory, architecture)?;
    Ok(Some(Orphan {
        name,
        link: link.to_path_buf(),
        image,
        directory,
        version,
    }))
}

fn is_version(text: &str) -> bool {
    let digits = text.strip_prefix('v').unwrap_or(text);
    digits.starts_with(|sign: char| sign.is_ascii_digit())
}

/// Whether all files that would count as versions are: `docker-@v` fits `docker-compose-2.24.5` as well.
fn alone(
    context: &Context<'_>,
    name: &ComponentName,
    directory: &Path,
    architecture: &str,
) -> Result<(), String> {
    let pattern = format!(
        "{}-@v-{architecture}.raw",
        name.to_string().replace('@', "@@")
    );
    let pattern = Pattern::parse_target(&pattern).map_err(|error| error.to_string())?;
    let patterns = Patterns::from(pattern);
    let opened = context.root.directory(directory);
    let entries = opened
        .and_then(|opened| opened.entries())
        .unwrap_or_default();
    for entry in entries {
        let Some(file) = entry.name.to_str() else {
            continue;
        };
        let metadata = patterns.match_path(file).metadata;
        let version = metadata.map(|metadata| metadata.version);
        if version.is_some_and(|version| !is_version(version.as_str())) {
            return Err(format!(
                "'{file}' of another extension lies beside its image; move that to a directory of its own"
            ));
        }
    }
    Ok(())
}

/// Images without a definition come from the bakery, if it has them.
fn offered(
    context: &Context<'_>,
    units: &HandWritten,
    orphans: Vec<Orphan>,
    found: &mut Found,
) -> Result<(), Error> {
    let url = url(context)?;
    let catalog = match context.settings.reach {
        Reach::Offline => Err("it is not asked with --offline".to_owned()),
        Reach::Online => context.session.catalog(&url).map_err(|error| chain(&error)),
    };
    for orphan in orphans {
        let outer = |path: &Path| context.root.outer(path).display().to_string();
        let adopted = match &catalog {
            Ok(catalog) => adopted(context, units, catalog, &url, &orphan),
            Err(why) => {
                found.is_complete = false;
                Err(format!(
                    "nothing defines it, and '{url}' does not say whether it offers it: {why}"
                ))
            }
        };
        match adopted {
            Ok(adoption) => found.adoptions.push(adoption),
            Err(why) => found
                .left
                .push(format!("'{}' is not imported: {why}.", outer(&orphan.link))),
        }
    }
    Ok(())
}

fn adopted(
    context: &Context<'_>,
    units: &HandWritten,
    catalog: &Catalog,
    url: &str,
    orphan: &Orphan,
) -> Result<Adoption, String> {
    let name = orphan.name.to_string();
    if catalog.find(&name).is_none() {
        return Err(format!(
            "nothing defines it, and '{url}' offers no '{name}'; `--from=` names another bakery"
        ));
    }
    let path = free(context, &orphan.name)?;
    let reboots = units.reboots(&[&name]).map(Path::to_path_buf);
    let series = || {
        let semantic = orphan.version.to_semantic()?;
        Some(format!("~{}.{}", semantic.major, semantic.minor))
    };
    let text = text::of_image(
        &Draft {
            name: &name,
            url: format!("{url}/{name}"),
            directory: &orphan.directory,
            link: &orphan.link,
            range: SERIES.contains(&name.as_str()).then(series).flatten(),
        },
        reboots.as_deref(),
    );
    Ok(Adoption {
        name: orphan.name.clone(),
        path,
        text,
        origin: format!("its image and '{url}'"),
        original: None,
        image: Some(orphan.image.clone()),
        link: Some(orphan.link.clone()),
        reboots,
    })
}
