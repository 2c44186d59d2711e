//! When schedules fired last. A fire is an event, kept in the transaction that says that it was: so a crash
//! leaves out none and doubles none. When a schedule fires is not known here.

use windlass_run::{OrganisationId, Time, event::Event};

use crate::{Error, Store, events::keep, writer::tx::Tx};

/// What came due of one schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct Fired {
    /// The key of its trigger.
    pub trigger: String,
    /// Up to which fire everything is handled then.
    pub handled: Time,
    /// An event for each fire that starts something.
    pub events: Vec<Event>,
}

impl Store {
    /// Up to which fire everything is handled, for each schedule that is watched, by the key of its trigger.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn schedules(
        &self,
        organisation_id: &OrganisationId,
    ) -> Result<Vec<(String, Time)>, Error> {
        let sql = "SELECT trigger_key, handled FROM schedules WHERE organisation_id = $1 \
                   ORDER BY trigger_key";
        let rows = self.query(sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(|mut row| Ok((row.text(0)?, row.time(1)?))).collect()
    }

    /// Watches schedules, each from a moment on, and forgets others. One that is watched already stays as it is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn watch_schedules(
        &self,
        organisation_id: OrganisationId,
        watch: Vec<(String, Time)>,
        forget: Vec<String>,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            let organisation_id = organisation_id.as_str();
            for trigger in &forget {
                let sql = "DELETE FROM schedules WHERE organisation_id = $1 AND trigger_key = $2";
                tx.write(sql, &[organisation_id.into(), trigger.into()])?;
            }
            for (trigger, from) in &watch {
                tx.write(
                    "INSERT INTO schedules (organisation_id, trigger_key, handled) \
                     VALUES ($1, $2, $3) ON CONFLICT (organisation_id, trigger_key) DO NOTHING",
                    &[organisation_id.into(), trigger.into(), (*from).into()],
                )?;
            }
            Ok(())
        })
        .await
    }

    /// Keeps the events of fires, and that they were handled, at once. Nothing happens for a schedule that
    /// is not watched any more, or further on already.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an event that can't be kept, and nothing is changed then.
    pub async fn schedules_fired(
        &self,
        organisation_id: OrganisationId,
        fired: Vec<Fired>,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            fired.iter().try_for_each(|fired| fire(tx, &organisation_id, fired, now))
        })
        .await
    }
}

fn fire(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    fired: &Fired,
    now: Time,
) -> Result<(), Error> {
    let key = [organisation_id.as_str().into(), (&fired.trigger).into()];
    let sql = "SELECT handled FROM schedules WHERE organisation_id = $1 AND trigger_key = $2";
    let mut rows = tx.read(sql, &key)?;
    let Some(row) = rows.first_mut() else { return Ok(()) };
    if row.time(0)? >= fired.handled {
        return Ok(());
    }
    keep::raise(tx, organisation_id, &fired.events, now)?;
    tx.write(
        "UPDATE schedules SET handled = $1 WHERE organisation_id = $2 AND trigger_key = $3",
        &[fired.handled.into(), organisation_id.as_str().into(), (&fired.trigger).into()],
    )
}
