//! The keeper of one environment: compares what is wanted with what is, and closes the gap. After a
//! restart of the runner it begins with what lies in the folder and what the supervisor still has.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use windlass_git::{
    Oid, RefName,
    repository::Expected,
    snapshot::{NewCommit, Options, WorkTree},
};
use windlass_run::{
    EnvironmentId, StepId,
    environment::{Seen, Unpushed, Wanted},
    job::StepResult,
};
use windlass_wire::runner::{EnvironmentStart, Looked, WantedEnvironment};

use super::{
    activity::{self, Used},
    record::Record,
    view::View,
};
use crate::{
    definition::BackendKind,
    executor::{Attempted, Unopened},
    held::Writer,
    link::Link,
    workshop::{
        Workshop, checkpoint,
        disk::{self, Over},
        environment::{Environment, Home, Tenant},
        place::Attempt,
        repository,
        secrets::{self, Given},
        setup, trees,
    },
};

/// The time between two looks at an environment that runs.
const LOOK: Duration = Duration::from_secs(5);
/// The time between two reports of a log while it grows.
const LOG: Duration = Duration::from_secs(1);
/// How much of the end of the log of a start is told.
const LOG_BYTES: usize = 64 * 1024;
/// How long getting ready may take.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// One that ends by itself earlier than this is not made again.
const STEADY: Duration = Duration::from_secs(20);
/// The rest before something that the server or the disk did not take is tried again.
const REST: Duration = Duration::from_secs(5);
/// The rest before a start is tried again.
const AGAIN: Duration = Duration::from_millis(300);

/// How often a start is tried that failed for a reason of this machine, such as the end of the
/// supervisor, before a person hears of it.
const TRIES: u32 = 4;

/// The last part of a start.
const PREPARATION: &str = "preparation";

/// The keeper of one environment.
pub(super) struct Keeper {
    id: EnvironmentId,
    workshop: Arc<Workshop>,
    link: Arc<Link>,
    folder: PathBuf,
    wanted: watch::Receiver<WantedEnvironment>,
    view: Arc<View>,
    rooms: Arc<Semaphore>,
    record: Record,
    up: Option<Up>,
}

/// An environment that runs.
struct Up {
    environment: Environment,
    since: Instant,
    used: Option<(Used, Instant)>,
    /// Why what the repository says of its environment failed, if it runs without that.
    recovery: Option<String>,
    _room: OwnedSemaphorePermit,
}

/// Why it does not run.
enum Down {
    /// It is no longer wanted to.
    Unwanted,
    /// It can't, for a person.
    Failed(String),
}

impl Up {
    fn seen(&self) -> Seen {
        match &self.recovery {
            None => Seen::Running,
            Some(reason) => Seen::Recovery { reason: reason.clone() },
        }
    }
}

impl Keeper {
    pub(super) fn new(
        workshop: Arc<Workshop>,
        link: Arc<Link>,
        wanted: watch::Receiver<WantedEnvironment>,
        view: Arc<View>,
        rooms: Arc<Semaphore>,
    ) -> Self {
        let id = wanted.borrow().id.clone();
        let folder = workshop.kept_folder(id.as_str());
        let record = Record::read(&folder);
        if let Some(unpushed) = record.looked.clone() {
            view.looked(Looked { unpushed });
        }
        Self { id, workshop, link, folder, wanted, view, rooms, record, up: None }
    }

    /// Keeps it until nothing of it is left.
    pub(super) async fn keep(&mut self) {
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            match wanted.wanted {
                Wanted::Running => self.bring_up(&wanted).await,
                Wanted::Stopped => self.bring_down(&wanted).await,
                Wanted::Gone => {
                    self.bring_down(&wanted).await;
                    if self.hand_over().await {
                        trees::remove(&self.folder).await;
                        self.view.see(wanted.generation, Seen::Gone);
                        return;
                    }
                }
            }
            if !self.rest(&wanted).await {
                return;
            }
        }
    }

    /// The runner ends, and with it the supervisor and every environment of it: what they leave is taken before.
    /// Containers go on until the next runner finds them.
    pub(super) async fn part(&mut self) {
        if self.workshop.options.backend == BackendKind::Process
            && let Some(up) = self.up.take_if(|up| up.environment.leaves())
        {
            up.environment.destroy().await;
        }
    }

    /// Waits until something else is wanted, or it is time for another look. False at the end.
    async fn rest(&mut self, wanted: &WantedEnvironment) -> bool {
        let is_settled =
            self.up.is_none() && wanted.wanted != Wanted::Gone && self.is_handed_over();
        if is_settled {
            return self.wanted.changed().await.is_ok();
        }
        tokio::select! {
            changed = self.wanted.changed() => changed.is_ok(),
            () = tokio::time::sleep(LOOK) => true,
        }
    }

    async fn bring_up(&mut self, wanted: &WantedEnvironment) {
        if self.up.is_some() {
            return self.look(wanted).await;
        }
        if let Some((generation, reason)) = &self.record.failed
            && *generation == wanted.generation
        {
            return self.view.see(wanted.generation, Seen::Failed { reason: reason.clone() });
        }
        if let Some(why) = &wanted.repository_refused {
            let reason = format!("Its repository can't be had: {why}.");
            return self.failed(wanted, reason);
        }
        if wanted.repository.is_none() {
            // The server gives it once it knows that the environment is on its way.
            return self.view.see(wanted.generation, Seen::Starting { waits: None });
        }
        match self.start(wanted).await {
            Ok(up) => {
                self.view.enter(Some(up.environment.entry()));
                let seen = up.seen();
                self.record.recovery.clone_from(&up.recovery);
                self.up = Some(up);
                self.record.failed = None;
                self.record.ready = Some(wanted.generation);
                self.note();
                self.view.active((self.workshop.options.clock)());
                self.view.see(wanted.generation, seen);
            }
            Err(Down::Unwanted) => {}
            Err(Down::Failed(reason)) => self.failed(wanted, reason),
        }
    }

    fn failed(&mut self, wanted: &WantedEnvironment, reason: String) {
        tracing::warn!(environment = %self.id, reason, "an environment failed");
        self.record.ready = None;
        self.record.failed = Some((wanted.generation, reason.clone()));
        self.note();
        self.view.see(wanted.generation, Seen::Failed { reason });
    }

    /// Makes it and gets it ready, unless it is no longer wanted.
    async fn start(&mut self, wanted: &WantedEnvironment) -> Result<Up, Down> {
        let room = self.room(wanted).await?;
        self.view.see(wanted.generation, Seen::Starting { waits: None });
        let stop = CancellationToken::new();
        let mut changes = self.wanted.clone();
        let unwanted = async {
            while changes.changed().await.is_ok() {
                if changes.borrow_and_update().wanted != Wanted::Running {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        let start = self.start_until(wanted, &stop);
        tokio::pin!(start);
        let started = tokio::select! {
            started = &mut start => started,
            () = unwanted => {
                stop.cancel();
                let started = start.await;
                if let Ok((environment, _)) = started {
                    environment.destroy().await;
                }
                return Err(Down::Unwanted);
            }
        };
        let (environment, recovery) = started.map_err(Down::Failed)?;
        Ok(Up { environment, since: Instant::now(), used: None, recovery, _room: room })
    }

    /// Waits for room on this machine.
    async fn room(&mut self, wanted: &WantedEnvironment) -> Result<OwnedSemaphorePermit, Down> {
        if let Ok(room) = self.rooms.clone().try_acquire_owned() {
            return Ok(room);
        }
        let most = self.workshop.options.environments;
        let waits = format!("Its runner lets {most} environments run at once, and they do.");
        self.view.see(wanted.generation, Seen::Starting { waits: Some(waits) });
        tokio::select! {
            room = self.rooms.clone().acquire_owned() => room.map_err(|_| Down::Unwanted),
            _ = self.wanted.changed() => {
                self.wanted.mark_changed();
                Err(Down::Unwanted)
            }
        }
    }

    /// The start itself. On failure, nothing is left of it but the log and the work tree. Where what the
    /// repository says of its environment failed, it is made without that; the answer says why.
    async fn start_until(
        &self,
        wanted: &WantedEnvironment,
        stop: &CancellationToken,
    ) -> Result<(Environment, Option<String>), String> {
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| format!("{} can't be made: {error}.", self.folder.display()))?;
        let path = self.folder.join("start.log");
        if self.record.ready.is_none() {
            let _none_before = std::fs::remove_file(&path);
        }
        let secrets = wanted.secrets.iter().filter(|secret| secret.is_secret);
        let values = secrets.map(|secret| (secret.name.as_str(), secret.value.as_bytes()));
        let redactor = self.workshop.redactor_of(wanted.repository.as_ref(), values);
        let step_id = StepId::parse("environment").map_err(|error| error.to_string())?;
        let log = Writer::to_file(step_id.clone(), path.clone(), &redactor);
        let attempt = Attempt {
            path: step_id.clone(),
            step_id,
            variables: Vec::new(),
            number: 1,
            timeout: LIMIT,
            began: tokio::time::Instant::now(),
            log,
            stop: stop.clone(),
        };
        let mut stages = Vec::new();
        let mut tries = 1;
        let mut recovery = self.record.recovery.clone().filter(|_| self.record.ready.is_some());
        let started = loop {
            stages.clear();
            let is_plain = recovery.is_some();
            let tenant = self.tenant(wanted, is_plain);
            let began = self.told_stages(wanted, &tenant, &redactor, &attempt, &mut stages, &path);
            match began.await {
                Err(end) if !is_plain && is_of_the_definition(&end) && !stop.is_cancelled() => {
                    let why = in_words(end);
                    let said = format!(
                        "[windlass: {why}]\n[windlass: it comes up without what the repository says of its \
                         environment, so that this can be repaired]\n"
                    );
                    let _ = attempt.log.append(said.as_bytes());
                    recovery = Some(why);
                }
                Err(Attempted::GiveBack(why)) if tries < TRIES && !stop.is_cancelled() => {
                    tries += 1;
                    let said = format!("[windlass: {why}; the start is tried again]\n");
                    let _ = attempt.log.append(said.as_bytes());
                    stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                }
                other => break other.map_err(in_words),
            }
        };
        if let Err(reason) = &started {
            let _ = attempt.log.append(format!("[windlass: {reason}]\n").as_bytes());
        }
        // One that was taken over as it was did not start.
        let is_new = stages.iter().any(|(name, _)| name == PREPARATION);
        if started.is_err() || is_new {
            self.tell_start(&path, stages, started.as_ref().ok());
        }
        let environment = started?;
        if recovery.is_some() && is_new {
            show_log(&environment, &path);
        }
        Ok((environment, recovery))
    }

    /// One try, whose log is told while it grows.
    async fn told_stages(
        &self,
        wanted: &WantedEnvironment,
        tenant: &(Tenant, Home),
        redactor: &windlass_policy::redact::Redactor,
        attempt: &Attempt,
        stages: &mut Vec<(String, u64)>,
        log: &std::path::Path,
    ) -> Result<Environment, Attempted> {
        let start = self.stages(wanted, tenant, redactor, attempt, stages);
        tokio::pin!(start);
        loop {
            tokio::select! {
                started = &mut start => return started,
                () = tokio::time::sleep(LOG) => self.tell_start(log, Vec::new(), None),
            }
        }
    }

    async fn stages(
        &self,
        wanted: &WantedEnvironment,
        (tenant, home): &(Tenant, Home),
        redactor: &windlass_policy::redact::Redactor,
        attempt: &Attempt,
        stages: &mut Vec<(String, u64)>,
    ) -> Result<Environment, Attempted> {
        let Some(source) = &wanted.repository else {
            return Err(Attempted::GiveBack("The server named no repository.".to_owned()));
        };
        let began = Instant::now();
        let begun = |folder: &std::path::Path| std::fs::read_to_string(folder.join("whole")).ok();
        let base = match (begun(&self.folder), &home.forked) {
            (None, Some(forked)) => Some(begun(forked).ok_or_else(|| {
                let reason = "The environment that it was forked from has no work tree (any more).";
                Attempted::JobEnded(crate::job::failed("fork", reason))
            })?),
            (base, _) => base,
        };
        let branch = &wanted.spec.base;
        let work = repository::for_environment(
            &self.workshop,
            source,
            branch,
            base.as_deref(),
            &self.folder,
        );
        let work = work.await.map_err(|unopened| match unopened {
            Unopened::End(end) => Attempted::JobEnded(end),
            Unopened::GiveBack(why) => Attempted::GiveBack(why),
        })?;
        took(stages, "repository", began.elapsed());
        let is_ready = self.record.ready.is_some() && self.is_there().await;
        if !is_ready {
            self.clear_away().await;
        }
        let make =
            |is_there| Environment::make_at(&self.workshop, tenant, home, &work, attempt, is_there);
        let offer = |environment: &mut Environment| {
            let offered = environment.doors.offer(&wanted.secrets);
            offered.map_err(|why| {
                Attempted::JobEnded(crate::job::failed("secrets", format!("{why}.")))
            })
        };
        let mut environment = make(is_ready).await?;
        offer(&mut environment)?;
        stages.append(&mut environment.stages);
        let has_services = !environment.definition.automation.services.is_empty()
            || !environment.beside.is_empty();
        if is_ready && !has_services {
            return Ok(environment);
        }
        if is_ready {
            // Nobody watches its services any more.
            environment.destroy().await;
            environment = make(false).await?;
            offer(&mut environment)?;
            stages.truncate(1);
            stages.append(&mut environment.stages);
        }
        let began = Instant::now();
        let given = Given::of_setup(&wanted.secrets);
        let ready =
            setup::get_ready(&self.workshop, &mut environment, redactor, attempt, &given).await;
        took(stages, PREPARATION, began.elapsed());
        match ready {
            Ok(()) => Ok(environment),
            Err(end) => {
                environment.destroy().await;
                Err(end)
            }
        }
    }

    fn tenant(&self, wanted: &WantedEnvironment, plain: bool) -> (Tenant, Home) {
        let now = (self.workshop.options.clock)().as_micros();
        let tenant = Tenant {
            id: self.id.to_string(),
            repository: wanted.repository.clone(),
            network: wanted.spec.network.clone(),
            marks: vec![
                ("WINDLASS_ENVIRONMENT_ID".to_owned(), self.id.to_string()),
                ("WINDLASS_ENVIRONMENT".to_owned(), wanted.spec.name.clone()),
            ],
            plain,
            registries: secrets::registries(&wanted.secrets),
            class: wanted.spec.class.clone(),
            house: wanted.house.clone(),
        };
        let home = Home {
            folder: self.folder.clone(),
            base: wanted.spec.base.clone(),
            created_at: wanted.created_at,
            forked: wanted.spec.forked.as_ref().map(|id| self.workshop.kept_folder(id.as_str())),
            first_operation: u64::try_from(now).unwrap_or(0),
        };
        (tenant, home)
    }

    fn tell_start(
        &self,
        path: &std::path::Path,
        stages: Vec<(String, u64)>,
        started: Option<&Environment>,
    ) {
        let log = std::fs::read(path).unwrap_or_default();
        let end = &log[log.len().saturating_sub(LOG_BYTES)..];
        let log = String::from_utf8_lossy(end).into();
        let limits = started.map(|environment| environment.limits.clone()).unwrap_or_default();
        let from = started.and_then(|environment| Some(environment.start.as_ref()?.from));
        let offered = started.map(|environment| environment.definition.offered());
        let offered = offered.unwrap_or_default();
        self.view.started(EnvironmentStart { stages, log, limits, from, offered });
    }

    /// A look at one that runs: is it still there, and is somebody at work in it?
    async fn look(&mut self, wanted: &WantedEnvironment) {
        let listed = match self.workshop.backend().await {
            Ok(client) => client.list().await,
            Err(error) => Err(error),
        };
        let found = match &listed {
            Ok(listed) => listed.iter().find(|found| found.id.as_str() == self.id.as_str()),
            Err(_) => {
                self.workshop.backend_is_gone();
                None
            }
        };
        let Some(pid) = found.map(|found| found.pid) else {
            return self.ended_by_itself(wanted).await;
        };
        let Some(up) = &mut self.up else { return };
        let now = activity::used(pid).map(|used| (used, Instant::now()));
        if let (Some((before, then)), Some((after, _))) = (up.used, now)
            && activity::is_busy(before, after, then.elapsed())
        {
            self.view.active((self.workshop.options.clock)());
        }
        up.used = now;
        self.view.services_ended(up.environment.services.ends());
        if let Some(over) = up.environment.disk.look().await {
            return self.outgrew(wanted, over).await;
        }
        // A generation that grew without another wish: started twice in a row.
        let seen = up.seen();
        self.view.see(wanted.generation, seen);
    }

    /// Its files take more than they may: its programs end, its work is kept.
    async fn outgrew(&mut self, wanted: &WantedEnvironment, over: Over) {
        let Some(up) = self.up.take() else { return };
        self.view.enter(None);
        let larger = up.environment.allowance.larger();
        up.environment.destroy().await;
        self.record.ready = None;
        self.look_for_work(wanted).await;
        self.upload().await;
        let reason = format!(
            "It was stopped: {}. Start it again to delete something: it may keep what it has then. {larger}",
            disk::in_words(over)
        );
        self.failed(wanted, reason);
    }

    async fn ended_by_itself(&mut self, wanted: &WantedEnvironment) {
        let Some(up) = self.up.take() else { return };
        self.view.enter(None);
        let lived = up.since.elapsed();
        up.environment.destroy().await;
        self.record.ready = None;
        self.note();
        if lived < STEADY {
            let reason = format!(
                "It ended by itself {} s after its start. The log of the runner may say why.",
                lived.as_secs()
            );
            return self.failed(wanted, reason);
        }
        tracing::warn!(environment = %self.id, "an environment ended by itself and is made again");
        self.view.see(wanted.generation, Seen::Starting { waits: None });
    }

    async fn bring_down(&mut self, wanted: &WantedEnvironment) {
        if self.up.is_some() || self.record.ready.is_some() || self.record.looked.is_none() {
            self.view.see(wanted.generation, Seen::Stopping);
            self.view.enter(None);
            match self.up.take() {
                Some(up) => up.environment.destroy().await,
                None => self.clear_away().await,
            }
            self.record.ready = None;
            self.look_for_work(wanted).await;
            self.note();
        }
        // Tried once here, so that it is offered with the stop; again in the background if need be.
        self.upload().await;
        if wanted.wanted == Wanted::Stopped {
            self.view.see(wanted.generation, Seen::Stopped);
        }
    }

    /// Whether the supervisor has it.
    async fn is_there(&self) -> bool {
        let Ok(client) = self.workshop.backend().await else { return false };
        let listed = client.list().await.unwrap_or_default();
        listed.iter().any(|found| found.ready && found.id.as_str() == self.id.as_str())
    }

    /// Removes what an earlier process of the runner left running.
    async fn clear_away(&self) {
        let Ok(id) = windlass_sandbox::EnvironmentId::parse(self.id.as_str()) else { return };
        let Ok(client) = self.workshop.backend().await else { return };
        if let Err(error) = client.destroy(&id).await {
            tracing::warn!(%error, environment = %self.id, "an environment could not be removed; its supervisor does it");
        }
    }

    /// Takes the work that no repository has, as a commit and a bundle.
    async fn look_for_work(&mut self, wanted: &WantedEnvironment) {
        let Ok(base) = std::fs::read_to_string(self.folder.join("whole")) else {
            // It has no work tree: there is nothing to lose.
            self.record.looked = Some(None);
            self.view.looked(Looked { unpushed: None });
            return;
        };
        match self.take_work(wanted, &base).await {
            Ok(unpushed) => {
                self.record.looked = Some(unpushed.clone());
                self.view.looked(Looked { unpushed });
            }
            Err(error) => {
                self.record.looked = None;
                tracing::warn!(%error, environment = %self.id, "the work of an environment could not be taken; it stays where it is");
            }
        }
    }

    async fn take_work(
        &self,
        wanted: &WantedEnvironment,
        base: &str,
    ) -> windlass_git::Result<Option<Unpushed>> {
        let base = Oid::parse(base)?;
        let repository =
            repository::kept(&self.workshop, &wanted.spec.project_id, &self.folder).await?;
        let tree = WorkTree { path: self.folder.join("tree"), index: self.folder.join("index") };
        let options = Options { files: 1_000_000, total_bytes: 4 << 30, ..Options::default() };
        let snapshot = repository.snapshot(&tree, &base, &options).await?;
        if snapshot.changed.is_empty() {
            return Ok(None);
        }
        let who = checkpoint::platform(wanted.created_at);
        let new = NewCommit {
            tree: snapshot.tree,
            parents: vec![base.clone()],
            author: who.clone(),
            committer: who,
            message: format!("Work of the environment {}", wanted.spec.name),
        };
        let commit = repository.commit(&new).await?;
        let reference = RefName::checkpoint(self.id.as_str(), "work")?;
        repository.update_reference(&reference, &commit, Expected::Anything).await?;
        repository.create_bundle(&self.bundle(), &reference, std::slice::from_ref(&base)).await?;
        let files = u32::try_from(snapshot.changed.len()).unwrap_or(u32::MAX);
        Ok(Some(Unpushed { commit: commit.to_string(), files }))
    }

    fn bundle(&self) -> PathBuf {
        self.folder.join("work.bundle")
    }

    /// Whether the server has all work that there is.
    fn is_handed_over(&self) -> bool {
        match &self.record.looked {
            Some(Some(unpushed)) => self.record.uploaded.as_ref() == Some(&unpushed.commit),
            Some(None) => true,
            None => false,
        }
    }

    /// Sees to it that nothing is lost with the folder. False if that can't be said yet.
    async fn hand_over(&mut self) -> bool {
        if !self.is_handed_over() {
            self.upload().await;
        }
        if !self.is_handed_over() {
            tokio::time::sleep(REST).await;
        }
        self.is_handed_over()
    }

    async fn upload(&mut self) {
        let Some(Some(unpushed)) = self.record.looked.clone() else { return };
        if self.is_handed_over() {
            return;
        }
        let Ok(file) = tokio::fs::File::open(self.bundle()).await else { return };
        let runner_id = self.link.runner_id();
        let put =
            self.link.client.put_environment_work(&self.id, &runner_id, &unpushed.commit, file);
        match put.await {
            Ok(()) => {
                self.record.uploaded = Some(unpushed.commit);
                self.note();
            }
            Err(error) => {
                tracing::warn!(%error, environment = %self.id, "the work of an environment could not be given to the server yet");
            }
        }
    }

    fn note(&self) {
        if let Err(error) = self.record.write(&self.folder) {
            tracing::warn!(%error, environment = %self.id, "the record of an environment can't be written");
        }
    }
}

fn took(stages: &mut Vec<(String, u64)>, name: &str, span: Duration) {
    stages.push((name.to_owned(), u64::try_from(span.as_micros()).unwrap_or(u64::MAX)));
}

/// Whether a start failed for what the repository says of its environment, so that one without that would
/// do better.
fn is_of_the_definition(attempted: &Attempted) -> bool {
    const CODES: [&str; 3] = ["environment", "environment_failed", "service_not_ready"];
    match attempted {
        Attempted::JobEnded(end) => CODES.contains(&end.code.as_str()),
        Attempted::GiveBack(_) | Attempted::Ended(_) => false,
    }
}

/// Puts the log of the start where whoever works inside finds it: `~/start.log`.
fn show_log(environment: &Environment, log: &std::path::Path) {
    let Some(home) = environment.backend.home(&environment.id) else { return };
    let place = home.join("start.log");
    // What is there already is left alone, a link above all: the folder is that of whoever works inside.
    let shown = std::fs::read(log).and_then(|bytes| {
        let file = std::fs::File::options().write(true).create_new(true).open(&place);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, &bytes))
    });
    if let Err(error) = shown {
        tracing::debug!(%error, place = %place.display(), "the log of a start can't be shown inside");
    }
}

/// Why an environment could not be had, for a person.
fn in_words(attempted: Attempted) -> String {
    match attempted {
        Attempted::JobEnded(end) => end.reason,
        Attempted::GiveBack(why) | Attempted::Ended(StepResult::Failed { reason: why, .. }) => why,
        Attempted::Ended(_) => "It was stopped.".to_owned(),
    }
}
