//! What triggers make of an event, in one transaction: that it was handled, why some start nothing, and the
//! runs of those that start one. What was before is looked at once more here, where nothing can come in
//! between: so an event is waiting or done, and nothing is lost or doubled.

use windlass_run::{
    EventId, OrganisationId, RunId, Time,
    actor::By,
    automation::{Rate, Trigger},
    trigger::{Past, WhyNot, admits},
};

use super::{Firing, keep};
use crate::{
    Error, Store,
    automations::put,
    database::Row,
    fleets::{self, NewFleet},
    notices,
    runs::{NewRun, create},
    turns::{self, Turn, WhenBusy},
    writer::tx::Tx,
};

/// How many runs of a trigger in a row may fail before its automation is paused.
pub const MOST_FAILURES: usize = 5;

/// What is not well if an automation was paused for its failures. The subject is its name.
pub const PAUSED: &str = "automation-paused";

/// How the newest run of a trigger stands, as far back as failures are counted.
const LOOKED_AT: usize = MOST_FAILURES + 20;

/// What is to be kept of an event.
#[derive(Clone, Debug)]
pub struct Handling {
    /// The organisation.
    pub organisation_id: OrganisationId,
    /// The event.
    pub event_id: EventId,
    /// A word or a sentence on what it meant beside triggers.
    pub outcome: String,
    /// What triggers made of it that start nothing.
    pub firings: Vec<Firing>,
    /// What others would start.
    pub starts: Vec<Start>,
    /// The run whose end the event tells of.
    pub ends: Option<RunId>,
}

/// What a trigger would start.
#[derive(Clone, Debug)]
pub struct Start {
    /// The name of its automation.
    pub automation: String,
    /// The version that it stands in.
    pub version: u64,
    /// Its own name.
    pub trigger: String,
    /// Its rules on what was before.
    pub rules: Trigger,
    /// What makes events the same for it.
    pub same: String,
    /// What its cooldown counts for.
    pub about: String,
    /// On whose behalf.
    pub by: By,
    /// What.
    pub new: New,
}

/// What a trigger starts.
#[derive(Clone, Debug)]
pub enum New {
    /// A run with its jobs.
    Run(Box<NewRun>),
    /// A run over many targets.
    Fleet(Box<NewFleet>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It is done: these runs were started.
    Started(Vec<RunId>),
    /// It had been handled before; nothing was changed.
    Before,
    /// An automation is another one than the start was made of, or paused: look again. Nothing was changed.
    Changed,
}

/// A start whose run was checked as far as possible without the database.
struct Prepared {
    start: Start,
    turn: Option<Turn>,
    new: NewPrepared,
}

enum NewPrepared {
    Run(Box<create::Prepared>),
    Fleet(Box<fleets::create::Prepared>),
}

impl Store {
    /// Keeps what triggers made of an event, and starts what they start.
    ///
    /// # Errors
    /// As of [`Store::create_run`] and [`Store::event_handled`]; nothing is kept then.
    pub async fn handle_event(&self, handling: Handling, now: Time) -> Result<Handled, Error> {
        let Handling { organisation_id, event_id, outcome, firings, starts, ends } = handling;
        let prepare = |start: Start| {
            let by = start.by.clone();
            let (turn, new) = match start.new.clone() {
                New::Run(run) => {
                    (run.turn.clone(), NewPrepared::Run(Box::new(create::prepare(by, *run)?)))
                }
                New::Fleet(fleet) => {
                    (None, NewPrepared::Fleet(Box::new(fleets::create::prepare(by, *fleet)?)))
                }
            };
            Ok(Prepared { start, turn, new })
        };
        let starts = starts.into_iter().map(prepare).collect::<Result<Vec<_>, Error>>()?;
        let done = keep::Done { organisation_id, event_id, outcome, firings, now };
        self.command(move |tx| handle(tx, &done, &starts, ends.as_ref())).await
    }

    /// What a trigger did before, as far as it is committed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn past_of_trigger(
        &self,
        organisation_id: &OrganisationId,
        trigger: &str,
        rules: &Trigger,
        (same, about): (&str, &str),
    ) -> Result<Past, Error> {
        let mut past = Past::default();
        for look in looks(rules, same, about) {
            let mut values = vec![organisation_id.to_string().into(), trigger.to_owned().into()];
            values.extend(look.value.map(|value| value.to_owned().into()));
            look.note(self.query(&look.sql, values).await?, &mut past)?;
        }
        Ok(past)
    }
}

/// One look at the past.
struct Look<'a> {
    sql: String,
    value: Option<&'a str>,
    field: fn(&mut Past) -> &mut Option<Time>,
}

impl Look<'_> {
    fn note(&self, mut rows: Vec<Row>, past: &mut Past) -> Result<(), Error> {
        *(self.field)(past) = rows.first_mut().map(|row| row.time(0)).transpose()?;
        Ok(())
    }
}

/// What of the past matters for a trigger: nothing is read that its rules don't ask for.
fn looks<'a>(rules: &Trigger, same: &'a str, about: &'a str) -> Vec<Look<'a>> {
    let sql = |more: &str, skip: u32| {
        format!(
            "SELECT at FROM firings WHERE organisation_id = $1 AND trigger_key = $2 \
             AND run_id IS NOT NULL {more} ORDER BY number DESC LIMIT 1 OFFSET {skip}"
        )
    };
    let mut looks = vec![Look {
        sql: sql("AND same = $3", 0),
        value: Some(same),
        field: |past| &mut past.same_key,
    }];
    if rules.cooldown.as_micros() > 0 {
        let (sql, value) = (sql("AND about = $3", 0), Some(about));
        looks.push(Look { sql, value, field: |past| &mut past.same_subject });
    }
    if let Some(Rate { most, .. }) = rules.rate {
        let sql = sql("", most.saturating_sub(1));
        looks.push(Look { sql, value: None, field: |past| &mut past.rate_began });
    }
    looks
}

fn past(tx: &mut Tx<'_>, organisation_id: &OrganisationId, start: &Start) -> Result<Past, Error> {
    let mut past = Past::default();
    for look in looks(&start.rules, &start.same, &start.about) {
        let mut values = vec![organisation_id.as_str().into(), (&start.trigger).into()];
        values.extend(look.value.map(Into::into));
        look.note(tx.read(&look.sql, &values)?, &mut past)?;
    }
    Ok(past)
}

fn handle(
    tx: &mut Tx<'_>,
    done: &keep::Done,
    starts: &[Prepared],
    ends: Option<&RunId>,
) -> Result<Handled, Error> {
    let organisation_id = &done.organisation_id;
    if keep::is_handled(tx, organisation_id, &done.event_id)? {
        return Ok(Handled::Before);
    }
    for Prepared { start, .. } in starts {
        if !put::is_in_force(tx, organisation_id, &start.automation, start.version)? {
            return Ok(Handled::Changed);
        }
    }
    if let Some(run_id) = ends {
        turns::give_back(tx, run_id, done.now)?;
        stop_after_failures(tx, organisation_id, run_id, done.now)?;
    }
    let mut started = Vec::new();
    let mut firings: Vec<keep::Fired> = done.firings.iter().cloned().map(Into::into).collect();
    for prepared @ Prepared { start, new, .. } in starts {
        let fired = |outcome: &str, reason: String, run_id: Option<RunId>| keep::Fired {
            same: run_id.is_some().then(|| start.same.clone()),
            about: run_id.is_some().then(|| start.about.clone()),
            firing: Firing {
                automation: start.automation.clone(),
                trigger: start.trigger.clone(),
                run_id,
                outcome: outcome.to_owned(),
                reason,
            },
        };
        // Those that started just now in this transaction count as well: each is written at once.
        let past = past(tx, organisation_id, start)?;
        let fired = match why_not(tx, organisation_id, prepared, &past, done.now)? {
            Some((word, reason)) => fired(word, reason, None),
            None => {
                let made = match new {
                    NewPrepared::Run(run) => create::create(tx, run, done.now)?,
                    NewPrepared::Fleet(fleet) => fleets::create::create(tx, fleet, done.now)?,
                };
                let run_id = made.run_id;
                started.push(run_id.clone());
                fired("fired", String::new(), Some(run_id))
            }
        };
        match fired.firing.run_id {
            Some(_) => keep::fired(tx, organisation_id, &done.event_id, &fired, done.now)?,
            None => firings.push(fired),
        }
    }
    keep::mark(tx, done)?;
    for fired in &firings {
        keep::fired(tx, organisation_id, &done.event_id, fired, done.now)?;
    }
    Ok(Handled::Started(started))
}

fn why_not(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    Prepared { start, turn, .. }: &Prepared,
    past: &Past,
    now: Time,
) -> Result<Option<(&'static str, String)>, Error> {
    if let Err(why) = admits(&start.rules, past, now) {
        return Ok(Some((why.word(), WhyNot::to_string(&why))));
    }
    if let Some(turn) = turn
        && turn.when_busy == WhenBusy::Skip
        && let Some(other) = busy(tx, organisation_id, &start.automation, turn)?
    {
        return Ok(Some(("busy", format!("{other} is at the same"))));
    }
    Ok(None)
}

fn busy(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    automation: &str,
    turn: &Turn,
) -> Result<Option<RunId>, Error> {
    Ok(turns::busy(tx, organisation_id, automation, turn)?.into_iter().next())
}

/// Pauses an automation whose trigger has only started runs that failed, since it was last changed or
/// resumed.
fn stop_after_failures(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    run_id: &RunId,
    now: Time,
) -> Result<(), Error> {
    let sql = "SELECT automation, trigger_key FROM firings WHERE run_id = $1";
    let mut rows = tx.read(sql, &[run_id.as_str().into()])?;
    let Some(row) = rows.first_mut() else { return Ok(()) };
    let (automation, trigger) = (row.text(0)?, row.text(1)?);
    let sql = "SELECT changed_at FROM automations WHERE organisation_id = $1 AND name = $2 \
               AND removed_at IS NULL AND paused IS NULL";
    let mut rows = tx.read(sql, &[organisation_id.as_str().into(), (&automation).into()])?;
    let Some(row) = rows.first_mut() else { return Ok(()) };
    let since = row.time(0)?;
    let sql = "SELECT r.standing FROM firings f JOIN runs r ON r.id = f.run_id \
               WHERE f.organisation_id = $1 AND f.trigger_key = $2 AND f.run_id IS NOT NULL \
               AND f.at >= $3 ORDER BY f.number DESC LIMIT $4";
    let values = [
        organisation_id.as_str().into(),
        (&trigger).into(),
        since.into(),
        i64::try_from(LOOKED_AT).unwrap_or(i64::MAX).into(),
    ];
    let mut failures = 0;
    for mut row in tx.read_all(sql, &values)? {
        match row.text(0)?.as_str() {
            "failed" | "gave_up" => failures += 1,
            // What goes on yet says nothing, and what somebody stopped says nothing of it.
            "queued" | "running" | "cancelled" => {}
            _ => break,
        }
    }
    if failures < MOST_FAILURES {
        return Ok(());
    }
    let why = format!(
        "The last {failures} runs of its trigger {trigger} failed: see why, then \
         `windlass automation resume {automation}`."
    );
    put::pause(tx, &By::system("triggers"), organisation_id, &automation, Some(why.clone()), now)?;
    let text = format!("{automation} is paused. {why}");
    notices::raise(tx, organisation_id, PAUSED, &automation, &text, now).map(drop)
}
