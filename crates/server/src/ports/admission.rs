//! Who is let in to a port, asked at each request and again for as long as what they opened is open. What can't
//! be found out is a no, and a no doesn't say whether there is anything to be let in to.

use windlass_policy::permission::Action;
use windlass_run::environment::{Admission, Phase, Published};
use windlass_store::environments::EnvironmentRow;

use super::{address::Address, pass::Pass};
use crate::{
    auth::{Credential, Principal},
    problem::{Code, Problem},
    state::AppState,
    views,
};

/// A port that somebody was let in to, as it was at that moment.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) address: Address,
    pub(crate) row: EnvironmentRow,
    pub(crate) published: Published,
    /// Absent: nobody asked who it is.
    pub(crate) visitor: Option<Principal>,
}

impl Entry {
    /// The pass of whoever was let in, where they are somebody.
    pub(super) fn pass(&self) -> Option<Pass> {
        self.visitor.as_ref().map(|visitor| Pass {
            credential: visitor.credential.clone(),
            opening: self.published.opening,
            generation: self.row.state.generation,
        })
    }

    /// Whether they would be let in now, to the same opening of the port in the same run of the environment.
    pub(super) async fn still_holds(&self, app: &AppState) -> bool {
        let visitor = match &self.visitor {
            Some(visitor) => match app.behind(&visitor.credential).await {
                Ok(visitor) => Some(visitor),
                Err(_) => return false,
            },
            None => None,
        };
        let Ok(Some(now)) = find(app, &self.address, visitor).await else { return false };
        is_same(&now, self.published.opening, self.row.state.generation) && now.is_running()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.row.state.phase == Phase::Running
    }
}

/// Whether a port is as it was.
pub(super) fn is_same(entry: &Entry, opening: u64, generation: u64) -> bool {
    entry.published.opening == opening && entry.row.state.generation == generation
}

/// The port, if it is published and this visitor is let in to it.
///
/// # Errors
/// The store's failures.
pub(crate) async fn find(
    app: &AppState,
    address: &Address,
    visitor: Option<Principal>,
) -> Result<Option<Entry>, Problem> {
    let Some(row) = row(app, address).await? else { return Ok(None) };
    let Some(published) = row.state.published(address.port).cloned() else { return Ok(None) };
    if !app.ports().allows(published.admission) || row.state.phase == Phase::Deleted {
        return Ok(None);
    }
    let is_let_in = match (published.admission, &visitor) {
        (Admission::Public, _) => true,
        (Admission::Organisation | Admission::Owner, None) => false,
        (Admission::Organisation, Some(visitor)) => {
            visitor.organisation_id == row.organisation_id && visitor.may(Action::View)
        }
        (Admission::Owner, Some(visitor)) => {
            let id = row.id.as_str();
            visitor.organisation_id == row.organisation_id
                && views::environments::find_to_use(app, visitor, id).await.is_ok()
        }
    };
    let entry = Entry { address: address.clone(), row, published, visitor };
    Ok(is_let_in.then_some(entry))
}

/// The environment of an address, if there is one.
pub(crate) async fn row(
    app: &AppState,
    address: &Address,
) -> Result<Option<EnvironmentRow>, Problem> {
    match app.store().environment(app.organisation_id(), &address.environment_id).await {
        Ok(row) => Ok(Some(row)),
        Err(windlass_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What nobody learns anything from.
pub(crate) fn nothing_here() -> Problem {
    let why = "nothing is published at this address, or not for you";
    Problem::new(Code::NotFound, why)
}

/// A name for whoever comes, by which what they opened is told from what others did.
pub(super) fn key(entry: &Entry) -> String {
    let who = match entry.visitor.as_ref().map(|visitor| &visitor.credential) {
        None => "anybody".to_owned(),
        Some(Credential::Earlier) => "nobody now".to_owned(),
        Some(Credential::Key(id)) => format!("key {id}"),
        Some(Credential::Token(hash)) => format!("token {}", crate::secret::hex(&hash.0)),
        Some(Credential::Session(hash)) => format!("session {}", crate::secret::hex(&hash.0)),
    };
    let (opening, generation) = (entry.published.opening, entry.row.state.generation);
    format!("{} {opening} {generation} {who}", entry.address.label())
}
