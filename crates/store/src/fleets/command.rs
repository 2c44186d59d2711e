//! Commands to a fleet as a whole, by people and by whoever watches it. Each changes one row of a fleet and
//! one of a run, whatever the number of targets; a retry moves the rows that it plans again in one statement.

use std::sync::Arc;

use windlass_run::{
    OrganisationId, RunId, Time,
    actor::By,
    fleet::{self, Command, Event, Phase, State, Trouble, Which},
};

use crate::{
    Error,
    fleets::machine::not_found,
    writer::{
        memory::Fleet,
        tx::{Tx, who},
    },
};

/// A fleet of an organisation.
pub(super) fn own(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    run_id: &RunId,
) -> Result<Arc<Fleet>, Error> {
    let fleet = tx.fleet(run_id)?.filter(|fleet| fleet.organisation_id == *organisation_id);
    fleet.ok_or_else(|| not_found(run_id))
}

/// Gives a command that is of the fleet as a whole.
pub(super) fn give(
    tx: &mut Tx<'_>,
    by: &Arc<str>,
    organisation_id: &OrganisationId,
    run_id: &RunId,
    command: &Command,
    now: Time,
) -> Result<State, Error> {
    let fleet = own(tx, organisation_id, run_id)?;
    let (name, detail) = match command {
        Command::Pause { reason, .. } => ("fleet.pause", reason.as_str()),
        Command::Resume { .. } => ("fleet.resume", ""),
        Command::Cancel { reason, .. } => ("fleet.cancel", reason.as_str()),
        Command::Advance { reason, .. } => ("fleet.advance", reason.as_str()),
        Command::Watch | Command::ForgeWaits { .. } => ("", ""),
        Command::Admitted { .. }
        | Command::JobEnded { .. }
        | Command::OpenChange { .. }
        | Command::Moved { .. }
        | Command::Retry { .. }
        | Command::Operate { .. }
        | Command::Progress { .. } => {
            let why = "this command has rows of its own".to_owned();
            return Err(Error::Invalid { why });
        }
    };
    let after = take(tx, &fleet, command, by, now)?;
    if !name.is_empty() && after.seq != fleet.seq {
        let detail = serde_json::json!({ "reason": detail }).to_string();
        tx.audit(by, organisation_id, name, run_id.to_string(), detail, now);
    }
    Ok(after.state.clone())
}

/// Stops a fleet for good, as part of a run that is stopped. One that is over stays as it is.
pub(crate) fn cancel(
    tx: &mut Tx<'_>,
    fleet: &Arc<Fleet>,
    by: &By,
    reason: &str,
    now: Time,
) -> Result<(), Error> {
    if let Phase::Settled { .. } = fleet.state.phase {
        return Ok(());
    }
    let command = Command::Cancel { by: by.clone(), reason: reason.to_owned() };
    give(tx, &who(by), &fleet.organisation_id, &fleet.run_id, &command, now)?;
    Ok(())
}

/// Plans failed targets again.
pub(super) fn retry(
    tx: &mut Tx<'_>,
    by: &Arc<str>,
    organisation_id: &OrganisationId,
    run_id: &RunId,
    command: &Command,
    now: Time,
) -> Result<State, Error> {
    let Command::Retry { which, instruction, .. } = command else {
        return Err(Error::Invalid { why: "this is no retry".to_owned() });
    };
    let fleet = own(tx, organisation_id, run_id)?;
    let events = decide(&fleet, command, now)?;
    let (condition, value) = match which {
        Which::All => ("trouble IS NOT NULL AND trouble <> $3", Trouble::Stopped.name()),
        Which::Kind(kind) => ("kind IS NOT NULL AND kind = $3", kind.as_str()),
        Which::Trouble(trouble) => ("trouble IS NOT NULL AND trouble = $3", trouble.name()),
    };
    let counted = format!("SELECT COUNT(*) FROM targets WHERE run_number = $1 AND {condition}");
    let counted = counted.replace("$3", "$2");
    let values = [fleet.run_number.into(), value.into()];
    let rows = tx.read(&counted, &values)?.first_mut().map(|row| row.small(0)).transpose()?;
    let planned = events.iter().find_map(|event| match event {
        Event::Retried { count, .. } => Some(*count),
        _ => None,
    });
    if rows != planned {
        let context = format!("the fleet {run_id} counts {planned:?} such targets, not {rows:?}");
        return Err(Error::Database { context });
    }
    tx.write(
        &format!(
            "UPDATE targets SET state = 'planned', kind = NULL, trouble = NULL, reason = NULL, \
             instruction = $1 WHERE run_number = $2 AND {condition}"
        ),
        &[instruction.as_ref().into(), fleet.run_number.into(), value.into()],
    )?;
    let after = tx.change_fleet(&fleet, &events, by, now)?;
    let detail = serde_json::json!({ "which": which, "instruction": instruction, "targets": rows });
    tx.audit(by, organisation_id, "fleet.retry", run_id.to_string(), detail.to_string(), now);
    Ok(after.state.clone())
}

/// Gives a command to the machine and keeps what comes of it.
pub(super) fn take(
    tx: &mut Tx<'_>,
    fleet: &Arc<Fleet>,
    command: &Command,
    by: &Arc<str>,
    now: Time,
) -> Result<Arc<Fleet>, Error> {
    let events = decide(fleet, command, now)?;
    tx.change_fleet(fleet, &events, by, now)
}

fn decide(fleet: &Fleet, command: &Command, now: Time) -> Result<Vec<Event>, Error> {
    fleet::decide(&fleet.state, command, now)
        .map_err(|refusal| Error::Conflict { why: refusal.to_string() })
}
