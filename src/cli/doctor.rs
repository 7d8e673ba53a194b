//! `doctor`: what is wrong, or about to be, with definitions, state and host, each with its place and the next step.
//!
//! Reads only, unless `--fix` is given: then what is safe to repair is repaired, a line each. Sources are asked with
//! `--online` alone.

mod definitions;
mod environment;
mod state;

use serde::Serialize;

use super::output::json::{self, JsonFormat};
use super::output::{self};
use super::transaction::{Purpose, Transaction};
use super::{Context, Exit, Verb};
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::event::{Silent, chain};
use crate::plan::{Goal, Reach, Request};
use crate::root::Root;
use crate::session::SessionError;
use crate::storage::atomic;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Something does not work.
    Error,
    /// Something will not work, or not as it should.
    Warning,
    /// Worth knowing.
    Note,
}

/// One thing that was found.
#[derive(Debug, Serialize)]
struct Finding {
    severity: Severity,
    /// `FILE:LINE`, a path, or a component.
    place: String,
    problem: String,
    /// What to do about it.
    advice: String,
    #[serde(skip)]
    repair: Option<Repair>,
}

/// What `--fix` does.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Repair {
    /// Removes a leftover of the program's own: an inner path.
    Remove(std::path::PathBuf),
    /// Lets the current symlinks lead where they should.
    Relink(ComponentName),
    /// Ends the trial that is open.
    Settle,
}

impl Finding {
    fn new(
        severity: Severity,
        place: impl Into<String>,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            place: place.into(),
            problem: problem.into(),
            advice: advice.into(),
            repair: None,
        }
    }

    fn repaired_by(mut self, repair: Repair) -> Self {
        self.repair = Some(repair);
        self
    }
}

pub(super) fn run(context: &Context<'_>, verb: &Verb) -> Result<Exit, Error> {
    let mut findings = Vec::new();
    let (components, broken) = components(context, &mut findings)?;
    definitions::look(context, &components, &mut findings);
    state::look(context, &components, &broken, &mut findings);
    environment::look(context, &components, &mut findings);
    findings.sort_by(|one, two| (one.severity, &one.place).cmp(&(two.severity, &two.place)));
    if context.settings.fix {
        repair(context, verb, &mut findings)?;
    }
    let text = match context.settings.json {
        JsonFormat::Off => Ok(render(&findings)),
        format => json::text(format, &findings),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    let is_well = findings
        .iter()
        .all(|finding| finding.severity == Severity::Note);
    if is_well {
        context.say("Nothing is wrong.");
    }
    Ok(if is_well {
        Exit::Success
    } else {
        Exit::Failure
    })
}

/// All components that can be read, and the names of those that cannot, which are findings.
fn components(
    context: &Context<'_>,
    findings: &mut Vec<Finding>,
) -> Result<(Vec<Component>, Vec<ComponentName>), Error> {
    let mut components = Vec::new();
    let mut broken = Vec::new();
    for name in context.all_components()? {
        match context.session.loader.load(&name, &Silent) {
            Ok(component) => components.push(component),
            Err(error) => {
                let text = chain(&SessionError::from(error));
                let (place, problem) = text
                    .split_once(": ")
                    .map_or((name.to_string(), text.clone()), |(place, problem)| {
                        (place.to_owned(), problem.to_owned())
                    });
                findings.push(Finding::new(
                    Severity::Error,
                    place,
                    problem,
                    "correct the file: until then the component is not updated",
                ));
                broken.push(name);
            }
        }
    }
    components.retain(|component| !component.transfers.is_empty());
    Ok((components, broken))
}

/// How a call names a component.
fn option(name: &ComponentName) -> String {
    match name {
        ComponentName::Default => String::new(),
        ComponentName::Named(name) => format!(" -C {name}"),
    }
}

fn repair(context: &Context<'_>, verb: &Verb, findings: &mut Vec<Finding>) -> Result<(), Error> {
    if findings.iter().all(|finding| finding.repair.is_none()) {
        return Ok(());
    }
    let _lock = context.lock(verb)?;
    let mut left = Vec::new();
    for finding in findings.drain(..) {
        let repaired = match &finding.repair {
            None => false,
            Some(Repair::Remove(path)) => remove(context.root, path),
            Some(Repair::Settle) => {
                let mut transaction = Transaction::new(context, Purpose::Update)?;
                transaction.resume();
                true
            }
            Some(Repair::Relink(name)) => relink(context, name)?,
        };
        if repaired {
            context.say(&format!(
                "Repaired: {}: {}.",
                finding.place, finding.problem
            ));
        } else {
            left.push(finding);
        }
    }
    *findings = left;
    Ok(())
}

fn remove(root: &Root, path: &std::path::Path) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    let opened = root.directory(parent);
    opened.is_ok_and(|directory| atomic::remove(root, &directory, name).is_ok())
}

fn relink(context: &Context<'_>, name: &ComponentName) -> Result<bool, Error> {
    let component = context
        .session
        .loader
        .load(name, &Silent)
        .map_err(SessionError::from)?;
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    let request = Request {
        version: None,
        goal: Goal::Relink,
        reach: Reach::Offline,
        instances_max: None,
    };
    transaction.update(vec![component], request);
    Ok(transaction.tally.exit() == Exit::Success && transaction.installed.is_some())
}

fn render(findings: &[Finding]) -> String {
    let lines = findings.iter().map(|finding| {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let fix = if finding.repair.is_some() {
            " (`sysupdate doctor --fix` does it)"
        } else {
            ""
        };
        format!(
            "{word}: {}: {}\n  {}{fix}",
            finding.place, finding.problem, finding.advice
        )
    });
    lines.map(|line| line + "\n").collect::<Vec<_>>().concat()
}
