//! `config`: the global settings as they are in effect, and where each comes from.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::network;
use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::{Context, Exit};
use crate::definition::transfer::Located;
use crate::error::Error;
use crate::fetch::{HttpSettings, RetrySettings};

#[derive(Serialize)]
struct Row {
    key: String,
    value: String,
    /// `FILE:LINE`, or `default`.
    origin: String,
}

pub(super) fn run(context: &Context<'_>) -> Result<Exit, Error> {
    let rows = rows(context);
    let text = match context.settings.json {
        JsonFormat::Off => {
            let columns = [
                Column::left("KEY"),
                Column::left("VALUE"),
                Column::left("ORIGIN"),
            ];
            let cells: Vec<Vec<String>> = rows
                .into_iter()
                .map(|row| vec![row.key, row.value, row.origin])
                .collect();
            Ok(table::render(&columns, &cells, context.settings.legend))
        }
        format => json::text(format, &rows),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(Exit::Success)
}

fn rows(context: &Context<'_>) -> Vec<Row> {
    let config = context.config;
    let peek = config.compat.peek.as_ref();
    let window = config.reboot.window.as_ref();
    let mut rows = network_rows(context);
    rows.extend([
        row("compat.peek", peek, true.to_string(), bool::to_string),
        file_row("metrics.textfile", config.metrics.textfile.as_ref()),
        row(
            "reboot.window",
            window,
            "always".to_owned(),
            ToString::to_string,
        ),
    ]);
    rows.extend(config.bakeries.iter().map(|bakery| Row {
        key: format!("bakeries.{}", bakery.value.name),
        value: bakery.value.url.clone(),
        origin: bakery.origin.to_string(),
    }));
    rows
}

/// How sources are reached.
fn network_rows(context: &Context<'_>) -> Vec<Row> {
    let network = &context.config.network;
    let (http, retry) = (HttpSettings::default(), RetrySettings::default());
    let connect = network.connect_timeout.as_ref();
    let manifest = network.manifest_timeout.as_ref();
    let stall_rate = network.stall_rate.as_ref();
    let window = network.stall_window.as_ref();
    let retries = network.retries.as_ref();
    let delay = network.retry_delay.as_ref();
    let deadline = network.retry_deadline.as_ref();
    let jobs = network::jobs(network, context.settings);
    let usual_manifest = network::manifest_timeout(network);
    let rate = |rate: &u64| format!("{rate} B/s");
    let mut rows = vec![
        row(
            "network.proxy",
            network.proxy.as_ref(),
            none(),
            String::clone,
        ),
        file_row("network.ca_file", network.ca_file.as_ref()),
        file_row(
            "network.client_certificate",
            network.client_certificate.as_ref(),
        ),
        file_row("network.client_key", network.client_key.as_ref()),
        row(
            "network.limit_rate",
            network.limit_rate.as_ref(),
            none(),
            rate,
        ),
        span_row("network.connect_timeout", connect, http.connect_timeout),
        span_row("network.manifest_timeout", manifest, usual_manifest),
        row(
            "network.stall_rate",
            stall_rate,
            rate(&http.stall_rate),
            rate,
        ),
        span_row("network.stall_window", window, http.stall_window),
        row(
            "network.retries",
            retries,
            retry.attempts.to_string(),
            u64::to_string,
        ),
        span_row("network.retry_delay", delay, retry.first_delay),
        span_row("network.retry_deadline", deadline, retry.deadline),
        row(
            "network.jobs",
            network.jobs.as_ref(),
            jobs.to_string(),
            u64::to_string,
        ),
    ];
    rows.extend(network.rewrites.iter().map(|rewrite| Row {
        key: format!("network.rewrites.\"{}\"", rewrite.value.from),
        value: rewrite.value.to.clone(),
        origin: rewrite.origin.to_string(),
    }));
    rows
}

/// A setting that names a file; none without it.
fn file_row(key: &str, setting: Option<&Located<PathBuf>>) -> Row {
    row(key, setting, none(), |path| path.display().to_string())
}

fn span_row(key: &str, setting: Option<&Located<Duration>>, usual: Duration) -> Row {
    row(key, setting, span(&usual), span)
}

/// The value of a setting that has no default.
fn none() -> String {
    "none".to_owned()
}

fn row<T>(
    key: &str,
    setting: Option<&Located<T>>,
    default: String,
    text: impl Fn(&T) -> String,
) -> Row {
    let (value, origin) = match setting {
        Some(setting) => (text(&setting.value), setting.origin.to_string()),
        None => (default, "default".to_owned()),
    };
    Row {
        key: key.to_owned(),
        value,
        origin,
    }
}

/// A time span as a definition would write it.
fn span(span: &Duration) -> String {
    match (span.as_secs(), span.subsec_millis()) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, millis) => format!("{}ms", seconds * 1000 + u64::from(millis)),
    }
}
