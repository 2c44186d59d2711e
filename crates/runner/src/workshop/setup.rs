//! Brings a new environment to where its repository wants it: lifecycle commands, tasks, services, in
//! their order, before anything of the first step runs. Every environment is made anew, for each lease
//! and after each failed attempt, so that each command runs once in each.
//!
//! Nothing here decides what a definition may say: that is done before there is an environment.

use std::{
    collections::VecDeque,
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use windlass_devcontainer::{
    automation::{Service, Task},
    configuration::Single,
    lifecycle::{Group, Stage},
};
use windlass_policy::redact::Redactor;
use windlass_run::job::StepResult;
use windlass_sandbox::{Exec, State};

use super::{
    Workshop, beside, checkpoint, command,
    environment::{Broken, Environment, Ran, Tenant, broken},
    limits::{self, Allowance},
    place::Attempt,
    secrets::Given,
    services::{self, Unready, tasks},
    stocked::{self, Prebuild},
};
use crate::{
    definition::{Room, Strictness},
    executor::Attempted,
    held::Writer,
    job::failed,
};

/// How long everything before the first step may take together.
pub(super) const LIMIT: Duration = Duration::from_secs(30 * 60);
/// How many lines of a command's output stand in the reason of its failure.
const LINES: usize = 12;
/// How much of its output is kept for that.
const TAIL: usize = 8 * 1024;

/// Brings an environment to where its repository wants it. `Err` is the end of the attempt.
pub(crate) async fn get_ready(
    workshop: &Workshop,
    environment: &mut Environment,
    redactor: &Redactor,
    attempt: &Attempt,
    given: &Given,
) -> Result<(), Attempted> {
    environment.services.attach(&attempt.log);
    let definition = environment.definition.clone();
    say(&attempt.log, &format!("environment: {}", environment.started))?;
    for finding in definition.findings.all() {
        say(&attempt.log, &format!("environment: {finding}"))?;
    }
    let limit = LIMIT.min(attempt.left());
    let nothing = Given::default();
    let setup = Setup {
        workshop,
        environment: &*environment,
        redactor,
        given: &nothing,
        log: &attempt.log,
        stop: &attempt.stop,
        until: Instant::now() + limit,
        limit,
    };
    setup.beside().await?;
    let (mut before, mut last) = (Vec::new(), Vec::new());
    let lifecycle = definition.devcontainer.as_ref().map(|resolved| &resolved.lifecycle);
    let is_done = environment.prebuild == Prebuild::Done;
    if let Some(plan) = lifecycle {
        if !is_done {
            setup.stages(&plan.prebuild).await?;
        }
        before.extend(plan.claim.iter().chain(&plan.start).cloned());
        last.extend(plan.attach.iter().cloned());
    }
    for level in definition.automation.prebuild() {
        if !is_done {
            setup.level(&level).await?;
        }
    }
    // A service that a task of the prebuild needs would write while it is copied.
    if environment.services.is_any() {
        if matches!(environment.prebuild, Prebuild::Keep { .. }) {
            say(&attempt.log, "environment: no snapshot is kept: a service runs in its prebuild")?;
        }
    } else {
        if matches!(environment.prebuild, Prebuild::Keep { .. }) {
            for level in definition.automation.before_snapshot() {
                setup.level(&level).await?;
            }
        }
        if let Some(kept) = stocked::keep(workshop, environment).await {
            say(&attempt.log, &format!("environment: {kept}"))?;
        }
    }
    setup.with_secrets(given, &before).await?;
    for level in definition.automation.start() {
        setup.level(&level).await?;
    }
    setup.stages(&last).await
}

fn say(log: &Writer, text: &str) -> Result<(), Attempted> {
    log.append(format!("[windlass: {text}]\n").as_bytes())
        .map_err(|error| checkpoint::disk_full(&error))
}

/// One environment on its way.
struct Setup<'a> {
    workshop: &'a Workshop,
    environment: &'a Environment,
    redactor: &'a Redactor,
    /// What its programs are given: nothing while a snapshot can still be made, and beside services.
    given: &'a Given,
    log: &'a Writer,
    stop: &'a CancellationToken,
    until: Instant,
    limit: Duration,
}

/// One program of the set-up.
struct Program {
    /// What a reason calls it.
    what: String,
    /// What each line of its output begins with; none if it runs alone.
    label: Option<String>,
    exec: Exec,
}

/// Why something of the set-up did not go on.
enum Trouble {
    /// It failed by itself.
    End(Attempted),
    /// Something beside it failed, or somebody said to stop.
    Stopped,
}

impl Trouble {
    /// Why, for a person.
    fn why(&self) -> String {
        match self {
            Self::End(Attempted::JobEnded(end)) => end.reason.clone(),
            Self::End(Attempted::GiveBack(why)) => why.clone(),
            Self::End(Attempted::Ended(_)) | Self::Stopped => "It was stopped.".to_owned(),
        }
    }
}

impl Setup<'_> {
    /// Stages whose programs may be given secrets. Services would run beside them as the same user, and
    /// could keep a secret until an agent asks for it.
    async fn with_secrets(&self, given: &Given, stages: &[Stage]) -> Result<(), Attempted> {
        if given.is_empty() || stages.iter().all(|stage| stage.groups.is_empty()) {
            return self.stages(stages).await;
        }
        let names = given.names().join(", ");
        if self.environment.services.is_any() {
            let why = format!("environment: {names} not given: a service of the prebuild runs");
            say(self.log, &why)?;
            return self.stages(stages).await;
        }
        say(self.log, &format!("environment: given {names}"))?;
        let fell = |error| {
            let halt = CancellationToken::new();
            match self.broke(error, &halt) {
                Trouble::End(end) => end,
                Trouble::Stopped => Attempted::GiveBack("it was stopped".to_owned()),
            }
        };
        given.make_files(self.environment).await.map_err(fell)?;
        let setup = Setup { given, ..*self };
        let ready = setup.stages(stages).await;
        given.leave(self.environment).await.map_err(fell)?;
        ready
    }

    /// The services of a Compose file are there before anything runs.
    async fn beside(&self) -> Result<(), Attempted> {
        for companion in &self.environment.beside {
            say(self.log, &format!("environment: service {} beside it", companion.name))?;
        }
        let start = beside::Start {
            workshop: self.workshop,
            environment: self.environment,
            redactor: self.redactor,
            stop: self.stop,
            until: self.until,
        };
        start.all().await
    }

    async fn stages(&self, stages: &[Stage]) -> Result<(), Attempted> {
        for stage in stages {
            for group in &stage.groups {
                self.group(stage.hook.property(), group).await?;
            }
        }
        Ok(())
    }

    /// The commands of one origin, at once.
    async fn group(&self, property: &str, group: &Group) -> Result<(), Attempted> {
        let root = crate::definition::root(self.environment.name());
        let place = group.origin.to_string();
        let place =
            place.strip_prefix(&root).map_or(&*place, |below| below.trim_start_matches('/'));
        say(self.log, &format!("environment: {property} ({place})"))?;
        let alone = group.steps.len() == 1;
        let mut programs = Vec::new();
        for step in &group.steps {
            let (argv, shown) = match &step.command {
                Single::Shell(line) => {
                    (vec!["sh".into(), "-c".into(), line.into()], command::one_line(line))
                }
                Single::Exec(words) => {
                    (words.iter().map(Into::into).collect(), command::one_line(&words.join(" ")))
                }
            };
            let mut exec =
                self.environment.exec("setup", argv).map_err(|e| broken(self.workshop, &e))?;
            self.given.set(&mut exec);
            let name = step.name.as_deref().map(|name| format!(" `{name}`")).unwrap_or_default();
            let what = format!("The command{name} of `{property}` ({place}), `{shown}`,");
            let label = step.name.clone().filter(|_| !alone);
            programs.push(Program { what, label, exec });
        }
        let halt = self.stop.child_token();
        let runs = programs.into_iter().map(|program| self.until_end(program, &halt));
        self.first_trouble(join_all(runs).await)
    }

    /// Services and tasks that wait for nothing of each other, at once.
    async fn level(&self, names: &[&str]) -> Result<(), Attempted> {
        let automation = &self.environment.definition.automation;
        let halt = self.stop.child_token();
        let mut tasks = Vec::new();
        let mut waits = Vec::new();
        for name in names {
            if let Some(service) = automation.services.get(*name) {
                say(self.log, &format!("environment: service {name}"))?;
                waits.push(self.ready(name, service, &halt));
            } else if let Some(task) = automation.tasks.get(*name) {
                say(self.log, &format!("environment: task {name}"))?;
                let label = (names.len() > 1).then(|| (*name).to_owned());
                tasks.push(self.task(name, task, label, &halt));
            }
        }
        let (tasks, waits) = futures::join!(join_all(tasks), join_all(waits));
        self.first_trouble(tasks.into_iter().chain(waits).collect())
    }

    /// A task to its end, with the values that it gives.
    async fn task(
        &self,
        name: &str,
        task: &Task,
        label: Option<String>,
        halt: &CancellationToken,
    ) -> Result<(), Trouble> {
        let (environment, execs) = (self.environment, self.environment.execs());
        let prepared = tasks::prepare(&execs, task);
        let prepared = prepared.map_err(|e| self.end(broken(self.workshop, &e), halt))?;
        let what = format!("The task `{name}`, `{}`,", command::one_line(&task.command));
        let (run, _) = environment.services.tasks.begin(name);
        let program = Program { what, label, exec: prepared.exec.clone() };
        let ended = self.printing(program, halt, |bytes| run.printed(bytes)).await;
        if let Err(trouble) = ended {
            run.ends(None, Err(trouble.why()));
            return Err(trouble);
        }
        let access = environment.access();
        let given = tasks::outputs(&access, &execs, (name, task), &run, &prepared).await;
        run.ends(Some(0), given.clone());
        match given {
            Ok(outputs) => {
                for (output, value) in outputs {
                    let told = format!("environment: task {name} gave {output} = {value}");
                    let told = self.redactor.redact_text(&command::one_line(&told));
                    say(self.log, &told).map_err(|end| self.end(end, halt))?;
                }
                Ok(())
            }
            Err(why) => {
                let why = self.redactor.redact_text(&why);
                Err(self.end(Attempted::JobEnded(failed("environment_failed", why)), halt))
            }
        }
    }

    fn first_trouble(&self, all: Vec<Result<(), Trouble>>) -> Result<(), Attempted> {
        let mut stopped = false;
        for trouble in all.into_iter().filter_map(Result::err) {
            match trouble {
                Trouble::End(end) => return Err(end),
                Trouble::Stopped => stopped = true,
            }
        }
        if !stopped {
            return Ok(());
        }
        let reason = "It was stopped while its environment was made ready.".to_owned();
        Err(Attempted::Ended(StepResult::Failed { code: "stopped".to_owned(), reason }))
    }

    async fn until_end(&self, program: Program, halt: &CancellationToken) -> Result<(), Trouble> {
        self.printing(program, halt, |_| ()).await
    }

    /// The same, with its output for somebody else too.
    async fn printing(
        &self,
        program: Program,
        halt: &CancellationToken,
        mut print: impl FnMut(&[u8]),
    ) -> Result<(), Trouble> {
        let Program { what, label, exec } = program;
        let mut lines = Lines::new(label);
        let tail = Tail::default();
        let output = |bytes: &[u8]| {
            tail.add(bytes);
            print(bytes);
            self.log.append(&lines.take(bytes))
        };
        let left = self.until.saturating_duration_since(Instant::now());
        let ran = self.environment.run(exec, left, halt, output).await;
        let ran = ran.map_err(|error| self.broke(error, halt))?;
        let rest = lines.rest();
        self.log.append(&rest).map_err(|error| self.end(checkpoint::disk_full(&error), halt))?;
        match ran {
            Ran::Ended(State::Exited { code: 0 }) => Ok(()),
            Ran::Stopped => Err(Trouble::Stopped),
            Ran::Ended(_) | Ran::TimedOut | Ran::Short(_) => {
                let how = match ran {
                    Ran::TimedOut => format!(
                        "was still running when the {} s for the whole preparation were over.",
                        self.limit.as_secs()
                    ),
                    ran => command::verdict(&ran, self.limit, &self.environment.allowance).1,
                };
                let reason = format!("{what} {how}{}", tail.in_words(self.redactor));
                let end = Attempted::JobEnded(failed("environment_failed", reason));
                Err(self.end(end, halt))
            }
        }
    }

    /// Starts a service and waits until it is ready.
    async fn ready(
        &self,
        name: &str,
        service: &Service,
        halt: &CancellationToken,
    ) -> Result<(), Trouble> {
        let until = self.until;
        let environment = self.environment;
        let (execs, access) = (environment.execs(), environment.access());
        let started = environment.services.start(&execs, &access, name, service);
        let mut life = started.map_err(|error| self.end(broken(self.workshop, &error), halt))?;
        let unready =
            match services::until_ready(self.environment, service, &mut life, until, halt).await {
                Ok(()) => return Ok(()),
                Err(unready) => unready,
            };
        let why = match unready {
            Unready::Stopped => return Err(Trouble::Stopped),
            Unready::Broken(error) => return Err(self.broke(error, halt)),
            Unready::Why(why) => why,
        };
        let last = life.tail.in_words(self.redactor);
        let reason =
            format!("The service `{name}`, `{}`, {why}{last}", command::one_line(&service.start));
        Err(self.end(Attempted::JobEnded(failed("service_not_ready", reason)), halt))
    }

    fn broke(&self, error: Broken, halt: &CancellationToken) -> Trouble {
        let end = match error {
            Broken::Environment(error) => broken(self.workshop, &error),
            Broken::Disk(error) => checkpoint::disk_full(&error),
        };
        self.end(end, halt)
    }

    /// What runs beside it is stopped.
    fn end(&self, end: Attempted, halt: &CancellationToken) -> Trouble {
        halt.cancel();
        Trouble::End(end)
    }
}

/// Puts a label before each line, where several programs write at once.
pub(crate) struct Lines {
    label: Option<String>,
    partial: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(label: Option<String>) -> Self {
        Self { label, partial: Vec::new() }
    }

    /// What can be written now.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        /// A line that is longer is cut, so that output without an end takes no memory.
        const LONGEST: usize = 16 * 1024;
        let Some(label) = &self.label else { return bytes.to_vec() };
        let mut whole = Vec::new();
        for byte in bytes {
            self.partial.push(*byte);
            if *byte == b'\n' || self.partial.len() >= LONGEST {
                whole.extend_from_slice(format!("[{label}] ").as_bytes());
                whole.append(&mut self.partial);
                if *byte != b'\n' {
                    whole.push(b'\n');
                }
            }
        }
        whole
    }

    /// A last line that has no end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        if self.partial.is_empty() { Vec::new() } else { self.take(b"\n") }
    }
}

/// The end of a program's output.
#[derive(Clone, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    pub(crate) fn add(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(bytes);
        let excess = kept.len().saturating_sub(TAIL);
        kept.drain(..excess);
    }

    /// The end of a sentence about the program.
    pub(crate) fn in_words(&self, redactor: &Redactor) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: Vec<u8> = kept.iter().copied().collect();
        let text = redactor.redact_text(&String::from_utf8_lossy(&bytes));
        let lines: Vec<&str> = text.trim_end().lines().collect();
        if lines.is_empty() {
            return " It printed nothing.".to_owned();
        }
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        format!(" The end of its output:\n{last}")
    }
}

/// What a repository says of its environment, to be read.
pub(super) struct Reading<'a> {
    pub(super) work: &'a super::repository::JobRepository,
    /// The work tree on this machine.
    pub(super) tree: &'a Path,
    /// The project's name as one folder name.
    pub(super) name: &'a str,
    /// The variables that every program inside has anyway.
    pub(super) variables: &'a std::collections::BTreeMap<String, String>,
    /// What the image says about itself, once it is there.
    pub(super) image: Option<&'a windlass_sandbox::ImageSettings>,
    /// What is known of Features and of the images of a build.
    pub(super) known: &'a super::base::Known,
}

impl Reading<'_> {
    /// Reads it from the work tree as it was just made or, if that holds the work of earlier steps, from
    /// the commit that the job began with. Where the environment shall be `plain`, nothing is read.
    pub(super) async fn definition(
        &self,
        workshop: &Workshop,
        tenant: &Tenant,
    ) -> Result<crate::definition::Definition, Attempted> {
        let strictness =
            if tenant.plain { Strictness::Off } else { workshop.options.environment_definition };
        let allowance = Allowance::of(&workshop.options.limits, tenant.class.as_ref());
        let room = limits::room(&workshop.options, &allowance, &tenant.house.classes);
        definition(workshop, self, strictness, room).await
    }
}

async fn definition(
    workshop: &Workshop,
    reading: &Reading<'_>,
    strictness: Strictness,
    room: Room,
) -> Result<crate::definition::Definition, Attempted> {
    use crate::definition::{Asked, Definition, ProjectFiles, root};
    let options = &workshop.options;
    let work = reading.work;
    let (backend, image) = (options.backend, reading.image.cloned());
    let (tree, name, variables) =
        (reading.tree.to_owned(), reading.name.to_owned(), reading.variables.clone());
    let known = reading.known;
    let (features, has_default_image) =
        (known.shelf.manifests.clone(), options.default_image.is_some());
    let stages = known.settings();
    let committed = (work.tip != work.base).then(|| super::committed::Committed {
        repository: work.repository.clone(),
        commit: work.base.clone(),
        root: root(&name),
        runtime: tokio::runtime::Handle::current(),
    });
    let read = move || -> io::Result<_> {
        let asked = Asked {
            name: &name,
            strictness,
            variables: &variables,
            ports: &super::PORTS,
            room: &room,
            backend,
            image: image.as_ref(),
            stages: &stages,
            features: &features,
            has_default_image,
        };
        Ok(match committed {
            Some(committed) => Definition::read(&committed, &asked),
            None => Definition::read(&ProjectFiles::open(&tree, &root(&name))?, &asked),
        })
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other).flatten();
    let read = read.map_err(|error| {
        Attempted::GiveBack(format!("the repository's files can't be read: {error}"))
    })?;
    read.map_err(|refused| {
        let reason = format!(
            "The repository's definition of its environment is refused:\n{refused}\nMend the file, or let the \
             runner's operator choose `--environment-definition off`."
        );
        Attempted::JobEnded(failed("environment", reason))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_programs_that_run_at_once_bear_their_names() {
        let mut lines = Lines::new(Some("a".to_owned()));
        let mut out = lines.take(b"one\ntw");
        out.extend(lines.take(b"o\n\nend"));
        out.extend(lines.rest());
        assert_eq!(String::from_utf8_lossy(&out), "[a] one\n[a] two\n[a] \n[a] end\n");
        assert_eq!(lines.rest(), b"");
        assert_eq!(Lines::new(None).take(b"as it\nis"), b"as it\nis");
    }

    #[test]
    fn a_reason_holds_the_last_lines_only() {
        let tail = Tail::default();
        assert_eq!(tail.in_words(&Redactor::nothing()), " It printed nothing.");
        (0..9000).for_each(|n| tail.add(format!("{n}\n").as_bytes()));
        let lines: Vec<String> = (8988..9000).map(|n| n.to_string()).collect();
        let expected = format!(" The end of its output:\n{}", lines.join("\n"));
        assert_eq!(tail.in_words(&Redactor::nothing()), expected);
    }
}
