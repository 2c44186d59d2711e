//! What happens to jobs and pull requests of a fleet, told to its machine in the same transaction.

use std::sync::Arc;

use windlass_run::{
    JobId, ProjectId, Time,
    actor::By,
    effect,
    fleet::{self, Change, Command, End, Event, Review, Spent, Trouble},
    job,
    spec::Action,
};

use crate::{
    Error,
    fleets::rows,
    pulls::PullColumns,
    runs::Standing,
    writer::{
        memory::{Fleet, Job},
        tx::{Tx, who},
    },
};

/// The most characters of a reason that a target's row keeps.
const LONGEST_REASON: usize = 1_000;

/// A job of a fleet stands elsewhere.
pub(crate) fn job_stands(
    tx: &mut Tx<'_>,
    fleet: &Arc<Fleet>,
    job: &Job,
    at: Time,
) -> Result<(), Error> {
    match (job.standing(), &job.state.phase) {
        (Standing::Ended(_), job::Phase::Ended(end)) => {
            let spent = Spent { tokens: job.state.tokens, micro_usd: 0 };
            let end_of_target =
                End { outcome: end.outcome, code: end.code.clone(), cluster: None, spent };
            target_ended(tx, fleet, Which::Job(&job.id), end_of_target, &end.reason, at)?;
            Ok(())
        }
        (Standing::Running, _) => {
            let mut run = tx.run(&job.run_id)?;
            if run.started_at.is_none() {
                run.started_at = Some(at);
                tx.put_run(run, at);
            }
            Ok(())
        }
        (Standing::Queued | Standing::Ended(_), _) => Ok(()),
    }
}

/// A target whose job ended.
pub(super) enum Which<'a> {
    /// By its job.
    Job(&'a JobId),
    /// By its place: it was admitted, and there was no job to be made.
    Place(u32),
}

/// Writes an end: once, for it has seen the row running.
pub(super) fn target_ended(
    tx: &mut Tx<'_>,
    fleet: &Arc<Fleet>,
    which: Which<'_>,
    end: End,
    reason: &str,
    at: Time,
) -> Result<Arc<Fleet>, Error> {
    let ordinal = match which {
        Which::Place(ordinal) => ordinal,
        Which::Job(job_id) => {
            let sql = "SELECT ordinal FROM targets WHERE job_id = $1 AND job_id IS NOT NULL \
                       AND run_number = $2 AND state = 'running'";
            let values = [job_id.as_str().into(), fleet.run_number.into()];
            match tx.read(sql, &values)?.first_mut() {
                Some(row) => row.small(0)?,
                // A job that its target has left behind: it was planned again meanwhile.
                None => return Ok(fleet.clone()),
            }
        }
    };
    let ring = rows::ring_of(&fleet.state, ordinal);
    let outcome = end.outcome;
    let events = decide(fleet, &Command::JobEnded { ring, end }, at)?;
    let told = events.iter().find_map(|event| match event {
        Event::JobEnded { kind, trouble, .. } => Some((kind.clone(), *trouble)),
        _ => None,
    });
    let (kind, trouble) = told.unwrap_or_default();
    let reason: Option<String> =
        trouble.is_some().then(|| reason.chars().take(LONGEST_REASON).collect());
    tx.write(
        "UPDATE targets SET state = $1, kind = $2, trouble = $3, reason = $4 \
         WHERE run_number = $5 AND ordinal = $6",
        &[
            Standing::Ended(outcome).as_str().into(),
            kind.as_ref().into(),
            trouble.map(Trouble::name).into(),
            reason.into(),
            fleet.run_number.into(),
            ordinal.into(),
        ],
    )?;
    let by = who(&By::system("fleets"));
    tx.change_fleet(fleet, &events, &by, at)
}

/// An effect of a job was done. If it is the change of a fleet's target, the fleet has one more open, or
/// goes on with the one that it had.
pub(crate) fn change_opened(
    tx: &mut Tx<'_>,
    job: &Job,
    outcome: &effect::Outcome,
    at: Time,
) -> Result<(), Error> {
    let effect::Outcome::PullRequest { number, .. } = outcome else { return Ok(()) };
    let Some(fleet) = tx.fleet(&job.run_id)? else { return Ok(()) };
    let sql = "SELECT ordinal, forge, pull_number, review, verified FROM targets WHERE job_id = $1 \
               AND job_id IS NOT NULL";
    let mut rows = tx.read(sql, &[job.id.as_str().into()])?;
    let Some(row) = rows.first_mut() else { return Ok(()) };
    let (ordinal, forge, known) = (row.small(0)?, row.text(1)?, row.maybe_int(2)?);
    let (stood, was_verified) = (row.maybe_text(3)?, row.int(4)? != 0);
    let ring = rows::ring_of(&fleet.state, ordinal);
    let verified = is_verified(&job.state);
    let is_known = known == i64::try_from(*number).ok();
    let from = stood.as_deref().filter(|_| is_known).and_then(review_named);
    let mut events = Vec::new();
    if from.is_none() {
        // It has happened: whether it should have was asked before the effect was granted.
        events.push(Event::ChangeOpened { ring, forge, verified });
    }
    let from = match from {
        Some(review) => Change { review, verified: was_verified },
        None => Change { review: Review::Open, verified },
    };
    let sql = "SELECT state, review FROM pulls WHERE project_id = $1 AND number = $2";
    let values = [job.project_id.as_str().into(), (*number).into()];
    let review = match tx.read(sql, &values)?.first_mut() {
        Some(row) => stands(&row.text(0)?, &row.text(1)?),
        None => from.review,
    };
    let to = Change { review, verified };
    if from != to {
        events.push(Event::Moved { ring, from, to });
    }
    write_change(tx, &fleet, ordinal, Some(*number), to)?;
    tx.change_fleet(&fleet, &events, &who(&By::system("fleets")), at)?;
    Ok(())
}

/// A pull request changed. If it is a fleet's, the fleet learns how it stands.
pub(crate) fn change_moved(
    tx: &mut Tx<'_>,
    project_id: &ProjectId,
    number: u64,
    columns: &PullColumns,
    at: Time,
) -> Result<(), Error> {
    let sql = "SELECT f.run_id, t.ordinal, t.review, t.verified FROM targets t \
               JOIN fleets f ON f.number = t.run_number \
               WHERE t.project_id = $1 AND t.pull_number = $2 AND t.pull_number IS NOT NULL";
    let to = stands(&columns.state, &columns.review);
    for mut row in tx.read(sql, &[project_id.as_str().into(), number.into()])? {
        let Some(fleet) = tx.fleet(&row.parsed(0)?)? else { continue };
        let (ordinal, verified) = (row.small(1)?, row.int(3)? != 0);
        let Some(from) = row.maybe_text(2)?.as_deref().and_then(review_named) else { continue };
        if from == to {
            continue;
        }
        let (from, to) = (Change { review: from, verified }, Change { review: to, verified });
        let ring = rows::ring_of(&fleet.state, ordinal);
        let events = decide(&fleet, &Command::Moved { ring, from, to }, at)?;
        write_change(tx, &fleet, ordinal, None, to)?;
        tx.change_fleet(&fleet, &events, &who(&By::system("fleets")), at)?;
    }
    Ok(())
}

fn write_change(
    tx: &mut Tx<'_>,
    fleet: &Fleet,
    ordinal: u32,
    number: Option<u64>,
    change: Change,
) -> Result<(), Error> {
    tx.write(
        "UPDATE targets SET pull_number = COALESCE($1, pull_number), review = $2, verified = $3 \
         WHERE run_number = $4 AND ordinal = $5",
        &[
            number.into(),
            review_name(change.review).into(),
            change.verified.into(),
            fleet.run_number.into(),
            ordinal.into(),
        ],
    )
}

/// What the machine makes of a fact. It can't refuse one of a row that was seen to stand so.
fn decide(fleet: &Fleet, command: &Command, at: Time) -> Result<Vec<Event>, Error> {
    fleet::decide(&fleet.state, command, at).map_err(|refusal| Error::Database {
        context: format!("the fleet {} refuses what happened: {refusal}", fleet.run_id),
    })
}

/// Whether a change was seen to be good: an agent's `verify` held, or a command with the id `verify` ended
/// well.
fn is_verified(state: &job::State) -> bool {
    state.spec.every_step().any(|(_, step)| {
        let verifies = match &step.action {
            Action::Agent(agent) => !agent.verify.is_empty(),
            Action::Run { .. } => step.id.as_str() == "verify",
            _ => false,
        };
        let ended_well = |known: &job::StepState| {
            known.id == step.id && matches!(known.phase, job::StepPhase::Succeeded)
        };
        verifies && state.steps.iter().any(ended_well)
    })
}

/// How a change stands whose pull request is like this.
fn stands(state: &str, review: &str) -> Review {
    match (state, review) {
        ("merged", _) => Review::Merged,
        ("closed", _) => Review::Closed,
        (_, "approved") => Review::Approved,
        (_, "changes_requested") => Review::SentBack,
        _ => Review::Open,
    }
}

fn review_name(review: Review) -> &'static str {
    match review {
        Review::Open => "open",
        Review::SentBack => "sent_back",
        Review::Approved => "approved",
        Review::Merged => "merged",
        Review::Closed => "closed",
    }
}

fn review_named(name: &str) -> Option<Review> {
    let all = [Review::Open, Review::SentBack, Review::Approved, Review::Merged, Review::Closed];
    all.into_iter().find(|review| review_name(*review) == name)
}
