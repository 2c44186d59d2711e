//! What can be seen: queries over the store that give the API's types. Each one takes who asks, and
//! never shows what belongs to another organisation. Nothing here changes anything.

pub mod accounts;
pub mod automation;
pub mod automations;
pub mod classes;
pub mod environments;
pub mod events;
pub mod feed;
pub mod files;
pub mod fleets;
pub mod hooks;
pub mod jobs;
pub mod notices;
pub mod ports;
pub mod projects;
pub mod pull_requests;
pub mod readiness;
pub mod rehearsals;
pub mod runners;
pub mod runs;
pub mod search;
pub mod secrets;
pub mod streams;

use windlass_run::{Time, job::Outcome};
use windlass_store::runs::Standing;

use crate::problem::{Code, Problem};

/// How many entries a page of a list has if nobody says.
const PAGE: u32 = 50;

/// How many entries a page of a list may have.
const PAGE_MAX: u32 = 200;

/// The size of a page, as asked for or by default.
fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    match limit {
        None => Ok(PAGE),
        Some(limit @ 1..=PAGE_MAX) => Ok(limit),
        Some(_) => Err(Problem::new(Code::BadRequest, "a page has 1 to 200 entries").at("limit")),
    }
}

/// The place that a cursor of a list newest first stands for.
fn cursor_number(cursor: Option<&str>) -> Result<Option<u64>, Problem> {
    cursor.map(|text| text.parse().map_err(|_| bad_cursor())).transpose()
}

fn bad_cursor() -> Problem {
    Problem::new(Code::BadRequest, "hand back `next` of the page before as it was given")
        .at("cursor")
}

/// A standing as the API spells it.
pub(crate) fn standing_name(standing: Standing) -> &'static str {
    match standing {
        Standing::Queued => "queued",
        Standing::Running => "running",
        Standing::Ended(outcome) => outcome_name(outcome),
    }
}

/// An outcome as the API spells it.
pub(crate) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::GaveUp => "gave_up",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Skipped => "skipped",
    }
}

/// The standing that the API spells so.
fn standing_named(name: &str) -> Result<Standing, Problem> {
    let standing = match name {
        "queued" => Standing::Queued,
        "running" => Standing::Running,
        "succeeded" => Standing::Ended(Outcome::Succeeded),
        "gave_up" => Standing::Ended(Outcome::GaveUp),
        "failed" => Standing::Ended(Outcome::Failed),
        "cancelled" => Standing::Ended(Outcome::Cancelled),
        "skipped" => Standing::Ended(Outcome::Skipped),
        _ => {
            return Err(Problem::new(
                Code::BadRequest,
                "a state is one of queued, running, succeeded, gave_up, failed, cancelled, skipped",
            )
            .at("state"));
        }
    };
    Ok(standing)
}

fn micros(time: Option<Time>) -> Option<i64> {
    time.map(Time::as_micros)
}
