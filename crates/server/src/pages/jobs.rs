//! `/jobs/{job}`: the page of a job, with the selected step's session, log, diff or effects.

use axum::{extract::State, http::Method, response::Response};
use serde::Deserialize;
use windlass_policy::permission::Action;
use windlass_run::{
    JobId, StepId, Time,
    spec::{Action as StepAction, Spec},
};
use windlass_store::streams::{Kind, StreamId};
use windlass_wire::api::job::{Job, Step};

use super::{
    diff,
    frame::{Fields, Frame, go, local_href, page},
    live,
    runs::{Why, took},
    text::Text,
    view::{
        Crumb, Section, State as Shown,
        diff::{DiffView, Layout, Options, Talk, percent_encoded},
        job::{
            EffectRow, End, GiveUp, Head, JobPage, Live, Panel, SessionPanel, Start, Steps, Tokens,
        },
        log::{Earlier, Log, Reader},
        session::Session,
        shell::{Choice, Commit, Csrf, Id, Who},
        timeline::{self, Timeline},
    },
    when,
};
use crate::{
    actions,
    auth::Principal,
    endpoint::{Access, Endpoint},
    extract::{Keys, Place},
    links,
    problem::Problem,
    state::AppState,
    views,
};

/// How many items of a session, and bytes of a log, are shown at once.
const ITEMS: usize = 200;
pub(super) const LOG: u64 = 256 * 1024;
/// How many entries of a session are read at once, and at most.
const ENTRIES: usize = 1_000;
const ENTRIES_MAX: usize = 50_000;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let view = Access::Allows(Action::View);
    vec![
        Endpoint::page(Method::GET, "/jobs/{job}", view, one),
        Endpoint::page(Method::GET, "/jobs/{job}/live", view, live::stream),
        Endpoint::page(
            Method::POST,
            "/jobs/{job}/cancel",
            Access::Allows(Action::CancelRun),
            cancel,
        ),
    ]
}

/// What of a job is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Wanted {
    /// The step; absent for the one that matters most now.
    pub(super) step: Option<String>,
    /// `session`, `log`, `diff` or `effects`; absent for what says most of the step.
    pub(super) view: Option<String>,
    /// The attempt of the step; absent for the newest.
    pub(super) attempt: Option<u32>,
    /// Only items of a session before this one.
    before: Option<u64>,
    /// Only bytes of a log before this one.
    upto: Option<u64>,
    /// The file of a diff that is shown whole.
    whole: Option<String>,
    /// Where a live page goes on.
    pub(super) cursor: Option<String>,
}

/// What of a step is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Session,
    Log,
    Diff,
    Effects,
}

impl View {
    fn name(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Log => "log",
            Self::Diff => "diff",
            Self::Effects => "effects",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Session => "Session",
            Self::Log => "Log",
            Self::Diff => "Diff so far",
            Self::Effects => "Effects",
        }
    }

    /// What can be seen of a step of this kind, what says most first.
    fn of(kind: &str) -> &'static [Self] {
        match kind {
            "agent" => &[Self::Session, Self::Log, Self::Diff, Self::Effects],
            "pull_request" => &[Self::Effects, Self::Log, Self::Diff],
            _ => &[Self::Log, Self::Diff, Self::Effects],
        }
    }
}

/// A job, with what its journal says of its beginning.
pub(super) struct Known {
    pub(super) job: Job,
    pub(super) spec: Option<Spec>,
    runner: Option<String>,
    /// Why nobody takes it, where nobody can.
    waits: Option<String>,
}

impl Known {
    /// Reads a job.
    pub(super) async fn read(
        app: &AppState,
        principal: &Principal,
        job_id: &JobId,
    ) -> Result<Self, Problem> {
        let job = views::jobs::one(app, principal, job_id).await?;
        let first = views::jobs::events(app, principal, job_id, 0, 1).await?;
        let spec = first
            .into_iter()
            .next()
            .and_then(|first| serde_json::from_value(first.event.get("spec")?.clone()).ok());
        let is_queued = job.summary.state == "queued";
        let runners = match is_queued || job.runner_id.is_some() {
            true => views::runners::list(app, principal).await?,
            false => Vec::new(),
        };
        let of_it = runners.iter().find(|runner| Some(&runner.id) == job.runner_id.as_ref());
        let runner = of_it.map(|runner| runner.name.clone());
        let needs = spec.as_ref().map(|spec: &Spec| spec.runs_on.clone()).unwrap_or_default();
        let waits = is_queued.then(|| views::runners::nobody_for(&runners, &needs)).flatten();
        Ok(Self { job, spec, runner, waits })
    }

    /// True if nothing more will happen.
    pub(super) fn is_over(&self) -> bool {
        self.job.summary.end.is_some()
    }

    /// True if a session file answers instead of a model.
    pub(super) fn is_scripted(&self) -> bool {
        let mut steps = self.spec.iter().flat_map(Spec::every_step);
        steps.any(|(_, step)| match &step.action {
            StepAction::Agent(agent) => agent.replay.is_some(),
            _ => false,
        })
    }

    /// The step that is wanted, or the one that matters most: what runs, else what failed, else the
    /// last agent.
    fn chosen(&self, wanted: &Wanted) -> Option<&Step> {
        let steps = &self.job.steps;
        let named = |name: &String| steps.iter().find(|step| step.id.as_str() == name);
        let state = |state: &'static str| steps.iter().find(move |step| step.state == state);
        wanted
            .step
            .as_ref()
            .and_then(named)
            .or_else(|| state("running"))
            .or_else(|| state("backoff"))
            .or_else(|| state("failed"))
            .or_else(|| steps.iter().rev().find(|step| step.kind == "agent"))
            .or_else(|| steps.last())
    }

    fn shown_state(&self, step: &Step) -> Shown {
        let Some(end) = &self.job.summary.end else { return Shown::parse(&step.state) };
        match step.state.as_str() {
            "pending" => Shown::NotRun,
            "running" | "backoff" => Shown::parse(&end.outcome),
            "failed" if end.outcome == "gave_up" && step.kind == "agent" => Shown::GaveUp,
            state => Shown::parse(state),
        }
    }
}

/// What a page shows of a job: the step, what of it, and where that is stored.
pub(super) struct Choosing {
    pub(super) step_id: StepId,
    pub(super) harness: String,
    kind: String,
    pub(super) view: View,
    pub(super) stream: Option<StreamId>,
}

impl Choosing {
    pub(super) async fn new(
        app: &AppState,
        principal: &Principal,
        known: &Known,
        wanted: &Wanted,
    ) -> Result<Option<Self>, Problem> {
        let Some(step) = known.chosen(wanted) else { return Ok(None) };
        let views = View::of(&step.kind);
        let named = views.iter().find(|view| Some(view.name()) == wanted.view.as_deref());
        let view = named.or(views.first()).copied().unwrap_or(View::Log);
        let kind = match view {
            View::Session => Some(Kind::Session),
            View::Log => Some(Kind::Log),
            View::Diff | View::Effects => None,
        };
        let job_id = &known.job.summary.id;
        let stream = match kind {
            None => None,
            Some(kind) => {
                let attempt = wanted.attempt;
                Some(views::streams::find(app, principal, job_id, &step.id, kind, attempt).await?)
            }
        };
        Ok(Some(Self {
            step_id: step.id.clone(),
            harness: step.harness.clone().unwrap_or_default(),
            kind: step.kind.clone(),
            view,
            stream,
        }))
    }

    /// The address of this page, ready for one more key.
    fn here(&self, job_id: &JobId, wanted: &Wanted) -> String {
        let attempt = wanted.attempt.map_or_else(String::new, |n| format!("attempt={n}&"));
        let (job, step, view) = (links::job(job_id), &self.step_id, self.view.name());
        format!("{job}?step={step}&view={view}&{attempt}")
    }
}

async fn one(
    State(app): State<AppState>,
    principal: Principal,
    frame: Frame,
    Place(job_id): Place<JobId>,
    Keys(wanted): Keys<Wanted>,
) -> Result<Response, Problem> {
    show(&app, &principal, &frame, &job_id, &wanted).await
}

/// The page of a job.
pub(super) async fn show(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    job_id: &JobId,
    wanted: &Wanted,
) -> Result<Response, Problem> {
    // Read before anything else: what comes meanwhile, the live page gets again.
    let seq = app.store().job(&principal.organisation_id, job_id).await?.row.seq;
    let known = Known::read(app, principal, job_id).await?;
    let title = Text::from(known.job.summary.title.as_str());
    let crumbs = vec![
        Crumb::to(known.job.summary.project.as_str(), links::project(&known.job.summary.project)),
        Crumb::to("Runs", "/runs"),
        Crumb::here(title.clone()),
    ];
    let shell = frame.shell(Some(Section::Runs), title.plain(), crumbs);
    let choosing = Choosing::new(app, principal, &known, wanted).await?;
    let is_live = !known.is_over() && wanted.before.is_none() && wanted.upto.is_none();
    let (panel, place) = match &choosing {
        None => (nothing("This job has no steps.", ""), (0, 0)),
        Some(choosing) => panel(app, principal, frame, &known, choosing, wanted).await?,
    };
    let is_scripted =
        known.is_scripted() || matches!(&panel, Panel::Session(session) if session.is_scripted);
    let live = choosing.as_ref().filter(|_| is_live).map(|choosing| {
        let attempt = wanted.attempt.map_or_else(String::new, |n| format!("&attempt={n}"));
        let (job, step, view) = (links::job(job_id), &choosing.step_id, choosing.view.name());
        Live {
            href: format!("{job}/live?step={step}&view={view}{attempt}"),
            cursor: format!("{seq}.{}.{}", place.0, place.1),
        }
    });
    page(&JobPage {
        head: head(app, frame, &known, is_scripted),
        steps: steps(frame, &known, choosing.as_ref().map(|choosing| &choosing.step_id)),
        tabs: choosing.as_ref().map(|choosing| tabs(job_id, choosing)).unwrap_or_default(),
        panel,
        live,
        shell,
    })
}

/// The ends of jobs for what their repository says of its environment.
const OF_THE_DEFINITION: [&str; 3] = ["environment", "environment_failed", "service_not_ready"];

/// The head of a job's page.
pub(super) fn head(app: &AppState, frame: &Frame, known: &Known, is_scripted: bool) -> Head {
    let job = &known.job;
    let summary = &job.summary;
    let state = Shown::parse(&summary.state);
    let end = summary.ended_at.unwrap_or(frame.now.as_micros());
    let mut agents: Vec<Text> = Vec::new();
    for harness in job.steps.iter().filter_map(|step| step.harness.as_deref()) {
        if !agents.iter().any(|agent| agent.raw() == harness) {
            agents.push(Text::from(harness));
        }
    }
    let by = agents.first().cloned().unwrap_or_default();
    let csrf = frame.principal.as_ref().map(|principal| principal.csrf().to_owned());
    let can_cancel = frame.may().cancel && !state.is_over() && job.cancel.is_none();
    Head {
        id: Id(summary.id.to_string()),
        title: Text::from(summary.title.as_str()),
        state,
        project: Text::from(summary.project.as_str()),
        project_href: links::project(&summary.project),
        base: Text::from(job.base.as_str()),
        base_commit: job.base_commit.clone().map(Commit),
        by: Who::from(&job.asked_by),
        created: frame.moment(summary.created_at),
        took: summary.started_at.map_or_else(String::new, |started| took(started, end)),
        agents,
        is_scripted,
        tokens: Tokens::new(job.tokens, job.token_limit),
        network: known.spec.as_ref().map(|spec| spec.network.iter().map(Text::from).collect()),
        guard: Vec::new(),
        runner: known.runner.as_deref().map(Text::from),
        runs_on: known.spec.iter().flat_map(|spec| spec.runs_on.iter()).map(Text::from).collect(),
        sensitive: known
            .spec
            .iter()
            .flat_map(|spec| &spec.sensitive)
            .map(|name| Text::from(name.as_str()))
            .collect(),
        waits: known.waits.as_deref().map(Text::from),
        requeues: job.requeues,
        starts: job.starts.iter().map(start).collect(),
        continues: job.continues.as_ref().map(links::job),
        end: summary.end.as_ref().map(|end| End {
            code: Text::from(end.code.as_str()),
            reason: Text::from(end.reason.as_str()),
            give_up: end.give_up.as_ref().map(|report| GiveUp {
                agent: by,
                tried: report.tried.iter().map(Text::from).collect(),
                because: Text::from(report.stopped_because.as_str()),
                unblock: Text::from(report.would_unblock.as_str()),
            }),
        }),
        repair: summary
            .end
            .as_ref()
            .filter(|end| OF_THE_DEFINITION.contains(&end.code.as_str()))
            .map(|_| format!("windlass env repair {}", summary.id)),
        stop_asked: job
            .cancel
            .as_ref()
            .map(|cancel| (Who::from(&cancel.by), Text::from(cancel.reason.as_str()))),
        change: summary.pull_request.as_ref().map(|link| (link.number, local_href(app, &link.url))),
        cancel: can_cancel.then(|| format!("{}/cancel", links::job(&summary.id))),
        csrf: Csrf { value: csrf.unwrap_or_default() },
    }
}

/// What it got of one thing, in one line.
fn limit(limit: &windlass_wire::api::class::Limit) -> Text {
    let is_it = if limit.enforced { "enforced" } else { "not enforced" };
    Text::from(format!("{} {}: {is_it} ({})", limit.what, limit.shown, limit.how))
}

fn start(start: &windlass_wire::api::job::Start) -> Start {
    let total: u64 = start.stages.iter().map(|stage| stage.micros).sum();
    let was = match start.from.as_str() {
        "pool" => "one that was started ahead",
        "snapshot" => "a snapshot with its prebuild",
        "tree" => "a prepared work tree",
        _ => "the mirror of the repository",
    };
    let stages = start.stages.iter().map(|stage| {
        let share = (stage.micros * 100).checked_div(total).unwrap_or(0);
        (Text::from(stage.name.as_str()), when::micros(stage.micros), share)
    });
    Start {
        summary: format!("{} from {was}", when::micros(total)),
        missed: start.missed.as_deref().map(Text::from),
        stages: stages.collect(),
        pool: start.pool.as_ref().map(|pool| {
            let rate = match (pool.gap_micros, pool.refill_micros) {
                (Some(gap), Some(refill)) => format!(
                    ", since one is asked for every {} and takes {} to make",
                    when::micros(gap),
                    when::micros(refill)
                ),
                _ => String::new(),
            };
            format!("{} ready of {} wanted{rate}; at most {}", pool.ready, pool.wanted, pool.most)
        }),
        advice: start.advice.iter().map(|text| Text::from(text.as_str())).collect(),
        limits: start.limits.iter().map(limit).collect(),
    }
}

/// The timeline of a job's page.
pub(super) fn steps(frame: &Frame, known: &Known, selected: Option<&StepId>) -> Steps {
    let summary = &known.job.summary;
    let from = Time::from_micros(summary.started_at.unwrap_or(summary.created_at));
    let to = summary.ended_at.map_or(frame.now, Time::from_micros);
    let steps = known.job.steps.iter().map(|step| timeline::Step {
        // The tree is told by the room before a name.
        name: Text::from(format!("{}{}", "\u{2003}".repeat(step.depth as usize), step.id)),
        kind: match step.kind.as_str() {
            "agent" => "agent",
            "pull_request" => "pull request",
            "readiness" => "readiness",
            "report" => "report",
            "end" => "end",
            "wait" => "wait",
            "approve" => "approval",
            "parallel" => "at once",
            "for_each" => "for each",
            "until" => "until",
            "call" => "call",
            _ => "command",
        },
        state: known.shown_state(step),
        href: format!("{}?step={}", links::job(&summary.id), step.id),
        is_selected: selected == Some(&step.id),
        attempts: step.attempts,
        started_at: step.started_at.map(Time::from_micros),
        ended_at: step.ended_at.map(Time::from_micros),
    });
    Steps { timeline: Timeline::new(from, to, steps.collect()) }
}

fn tabs(job_id: &JobId, choosing: &Choosing) -> Vec<Choice> {
    let job = links::job(job_id);
    View::of(&choosing.kind)
        .iter()
        .map(|view| Choice {
            name: view.title(),
            href: format!("{job}?step={}&view={}", choosing.step_id, view.name()),
            is_current: *view == choosing.view,
        })
        .collect()
}

fn nothing(title: &'static str, text: &str) -> Panel {
    Panel::Nothing { title, text: text.to_owned() }
}

/// What is shown of the step, and how far it reaches: a session's entry and a log's byte.
async fn panel(
    app: &AppState,
    principal: &Principal,
    frame: &Frame,
    known: &Known,
    choosing: &Choosing,
    wanted: &Wanted,
) -> Result<(Panel, (u64, u64)), Problem> {
    let job_id = &known.job.summary.id;
    let here = choosing.here(job_id, wanted);
    match (choosing.view, &choosing.stream) {
        (View::Session, Some(stream)) => {
            let session =
                session(app, principal, frame.now, stream, &choosing.harness, u64::MAX).await?;
            let last = session.last;
            Ok((
                Panel::Session(session_panel(&session, wanted, &here, !known.is_over())),
                (last, 0),
            ))
        }
        (View::Log, Some(stream)) => {
            let log = log(app, principal, known, stream, wanted, &here).await?;
            let to = log.length;
            Ok((Panel::Log(log), (0, to)))
        }
        (View::Diff, _) => {
            let Some(patch) = views::streams::diff(app, principal, job_id).await? else {
                let text = "The work tree has not been compared with its base yet. That happens after each step.";
                return Ok((nothing("No change so far.", text), (0, 0)));
            };
            let patch = diff::parse(&patch);
            let options = Options {
                layout: Layout::Unified,
                whole: wanted.whole.clone(),
                here,
                ..Options::default()
            };
            if patch.files.is_empty() {
                return Ok((
                    nothing("No change so far.", "The work tree is as it was at its base."),
                    (0, 0),
                ));
            }
            Ok((Panel::Diff(DiffView::new(&patch, Talk::default(), &options)), (0, 0)))
        }
        (View::Effects, _) | (View::Session | View::Log, None) => {
            Ok((Panel::Effects(effects(known)), (0, 0)))
        }
    }
}

/// A session, folded, up to this entry.
pub(super) async fn session(
    app: &AppState,
    principal: &Principal,
    now: Time,
    stream: &StreamId,
    agent: &str,
    upto: u64,
) -> Result<Session, Problem> {
    let mut session = Session::new(agent, now);
    let mut after = 0;
    loop {
        let entries = views::streams::session(app, principal, stream, after, ENTRIES).await?;
        let is_last = entries.len() < ENTRIES;
        for entry in entries {
            after = entry.seq;
            if entry.seq <= upto {
                session.push(entry);
            }
        }
        if is_last || after >= upto || session.items().len() > ENTRIES_MAX {
            session.take_touched();
            return Ok(session);
        }
    }
}

fn session_panel(session: &Session, wanted: &Wanted, here: &str, is_live: bool) -> SessionPanel {
    let all = session.items();
    let end = match wanted.before {
        Some(before) => all.partition_point(|item| item.id < before),
        None => all.len(),
    };
    let start = end.saturating_sub(ITEMS);
    let items = all[start..end].to_vec();
    let first = items.first().map(|item| item.id);
    SessionPanel {
        agent: session.agent.clone(),
        is_scripted: session.is_scripted,
        usage: session.usage,
        earlier: first.filter(|_| start > 0).map(|first| format!("{here}before={first}")),
        items,
        is_live,
    }
}

/// The end of a log, or the part of it before a byte.
async fn log(
    app: &AppState,
    principal: &Principal,
    known: &Known,
    stream: &StreamId,
    wanted: &Wanted,
    here: &str,
) -> Result<Log, Problem> {
    let job_id = &known.job.summary.id;
    let rows = views::streams::list(app, principal, job_id).await?;
    let whole_length = rows.iter().find(|row| row.stream == *stream).map_or(0, |row| row.length);
    let to = wanted.upto.unwrap_or(whole_length).min(whole_length);
    let from = to.saturating_sub(LOG);
    let most = usize::try_from(to - from).unwrap_or(usize::MAX);
    let slice = views::streams::log(app, principal, stream, from, most).await?;
    // A part begins with a whole line, unless one line is longer than the part.
    let skip = match slice.bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if from > 0 => end + 1,
        Some(_) | None => 0,
    };
    let begin = from + u64::try_from(skip).unwrap_or(0);
    let mut reader = Reader::new(begin);
    let lines = reader.push(&slice.bytes[skip..]);
    let (step, attempt) = (&stream.step_id, stream.attempt);
    Ok(Log {
        lines,
        earlier: (begin > 0)
            .then(|| Earlier { size: when::size(begin), href: format!("{here}upto={begin}") }),
        whole: format!("/api/v1/jobs/{job_id}/steps/{step}/log?attempt={attempt}"),
        length: reader.at().max(to),
        is_live: !known.is_over(),
    })
}

fn effects(known: &Known) -> Vec<EffectRow> {
    let row = |effect: &windlass_wire::api::job::Effect| EffectRow {
        kind: if effect.kind == "push" { "push" } else { "pull request" },
        step: Text::from(effect.step_id.as_str()),
        state: Shown::parse(&effect.state),
        detail: Text::from(effect.detail.as_deref().unwrap_or_default()),
        key: Text::from(effect.key.as_str()),
    };
    known.job.effects.iter().map(row).collect()
}

async fn cancel(
    State(app): State<AppState>,
    principal: Principal,
    Place(job_id): Place<JobId>,
    Fields(why): Fields<Why>,
) -> Result<Response, Problem> {
    actions::jobs::cancel(&app, &principal, &job_id, why.reason).await?;
    Ok(go(format!("{}?said=stopping", links::job(&job_id))))
}

/// Where an item of a step's session is on a job's page.
pub(super) fn session_item(job_id: &JobId, step_id: &str, item: u64) -> String {
    format!("{}?step={}&view=session#s{item}", links::job(job_id), percent_encoded(step_id))
}
