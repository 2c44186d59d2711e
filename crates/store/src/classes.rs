//! Environment classes of an organisation. What was made with one keeps it as it was then, so nothing
//! here reaches what is there already.

use windlass_run::{
    Class, OrganisationId, Time,
    actor::By,
    class::{DEFAULT, MOST},
};

use crate::{
    Error, Store,
    database::Row,
    writer::tx::{Tx, who},
};

impl Store {
    /// The classes that somebody made or changed, by name.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn classes(&self, organisation_id: &OrganisationId) -> Result<Vec<Class>, Error> {
        let sql = "SELECT class FROM environment_classes WHERE organisation_id = $1 ORDER BY name";
        let rows = self.query(sql, vec![organisation_id.to_string().into()]).await?;
        rows.into_iter().map(class).collect()
    }

    /// Makes a class.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the name is taken; [`Error::Invalid`] if it can't be or there are too many.
    pub async fn create_class(
        &self,
        by: By,
        organisation_id: OrganisationId,
        class: Class,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            let names = names(tx, &organisation_id)?;
            if class.name == DEFAULT || names.contains(&class.name) {
                let why = format!("there is a class `{}` already", class.name);
                return Err(Error::Conflict { why });
            }
            if names.len() >= MOST {
                let why = format!("an organisation has at most {MOST} classes: remove one first");
                return Err(Error::Invalid { why });
            }
            put(tx, &by, &organisation_id, &class, "class.create", now)
        })
        .await
    }

    /// Changes a class. [`DEFAULT`] is always there to be changed.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] if it can't be.
    pub async fn change_class(
        &self,
        by: By,
        organisation_id: OrganisationId,
        class: Class,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            if class.name != DEFAULT && !names(tx, &organisation_id)?.contains(&class.name) {
                return Err(Error::NotFound { what: "class", id: class.name.clone() });
            }
            put(tx, &by, &organisation_id, &class, "class.change", now)
        })
        .await
    }

    /// Removes a class; [`DEFAULT`] becomes what it was before anybody changed it.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove_class(
        &self,
        by: By,
        organisation_id: OrganisationId,
        name: String,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            if !names(tx, &organisation_id)?.contains(&name) {
                return Err(Error::NotFound { what: "class", id: name.clone() });
            }
            let sql = "DELETE FROM environment_classes WHERE organisation_id = $1 AND name = $2";
            tx.write(sql, &[organisation_id.as_str().into(), name.as_str().into()])?;
            tx.tell(&organisation_id, "class", name.clone(), "removed", now);
            tx.audit(&who(&by), &organisation_id, "class.remove", name.as_str(), "{}", now);
            Ok(())
        })
        .await
    }
}

fn class(mut row: Row) -> Result<Class, Error> {
    row.json(0)
}

fn names(tx: &mut Tx<'_>, organisation_id: &OrganisationId) -> Result<Vec<String>, Error> {
    let sql = "SELECT name FROM environment_classes WHERE organisation_id = $1";
    let rows = tx.read(sql, &[organisation_id.as_str().into()])?;
    rows.into_iter().map(|mut row| row.text(0)).collect()
}

fn put(
    tx: &mut Tx<'_>,
    by: &By,
    organisation_id: &OrganisationId,
    class: &Class,
    command: &'static str,
    now: Time,
) -> Result<(), Error> {
    class.check().map_err(|invalid| Error::Invalid { why: invalid.to_string() })?;
    let text =
        serde_json::to_string(class).map_err(|error| Error::Invalid { why: error.to_string() })?;
    tx.write(
        "INSERT INTO environment_classes (organisation_id, name, class, changed_at) \
         VALUES ($1, $2, $3, $4) ON CONFLICT (organisation_id, name) DO UPDATE SET \
         class = excluded.class, changed_at = excluded.changed_at",
        &[
            organisation_id.as_str().into(),
            class.name.as_str().into(),
            text.as_str().into(),
            now.into(),
        ],
    )?;
    tx.tell(organisation_id, "class", class.name.clone(), "changed", now);
    tx.audit(&who(by), organisation_id, command, class.name.as_str(), text, now);
    Ok(())
}
