//! `plan`: what `update` would do, and nothing else. `apply`: exactly that, or a refusal that names what changed.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use indicatif::HumanBytes;

use super::output::json::{self, JsonFormat};
use super::output::table::{self, Column};
use super::output::{self};
use super::transaction::{Job, Purpose, Scope, Transaction, in_use};
use super::update::load_all;
use super::{Context, Exit, Verb};
use crate::definition::{Component, ComponentName};
use crate::error::Error;
use crate::install::space;
use crate::inventory::link::LinkState;
use crate::plan::document::{
    ApplyError, ComponentPlan, Document, FORMAT, Forecast, PartAction, PartPlan, ReasonLine,
    RemovalPlan,
};
use crate::plan::{self, Action, Decision, Goal, Plan, Request, Step};
use crate::resolve::Resolution;
use crate::session::Surveyed;

/// The largest saved plan, in bytes.
const LIMIT: u64 = 64 * 1024 * 1024;

pub(super) fn run(context: &Context<'_>, version: Option<&str>) -> Result<Exit, Error> {
    let request = request(context, version);
    let (components, broken) = load_all(context)?;
    let mut plans = Vec::new();
    let mut failed = broken;
    for component in components {
        let name = component.name.clone();
        match examine(context, component, request) {
            Ok(plan) => plans.push(plan),
            Err(error) if context.names_components() => {
                failed |= context.failed_among_several(&name, &error);
            }
            Err(error) => return Err(error),
        }
    }
    let document = Document {
        format: FORMAT,
        time: super::timestamp(),
        components: plans,
    };
    let text = match context.settings.json {
        JsonFormat::Off => Ok(render(context, &document)),
        format => json::text(format, &document),
    };
    text.and_then(|text| output::print(&text))
        .map_err(Error::Output)?;
    Ok(if failed { Exit::Failure } else { Exit::Success })
}

/// Carries a saved plan out, as far as it still is what would be done.
pub(super) fn apply(context: &Context<'_>, verb: &Verb, file: &str) -> Result<Exit, Error> {
    let saved = read(file)?;
    let _lock = context.lock(verb)?;
    let mut transaction = Transaction::new(context, Purpose::Update)?;
    transaction.resume();
    let mut surveys = Vec::new();
    for plan in saved
        .components
        .iter()
        .filter(|plan| plan.version.is_some())
    {
        let name = match &plan.component {
            None => ComponentName::Default,
            Some(name) => ComponentName::Named(name.clone()),
        };
        let component = context.load(&name, crate::session::Requirement::EnabledTransfer)?;
        let request = request(context, plan.version.as_deref());
        let surveyed = context
            .session
            .survey_fitting(component, request.reach, request.version)?;
        surveys.push((plan, surveyed));
    }
    // All of them are compared before the first one is begun.
    let mut jobs = Vec::new();
    for (plan, surveyed) in &surveys {
        let request = request(context, plan.version.as_deref());
        let (now, job) = compose(context, surveyed, request)?;
        let changes = plan.changes_since(&now);
        match job {
            Some(job) if changes.is_empty() => jobs.push(job),
            _ => {
                return Err(ApplyError::Changed {
                    component: plan.name().to_owned(),
                    changes: if changes.is_empty() {
                        vec!["there is nothing left to do".to_owned()]
                    } else {
                        changes
                    },
                }
                .into());
            }
        }
    }
    if jobs.is_empty() {
        context.say("The plan has nothing to do.");
        return Ok(Exit::Success);
    }
    transaction.carry_out(&jobs, request(context, Some("")));
    Ok(transaction.tally.exit())
}

fn read(file: &str) -> Result<Document, ApplyError> {
    let failed = |source| ApplyError::Read {
        file: file.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(Path::new(file)).map_err(failed)?;
    opened.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    let document: Document =
        serde_json::from_slice(&bytes).map_err(|source| ApplyError::Malformed {
            file: file.to_owned(),
            source,
        })?;
    if document.format != FORMAT {
        return Err(ApplyError::Format {
            file: file.to_owned(),
            format: document.format,
        });
    }
    Ok(document)
}

fn request<'r>(context: &Context<'_>, version: Option<&'r str>) -> Request<'r> {
    Request {
        version,
        goal: Goal::Install,
        reach: context.settings.reach,
        instances_max: context.settings.instances_max,
    }
}

fn examine(
    context: &Context<'_>,
    component: Component,
    request: Request<'_>,
) -> Result<ComponentPlan, Error> {
    let surveyed = context
        .session
        .survey_fitting(component, request.reach, request.version)?;
    Ok(compose(context, &surveyed, request)?.0)
}

/// The plan of one component, to be shown and to be carried out.
fn compose<'s>(
    context: &Context<'_>,
    surveyed: &'s Surveyed,
    request: Request<'_>,
) -> Result<(ComponentPlan, Option<Job<'s>>), Error> {
    let resolution = surveyed.resolve();
    let decision = plan::decide(&resolution, &surveyed.transfers(), request)?;
    let mut document = ComponentPlan {
        component: super::plain_name(&surveyed.component.name),
        current: in_use(&resolution).map(|set| set.version.to_string()),
        version: None,
        notes: Vec::new(),
        verification: super::verification(
            resolution.transfers.iter().map(|(transfer, _)| *transfer),
        )
        .to_owned(),
        fetch: Some(0),
        peak: Some(0),
        parts: Vec::new(),
        removals: Vec::new(),
        activation: Forecast::default(),
        reasons: (0..resolution.sets.len())
            .map(|index| ReasonLine {
                version: resolution.sets[index].version.to_string(),
                reason: resolution.reason(index).to_string(),
            })
            .collect(),
    };
    let mut plan = match decision {
        Decision::Nothing { idle, .. } => {
            document
                .notes
                .push(super::transaction::idle_text(&idle, &resolution));
            return Ok((document, None));
        }
        Decision::Do(plan) => plan,
    };
    super::transaction::spare(context, &surveyed.component.name, &mut plan.removals);
    document.version = Some(plan.version.to_string());
    document.notes.clone_from(&plan.notices);
    document.parts = parts(context, &resolution, &plan);
    document.fetch = document
        .parts
        .iter()
        .filter(|part| part.action == PartAction::Fetch)
        .map(|part| part.bytes)
        .sum();
    document.peak = document.fetch;
    document.removals = plan
        .evictions
        .iter()
        .chain(&plan.removals)
        .map(|gone| RemovalPlan {
            path: context.root.outer(gone.path).display().to_string(),
            version: gone.version.to_string(),
            kind: gone.kind.as_str().to_owned(),
        })
        .collect();
    let job = Job {
        surveyed,
        resolution,
        plan,
    };
    document.activation = forecast(context, &job);
    Ok((document, Some(job)))
}

fn parts(context: &Context<'_>, resolution: &Resolution<'_>, plan: &Plan<'_>) -> Vec<PartPlan> {
    let outer = |path: &Path| context.root.outer(path).display().to_string();
    let transfers = resolution.transfers.iter().enumerate();
    transfers
        .zip(&plan.steps)
        .map(|((number, (_, inventory)), step)| {
            let set = resolution.find(plan.version);
            let digest = set.and_then(|index| {
                super::transaction::digest(&resolution.sets[index].parts[number])
            });
            let (action, source, bytes) = coming(context, step);
            PartPlan {
                transfer: step.transfer.id.clone(),
                action,
                source,
                sha256: digest,
                bytes,
                path: outer(&step.path),
                link: inventory.link.as_ref().map(|link| outer(&link.path)),
                link_before: inventory.link.as_ref().and_then(|link| match &link.state {
                    LinkState::To(path) => Some(outer(path)),
                    _ => None,
                }),
            }
        })
        .collect()
}

/// How an artifact comes, from where, and how many bytes of it are yet to come.
fn coming(context: &Context<'_>, step: &Step<'_>) -> (PartAction, Option<String>, Option<u64>) {
    match &step.action {
        Action::Keep => (PartAction::Keep, None, None),
        Action::Install(_) => (PartAction::Install, None, None),
        Action::Acquire { source, .. } => {
            let size = space::announced(&context.executor, step, source);
            let from = context.session.shown(step.transfer, source);
            (PartAction::Fetch, Some(from), size)
        }
    }
}

fn forecast(context: &Context<'_>, job: &Job<'_>) -> Forecast {
    if Scope::of(context) == Scope::FilesOnly {
        return Forecast::default();
    }
    let member = super::transaction::member(context, job, Purpose::Update);
    let session = &context.session;
    crate::trial::forecast(
        context.root,
        session.loader.host.architecture.as_deref(),
        &member,
        &session.facts_of(&job.resolution, job.plan.version),
    )
}

fn render(context: &Context<'_>, document: &Document) -> String {
    let mut text = String::new();
    let columns = [
        "COMPONENT",
        "CURRENT",
        "PLANNED",
        "FETCH",
        "VERIFICATION",
        "ACTIVATION",
    ]
    .map(Column::left);
    let dash = || "-".to_owned();
    let rows: Vec<Vec<String>> = document
        .components
        .iter()
        .map(|plan| {
            vec![
                plan.name().to_owned(),
                plan.current.clone().unwrap_or_else(dash),
                plan.version.clone().unwrap_or_else(dash),
                match (&plan.version, plan.fetch) {
                    (None, _) => dash(),
                    (_, Some(bytes)) => HumanBytes(bytes).to_string(),
                    (_, None) => "unknown".to_owned(),
                },
                plan.verification.clone(),
                activation_words(&plan.activation),
            ]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str(&table::render(&columns, &rows, context.settings.legend));
    }
    for plan in &document.components {
        text.push_str(&details(plan));
    }
    text
}

fn activation_words(forecast: &Forecast) -> String {
    let mut words: Vec<String> = forecast
        .merge
        .iter()
        .map(|kind| format!("merge {kind}"))
        .collect();
    if !forecast.units.is_empty() {
        words.push(format!("{} units", forecast.units.len()));
    }
    if forecast.reboot {
        words.push("reboot".to_owned());
    } else if !forecast.later.is_empty() {
        words.push("at the next boot".to_owned());
    }
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(", ")
    }
}

/// What the table has no room for.
fn details(plan: &ComponentPlan) -> String {
    let mut lines = Vec::new();
    for note in &plan.notes {
        lines.push(note.clone());
    }
    for part in &plan.parts {
        let verb = match part.action {
            PartAction::Keep => "keep",
            PartAction::Install => "install",
            PartAction::Fetch => "fetch",
        };
        let from = part
            .source
            .as_ref()
            .map_or_else(String::new, |source| format!("{source} → "));
        lines.push(format!("{verb} {from}{}", part.path));
        if let Some(link) = &part.link
            && part.link_before.as_ref() != Some(&part.path)
        {
            lines.push(format!("link {link} → {}", part.path));
        }
    }
    for gone in &plan.removals {
        lines.push(format!("remove {} '{}'", gone.kind, gone.path));
    }
    for unit in &plan.activation.units {
        lines.push(format!("{} {} ({})", unit.verb, unit.unit, unit.why));
    }
    lines.extend(plan.activation.later.iter().cloned());
    let installed = plan.version.as_ref().or(plan.current.as_ref());
    for line in plan
        .reasons
        .iter()
        .filter(|line| Some(&line.version) != installed)
        .take(REASONS)
    {
        lines.push(format!("not {}: {}", line.version, line.reason));
    }
    let mut text = String::new();
    if !lines.is_empty() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{}:", plan.name());
        for line in lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// So many versions that are not chosen are explained; `list --why` has them all.
const REASONS: usize = 5;
