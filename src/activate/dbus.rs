//! The real [`SystemManager`]: systemd over the system bus, programs as child processes.
//!
//! Owns the connection, its small runtime, and all waiting: whatever is asked here ends, well or badly, in bounded
//! time. Never decides what to do, and never speaks to systemd's private socket: without a system bus it says so.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_core::Stream;
use tokio::runtime::{Builder, Runtime};
use zbus::proxy::CacheProperties;
use zbus::{Connection, ObjectPath, OwnedObjectPath};

use super::command;
use super::loops;
use super::system::{CommandOutcome, JobResult, SystemError, SystemManager, UnitState};

/// systemd, reached over the system bus at the first question.
///
/// Its methods block: they must not be called on a thread that drives an asynchronous runtime.
#[derive(Debug)]
pub struct SystemBus {
    runtime: Runtime,
    connection: Mutex<Option<Connection>>,
    /// The bus, where it is not the usual one.
    address: Option<String>,
}

impl SystemBus {
    /// Prepares the runtime; connects to nothing yet.
    ///
    /// # Errors
    /// When the kernel refuses what an event loop needs.
    pub fn new() -> io::Result<Self> {
        // One thread, the caller's: the connection makes progress only while a call is being waited for.
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            runtime,
            connection: Mutex::new(None),
            address: None,
        })
    }

    /// The one connection, made at the first question and after a loss (a restarted bus).
    async fn connection(&self) -> Result<Connection, SystemError> {
        let known = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(connection) = known {
            return Ok(connection);
        }
        let connection = match tokio::time::timeout(CONNECT_TIMEOUT, self.connect()).await {
            Ok(connected) => {
                connected.map_err(|error| SystemError::Connect(error.to_string().into()))?
            }
            Err(elapsed) => return Err(SystemError::Connect(elapsed.into())),
        };
        *self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
        Ok(connection)
    }

    async fn connect(&self) -> zbus::Result<Connection> {
        let builder = match &self.address {
            Some(address) => zbus::connection::Builder::address(address.as_str()),
            None => zbus::connection::Builder::system(),
        };
        let connection = builder.method_timeout(REPLY_TIMEOUT).build().await?;
        // Before any job starts: without a subscriber systemd announces no end of a job.
        manager(&connection).await?.subscribe().await?;
        Ok(connection)
    }

    /// Lets a unit be started however often it was started within the last seconds. Whatever fails here fails again, and
    /// is told, when the job is asked for.
    fn lift_start_limit(&self, unit: &str) {
        let _ = self.call("reset", unit, async |connection| {
            manager(connection).await?.reset_failed_unit(unit).await
        });
    }

    /// Runs one exchange with the manager to its end.
    fn call<T>(
        &self,
        operation: &'static str,
        object: &str,
        exchange: impl AsyncFn(&Connection) -> zbus::Result<T>,
    ) -> Result<T, SystemError> {
        self.runtime
            .block_on(self.exchange(operation, object, exchange))
    }

    /// The same, on the connection that there is. When that turns out to be dead (the bus was restarted), once more on a
    /// new one: whatever is asked for here may be asked for twice.
    async fn exchange<T>(
        &self,
        operation: &'static str,
        object: &str,
        exchange: impl AsyncFn(&Connection) -> zbus::Result<T>,
    ) -> Result<T, SystemError> {
        let mut attempts = 0;
        loop {
            let connection = self.connection().await?;
            let error = match exchange(&connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempts += 1;
            if matches!(error, zbus::Error::InputOutput(_)) {
                // A dead connection stays dead.
                self.connection
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take();
            }
            let object = object.to_owned();
            // As text: its variants repeat what they wrap, and so would a chain of causes.
            let source = error.to_string().into();
            if !is_lost(&error) {
                return Err(SystemError::Call {
                    operation,
                    object,
                    source,
                });
            }
            if attempts == ATTEMPTS {
                return Err(SystemError::Lost {
                    operation,
                    object,
                    source,
                });
            }
        }
    }

    /// The names of the units in one of these states that match one of these patterns (all, without patterns).
    fn units(
        &self,
        operation: &'static str,
        states: &[&str],
        patterns: &[&str],
    ) -> Result<BTreeSet<String>, SystemError> {
        self.call(operation, "systemd", async |connection| {
            let units = manager(connection)
                .await?
                .list_units_by_patterns(states, patterns)
                .await?;
            Ok(units.into_iter().map(|unit| unit.0).collect())
        })
    }

    /// Queues a job for the unit and waits for its result.
    fn job(&self, verb: Verb, unit: &str) -> Result<JobResult, SystemError> {
        let operation = verb.name();
        self.runtime.block_on(async {
            let own = self
                .exchange(operation, unit, async |connection| {
                    match own_timeout(connection, unit).await {
                        Err(error) if is_lost(&error) => Err(error),
                        // What else fails here fails again, and is told, when the job is asked for.
                        own => Ok(own.unwrap_or_default()),
                    }
                })
                .await?;
            // What the unit itself may take to stop and to start comes on top.
            let limit = JOB_TIMEOUT + own;
            let job = self.exchange(operation, unit, async |connection| {
                run_job(connection, verb, unit).await
            });
            tokio::time::timeout(limit, job).await.unwrap_or_else(|_| {
                Err(SystemError::JobTimeout {
                    operation,
                    unit: unit.to_owned(),
                    seconds: limit.as_secs(),
                })
            })
        })
    }
}

impl SystemManager for SystemBus {
    fn can_attach_images(&self) -> Result<(), SystemError> {
        loops::ask().map_err(SystemError::NoLoopDevice)
    }

    fn is_loaded(&self, unit: &str) -> Result<bool, SystemError> {
        self.call("look up", unit, async |connection| {
            let state = UnitProxy::of(connection, unit).await?.load_state().await?;
            Ok(state == "loaded")
        })
    }

    fn is_active(&self, unit: &str) -> Result<bool, SystemError> {
        self.call("look up", unit, async |connection| {
            let state = UnitProxy::of(connection, unit)
                .await?
                .active_state()
                .await?;
            Ok(matches!(
                state.as_str(),
                "active" | "reloading" | "refreshing" | "activating"
            ))
        })
    }

    fn restart(&self, unit: &str) -> Result<JobResult, SystemError> {
        // Several merges in a few seconds (a trial and its way back) are meant.
        self.lift_start_limit(unit);
        self.job(Verb::Restart, unit)
    }

    fn try_restart(&self, unit: &str) -> Result<JobResult, SystemError> {
        // The failed starts of a version before say nothing against this one.
        self.lift_start_limit(unit);
        self.job(Verb::TryRestart, unit)
    }

    fn reload_unit(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.job(Verb::Reload, unit)
    }

    fn stop(&self, unit: &str) -> Result<JobResult, SystemError> {
        self.job(Verb::Stop, unit)
    }

    fn state(&self, unit: &str) -> Result<UnitState, SystemError> {
        self.call("look up", unit, async |connection| {
            let proxy = UnitProxy::of(connection, unit).await?;
            let (result, restarts) = if unit.ends_with(".service") {
                let service = service(connection, unit).await?;
                (service.result().await?, service.restarts().await?)
            } else {
                (String::new(), 0)
            };
            Ok(UnitState {
                active: proxy.active_state().await?,
                sub: proxy.sub_state().await?,
                invocation: proxy.invocation_id().await?,
                restarts,
                result,
            })
        })
    }

    fn active_units(&self, pattern: &str) -> Result<Vec<String>, SystemError> {
        let states = ["active", "reloading", "activating"];
        self.units("list the units of", &states, &[pattern])
            .map(|units| units.into_iter().collect())
    }

    fn failed_units(&self) -> Result<BTreeSet<String>, SystemError> {
        self.units("list the failed units of", &["failed"], &[])
    }

    fn version(&self) -> Result<Option<u32>, SystemError> {
        self.call("look up the version of", "systemd", async |connection| {
            let text = manager(connection).await?.version().await?;
            let digits = text.trim_start_matches(|sign: char| !sign.is_ascii_digit());
            let end = digits
                .find(|sign: char| !sign.is_ascii_digit())
                .unwrap_or(digits.len());
            Ok(digits[..end].parse().ok())
        })
    }

    fn is_going_down(&self) -> Result<bool, SystemError> {
        self.call("look up the state of", "systemd", async |connection| {
            Ok(manager(connection).await?.system_state().await? == "stopping")
        })
    }

    fn reload_manager(&self) -> Result<(), SystemError> {
        // systemd replies once all unit files have been read.
        self.call("reload", "systemd", async |connection| {
            manager(connection).await?.reload().await
        })
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<CommandOutcome, SystemError> {
        command::run(program, arguments, PROGRAM_TIMEOUT)
    }
}

/// The jobs that activation asks for.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Restart,
    TryRestart,
    Reload,
    Stop,
}

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Self::Restart | Self::TryRestart => "restart",
            Self::Reload => "reload",
            Self::Stop => "stop",
        }
    }
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn list_units_by_patterns(
        &self,
        states: &[&str],
        patterns: &[&str],
    ) -> zbus::Result<Vec<Listed>>;
    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn system_state(&self) -> zbus::Result<String>;
    #[zbus(signal)]
    fn job_removed(
        &self,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Unit",
    default_service = "org.freedesktop.systemd1"
)]
trait Unit {
    #[zbus(property)]
    fn load_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn active_state(&self) -> zbus::Result<String>;
    #[zbus(property)]
    fn sub_state(&self) -> zbus::Result<String>;
    #[zbus(property, name = "InvocationID")]
    fn invocation_id(&self) -> zbus::Result<Vec<u8>>;
}

/// A unit as the manager lists it: its name, description, load, active and sub state, whom it follows, its object, and its
/// job's number, type and object.
type Listed = (
    String,
    String,
    String,
    String,
    String,
    String,
    OwnedObjectPath,
    u32,
    String,
    OwnedObjectPath,
);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Service",
    default_service = "org.freedesktop.systemd1"
)]
trait Service {
    #[zbus(property, name = "TimeoutStartUSec")]
    fn timeout_start_usec(&self) -> zbus::Result<u64>;
    #[zbus(property, name = "TimeoutStopUSec")]
    fn timeout_stop_usec(&self) -> zbus::Result<u64>;
    #[zbus(property)]
    fn result(&self) -> zbus::Result<String>;
    #[zbus(property, name = "NRestarts")]
    fn restarts(&self) -> zbus::Result<u32>;
}

async fn manager(connection: &Connection) -> zbus::Result<ManagerProxy<'static>> {
    ManagerProxy::builder(connection)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

impl UnitProxy<'static> {
    /// The unit of that name, loaded if need be; its properties are asked for anew each time.
    async fn of(connection: &Connection, unit: &str) -> zbus::Result<Self> {
        let path = manager(connection).await?.load_unit(unit).await?;
        Self::builder(connection)
            .path(path)
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }
}

/// Queues the job and waits until systemd removes it.
async fn run_job(connection: &Connection, verb: Verb, unit: &str) -> zbus::Result<JobResult> {
    let manager = manager(connection).await?;
    let mut removals = manager.receive_job_removed().await?;
    let mut queued = pin!(async {
        match verb {
            Verb::Restart => manager.restart_unit(unit, JOB_MODE).await,
            Verb::TryRestart => manager.try_restart_unit(unit, JOB_MODE).await,
            Verb::Reload => manager.reload_unit(unit, JOB_MODE).await,
            Verb::Stop => manager.stop_unit(unit, JOB_MODE).await,
        }
    });
    // The signals are read while the reply is still out: a full queue of signals would hold up the reply itself.
    let mut seen = Vec::new();
    let job = loop {
        tokio::select! {
            biased;
            job = &mut queued => break job?,
            removal = next(&mut removals) => seen.push(removed(removal)?),
        }
    };
    loop {
        if let Some(position) = seen.iter().position(|(path, _)| *path == job) {
            return Ok(seen.swap_remove(position).1);
        }
        seen.clear();
        seen.push(removed(next(&mut removals).await)?);
    }
}

/// What a `JobRemoved` signal says; its absence means that the connection is gone.
fn removed(signal: Option<JobRemoved>) -> zbus::Result<(OwnedObjectPath, JobResult)> {
    let signal = signal.ok_or_else(|| {
        let text = "the connection to the system bus was lost";
        zbus::Error::InputOutput(io::Error::new(io::ErrorKind::ConnectionAborted, text).into())
    })?;
    let arguments = signal.args()?;
    let Ok(result) = arguments.result().parse();
    Ok((arguments.job().to_owned().into(), result))
}

/// Whether the connection is gone; a reply that does not come in time is none of it.
fn is_lost(error: &zbus::Error) -> bool {
    matches!(error, zbus::Error::InputOutput(source) if source.kind() != io::ErrorKind::TimedOut)
}

/// What the unit itself may take to stop and to start.
async fn own_timeout(connection: &Connection, unit: &str) -> zbus::Result<Duration> {
    if !unit.ends_with(".service") {
        // The default of all other kinds, 90 s, is JOB_TIMEOUT.
        return Ok(Duration::ZERO);
    }
    let service = service(connection, unit).await?;
    let bounded = |microseconds| Duration::from_micros(microseconds).min(UNIT_TIMEOUT_LIMIT);
    Ok(bounded(service.timeout_stop_usec().await?) + bounded(service.timeout_start_usec().await?))
}

/// What only services have.
async fn service(connection: &Connection, unit: &str) -> zbus::Result<ServiceProxy<'static>> {
    let path = manager(connection).await?.load_unit(unit).await?;
    ServiceProxy::builder(connection)
        .path(path)
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// The next item of a stream.
fn next<S: Stream + Unpin>(stream: &mut S) -> impl Future<Output = Option<S::Item>> {
    poll_fn(move |context| Pin::new(&mut *stream).poll_next(context))
}

/// A queued job that contradicts ours gives way, as with `systemctl`.
const JOB_MODE: &str = "replace";

/// On so many connections one thing is asked for.
const ATTEMPTS: u32 = 2;

/// How long to wait for the bus to accept the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait for each reply; the reply to a reload comes when all generators have run.
const REPLY_TIMEOUT: Duration = Duration::from_secs(90);

/// How long to wait for a job beyond the unit's own time-outs: for the jobs it is ordered behind.
const JOB_TIMEOUT: Duration = Duration::from_secs(90);

/// What counts of a unit's own start or stop time-out, each: systemd has `infinity` for every oneshot service.
const UNIT_TIMEOUT_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long a program may run: a merge attaches and checks all images.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_bus_is_told_at_the_first_question_and_not_before() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut bus = SystemBus::new().expect("an event loop");
        bus.address = Some(format!(
            "unix:path={}",
            directory.path().join("bus").display()
        ));
        for _ in 0..2 {
            assert!(matches!(
                bus.is_active("a.service"),
                Err(SystemError::Connect(_))
            ));
            assert!(matches!(
                bus.restart("a.service"),
                Err(SystemError::Connect(_))
            ));
            assert!(matches!(bus.reload_manager(), Err(SystemError::Connect(_))));
        }
        assert_eq!(
            bus.run("true", &[]).expect("no bus is needed").code,
            Some(0)
        );
    }
}
