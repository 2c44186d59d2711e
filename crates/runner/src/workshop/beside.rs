//! Services of Compose files: each made from an image of its own, started beside the environment in the order
//! in which they need each other, watched, and started again as their policy says. They are gone with the
//! environment, without being asked: nothing of them is kept.

use std::{path::PathBuf, time::Duration};

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use windlass_devcontainer::{
    automation::Restart,
    compose::{self, Condition, HealthTest, Network},
};
use windlass_policy::redact::Redactor;
use windlass_run::job::StepResult;
use windlass_sandbox::{
    Limits, Prepared,
    backend::{
        Companion, Standing,
        companion::{Health, Healthy, OwnVolume, Shown, Test},
    },
};

use super::{
    Workshop,
    environment::{Access, Environment, broken},
    services::{STEADY, Sink},
    setup::{Lines, Tail},
};
use crate::{
    definition::{Beside, Services},
    executor::Attempted,
    job::failed,
};

/// The pause between two looks: short at first, since most services are quick.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// How long the last words of a service are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What a service is made by, once its image is there and its share is known.
pub(super) fn companion(beside: &Beside, image: Prepared, limits: Limits) -> Companion {
    let service = &beside.service;
    let volumes = beside.volumes.iter().map(|(name, inside, read_only)| OwnVolume {
        name: name.clone(),
        inside: PathBuf::from(inside),
        read_only: *read_only,
    });
    let shown = beside.shown.iter().map(|(below, inside)| Shown {
        below: PathBuf::from(below),
        inside: PathBuf::from(inside),
    });
    Companion {
        name: beside.name.clone(),
        image,
        entrypoint: service.entrypoint.clone(),
        command: service.command.clone(),
        variables: service.environment.clone().into_iter().collect(),
        user: service.user.clone(),
        folder: service.working_dir.clone(),
        volumes: volumes.collect(),
        shown: shown.collect(),
        memory: beside.memory.iter().map(PathBuf::from).collect(),
        shared_memory: service.shared_memory,
        init: service.init,
        read_only: service.read_only,
        alone: service.network == Network::None,
        health: service.healthcheck.as_ref().map(health),
        dropped: service.cap_drop.clone(),
        limits,
    }
}

fn health(check: &compose::HealthCheck) -> Health {
    let test = match &check.test {
        None => return Health::Off,
        Some(HealthTest::Shell(line)) => Test::Shell(line.clone()),
        Some(HealthTest::Exec(words)) => Test::Program(words.clone()),
    };
    let span = |micros: i64| Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    Health::Check {
        test,
        interval: span(check.interval),
        timeout: span(check.timeout),
        retries: check.retries,
        start: span(check.start_period),
    }
}

/// Divides what an environment may use among it and its services, so that together they have no more than
/// one environment. A service has what its file says; those of which it says nothing share half of the rest.
///
/// # Errors
/// What the services ask too much of, in words.
pub(super) fn shares(whole: &Limits, services: &Services) -> Result<(Limits, Vec<Limits>), String> {
    let written: Vec<compose::Limits> =
        services.beside.iter().map(|beside| beside.service.limits).collect();
    let divide = |what: &str, whole: Option<u64>, own: Option<u64>, each: Vec<Option<u64>>| {
        divide(whole, own, &each).ok_or_else(|| {
            let sum = sum(&each);
            format!(
                "its services ask for {sum} {what}, of which the environment has {}: lower their limits",
                whole.unwrap_or(0)
            )
        })
    };
    let wide = |value: Option<u32>| value.map(u64::from);
    let narrow = |value: Option<u64>| value.map(|value| u32::try_from(value).unwrap_or(u32::MAX));
    let own = services.limits;
    let (memory, memories) = divide(
        "bytes of memory",
        whole.memory_bytes,
        own.memory,
        written.iter().map(|it| it.memory).collect(),
    )?;
    let (cpu, cpus) = divide(
        "thousandths of a processor",
        wide(whole.cpu_millis),
        wide(own.cpu_millis),
        written.iter().map(|it| wide(it.cpu_millis)).collect(),
    )?;
    let (processes, all_processes) = divide(
        "processes",
        wide(whole.processes),
        wide(own.processes),
        written.iter().map(|it| wide(it.processes)).collect(),
    )?;
    let limits = |memory, cpu, processes| Limits {
        memory_bytes: memory,
        cpu_millis: narrow(cpu),
        processes: narrow(processes),
        ..whole.clone()
    };
    let each = memories.into_iter().zip(cpus).zip(all_processes);
    Ok((
        limits(memory, cpu, processes),
        each.map(|((memory, cpu), processes)| limits(memory, cpu, processes)).collect(),
    ))
}

fn divide(
    whole: Option<u64>,
    own: Option<u64>,
    each: &[Option<u64>],
) -> Option<(Option<u64>, Vec<Option<u64>>)> {
    let Some(whole) = whole else { return Some((own, each.to_vec())) };
    let written = sum(each);
    let rest = whole.checked_sub(written).filter(|rest| *rest > 0)?;
    let silent = each.iter().filter(|one| one.is_none()).count() as u64;
    let share = (rest / 2).checked_div(silent).map_or(0, |share| share.max(1));
    let left = rest.saturating_sub(share * silent).max(1);
    let own = own.map_or(left, |own| own.min(left));
    Some((Some(own), each.iter().map(|one| Some(one.unwrap_or(share))).collect()))
}

/// Whoever asks for more than there are numbers asks for too much.
fn sum(each: &[Option<u64>]) -> u64 {
    each.iter().flatten().copied().fold(0, u64::saturating_add)
}

/// Services on their way.
pub(super) struct Start<'a> {
    pub(super) workshop: &'a Workshop,
    pub(super) environment: &'a Environment,
    pub(super) redactor: &'a Redactor,
    pub(super) stop: &'a CancellationToken,
    pub(super) until: Instant,
}

impl Start<'_> {
    /// Starts all, and waits for what the environment needs of them.
    pub(super) async fn all(&self) -> Result<(), Attempted> {
        let Self { environment, .. } = *self;
        let services = &environment.definition.services;
        let mut heard: Vec<(&str, Heard)> = Vec::new();
        for (beside, companion) in services.beside.iter().zip(&environment.beside) {
            for (name, dependency) in &beside.service.depends_on {
                self.until_so(name, dependency.condition, &heard).await?;
            }
            let access = environment.access();
            let started = access.backend.accompany(&access.id, companion).await;
            started.map_err(|error| broken(self.workshop, &error))?;
            let (tail, (ends, ended)) = (Tail::default(), watch::channel(0));
            let stop = CancellationToken::new();
            let keeper = Keeper {
                access,
                companion: companion.clone(),
                restart: beside.service.restart,
                sink: environment.services.sink(),
                tail: tail.clone(),
                ends,
                stop: stop.clone(),
            };
            environment.services.keep(&stop, tokio::spawn(keeper.keep()));
            heard.push((&beside.name, Heard { tail, ended }));
        }
        for (name, condition) in &services.needs {
            self.until_so(name, *condition, &heard).await?;
        }
        Ok(())
    }

    /// Waits for a service to be as another one needs it.
    async fn until_so(
        &self,
        name: &str,
        condition: Condition,
        heard: &[(&str, Heard)],
    ) -> Result<(), Attempted> {
        // What isn't among them is the environment itself, or isn't started: it was not required.
        let services = &self.environment.definition.services;
        let Some(beside) = services.beside.iter().find(|beside| beside.name == name) else {
            return Ok(());
        };
        let heard = heard.iter().find(|(other, _)| *other == name).map(|(_, heard)| heard);
        let access = self.environment.access();
        let mut pause = PAUSES.0;
        let why = loop {
            let standing = access.backend.companion(&access.id, name).await;
            let standing = standing.map_err(|error| broken(self.workshop, &error))?;
            match judge(standing, condition, beside.service.restart) {
                Verdict::So => {
                    if let (Condition::Completed, Some(heard)) = (condition, heard) {
                        heard.to_its_end().await;
                    }
                    return Ok(());
                }
                Verdict::Never(why) => break why,
                Verdict::NotYet => {}
            }
            if Instant::now() >= self.until {
                break "was not ready when the time for the whole preparation was over".to_owned();
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {
                    let reason = "It was stopped while its services were started.".to_owned();
                    let code = "stopped".to_owned();
                    return Err(Attempted::Ended(StepResult::Failed { code, reason }));
                }
            }
            pause = (pause * 2).min(PAUSES.1);
        };
        let last = match heard {
            Some(heard) => heard.last_words(self.redactor).await,
            None => String::new(),
        };
        let place = crate::definition::in_project(
            &beside.service.place,
            &crate::definition::root(self.environment.name()),
        );
        let reason = format!("The service `{name}` ({place}) {why}.{last}");
        Err(Attempted::JobEnded(failed("service_not_ready", reason)))
    }
}

/// What is known of a service by what it prints.
struct Heard {
    tail: Tail,
    /// How often it ended.
    ended: watch::Receiver<u32>,
}

impl Heard {
    /// Waits until the last line of one that has ended is heard: its end is seen a moment before that.
    async fn to_its_end(&self) {
        let mut ended = self.ended.clone();
        let _ = tokio::time::timeout(LAST_WORDS, ended.wait_for(|ends| *ends > 0)).await;
    }

    /// The end of its output, all of it where it has ended.
    async fn last_words(&self, redactor: &Redactor) -> String {
        // One that runs has said what it has said.
        self.to_its_end().await;
        self.tail.in_words(redactor)
    }
}

enum Verdict {
    So,
    NotYet,
    Never(String),
}

fn judge(standing: Standing, condition: Condition, restart: Restart) -> Verdict {
    match (condition, standing) {
        (Condition::Started, _)
        | (Condition::Healthy, Standing::Running { healthy: Some(Healthy::Yes) }) => Verdict::So,
        (Condition::Completed, standing) if standing.is_success() => Verdict::So,
        (Condition::Healthy, Standing::Running { healthy: Some(Healthy::Starting) })
        | (Condition::Completed, Standing::Running { .. }) => Verdict::NotYet,
        (Condition::Healthy, Standing::Running { healthy: Some(Healthy::No) }) => {
            Verdict::Never("doesn't work, by its health check".to_owned())
        }
        (Condition::Healthy, Standing::Running { healthy: None }) => Verdict::Never(
            "is to be healthy, and neither its file nor its image says how that is found out: \
             add a `healthcheck`"
                .to_owned(),
        ),
        (_, Standing::Ended { .. }) if restart.again(standing.is_success()) => Verdict::NotYet,
        (_, Standing::Ended { .. }) => {
            Verdict::Never(format!("ended before it was ready: {}", in_words(standing)))
        }
    }
}

fn in_words(standing: Standing) -> String {
    match standing {
        Standing::Running { .. } => "it runs".to_owned(),
        Standing::Ended { out_of_memory: true, .. } => {
            "out of memory: raise its `mem_limit`, or the environment's".to_owned()
        }
        Standing::Ended { code, .. } => format!("exit {code}"),
    }
}

/// Watches one service until its environment ends.
struct Keeper {
    access: Access,
    companion: Companion,
    restart: Restart,
    sink: Sink,
    tail: Tail,
    ends: watch::Sender<u32>,
    stop: CancellationToken,
}

impl Keeper {
    async fn keep(self) {
        let stopped = self.stop.clone();
        tokio::select! {
            () = self.watch() => {}
            () = stopped.cancelled() => {}
        }
    }

    async fn watch(&self) {
        let Access { backend, id } = &self.access;
        let mut ends = 0u32;
        loop {
            let began = Instant::now();
            let mut lines = Lines::new(Some(self.companion.name.clone()));
            let mut hear = |bytes: &[u8]| {
                self.tail.add(bytes);
                self.sink.write(&lines.take(bytes));
            };
            let ended = backend.follow_companion(id, &self.companion.name, &mut hear).await;
            self.sink.write(&lines.rest());
            ends = if began.elapsed() >= STEADY { 1 } else { ends.saturating_add(1) };
            let pause = Restart::pause(ends);
            let (said, again) = match ended {
                Ok(ended) if self.restart.again(ended.is_success()) => {
                    let (how, wait) = (in_words(ended), pause.as_millis());
                    (format!("it ended: {how}; it starts again in {wait} ms"), true)
                }
                Ok(ended) => (format!("it ended: {}", in_words(ended)), false),
                Err(error) => (format!("it can't be watched any more: {error}"), false),
            };
            self.say(&said);
            // Only now: who waits for the end has all of the log.
            self.ends.send_modify(|ends| *ends += 1);
            if !again {
                return;
            }
            tokio::time::sleep(pause).await;
            if let Err(error) = backend.accompany(id, &self.companion).await {
                return self.say(&format!("it can't be started again: {error}"));
            }
        }
    }

    fn say(&self, what: &str) {
        let name = &self.companion.name;
        self.sink.write(format!("[windlass: service {name}: {what}]\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_and_its_services_share_what_one_environment_has() {
        assert_eq!(divide(None, None, &[None, Some(3)]), Some((None, vec![None, Some(3)])));
        assert_eq!(divide(Some(100), None, &[None]), Some((Some(50), vec![Some(50)])));
        assert_eq!(
            divide(Some(100), None, &[Some(40), None, None]),
            Some((Some(30), vec![Some(40), Some(15), Some(15)]))
        );
        assert_eq!(divide(Some(100), Some(10), &[Some(40)]), Some((Some(10), vec![Some(40)])));
        assert_eq!(divide(Some(100), Some(90), &[Some(40)]), Some((Some(60), vec![Some(40)])));
        assert_eq!(divide(Some(100), None, &[]), Some((Some(100), vec![])));
        assert_eq!(divide(Some(100), None, &[Some(60), Some(40)]), None);
        assert_eq!(divide(Some(100), None, &[Some(u64::MAX), Some(40)]), None);
    }

    #[test]
    fn a_service_that_is_started_again_may_still_become_healthy() {
        let ended = |code| Standing::Ended { code, out_of_memory: false };
        let verdict = |standing, condition, restart| match judge(standing, condition, restart) {
            Verdict::So => "so".to_owned(),
            Verdict::NotYet => "not yet".to_owned(),
            Verdict::Never(why) => why,
        };
        let seen = [
            verdict(ended(1), Condition::Healthy, Restart::Always),
            verdict(ended(1), Condition::Healthy, Restart::Never),
            verdict(ended(0), Condition::Completed, Restart::Never),
            verdict(ended(2), Condition::Completed, Restart::Never),
            verdict(ended(2), Condition::Started, Restart::Never),
            verdict(Standing::Running { healthy: None }, Condition::Completed, Restart::Never),
        ];
        assert_eq!(
            seen,
            [
                "not yet",
                "ended before it was ready: exit 1",
                "so",
                "ended before it was ready: exit 2",
                "so",
                "not yet"
            ]
        );
    }
}
