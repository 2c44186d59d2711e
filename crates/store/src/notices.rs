//! Notices: what is not well and needs somebody, one for each thing at a time. A notice is raised once and
//! stays until what it is about is well again. Nothing here judges; the words are the caller's.

use windlass_run::{OrganisationId, Time};

use crate::{Error, Store, database::Row, writer::tx::Tx};

/// The longest text of a notice, in bytes. What is longer is cut.
const LONGEST: usize = 2_000;

const COLUMNS: &str = "kind, subject, text, since, resolved_at";

/// Something that is not well, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What sort of thing, one word.
    pub kind: String,
    /// What it is about. There is one notice at most for a kind and a subject.
    pub subject: String,
    /// What is wrong and what to do, for a person.
    pub text: String,
    /// When it began.
    pub since: Time,
    /// When it was well again; absent while it is not.
    pub resolved_at: Option<Time>,
}

impl Store {
    /// Says that something is not well. False if that was known: then only the text is brought up to date.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a text which no database takes.
    pub async fn raise_notice(
        &self,
        organisation_id: OrganisationId,
        kind: &'static str,
        subject: String,
        text: String,
        now: Time,
    ) -> Result<bool, Error> {
        self.command(move |tx| raise(tx, &organisation_id, kind, &subject, &text, now)).await
    }

    /// Says that something is well again. False if nobody had said otherwise.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn resolve_notice(
        &self,
        organisation_id: OrganisationId,
        kind: &'static str,
        subject: String,
        now: Time,
    ) -> Result<bool, Error> {
        self.command(move |tx| resolve(tx, &organisation_id, kind, &subject, now)).await
    }

    /// Notices, the newest first: those that stand, or all. At most `limit`, up to 1,000.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Database`].
    pub async fn notices(
        &self,
        organisation_id: &OrganisationId,
        only_open: bool,
        limit: u32,
    ) -> Result<Vec<Notice>, Error> {
        let open = if only_open { "AND resolved_at IS NULL" } else { "" };
        let sql = format!(
            "SELECT {COLUMNS} FROM notices WHERE organisation_id = $1 {open} \
             ORDER BY since DESC, kind, subject LIMIT $2"
        );
        let values = vec![organisation_id.to_string().into(), limit.clamp(1, 1_000).into()];
        self.query(&sql, values).await?.into_iter().map(notice).collect()
    }
}

/// Says that something is not well, in the transaction that makes it so.
pub(crate) fn raise(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    kind: &'static str,
    subject: &str,
    text: &str,
    now: Time,
) -> Result<bool, Error> {
    let text = &text[..text.floor_char_boundary(LONGEST)];
    let stands = stands(tx, organisation_id, kind, subject)?;
    if stands.as_deref() == Some(text) {
        return Ok(false);
    }
    tx.write(
        "INSERT INTO notices (organisation_id, kind, subject, text, since) \
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (organisation_id, kind, subject) DO UPDATE SET \
         text = excluded.text, resolved_at = NULL, since = CASE WHEN notices.resolved_at IS NULL \
         THEN notices.since ELSE excluded.since END",
        &[organisation_id.as_str().into(), kind.into(), subject.into(), text.into(), now.into()],
    )?;
    if stands.is_none() {
        tx.tell(organisation_id, "notice", format!("{kind}/{subject}"), "raised", now);
    }
    Ok(stands.is_none())
}

/// Says that something is well again, in the transaction that makes it so.
pub(crate) fn resolve(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    kind: &'static str,
    subject: &str,
    now: Time,
) -> Result<bool, Error> {
    if stands(tx, organisation_id, kind, subject)?.is_none() {
        return Ok(false);
    }
    tx.write(
        "UPDATE notices SET resolved_at = $1 \
         WHERE organisation_id = $2 AND kind = $3 AND subject = $4",
        &[now.into(), organisation_id.as_str().into(), kind.into(), subject.into()],
    )?;
    tx.tell(organisation_id, "notice", format!("{kind}/{subject}"), "resolved", now);
    Ok(true)
}

/// The text of a notice that stands.
fn stands(
    tx: &mut Tx<'_>,
    organisation_id: &OrganisationId,
    kind: &'static str,
    subject: &str,
) -> Result<Option<String>, Error> {
    let sql = "SELECT text FROM notices WHERE organisation_id = $1 AND kind = $2 AND subject = $3 \
               AND resolved_at IS NULL";
    let key = [organisation_id.as_str().into(), kind.into(), subject.into()];
    tx.read(sql, &key)?.first_mut().map(|row| row.text(0)).transpose()
}

fn notice(mut row: Row) -> Result<Notice, Error> {
    Ok(Notice {
        kind: row.text(0)?,
        subject: row.text(1)?,
        text: row.text(2)?,
        since: row.time(3)?,
        resolved_at: row.maybe_time(4)?,
    })
}
