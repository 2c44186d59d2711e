//! Public keys by which people sign in over SSH.

use windlass_run::{
    OrganisationId, Time,
    actor::{Actor, By},
};

use crate::{
    Error, Store,
    database::Row,
    writer::tx::{Tx, who},
};

const COLUMNS: &str = "id, organisation_id, owner, name, public_key, created_at";
/// How many keys one owner may have.
const MOST: usize = 100;

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Made from the key itself: the same key has the same id, whoever brings it.
    pub id: String,
    /// Its organisation.
    pub organisation_id: OrganisationId,
    /// Whose it is: whoever shows that they have it is this user or token.
    pub owner: Actor,
    /// What its owner calls it.
    pub name: String,
    /// The key as OpenSSH writes it.
    pub public_key: String,
    /// When it was added.
    pub created_at: Time,
}

impl Store {
    /// Adds a key.
    ///
    /// # Errors
    /// [`Error::Conflict`] if somebody has it already; [`Error::Invalid`] if the owner has too many.
    pub async fn add_key(&self, by: By, key: Key) -> Result<(), Error> {
        self.command(move |tx| add(tx, &by, &key)).await
    }

    /// The keys of one owner, the oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn keys(
        &self,
        organisation_id: &OrganisationId,
        owner: &Actor,
    ) -> Result<Vec<Key>, Error> {
        let sql = format!(
            "SELECT {COLUMNS} FROM ssh_keys WHERE organisation_id = $1 AND owner = $2 \
             ORDER BY created_at, id"
        );
        let values = vec![organisation_id.to_string().into(), text(owner)?.into()];
        self.query(&sql, values).await?.into_iter().map(key).collect()
    }

    /// A key by its id.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn key(
        &self,
        organisation_id: &OrganisationId,
        id: &str,
    ) -> Result<Option<Key>, Error> {
        let sql = format!("SELECT {COLUMNS} FROM ssh_keys WHERE id = $1 AND organisation_id = $2");
        let values = vec![id.to_owned().into(), organisation_id.to_string().into()];
        self.query(&sql, values).await?.into_iter().next().map(key).transpose()
    }

    /// Removes a key of this owner's.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn remove_key(
        &self,
        by: By,
        organisation_id: OrganisationId,
        owner: Actor,
        id: String,
        now: Time,
    ) -> Result<(), Error> {
        self.command(move |tx| {
            let found = find(tx, &id)?
                .filter(|key| key.organisation_id == organisation_id && key.owner == owner);
            if found.is_none() {
                return Err(Error::NotFound { what: "key", id: id.clone() });
            }
            tx.write("DELETE FROM ssh_keys WHERE id = $1", &[id.as_str().into()])?;
            tx.audit(&who(&by), &organisation_id, "key.remove", id.as_str(), "{}", now);
            Ok(())
        })
        .await
    }
}

fn add(tx: &mut Tx<'_>, by: &By, new: &Key) -> Result<(), Error> {
    if find(tx, &new.id)?.is_some() {
        return Err(Error::Conflict { why: "the key is somebody's already".to_owned() });
    }
    let owner = text(&new.owner)?;
    let sql = "SELECT id FROM ssh_keys WHERE organisation_id = $1 AND owner = $2";
    let has = tx.read(sql, &[new.organisation_id.as_str().into(), owner.as_str().into()])?.len();
    if has >= MOST {
        return Err(Error::Invalid { why: format!("nobody has more than {MOST} keys") });
    }
    tx.write(
        "INSERT INTO ssh_keys (id, organisation_id, owner, name, public_key, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            new.id.as_str().into(),
            new.organisation_id.as_str().into(),
            owner.as_str().into(),
            new.name.as_str().into(),
            new.public_key.as_str().into(),
            new.created_at.into(),
        ],
    )?;
    let detail = serde_json::json!({ "name": new.name }).to_string();
    let who = who(by);
    tx.audit(&who, &new.organisation_id, "key.add", new.id.as_str(), detail, new.created_at);
    Ok(())
}

fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<Key>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM ssh_keys WHERE id = $1");
    tx.read(&sql, &[id.into()])?.into_iter().next().map(key).transpose()
}

fn key(mut row: Row) -> Result<Key, Error> {
    Ok(Key {
        id: row.text(0)?,
        organisation_id: row.parsed(1)?,
        owner: row.json(2)?,
        name: row.text(3)?,
        public_key: row.text(4)?,
        created_at: row.time(5)?,
    })
}

fn text(owner: &Actor) -> Result<String, Error> {
    serde_json::to_string(owner).map_err(|error| Error::Invalid { why: error.to_string() })
}
