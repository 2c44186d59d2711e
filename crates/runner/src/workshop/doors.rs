//! The doors of one environment: which sockets there are, what each serves, and what comes of it for
//! the job's log and ledger.

use std::{
    collections::VecDeque,
    ffi::OsString,
    net::TcpListener,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;
use windlass_agent::acp::Progress;
use windlass_gateway::{
    Door, Secret, git,
    model::{self, Allotment, Call, Credential, Ended, Meter, Record, Spent, Usage},
    replay::{Replay, Session},
    web,
};
use windlass_git::receive::{RefPattern, RefRules};
use windlass_policy::{
    network::{Layer, LayerText, Network},
    secrets::Injection,
};
use windlass_run::job::Report;
use windlass_sandbox::DoorListener;
use windlass_wire::{runner as wire, session::Event};

use super::{Workshop, environment::Tenant};
use crate::{
    held::Writer,
    job::Job,
    options::{self, Providers},
};

/// The doors that every environment has, by name and port. The ports are in a network of its own, and
/// the same in every environment, so that a work tree can name them before its environment exists.
pub(crate) const NAMES: [(&str, u16); 3] = [("model", 47101), ("git", 47102), ("web", 47103)];
/// How many refusals of the web door are remembered for the reason of a failure.
const REFUSALS: usize = 20;

/// The web door's address inside, the same in every environment.
pub(crate) fn web_address() -> String {
    format!("http://127.0.0.1:{}", NAMES[2].1)
}

/// The doors of one environment.
pub(crate) struct Doors {
    model: DoorListener,
    serving: Vec<Door>,
    credentials: web::Credentials,
    /// Where the present step finds its credentials, as variables.
    offered: Vec<(OsString, OsString)>,
    refusals: Arc<Mutex<VecDeque<String>>>,
}

impl Doors {
    /// Opens the doors that serve as long as the environment lives: web and git.
    pub(crate) fn open(
        workshop: &Workshop,
        tenant: &Tenant,
        listeners: Vec<DoorListener>,
    ) -> Result<Self, String> {
        let mut listeners = listeners.into_iter();
        let mut next = |name: &str| {
            let found = listeners.next().filter(|listener| listener.name == name);
            found.ok_or_else(|| format!("the environment came without its {name} door"))
        };
        let (model, git, web) = (next(NAMES[0].0)?, next(NAMES[1].0)?, next(NAMES[2].0)?);
        let refusals = Arc::new(Mutex::new(VecDeque::new()));
        let credentials = web::Credentials::default();
        let serving = vec![
            serve_web(workshop, tenant, &web.listener, refusals.clone(), credentials.clone())?,
            serve_git(workshop, tenant, &git.listener)?,
        ];
        Ok(Self { model, serving, credentials, offered: Vec::new(), refusals })
    }

    /// The model door's address inside.
    pub(crate) fn model_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.model.port)
    }

    /// A copy of the model door's socket, to be served for one step.
    pub(crate) fn model_socket(&self) -> std::io::Result<TcpListener> {
        self.model.listener.try_clone()
    }

    /// Lets the present step have its credentials, and no other's.
    pub(crate) fn offer(&mut self, given: &[wire::Secret]) -> Result<(), String> {
        let mut credentials = Vec::new();
        self.offered.clear();
        for secret in given {
            let Some(door) = &secret.door else { continue };
            let injection = Injection {
                url: door.url.clone(),
                header: door.header.clone(),
                template: door.template.clone(),
                user: door.user.clone(),
                methods: door.methods.clone(),
            };
            let value = Secret::new(secret.value.clone());
            let credential = web::Credential::new(&secret.name, &injection, &value)
                .map_err(|error| format!("{} can't be sent: {error}", secret.name))?;
            credentials.push(credential);
            let address = format!("{}{}{}", web_address(), web::credential::PATH, secret.name);
            self.offered.push((format!("WINDLASS_DOOR_{}", secret.name).into(), address.into()));
        }
        self.credentials.replace(credentials);
        Ok(())
    }

    /// The variables by which the present step finds its credentials.
    pub(super) fn offered(&self) -> &[(OsString, OsString)] {
        &self.offered
    }

    /// What the web door refused lately, one line each.
    pub(crate) fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Closes all of them.
    pub(crate) async fn close(self) {
        for door in self.serving {
            door.stop().await;
        }
    }
}

/// A web door that serves what is no environment of a job's.
pub(super) struct WebAlone {
    door: Door,
    refusals: Arc<Mutex<VecDeque<String>>>,
}

impl WebAlone {
    /// What it refused, one line each.
    pub(super) fn refusals(&self) -> Vec<String> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Closes it.
    pub(super) async fn stop(self) {
        self.door.stop().await;
    }
}

/// Serves a web door by the tenant's rules and without any credential.
pub(super) fn serve_web_alone(
    workshop: &Workshop,
    tenant: &Tenant,
    listener: &TcpListener,
) -> Result<WebAlone, String> {
    let refusals = Arc::new(Mutex::new(VecDeque::new()));
    let credentials = web::Credentials::default();
    let door = serve_web(workshop, tenant, listener, refusals.clone(), credentials)?;
    Ok(WebAlone { door, refusals })
}

fn serve_web(
    workshop: &Workshop,
    tenant: &Tenant,
    listener: &TcpListener,
    refusals: Arc<Mutex<VecDeque<String>>>,
    credentials: web::Credentials,
) -> Result<Door, String> {
    let network = network(&workshop.options.network, tenant)?;
    let of = tenant.id.clone();
    let records = move |record: web::Record| {
        tracing::info!(of, host = %record.host, port = record.port, effect = ?record.effect, outcome = ?record.outcome, "web door");
        if matches!(record.outcome, web::Outcome::Refused) {
            let line = format!("{}:{} was refused: {}", record.host, record.port, record.why);
            let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if !refusals.contains(&line) {
                refusals.push_back(line);
            }
            if refusals.len() > REFUSALS {
                refusals.pop_front();
            }
        }
    };
    let socket = listener
        .try_clone()
        .map_err(|error| format!("the web door's socket can't be had: {error}"))?;
    let mut options = web::Options::new(network, Arc::new(records));
    options.credentials = credentials;
    options.tls.clone_from(&workshop.tls);
    web::serve(socket, options).map_err(|error| format!("the web door can't be served: {error}"))
}

/// The operator's rules, and the tenant's hosts as the list of what it may reach.
fn network(operator: &LayerText, tenant: &Tenant) -> Result<Network, String> {
    let job_layer = LayerText { allow: Some(tenant.network.clone()), deny: Vec::new() };
    Network::nothing()
        .with_layer(Layer::Operator, operator)
        .and_then(|network| network.with_layer(Layer::Job, &job_layer))
        .map_err(|error| format!("the network rules can't be used: {error}"))
}

fn serve_git(workshop: &Workshop, tenant: &Tenant, listener: &TcpListener) -> Result<Door, String> {
    let failed = |error: &dyn std::fmt::Display| format!("the git door can't be served: {error}");
    let Some(repository) = &tenant.repository else {
        return Err("there is no repository".to_owned());
    };
    let of = tenant.id.clone();
    let records = move |record: git::Record| {
        tracing::info!(of, service = %record.service, status = record.status, refused = ?record.refused, "git door");
    };
    let options = git::Options {
        client: workshop.upstream.clone(),
        repository: reqwest::Url::parse(&repository.url).map_err(|error| failed(&error))?,
        credential: Some((repository.username.clone(), Secret::new(repository.credential.clone()))),
        // What leaves is what the platform commits; nothing is pushed from inside.
        push: RefRules { allowed: Vec::<RefPattern>::new(), deletes: false, rewrites: false },
        records: Arc::new(records),
        limits: windlass_gateway::Limits::default(),
        idle: std::time::Duration::from_secs(120),
    };
    let socket = listener.try_clone().map_err(|error| failed(&error))?;
    git::serve(socket, options).map_err(|error| failed(&error))
}

/// The address of the git door inside, as the work tree's `origin`.
pub(crate) fn origin() -> String {
    format!("http://127.0.0.1:{}/git/origin", NAMES[1].1)
}

/// What the model door knows of one agent step.
#[derive(Clone)]
pub(crate) struct Watch {
    /// Signs of life for the agent's driver.
    pub(crate) progress: Progress,
    /// The last call, if it went wrong: how, and in which words.
    last_problem: Arc<Mutex<Option<(Ended, String)>>>,
}

impl Watch {
    /// Nothing has been seen yet.
    pub(crate) fn new() -> Self {
        Self { progress: Progress::default(), last_problem: Arc::default() }
    }

    /// How the newest call went wrong, if it did.
    pub(crate) fn last_problem(&self) -> Option<(Ended, String)> {
        self.last_problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Serves the model door for one agent step.
pub(crate) fn serve_model(
    socket: TcpListener,
    source: model::Source,
    meter: Arc<JobMeter>,
    watch: &Watch,
    call_prefix: String,
) -> std::io::Result<Door> {
    let seen = watch.clone();
    let records = move |record: Record| {
        seen.progress.touch();
        let problem = match record.ended {
            Ended::Complete => None,
            Ended::ClientLeft => return,
            Ended::Failed
            | Ended::Cut
            | Ended::OverBudget
            | Ended::Refused
            | Ended::Unreachable
            | Ended::Unexpected => {
                let why = record
                    .problem
                    .unwrap_or_else(|| format!("the answer had status {}", record.status));
                Some((record.ended, why))
            }
        };
        *seen.last_problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
    };
    model::serve(socket, model::Options::new(source, meter, Arc::new(records), call_prefix))
}

/// Who answers an agent step's model calls.
pub(crate) fn source(
    workshop: &Workshop,
    replay: Option<&str>,
) -> Result<(model::Source, bool), String> {
    match replay {
        None => Ok((providers(&workshop.options.providers, workshop.upstream.clone())?, false)),
        Some(name) => {
            let session = session(workshop, name)?;
            let scripted = session.scripted;
            Ok((model::Source::Replay(Arc::new(Replay::new(session))), scripted))
        }
    }
}

fn session(workshop: &Workshop, name: &str) -> Result<Session, String> {
    let Some(dir) = &workshop.options.replay_dir else {
        return Err(format!(
            "the step wants the session file `{name}`, but this runner was given no folder of session files"
        ));
    };
    let plain = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !plain {
        return Err(format!("`{}` is not the name of a session file", name.escape_debug()));
    }
    let candidates = [dir.join(name), dir.join(format!("{name}.jsonl"))];
    let Some(path) = candidates.iter().find(|path| path.is_file()) else {
        return Err(format!("there is no session file `{name}` in {}", dir.display()));
    };
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("{} can't be read: {error}", path.display()))?;
    Session::parse(&text, &Default::default())
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn providers(providers: &Providers, client: reqwest::Client) -> Result<model::Source, String> {
    let provider = |provider: &Option<options::Provider>, public: &str| {
        let Some(provider) = provider else { return Ok::<_, String>(None) };
        let text = provider.base_url.as_deref().unwrap_or(public);
        let base_url = reqwest::Url::parse(text).map_err(|error| {
            format!("the address of a model provider, `{text}`, can't be used: {error}")
        })?;
        let credential = provider.key.clone().map_or(Credential::None, Credential::Key);
        Ok(Some(model::Provider { base_url, credential }))
    };
    Ok(model::Source::Providers(Box::new(model::Providers {
        client,
        anthropic: provider(&providers.anthropic, "https://api.anthropic.com")?,
        openai: provider(&providers.openai, "https://api.openai.com/v1")?,
        gemini: provider(&providers.gemini, "https://generativelanguage.googleapis.com")?,
    })))
}

/// Counts a job's tokens over all its steps of this lease, and reports them as they are used.
pub(crate) struct JobMeter {
    job: Arc<Job>,
    allotment: Allotment,
    /// Tokens of earlier leases.
    before: u64,
    calls: AtomicU64,
    session: Mutex<Option<Step>>,
}

/// Where one step's usage is written, and what had been used before it.
struct Step {
    session: Writer,
    used: Usage,
    calls: u64,
}

impl JobMeter {
    /// The job's limit, less what was used before.
    pub(crate) fn new(job: Arc<Job>) -> Self {
        let (limit, before) = job.look(|state| (state.spec.limits.tokens, state.tokens));
        let allotment =
            Allotment::new(limit.map_or(u64::MAX, |limit| limit.saturating_sub(before)));
        Self { job, allotment, before, calls: AtomicU64::new(0), session: Mutex::new(None) }
    }

    /// A step begins: its usage is written to its session.
    pub(crate) fn begin_step(&self, session: Writer) {
        let (used, calls) = (self.allotment.used(), self.calls.load(Ordering::Relaxed));
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Step { session, used, calls });
    }

    /// The step is over.
    pub(crate) fn end_step(&self) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tokens of the job so far, all leases together.
    pub(crate) fn total(&self) -> u64 {
        self.before.saturating_add(self.allotment.used().total())
    }
}

impl Meter for JobMeter {
    fn reserve<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), Spent>> {
        self.allotment.reserve(call)
    }

    fn settle(&self, call_id: &str, usage: Usage) {
        self.allotment.settle(call_id, usage);
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let used = self.allotment.used();
        if let Some(step) = &*self.session.lock().unwrap_or_else(PoisonError::into_inner) {
            let event = Event::Usage {
                input_tokens: used.input - step.used.input,
                output_tokens: used.output - step.used.output,
                cached_tokens: used.cached - step.used.cached,
                calls: calls - step.calls,
            };
            if let Err(error) = step.session.record(self.job.now(), event) {
                tracing::warn!(%error, "a session's usage could not be kept");
            }
        }
        if let Err(error) = self.job.report(Report::Tokens { total: self.total() }) {
            // The job may have ended meanwhile; the ledger of its last call is in the session.
            tracing::debug!(%error, job_id = %self.job.job_id, "tokens could not be reported");
        }
    }
}
