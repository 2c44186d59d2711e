//! Opens and changes pull requests.

use std::sync::Arc;

use windlass_run::{OrganisationId, ProjectId, Time};

use crate::{
    Error,
    dialect::search,
    events::keep,
    fleets::follow,
    pulls::{Change, PullColumns},
    writer::tx::Tx,
};

/// Where, by whom and when.
pub(super) struct Place {
    pub who: Arc<str>,
    pub organisation_id: OrganisationId,
    pub project_id: ProjectId,
    pub now: Time,
}

pub(super) fn not_found(number: u64) -> Error {
    Error::NotFound { what: "pull request", id: format!("#{number}") }
}

/// Opens a pull request with the next number.
pub(super) fn open(
    tx: &mut Tx<'_>,
    place: &Place,
    make: &impl Fn(u64) -> Change,
) -> Result<u64, Error> {
    in_organisation(tx, place)?;
    let sql = "SELECT COALESCE(MAX(number), 0) FROM pulls WHERE project_id = $1";
    let mut rows = tx.read(sql, &[place.project_id.as_str().into()])?;
    let number = rows.first_mut().map_or(Ok(0), |row| row.natural(0))? + 1;
    let Change { columns, events, raise } = make(number);
    insert(tx, place, number, &columns, &events)?;
    keep::raise(tx, &place.organisation_id, &raise, place.now)?;
    Ok(number)
}

/// Takes in a pull request of another host under the number that it has there. One that is here
/// already stays as it is.
pub(super) fn adopt(
    tx: &mut Tx<'_>,
    place: &Place,
    number: u64,
    columns: &PullColumns,
    events: &[serde_json::Value],
) -> Result<(), Error> {
    in_organisation(tx, place)?;
    let sql = "SELECT 1 FROM pulls WHERE project_id = $1 AND number = $2";
    if !tx.read(sql, &[place.project_id.as_str().into(), number.into()])?.is_empty() {
        return Ok(());
    }
    insert(tx, place, number, columns, events)
}

fn in_organisation(tx: &mut Tx<'_>, place: &Place) -> Result<(), Error> {
    if tx.project(&place.project_id)?.as_ref() == Some(&place.organisation_id) {
        return Ok(());
    }
    Err(Error::NotFound { what: "project", id: place.project_id.to_string() })
}

fn insert(
    tx: &mut Tx<'_>,
    place: &Place,
    number: u64,
    columns: &PullColumns,
    events: &[serde_json::Value],
) -> Result<(), Error> {
    free(tx, place, number, columns)?;
    let row = tx.number();
    tx.write(
        "INSERT INTO pulls (project_id, number, organisation_id, place, title, state, review, \
         base, head, head_commit, opened_by, job_id, state_json, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        &[
            place.project_id.as_str().into(),
            number.into(),
            place.organisation_id.as_str().into(),
            row.into(),
            (&columns.title).into(),
            (&columns.state).into(),
            (&columns.review).into(),
            (&columns.base).into(),
            (&columns.head).into(),
            (&columns.head_commit).into(),
            crate::writer::tx::who(&columns.opened_by).to_string().into(),
            columns.job_id.as_ref().map(|job_id| job_id.as_str()).into(),
            columns.state_json.to_string().into(),
            (events.len() as u64).into(),
            place.now.into(),
            place.now.into(),
        ],
    )?;
    index(tx, row, &columns.title)?;
    append(tx, place, number, 0, events)?;
    tell(tx, place, number, "opened");
    Ok(())
}

/// Appends events and replaces the columns.
pub(super) fn change(
    tx: &mut Tx<'_>,
    place: &Place,
    (number, version): (u64, u64),
    Change { columns, events, raise }: &Change,
) -> Result<u64, Error> {
    let sql = "SELECT version, place, title FROM pulls WHERE project_id = $1 AND number = $2 \
               AND organisation_id = $3";
    let values =
        [place.project_id.as_str().into(), number.into(), place.organisation_id.as_str().into()];
    let mut rows = tx.read(sql, &values)?;
    let row = rows.first_mut().ok_or_else(|| not_found(number))?;
    let (found, row, title) = (row.natural(0)?, row.natural(1)?, row.text(2)?);
    if found != version {
        let why = format!("pull request #{number} has changed meanwhile: look at it again");
        return Err(Error::Conflict { why });
    }
    if columns.state == "open" {
        free(tx, place, number, columns)?;
    }
    let version = version + events.len() as u64;
    tx.write(
        "UPDATE pulls SET title = $1, state = $2, review = $3, base = $4, head = $5, \
         head_commit = $6, job_id = $7, state_json = $8, version = $9, updated_at = $10 \
         WHERE project_id = $11 AND number = $12",
        &[
            (&columns.title).into(),
            (&columns.state).into(),
            (&columns.review).into(),
            (&columns.base).into(),
            (&columns.head).into(),
            (&columns.head_commit).into(),
            columns.job_id.as_ref().map(|job_id| job_id.as_str()).into(),
            columns.state_json.to_string().into(),
            version.into(),
            place.now.into(),
            place.project_id.as_str().into(),
            number.into(),
        ],
    )?;
    if title != columns.title {
        tx.write(&search::remove("pulls_search"), &[row.into()])?;
        index(tx, row, &columns.title)?;
    }
    append(tx, place, number, found, events)?;
    follow::change_moved(tx, &place.project_id, number, columns, place.now)?;
    keep::raise(tx, &place.organisation_id, raise, place.now)?;
    tell(tx, place, number, &columns.state);
    Ok(version)
}

fn index(tx: &mut Tx<'_>, row: u64, title: &str) -> Result<(), Error> {
    let insert = search::insert(tx.dialect(), "pulls_search");
    let words = search::text(tx.dialect(), title);
    tx.write(&insert, &[row.into(), words.into()])
}

/// Refuses if another open pull request has the same head and base.
fn free(tx: &mut Tx<'_>, place: &Place, number: u64, columns: &PullColumns) -> Result<(), Error> {
    let sql = "SELECT number FROM pulls WHERE project_id = $1 AND head = $2 AND base = $3 \
               AND state = 'open' AND number <> $4";
    let values = [
        place.project_id.as_str().into(),
        (&columns.head).into(),
        (&columns.base).into(),
        number.into(),
    ];
    match tx.read(sql, &values)?.first_mut() {
        None => Ok(()),
        Some(row) => Err(Error::Conflict {
            why: format!(
                "pull request #{} for `{}` into `{}` is open already",
                row.natural(0)?,
                columns.head,
                columns.base
            ),
        }),
    }
}

fn append(
    tx: &mut Tx<'_>,
    place: &Place,
    number: u64,
    after: u64,
    events: &[serde_json::Value],
) -> Result<(), Error> {
    for (seq, event) in (after + 1..).zip(events) {
        tx.write(
            "INSERT INTO pull_events (project_id, number, seq, at, who, event) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                place.project_id.as_str().into(),
                number.into(),
                seq.into(),
                place.now.into(),
                (&*place.who).into(),
                event.to_string().into(),
            ],
        )?;
    }
    Ok(())
}

fn tell(tx: &mut Tx<'_>, place: &Place, number: u64, what: &str) {
    let id = format!("{}/{number}", place.project_id);
    tx.audit(
        &place.who,
        &place.organisation_id,
        "pull_request.change",
        id.clone(),
        "{}",
        place.now,
    );
    tx.tell(&place.organisation_id, "pull_request", id, what, place.now);
}
