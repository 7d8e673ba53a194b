//! How sources are reached in this run: the global file's settings, and over them those of the command line.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::output::progress::Narrator;
use super::settings::{JOBS, Settings};
use crate::definition::config::Network;
use crate::fetch::{Cancel, HttpSettings, RetrySettings, Rewrite, Transport};
use crate::inventory::remote::MANIFEST_TIMEOUT;
use crate::root::Root;

/// The way to all sources.
pub(super) fn transport(
    network: &Network,
    settings: &Settings,
    root: &Root,
    cancel: &Cancel,
    narrator: &Arc<Narrator>,
) -> Transport {
    let rewrites = network.rewrites.iter().map(|rule| Rewrite {
        from: rule.value.from.clone(),
        to: rule.value.to.clone(),
    });
    Transport::new(http(network, settings, root, cancel))
        .rewriting(rewrites.collect())
        .telling(Arc::<Narrator>::clone(narrator))
}

/// Downloads at a time.
pub(super) fn jobs(network: &Network, settings: &Settings) -> usize {
    let configured = network.jobs.as_ref().map(|jobs| jobs.value);
    let configured = configured.and_then(|jobs| usize::try_from(jobs).ok());
    settings.jobs.or(configured).unwrap_or(JOBS).max(1)
}

/// How long a manifest may take.
pub(super) fn manifest_timeout(network: &Network) -> Duration {
    let configured = network.manifest_timeout.as_ref();
    configured.map_or(MANIFEST_TIMEOUT, |timeout| timeout.value)
}

fn http(network: &Network, settings: &Settings, root: &Root, cancel: &Cancel) -> HttpSettings {
    let usual = HttpSettings::default();
    let located = |path: &Option<crate::definition::transfer::Located<std::path::PathBuf>>| {
        path.as_ref().map(|path| root.outer(&path.value))
    };
    let rate = network.limit_rate.as_ref().map(|rate| rate.value);
    HttpSettings {
        connect_timeout: settings
            .network_timeout
            .or(network.connect_timeout.as_ref().map(|span| span.value))
            .unwrap_or(usual.connect_timeout),
        stall_window: settings
            .network_timeout
            .or(network.stall_window.as_ref().map(|span| span.value))
            .unwrap_or(usual.stall_window),
        stall_rate: network
            .stall_rate
            .as_ref()
            .map_or(usual.stall_rate, |rate| rate.value),
        proxy: network.proxy.as_ref().map(|proxy| proxy.value.clone()),
        ca_files: located(&network.ca_file).into_iter().collect(),
        client_certificate: located(&network.client_certificate),
        client_key: located(&network.client_key),
        limit_rate: settings.limit_rate.or(rate.and_then(NonZeroU64::new)),
        retry: retry(network, settings),
        cancel: cancel.clone(),
        ..usual
    }
}

fn retry(network: &Network, settings: &Settings) -> RetrySettings {
    let usual = RetrySettings::default();
    RetrySettings {
        attempts: network.retries.as_ref().map_or(usual.attempts, |count| {
            u32::try_from(count.value).unwrap_or(u32::MAX)
        }),
        first_delay: settings
            .retry_delay
            .or(network.retry_delay.as_ref().map(|span| span.value))
            .unwrap_or(usual.first_delay),
        deadline: network
            .retry_deadline
            .as_ref()
            .map_or(usual.deadline, |span| span.value),
        ..usual
    }
}
