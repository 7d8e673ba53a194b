//! Talk on stderr: bars on a terminal, a line per step elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::frontend::Frontend;
use crate::cli::settings::Talk;
use crate::event::{Event, Reporter, Severity};

/// The reporter of the command line.
pub(crate) struct Narrator {
    threshold: Severity,
    bars: Option<Bars>,
    frontend: Frontend,
}

struct Bars {
    all: MultiProgress,
    running: Mutex<HashMap<String, ProgressBar>>,
}

impl Narrator {
    pub(crate) fn new(talk: Talk) -> Self {
        let bars = talk.terminal.then(|| Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            running: Mutex::default(),
        });
        Self {
            threshold: talk.threshold,
            bars,
            frontend: Frontend::default(),
        }
    }

    /// Tells programs as well.
    pub(crate) fn with(self, frontend: Frontend) -> Self {
        Self { frontend, ..self }
    }

    /// Says what went wrong; `--quiet` does not silence it.
    pub(crate) fn error(&self, text: &str) {
        self.report(&Event::Message(Severity::Error, text.to_owned()));
    }
}

impl Reporter for Narrator {
    fn report(&self, event: &Event<'_>) {
        self.frontend.hear(event);
        if event.severity() < self.threshold {
            return;
        }
        match (event, &self.bars) {
            (Event::Message(_, text), Some(bars)) => bars.all.suspend(|| super::talk(text)),
            (Event::Message(_, text), None) => super::talk(text),
            (_, Some(bars)) => bars.show(event),
            (Event::TransferStarted { name, total }, None) => {
                let size = total.map_or_else(
                    || "unknown size".to_owned(),
                    |total| HumanBytes(total).to_string(),
                );
                super::talk(&format!("Downloading {name}, {size}."));
            }
            // A file or a journal has no use for a line every moment.
            (_, None) => {}
        }
    }
}

impl Bars {
    fn show(&self, event: &Event<'_>) {
        // Bars are drawn, not depended on.
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::TransferStarted { name, total } => {
                let bar = self.all.add(ProgressBar::new(total.unwrap_or(0)));
                bar.set_style(style(*total));
                bar.set_message(super::printable(name).into_owned());
                running.insert((*name).to_owned(), bar);
            }
            Event::TransferProgress { name, bytes } => {
                if let Some(bar) = running.get(*name) {
                    bar.set_position(*bytes);
                }
            }
            Event::TransferEnded { name } => {
                if let Some(bar) = running.remove(*name) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
            }
            Event::Message(..) => {}
        }
    }
}

fn style(total: Option<u64>) -> ProgressStyle {
    let template = match total {
        Some(_) => "{msg} {wide_bar} {bytes:>11}/{total_bytes} {bytes_per_sec:>13} {eta:>4}",
        None => "{msg} {spinner} {bytes:>11} {bytes_per_sec:>13}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
