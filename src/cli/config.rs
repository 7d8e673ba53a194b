//! `config`: the global settings as they are in effect, and where each comes from.

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
    let none = || "none".to_owned();
    let mut rows = network_rows(context);
    rows.extend([
        row(
            "compat.peek",
            context.config.compat.peek.as_ref(),
            true.to_string(),
            bool::to_string,
        ),
        row(
            "metrics.textfile",
            context.config.metrics.textfile.as_ref(),
            none(),
            |path| path.display().to_string(),
        ),
        row(
            "reboot.window",
            context.config.reboot.window.as_ref(),
            "always".to_owned(),
            ToString::to_string,
        ),
    ]);
    rows.extend(context.config.bakeries.iter().map(|bakery| Row {
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
    let none = || "none".to_owned();
    let mut rows = vec![
        row(
            "network.proxy",
            network.proxy.as_ref(),
            none(),
            String::clone,
        ),
        row(
            "network.ca_file",
            network.ca_file.as_ref(),
            none(),
            |path| path.display().to_string(),
        ),
        row(
            "network.client_certificate",
            network.client_certificate.as_ref(),
            none(),
            |path| path.display().to_string(),
        ),
        row(
            "network.client_key",
            network.client_key.as_ref(),
            none(),
            |path| path.display().to_string(),
        ),
        row(
            "network.limit_rate",
            network.limit_rate.as_ref(),
            none(),
            |rate| format!("{rate} B/s"),
        ),
        row(
            "network.connect_timeout",
            network.connect_timeout.as_ref(),
            span(&http.connect_timeout),
            span,
        ),
        row(
            "network.manifest_timeout",
            network.manifest_timeout.as_ref(),
            span(&network::manifest_timeout(network)),
            span,
        ),
        row(
            "network.stall_rate",
            network.stall_rate.as_ref(),
            format!("{} B/s", http.stall_rate),
            |rate| format!("{rate} B/s"),
        ),
        row(
            "network.stall_window",
            network.stall_window.as_ref(),
            span(&http.stall_window),
            span,
        ),
        row(
            "network.retries",
            network.retries.as_ref(),
            retry.attempts.to_string(),
            u64::to_string,
        ),
        row(
            "network.retry_delay",
            network.retry_delay.as_ref(),
            span(&retry.first_delay),
            span,
        ),
        row(
            "network.retry_deadline",
            network.retry_deadline.as_ref(),
            span(&retry.deadline),
            span,
        ),
        row(
            "network.jobs",
            network.jobs.as_ref(),
            network::jobs(network, context.settings).to_string(),
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
