//! One version in full: its flags, its changelog, and what it consists of.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::{assessment, mark};
use crate::cli::Context;
use crate::cli::output::json::{self, JsonFormat};
use crate::cli::output::table::{self, Column};
use crate::cli::settings::{Legend, Reasons};
use crate::definition::transfer::{Place, Transfer};
use crate::inventory::Instance;
use crate::resolve::{Part, Resolution, UpdateSet};
use crate::session::Surveyed;

/// The JSON of `list VERSION`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the names and types are the contract of compat 3, section 3.6"
)]
struct Detail<'a> {
    version: &'a str,
    newest: bool,
    available: bool,
    installed: bool,
    partial: bool,
    pending: bool,
    obsolete: bool,
    protected: bool,
    incomplete: bool,
    changelog_urls: Vec<String>,
    contents: Vec<Content>,
}

/// One row of the contents, its optional cells by the columns that any row of the version has.
struct Content {
    kind: &'static str,
    path: String,
    cells: Vec<(&'static Cell, Option<Value>)>,
}

enum Value {
    Boolean(bool),
    Number(u64),
    Text(String),
}

/// A column of the contents.
struct Cell {
    key: &'static str,
    title: Column,
    value: fn(&Instance) -> Option<Value>,
    text: fn(&Value, &TimeZone) -> String,
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.kind)?;
        map.serialize_entry("path", &self.path)?;
        for (cell, value) in &self.cells {
            match value {
                None => map.serialize_entry(cell.key, &None::<()>)?,
                Some(Value::Boolean(boolean)) => map.serialize_entry(cell.key, boolean)?,
                Some(Value::Number(number)) => map.serialize_entry(cell.key, number)?,
                Some(Value::Text(text)) => map.serialize_entry(cell.key, text)?,
            }
        }
        map.end()
    }
}

static CELLS: [Cell; 11] = [
    Cell {
        key: "ptuuid",
        title: Column::left("PTUUID"),
        value: |instance| {
            instance
                .metadata
                .partition_uuid
                .map(|uuid| Value::Text(uuid.to_string()))
        },
        text: plain,
    },
    Cell {
        key: "ptflags",
        title: Column::right("PTFLAGS"),
        value: |instance| instance.metadata.partition_flags.map(Value::Number),
        text: |value, _| match value {
            Value::Number(flags) => format!("{flags:x}"),
            other => plain(other, &TimeZone::UTC),
        },
    },
    Cell {
        key: "mtime",
        title: Column::right("MTIME"),
        value: |instance| instance.metadata.mtime.map(Value::Number),
        text: |value, zone| match value {
            Value::Number(microseconds) => time(*microseconds, zone),
            other => plain(other, zone),
        },
    },
    Cell {
        key: "mode",
        title: Column::right("MODE"),
        value: |instance| {
            instance
                .metadata
                .mode
                .map(|mode| Value::Number(mode.into()))
        },
        text: |value, _| match value {
            Value::Number(mode) => format!("{mode:04o}"),
            other => plain(other, &TimeZone::UTC),
        },
    },
    Cell {
        key: "size",
        title: Column::right("SIZE"),
        value: |instance| instance.metadata.size.map(Value::Number),
        text: |value, zone| match value {
            Value::Number(bytes) => size(*bytes),
            other => plain(other, zone),
        },
    },
    Cell {
        key: "tries-done",
        title: Column::right("TRIES-DONE"),
        value: |instance| instance.metadata.tries_done.map(Value::Number),
        text: plain,
    },
    Cell {
        key: "tries-left",
        title: Column::right("TRIES-LEFT"),
        value: |instance| instance.metadata.tries_left.map(Value::Number),
        text: plain,
    },
    Cell {
        key: "noauto",
        title: Column::left("NOAUTO"),
        value: |instance| instance.metadata.no_auto.map(Value::Boolean),
        text: plain,
    },
    Cell {
        key: "ro",
        title: Column::left("RO"),
        value: |instance| instance.metadata.read_only.map(Value::Boolean),
        text: plain,
    },
    Cell {
        key: "growfs",
        title: Column::left("GROWFS"),
        value: |instance| instance.metadata.grow_file_system.map(Value::Boolean),
        text: plain,
    },
    Cell {
        key: "sha256",
        title: Column::left("SHA256"),
        value: |instance| {
            instance
                .metadata
                .sha256
                .map(|digest| Value::Text(digest.to_string()))
        },
        text: plain,
    },
];

/// Whether a column is one of the two counters, which come together.
fn is_tries(cell: &Cell) -> bool {
    matches!(cell.key, "tries-done" | "tries-left")
}

fn plain(value: &Value, _: &TimeZone) -> String {
    match value {
        Value::Boolean(boolean) => if *boolean { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => text.clone(),
    }
}

/// A size as systemd's tools write it: one digit behind the point, cut off, and none where there is nothing.
fn size(bytes: u64) -> String {
    let units = ["K", "M", "G", "T", "P", "E"];
    let mut factor = 1;
    let mut unit = "B";
    for larger in units {
        if bytes / factor < 1024 {
            break;
        }
        factor *= 1024;
        unit = larger;
    }
    match u128::from(bytes % factor) * 10 / u128::from(factor) {
        0 => format!("{}{unit}", bytes / factor),
        tenth => format!("{}.{tenth}{unit}", bytes / factor),
    }
}

fn time(microseconds: u64, zone: &TimeZone) -> String {
    let stamp = i64::try_from(microseconds)
        .ok()
        .and_then(|stamp| Timestamp::from_microsecond(stamp).ok());
    stamp.map_or_else(
        || microseconds.to_string(),
        |stamp| {
            stamp
                .to_zoned(zone.clone())
                .strftime("%a %Y-%m-%d %H:%M:%S %Z")
                .to_string()
        },
    )
}

pub(super) fn text(
    context: &Context<'_>,
    surveyed: &Surveyed,
    resolution: &Resolution<'_>,
    index: usize,
) -> std::io::Result<String> {
    let set = &resolution.sets[index];
    let newest_installed = resolution.sets.iter().position(UpdateSet::is_installed) == Some(index);
    let newest_available = resolution.sets.iter().position(UpdateSet::is_available) == Some(index);
    let newest = if set.is_installed() {
        newest_installed
    } else {
        newest_available
    };
    let mut changelog: Vec<String> = Vec::new();
    for url in surveyed
        .component
        .transfers
        .iter()
        .filter(|transfer| transfer.enabled)
        .flat_map(|t| &t.changelog)
    {
        let url = url.replace("@v", set.version.as_str());
        if !changelog.contains(&url) {
            changelog.push(url);
        }
    }
    let view = Detail {
        version: set.version.as_str(),
        newest,
        available: set.is_available(),
        installed: set.is_installed(),
        partial: set.is_partial(),
        pending: set.is_pending(),
        obsolete: set.obsolete,
        protected: set.protected,
        incomplete: set.is_incomplete(),
        changelog_urls: changelog,
        contents: contents(context, resolution, set),
    };
    match context.settings.json {
        JsonFormat::Off => Ok(block(context, resolution, index, &view)),
        format => json::text(format, &view),
    }
}

fn contents(
    context: &Context<'_>,
    resolution: &Resolution<'_>,
    set: &UpdateSet<'_>,
) -> Vec<Content> {
    let parts = resolution.transfers.iter().zip(&set.parts);
    let instances: Vec<_> = parts
        .filter_map(|((transfer, _), part)| {
            Some((*transfer, part, part.installed.or(part.available)?))
        })
        .collect();
    let is_said = |cell: &Cell, (transfer, _, instance): &(&Transfer, &Part<'_>, &Instance)| {
        // compat: of what goes into partitions, no times and modes of files are told, and of files nothing of partitions.
        let is_fitting = match transfer.target().place {
            Place::Slots(_) => !matches!(cell.key, "mtime" | "mode"),
            Place::Files(_) | Place::Trees(..) => !matches!(cell.key, "ptuuid" | "ptflags"),
        };
        (cell.value)(instance).is_some() && is_fitting
    };
    let is_used = |cell: &Cell| instances.iter().any(|one| is_said(cell, one));
    let is_tried = CELLS.iter().filter(|cell| is_tries(cell)).any(is_used);
    let used: Vec<&'static Cell> = CELLS
        .iter()
        .filter(|cell| is_used(cell) || (is_tried && is_tries(cell)))
        .collect();
    let content = |(transfer, part, instance): &(&Transfer, &Part<'_>, &Instance)| {
        let kind = if part.installed.is_some() {
            transfer.target().place.word()
        } else {
            transfer.source_word()
        };
        let path = context.session.shown(transfer, instance);
        Content {
            kind,
            path,
            cells: used
                .iter()
                .map(|cell| {
                    let value = (cell.value)(instance);
                    (
                        *cell,
                        value.filter(|_| is_said(cell, &(*transfer, *part, *instance))),
                    )
                })
                .collect(),
        }
    };
    instances.iter().map(content).collect()
}

fn block(
    context: &Context<'_>,
    resolution: &Resolution<'_>,
    index: usize,
    view: &Detail<'_>,
) -> String {
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    let mut installed = yes_no(view.installed).to_owned();
    let mut available = yes_no(view.available).to_owned();
    if view.newest {
        if view.installed {
            &mut installed
        } else {
            &mut available
        }
        .push_str(" (newest)");
    }
    for (applies, note) in [
        (view.partial, " (partial)"),
        (view.pending, " (pending)"),
        (view.incomplete, " (incomplete)"),
    ] {
        if applies {
            installed.push_str(note);
        }
    }
    let mark = mark(context.settings.glyphs, resolution, index);
    let mark = if mark.is_empty() { " " } else { mark };
    let mut lines = vec![
        format!("{mark} Version: {}", view.version),
        format!("    State: {}", assessment(resolution, index)),
        format!("Installed: {installed}"),
        format!("Available: {available}"),
        // compat: the text tells it of what is installed only, the JSON of all.
        format!("Protected: {}", yes_no(view.protected && view.installed)),
        format!(" Obsolete: {}", yes_no(view.obsolete)),
    ];
    if context.settings.reasons == Reasons::Shown {
        lines.push(format!("      Why: {}", resolution.reason(index)));
    }
    lines.extend(
        view.changelog_urls
            .iter()
            .map(|url| format!("ChangeLog: {url}")),
    );
    format!(
        "{}\n\n{}",
        lines.join("\n"),
        contents_table(&view.contents, context.settings.legend)
    )
}

fn contents_table(contents: &[Content], legend: Legend) -> String {
    let zone = TimeZone::system();
    let cells = contents.first().map_or(&[][..], |content| &content.cells);
    let mut columns = vec![Column::left("TYPE"), Column::left("PATH")];
    columns.extend(cells.iter().map(|(cell, _)| cell.title));
    let rows: Vec<Vec<String>> = contents
        .iter()
        .map(|content| {
            let mut row = vec![content.kind.to_owned(), content.path.clone()];
            row.extend(content.cells.iter().map(|(cell, value)| match value {
                Some(value) => (cell.text)(value, &zone),
                None => "-".to_owned(),
            }));
            row
        })
        .collect();
    table::render(&columns, &rows, legend)
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0B"),
            (5, "5B"),
            (1023, "1023B"),
            (1024, "1K"),
            (1_000_000, "976.5K"),
            (1 << 20, "1M"),
            (3_000_000, "2.8M"),
            (u64::MAX, "15.9E"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
