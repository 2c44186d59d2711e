//! The world itself: the clock, what happens next, the network, and who is told.

use std::collections::BTreeMap;

use windlass_run::{Duration, EffectKey, JobId, RunnerId, Time, effect};
use windlass_store::work::{GrantAnswer, JobAnswer, JobReports, Leased};

use super::{
    Broken, Ground, Story,
    clients::Clients,
    forge::{Forge, Reply},
    random::Random,
    runner::Runner,
    server::Server,
};

/// How long a lease lasts.
pub(super) const TTL: Duration = Duration::from_secs(15);

/// A request to the forge arrives within this time or never.
pub(super) const FLIGHT: Duration = Duration::from_secs(8);

/// How long a grant lasts: longer than a request is under way, so that whoever looks after it has
/// expired sees what there is to see.
pub(super) const GRANT: Duration = Duration::from_secs(20);

/// Until then things go wrong.
const TROUBLE: Duration = Duration::from_secs(150);

/// By then everything must be over.
const LATEST: Duration = Duration::from_secs(6 * 3_600);

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// A client asks for its task (again).
    Ask { task: usize },
    /// Somebody wants a task to stop.
    Cancel { task: usize },
    /// A call reaches the server.
    Call(Call),
    /// A client's answer reaches it.
    Accepted { task: usize },
    /// An answer reaches a runner, if it is still the same process.
    Answer { runner: usize, life: u64, answer: Answer },
    /// A runner looks at what there is to do.
    Runner { runner: usize, life: u64 },
    /// The server's watchdog and reconciler look.
    Server { life: u64 },
    /// A request reaches the forge.
    Forge { from: Party, job_id: JobId, key: EffectKey, request: effect::Request },
    /// The forge's answer reaches whoever asked.
    Reply { to: Party, job_id: JobId, key: EffectKey, reply: Reply },
    /// A process is gone.
    Crash(Party),
    /// A process comes back.
    Start(Party),
}

/// A process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    /// The server, in one of its lives.
    Server { life: u64 },
    /// A runner, in one of its lives.
    Runner { runner: usize, life: u64 },
}

/// A call to the server.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Create { task: usize },
    Runner { runner: usize, life: u64, id: RunnerId, what: RunnerCall },
}

/// A runner's call.
#[derive(Clone, Debug)]
pub(super) enum RunnerCall {
    Register,
    Lease { max: u32 },
    Report(Vec<JobReports>),
    Grant { job_id: JobId, epoch: u64, key: EffectKey, looked: bool },
    Record { job_id: JobId, epoch: u64, key: EffectKey, state: effect::State },
}

/// The server's answer to a runner.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Registered,
    Leased(Vec<Leased>),
    Reported(Vec<JobAnswer>),
    /// To a grant or a record.
    Effect {
        job_id: JobId,
        key: EffectKey,
        answer: GrantAnswer,
    },
}

/// One seed's world.
pub(super) struct World {
    pub seed: u64,
    pub now: Time,
    pub random: Random,
    pub forge: Forge,
    pub server: Server,
    pub runners: Vec<Runner>,
    pub clients: Clients,
    pub story: Story,
    begin: Time,
    queue: BTreeMap<(Time, u64), Event>,
    next: u64,
    told: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(seed: u64, ground: &Ground, tell: bool) -> Self {
        let mut random = Random::new(seed);
        let begin = Time::from_micros(1_800_000_000_000_000);
        let runners = (0..random.between(1, 4)).map(|_| Runner::new(&mut random, begin)).collect();
        let clients = Clients::new(&mut random);
        let server = Server::new(ground, seed);
        let (queue, story) = (BTreeMap::new(), Story::default());
        let (now, forge, told) = (begin, Forge::default(), tell.then(Vec::new));
        Self {
            seed,
            now,
            random,
            forge,
            server,
            runners,
            clients,
            story,
            begin,
            queue,
            next: 0,
            told,
        }
    }

    /// Lives to the end.
    pub(super) fn live(mut self) -> Result<Story, Broken> {
        self.go_on()
    }

    /// Lives to the end and tells the story.
    pub(super) fn live_and_tell(mut self) -> (Vec<String>, Result<Story, Broken>) {
        let outcome = self.go_on();
        (self.told.unwrap_or_default(), outcome)
    }

    fn go_on(&mut self) -> Result<Story, Broken> {
        let lived = self.open().and_then(|()| self.pass_time());
        self.server.leave();
        let seed = self.seed;
        lived.map_err(|what| Broken { seed, what })?;
        Ok(self.story)
    }

    fn open(&mut self) -> Result<(), String> {
        self.server.start(self.now)?;
        self.after(0, Event::Server { life: self.server.life });
        for runner in 0..self.runners.len() {
            self.after(0, Event::Runner { runner, life: 0 });
        }
        for task in 0..self.clients.tasks.len() {
            let at = self.random.between(0, 60_000);
            self.after(at, Event::Ask { task });
            if self.random.one_in(6) {
                let at = self.random.between(1_000, 120_000);
                self.after(at, Event::Cancel { task });
            }
        }
        for _ in 0..self.random.between(0, 6) {
            let at = self.random.between(1_000, 140_000);
            let whom = self.random.between(0, 1 + self.runners.len() as i64);
            let party = match usize::try_from(whom - 1) {
                Err(_) => Party::Server { life: 0 },
                Ok(runner) => Party::Runner { runner, life: 0 },
            };
            self.after(at, Event::Crash(party));
        }
        Ok(())
    }

    fn pass_time(&mut self) -> Result<(), String> {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            self.now = at;
            self.story.digest = self.story.digest.rotate_left(7)
                ^ self.random.clone().number()
                ^ u64::try_from(at.as_micros()).unwrap_or(0);
            self.happen(event)?;
            if self.is_over()? {
                return self.server.check_at_the_end(&self.clients, &self.forge);
            }
            if at > self.begin + LATEST {
                let what = self.server.what_is_left();
                return Err(format!("not everything ended: {what}"));
            }
        }
        Err("nothing happens any more, but not everything has ended".to_owned())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Ask { task } => self.ask(task),
            Event::Accepted { task } => self.accepted(task),
            Event::Cancel { task } => return self.cancel(task),
            Event::Call(call) => return self.call(call),
            Event::Answer { runner, life, answer } => self.answer(runner, life, answer)?,
            Event::Runner { runner, life } => self.runner_looks(runner, life)?,
            Event::Server { life } => return self.server_looks(life),
            Event::Forge { from, job_id, key, request } => {
                let reply = self.forge.act(&key, &request);
                self.story.effects = self.forge.happened.len() as u64;
                self.say(|| format!("forge: {key} from {from:?}: {reply:?}"));
                self.send(Event::Reply { to: from, job_id, key, reply });
            }
            Event::Reply { to, job_id, key, reply } => match to {
                Party::Server { life } => {
                    return self.forge_answers_server(life, job_id, key, reply);
                }
                Party::Runner { runner, life } => {
                    self.forge_answers_runner(runner, life, &job_id, &key, reply);
                }
            },
            Event::Crash(party) => self.crash(party),
            Event::Start(party) => return self.start(party),
        }
        Ok(())
    }

    fn crash(&mut self, party: Party) {
        self.story.crashes += 1;
        self.say(|| format!("crash: {party:?}"));
        match party {
            Party::Server { .. } if self.server.is_up() => {
                self.server.crash();
                let away = self.random.between(50, 40_000);
                self.after(away, Event::Start(party));
            }
            Party::Runner { runner, .. } if self.runners[runner].is_up => {
                self.runners[runner].crash();
                let away = self.random.between(50, 40_000);
                self.after(away, Event::Start(party));
            }
            Party::Server { .. } | Party::Runner { .. } => {}
        }
    }

    fn start(&mut self, party: Party) -> Result<(), String> {
        self.say(|| format!("start: {party:?}"));
        match party {
            Party::Server { .. } => {
                self.server.start(self.now)?;
                self.server.check()?;
                self.after(1, Event::Server { life: self.server.life });
            }
            Party::Runner { runner, .. } => {
                let now = self.now;
                let life = self.runners[runner].restart(&mut self.random, now);
                self.after(1, Event::Runner { runner, life });
            }
        }
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, String> {
        if self.in_trouble() || !self.server.looked_just_now(self.now) {
            return Ok(false);
        }
        let settled = self.clients.all_accepted() && self.server.all_over()?;
        // Requests that are still under way must not arrive after the last look.
        let quiet = !self.queue.values().any(|event| {
            matches!(
                event,
                Event::Forge { .. } | Event::Reply { .. } | Event::Call(Call::Create { .. })
            )
        });
        Ok(settled && quiet)
    }

    /// True as long as things may go wrong.
    pub(super) fn in_trouble(&self) -> bool {
        self.now < self.begin + TROUBLE
    }

    /// Lets something happen after so many milliseconds.
    pub(super) fn after(&mut self, milliseconds: i64, event: Event) {
        self.next += 1;
        let at = self.now + Duration::from_millis(milliseconds.max(0));
        self.queue.insert((at, self.next), event);
    }

    /// Sends something over the network, which loses, doubles, delays and reorders.
    pub(super) fn send(&mut self, event: Event) {
        self.story.messages += 1;
        let mut delay = self.random.between(1, 300);
        if self.in_trouble() {
            if self.random.one_in(12) {
                self.say(|| format!("lost: {event:?}"));
                return;
            }
            if self.random.one_in(15) {
                delay = self.random.between(300, 9_000);
            }
            if self.random.one_in(15) {
                let again = self.random.between(1, 6_000);
                self.after(again, event.clone());
            }
        }
        self.after(delay, event);
    }

    /// Sends a request to the forge: it arrives within [`FLIGHT`] or never, and once, since it is one
    /// connection.
    pub(super) fn fly(&mut self, event: Event) {
        self.story.messages += 1;
        let mut delay = self.random.between(1, 500);
        if self.in_trouble() {
            if self.random.one_in(8) {
                self.say(|| format!("lost: {event:?}"));
                return;
            }
            if self.random.one_in(4) {
                delay = self.random.between(500, FLIGHT.as_micros() / 1_000);
            }
        }
        self.after(delay, event);
    }

    /// Tells what happens, where somebody listens.
    pub(super) fn say(&mut self, line: impl FnOnce() -> String) {
        let seconds = self.now.since(self.begin).as_micros();
        if let Some(told) = &mut self.told {
            told.push(format!("{:>10.3} {}", seconds as f64 / 1e6, line()));
        }
    }
}
