//! Makes jobs of planned targets: the machine's count, the targets' rows and the jobs in one transaction, so
//! that a crash leaves either all of it or nothing.

use std::collections::BTreeSet;

use windlass_run::{
    JobId, OrganisationId, RunId, Time,
    actor::By,
    fleet::{Command, End, Refusal, Spent, decide},
    job::{self, Event, Outcome},
};

use crate::{
    Error,
    fleets::{command, follow, rows},
    runs::{self, NewJob},
    writer::{
        memory::{Fleet, Job},
        tx::{Tx, who},
    },
};

/// Targets that are to be begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Admit {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The fleet.
    pub run_id: RunId,
    /// The ring that all of them are in.
    pub ring: u16,
    /// Them, in order.
    pub picks: Vec<Pick>,
}

/// A target that is to be begun.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    /// Its place.
    pub ordinal: u32,
    /// Its job, or why there can't be one: the target has failed then.
    pub job: Result<NewJob, NotBegun>,
}

/// Why there can't be a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotBegun {
    /// The stable code of the end.
    pub code: String,
    /// Why, for a person.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// The jobs that were made.
    pub jobs: Vec<JobId>,
    /// How many targets failed before they had one.
    pub not_begun: u32,
    /// How many were not begun, since the fleet has changed meanwhile or they are not planned any more.
    pub left: u32,
}

/// Jobs that were checked.
pub(super) struct Prepared {
    admit: Admit,
    created: Vec<Option<Event>>,
}

/// Checks the jobs.
pub(super) fn prepare(admit: Admit) -> Result<Prepared, Error> {
    let mut created = Vec::with_capacity(admit.picks.len());
    for pick in &admit.picks {
        let Ok(job) = &pick.job else {
            created.push(None);
            continue;
        };
        runs::check_title(&job.title)?;
        // Who it goes on for is known once the fleet was read.
        let event = job::create(job.spec.clone().into(), By::system("fleets"));
        created.push(Some(event.map_err(|fault| Error::Invalid { why: fault.to_string() })?));
    }
    Ok(Prepared { admit, created })
}

/// Makes them.
pub(super) fn admit(tx: &mut Tx<'_>, prepared: &Prepared, now: Time) -> Result<Admitted, Error> {
    let Admit { organisation_id, run_id, ring, picks } = &prepared.admit;
    let mut fleet = command::own(tx, organisation_id, run_id)?;
    let planned = planned(tx, &fleet, picks)?;
    let mut chosen: Vec<usize> =
        (0..picks.len()).filter(|n| planned.contains(&picks[*n].ordinal)).collect();
    let by = fleet.state.by.clone();
    let system = who(&By { on_behalf_of: Some(by.actor.clone()), ..By::system("fleets") });
    let events = loop {
        let count = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
        match decide(&fleet.state, &Command::Admitted { ring: *ring, count }, now) {
            Ok(events) => break events,
            Err(Refusal::NoRoom { ring: open, room, .. }) if open == *ring && room < count => {
                chosen.truncate(room as usize);
            }
            Err(_) => {
                chosen.clear();
                break Vec::new();
            }
        }
    };
    fleet = tx.change_fleet(&fleet, &events, &system, now)?;
    let mut admitted = Admitted::default();
    for n in &chosen {
        let pick = &picks[*n];
        let job_id = match (&pick.job, &prepared.created[*n]) {
            (Ok(job), Some(created)) => Some(make(tx, &fleet, &by, job, created, now)?),
            _ => None,
        };
        tx.write(
            "UPDATE targets SET state = 'running', attempt = attempt + 1, job_id = $1 \
             WHERE run_number = $2 AND ordinal = $3",
            &[
                job_id.as_ref().map(|job_id| job_id.as_str()).into(),
                fleet.run_number.into(),
                pick.ordinal.into(),
            ],
        )?;
        match (job_id, &pick.job) {
            (Some(job_id), _) => admitted.jobs.push(job_id),
            (None, Err(NotBegun { code, reason })) => {
                let end = End {
                    outcome: Outcome::Failed,
                    code: code.clone(),
                    cluster: None,
                    spent: Spent::default(),
                };
                let place = follow::Which::Place(pick.ordinal);
                fleet = follow::target_ended(tx, &fleet, place, end, reason, now)?;
                admitted.not_begun += 1;
            }
            (None, Ok(_)) => {}
        }
    }
    admitted.left = u32::try_from(picks.len() - chosen.len()).unwrap_or(u32::MAX);
    Ok(admitted)
}

/// Which of the places from the first pick to the last are planned now.
fn planned(tx: &mut Tx<'_>, fleet: &Fleet, picks: &[Pick]) -> Result<BTreeSet<u32>, Error> {
    let places = || picks.iter().map(|pick| pick.ordinal);
    let (Some(first), Some(last)) = (places().min(), places().max()) else {
        return Ok(BTreeSet::new());
    };
    let sql = "SELECT ordinal FROM targets WHERE run_number = $1 AND state = $2 AND ordinal >= $3 \
               AND ordinal <= $4 ORDER BY ordinal";
    let values = [fleet.run_number.into(), rows::PLANNED.into(), first.into(), last.into()];
    tx.read(sql, &values)?.into_iter().map(|mut row| row.small(0)).collect()
}

fn make(
    tx: &mut Tx<'_>,
    fleet: &Fleet,
    by: &By,
    new: &NewJob,
    created: &Event,
    now: Time,
) -> Result<JobId, Error> {
    let mut created = created.clone();
    if let Event::Created { by: its, .. } = &mut created {
        *its = by.clone();
    }
    let state = job::State::begin(&created, now);
    let state = state.ok_or_else(|| Error::Database { context: "no first event".to_owned() })?;
    let job = Job {
        id: new.id.clone(),
        number: tx.number(),
        organisation_id: fleet.organisation_id.clone(),
        run_id: fleet.run_id.clone(),
        run_number: fleet.run_number,
        project_id: state.spec.target.project_id.clone(),
        title: new.title.as_str().into(),
        seq: 1,
        state,
        ended_at: None,
    };
    tx.create_job(job, &created, &who(by), now)?;
    Ok(new.id.clone())
}
