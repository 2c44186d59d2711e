//! The machine of a fleet in the writer: read when it is first needed, changed by events, written once at the
//! end of a group, along with the run that it is.

use std::sync::Arc;

use windlass_run::{
    RunId, Time,
    fleet::{self, Command, Event, Phase, Review, State},
};

use crate::{
    Error,
    database::{Failure, Insert},
    runs::{self, Standing},
    writer::{memory::Fleet, tx::Tx},
};

const POINTS: Insert = Insert {
    head: "INSERT INTO fleet_points (run_number, minute, planned, running, succeeded, failed, open, \
           landed) VALUES",
    columns: 8,
    tail: "ON CONFLICT (run_number, minute) DO UPDATE SET planned = excluded.planned, \
           running = excluded.running, succeeded = excluded.succeeded, failed = excluded.failed, \
           open = excluded.open, landed = excluded.landed",
};

/// A minute, in microseconds.
pub(super) const MINUTE: i64 = 60_000_000;

pub(super) fn not_found(run_id: &RunId) -> Error {
    Error::NotFound { what: "fleet", id: run_id.to_string() }
}

impl Tx<'_> {
    /// The fleet that a run is; absent if it is none.
    pub(crate) fn fleet(&mut self, run_id: &RunId) -> Result<Option<Arc<Fleet>>, Error> {
        if let Some(known) = self.memory.fleets.get(run_id) {
            return Ok(known);
        }
        let sql = "SELECT f.number, f.organisation_id, f.state, \
                   (SELECT COALESCE(MAX(e.seq), 0) FROM fleet_events e WHERE e.run_number = f.number) \
                   FROM fleets f WHERE f.run_id = $1";
        let mut rows = self.read(sql, &[run_id.as_str().into()])?;
        let found = match rows.first_mut() {
            None => None,
            Some(row) => Some(Arc::new(Fleet {
                run_id: run_id.clone(),
                run_number: row.natural(0)?,
                organisation_id: row.parsed(1)?,
                state: row.json(2)?,
                seq: row.natural(3)?,
            })),
        };
        self.memory.fleets.put(run_id.clone(), found.clone());
        Ok(found)
    }

    /// Takes events of a fleet, with what follows from them, and keeps what comes of it.
    pub(crate) fn change_fleet(
        &mut self,
        fleet: &Arc<Fleet>,
        events: &[Event],
        by: &Arc<str>,
        at: Time,
    ) -> Result<Arc<Fleet>, Error> {
        let mut after = (**fleet).clone();
        for event in events {
            after.state.apply(event, at);
        }
        // Where the machine decided them, this adds nothing.
        let followed = fleet::decide(&after.state, &Command::Watch, at).unwrap_or_default();
        for event in &followed {
            after.state.apply(event, at);
        }
        if events.is_empty() && followed.is_empty() {
            return Ok(fleet.clone());
        }
        for event in events.iter().chain(&followed).filter(|event| is_of_the_whole(event)) {
            after.seq += 1;
            let text = json(event)?;
            self.write(
                "INSERT INTO fleet_events (run_number, seq, at, who, event) \
                 VALUES ($1, $2, $3, $4, $5)",
                &[
                    after.run_number.into(),
                    after.seq.into(),
                    at.into(),
                    (&**by).into(),
                    text.into(),
                ],
            )?;
        }
        let after = Arc::new(after);
        self.put_fleet(after.clone(), at);
        self.follow_run(&after, at)?;
        Ok(after)
    }

    /// Keeps a fleet as it stands now.
    pub(super) fn put_fleet(&mut self, fleet: Arc<Fleet>, at: Time) {
        let run_id = fleet.run_id.clone();
        self.group.touched = true;
        self.group.fleets_touched.insert(run_id.clone());
        self.group.fleets.insert(run_id.clone(), at);
        self.memory.marks.fleets += 1;
        self.memory.fleets.put(run_id, Some(fleet));
    }

    /// The run that it is stands as its machine says.
    fn follow_run(&mut self, fleet: &Fleet, at: Time) -> Result<(), Error> {
        let mut run = self.run(&fleet.run_id)?;
        let (stood, tally) = (run.standing(), fleet.state.tally());
        if run.tally == tally {
            return Ok(());
        }
        run.tally = tally;
        let stands = run.standing();
        match stands {
            Standing::Ended(_) => drop(run.ended_at.get_or_insert(at)),
            Standing::Queued | Standing::Running => run.ended_at = None,
        }
        self.put_run(run.clone(), at);
        if stood != stands {
            self.group.runs_told.insert(fleet.run_id.clone());
            if let Standing::Ended(outcome) = stands {
                runs::told::ended(self, &run, None, outcome, at)?;
            }
        }
        Ok(())
    }

    /// Writes the fleets that changed.
    pub(crate) fn flush_fleets(&mut self) -> Result<(), Failure> {
        for (run_id, at) in std::mem::take(&mut self.group.fleets) {
            let Some(Some(fleet)) = self.memory.fleets.get(&run_id) else { continue };
            let failure = |e: Error| Failure::Statement(e.to_string());
            let state = json(&fleet.state).map_err(failure)?;
            self.connection.write(
                "UPDATE fleets SET state = $1, live = $2, changed_at = $3 WHERE number = $4",
                &[state.into(), is_live(&fleet.state).into(), at.into(), fleet.run_number.into()],
            )?;
            let (tally, state) = (fleet.state.tally(), &fleet.state);
            let changes = |review| state.count_changes(review);
            let planned: u32 = state.rings.iter().map(|ring| ring.planned).sum();
            let open =
                changes(Review::Open) + changes(Review::SentBack) + changes(Review::Approved);
            let values = [
                fleet.run_number.into(),
                (at.as_micros().div_euclid(MINUTE)).into(),
                planned.into(),
                state.running().into(),
                (tally.succeeded + tally.skipped).into(),
                (tally.failed + tally.gave_up + tally.cancelled).into(),
                open.into(),
                changes(Review::Merged).into(),
            ];
            self.connection.insert(&POINTS, &values)?;
            let organisation_id = fleet.organisation_id.clone();
            let what = standing(&fleet.state).to_owned();
            self.add_to_feed(&organisation_id, "fleet", run_id.to_string(), what, at);
        }
        Ok(())
    }
}

/// Whether there is something to do by itself.
pub(super) fn is_live(state: &State) -> bool {
    let operates = |operation: &fleet::Operation| operation.done + operation.failed < operation.of;
    state.phase == Phase::Going || state.running() > 0 || state.operations.iter().any(operates)
}

/// Where a fleet stands, in a word.
fn standing(state: &State) -> &'static str {
    match (&state.phase, &state.hold) {
        (Phase::Cancelled(_), _) => "cancelled",
        (Phase::Settled { .. }, _) => "settled",
        (Phase::Going, Some(_)) => "held",
        (Phase::Going, None) => "going",
    }
}

/// Whether an event is of the fleet as a whole, not of single targets.
fn is_of_the_whole(event: &Event) -> bool {
    match event {
        Event::Admitted { .. }
        | Event::JobEnded { .. }
        | Event::ChangeOpened { .. }
        | Event::Moved { .. }
        | Event::Progressed { .. } => false,
        Event::Opened { .. }
        | Event::ForgeWaits { .. }
        | Event::Paused { .. }
        | Event::Stopped { .. }
        | Event::Resumed { .. }
        | Event::Cancelled { .. }
        | Event::Retried { .. }
        | Event::RingOpened { .. }
        | Event::Operated { .. }
        | Event::Settled => true,
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map_err(|e| Error::Database { context: format!("a fleet as JSON: {e}") })
}
