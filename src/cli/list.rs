//! `list`: the versions there are, or one of them in full.

mod detail;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::output::glyphs::Glyphs;
use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::settings::Reasons;
use super::{Context, Exit, Selection, bakery};
use crate::definition::ComponentName;
use crate::error::Error;
use crate::plan::{PlanError, Reach};
use crate::resolve::{Resolution, UpdateSet};
use crate::session::{Requirement, SessionError};
use crate::version::Version;

pub(super) fn run(context: &Context<'_>, version: Option<&str>) -> Result<Exit, Error> {
    let Selection::One(name) = &context.settings.selection else {
        return Ok(Exit::Failure);
    };
    let component = match (context.load(name, Requirement::EnabledTransfer), version) {
        // Nothing is defined, so the word can only be the name of an extension.
        (Err(Error::Session(SessionError::Undefined(_))), Some(word))
            if *name == ComponentName::Default && context.settings.definitions.is_none() =>
        {
            return offered(context, word);
        }
        (component, _) => component?,
    };
    let reach = context.settings.reach;
    let surveyed = if context.settings.reasons == Reasons::Shown
        || context.settings.for_os_release.is_some()
    {
        context.session.survey_fitting(component, reach, version)?
    } else {
        // compat: the plain list goes by versions alone, as the original's does.
        let wanted: Option<Version> = version.and_then(|text| text.parse().ok());
        context
            .session
            .survey_for(component, reach, wanted.as_ref())?
    };
    let resolution = surveyed.resolve();
    let text = match version {
        None => overview(context, &resolution),
        Some(text) => {
            let parsed: Option<Version> = text.parse().ok();
            let found = parsed.and_then(|version| resolution.find(&version));
            let listed = found.filter(|index| resolution.sets[*index].is_listed());
            let index = listed.ok_or_else(|| PlanError::NotFound(text.to_owned()))?;
            detail::text(context, &surveyed, &resolution, index)
        }
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(Exit::Success)
}

/// The versions of an extension that a bakery offers and nobody has defined.
fn offered(context: &Context<'_>, name: &str) -> Result<Exit, Error> {
    let undefined = || SessionError::Undefined(ComponentName::Default);
    if context.settings.reach == Reach::Offline {
        return Err(undefined().into());
    }
    let versions = bakery::versions(context, name)?.ok_or_else(undefined)?;
    let text = match context.settings.json {
        JsonFormat::Off => Ok(versions.join(
            "
",
        ) + "
"),
        format => json::text(format, &versions),
    };
    text.and_then(|text: String| output::print(&text))
        .map_err(Error::Output)?;
    Ok(Exit::Success)
}

struct Overview<'a> {
    current: Option<&'a Version>,
    pending: bool,
    all: Vec<&'a str>,
    appstream: Vec<&'a str>,
}

impl Serialize for Overview<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        // compat: the key itself tells that the newest installed version is only acquired.
        let key = if self.pending {
            "current+pending"
        } else {
            "current"
        };
        map.serialize_entry(key, &self.current.map(Version::as_str))?;
        map.serialize_entry("all", &self.all)?;
        map.serialize_entry("appstreamUrls", &self.appstream)?;
        map.end()
    }
}

fn overview(context: &Context<'_>, resolution: &Resolution<'_>) -> std::io::Result<String> {
    let settings = context.settings;
    let listed = || (0..resolution.sets.len()).filter(|index| resolution.sets[*index].is_listed());
    if settings.json != JsonFormat::Off {
        if settings.reasons == Reasons::Shown {
            return json::text(settings.json, &reasons(resolution));
        }
        let current = resolution.current.map(|index| &resolution.sets[index]);
        let mut appstream: Vec<&str> = Vec::new();
        for url in resolution
            .transfers
            .iter()
            .flat_map(|(transfer, _)| &transfer.appstream)
        {
            if !appstream.contains(&url.as_str()) {
                appstream.push(url);
            }
        }
        let view = Overview {
            current: current.map(|set| set.version),
            pending: current.is_some_and(UpdateSet::is_pending),
            all: listed()
                .map(|index| resolution.sets[index].version.as_str())
                .collect(),
            appstream,
        };
        return json::text(settings.json, &view);
    }
    let mut columns = vec![
        Column::right(""),
        Column::left("VERSION"),
        Column::center("INSTALLED"),
        Column::center("AVAILABLE"),
        Column::left("ASSESSMENT"),
    ];
    let row = |index: usize| {
        let set = &resolution.sets[index];
        let glyphs = settings.glyphs;
        let tick = |yes: bool| if yes { glyphs.yes() } else { "" }.to_owned();
        vec![
            mark(glyphs, resolution, index).to_owned(),
            set.version.to_string(),
            tick(set.is_installed()),
            tick(set.is_available()),
            assessment(resolution, index),
        ]
    };
    let rows: Vec<Vec<String>> = match settings.reasons {
        Reasons::Hidden => listed().map(row).collect(),
        // Versions that only some sources offer are not listed, but there is a reason to tell.
        Reasons::Shown => {
            columns.push(Column::left("WHY"));
            let explained = |index| {
                let mut cells = row(index);
                cells.push(resolution.reason(index).to_string());
                cells
            };
            (0..resolution.sets.len()).map(explained).collect()
        }
    };
    Ok(table::render(&columns, &rows, settings.legend))
}

/// The JSON of `list --why`: every version with its reason.
#[derive(Serialize)]
struct Explained<'a> {
    version: &'a str,
    installed: bool,
    available: bool,
    assessment: String,
    reason: String,
    verification: &'static str,
}

fn reasons<'a>(resolution: &Resolution<'a>) -> Vec<Explained<'a>> {
    let verification =
        super::verification(resolution.transfers.iter().map(|(transfer, _)| *transfer));
    let explain = |index: usize| {
        let set = &resolution.sets[index];
        Explained {
            version: set.version.as_str(),
            installed: set.is_installed(),
            available: set.is_available(),
            assessment: assessment(resolution, index),
            reason: resolution.reason(index).to_string(),
            verification,
        }
    };
    (0..resolution.sets.len()).map(explain).collect()
}

/// The words for a version's state (compat 3, section 3.1 rule 4). Combinations on which the original aborts are
/// printed like any other.
fn assessment(resolution: &Resolution<'_>, index: usize) -> String {
    let set = &resolution.sets[index];
    let base = if set.is_installed() {
        match set {
            _ if resolution.current == Some(index) => "current",
            set if set.protected => "protected",
            _ => "installed",
        }
    } else if resolution.candidate == Some(index) {
        "candidate"
    } else if set.is_available() {
        "available"
    } else {
        "incomplete"
    };
    let mut words = vec![base];
    if set.obsolete {
        words.push("obsolete");
    }
    if set.is_partial() {
        words.push("partial");
    } else if set.is_pending() {
        words.push("pending");
    }
    if set.is_incomplete() {
        words.push("incomplete");
    }
    words.join("+")
}

fn mark(glyphs: Glyphs, resolution: &Resolution<'_>, index: usize) -> &'static str {
    let set = &resolution.sets[index];
    if set.is_partial() || set.is_pending() {
        glyphs.unfinished()
    } else if resolution.current == Some(index) {
        glyphs.current()
    } else if set.is_installed() && set.protected {
        glyphs.protected()
    } else if set.obsolete {
        glyphs.obsolete()
    } else if resolution.candidate == Some(index) {
        glyphs.candidate()
    } else {
        ""
    }
}
