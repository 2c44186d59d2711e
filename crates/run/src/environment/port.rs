//! Ports of an environment that are published: which, for whom, and since which opening. How they are
//! reached is not known here.

use serde::{Deserialize, Serialize};

use super::{Event, Phase, Refusal, State};

/// The most ports that one environment publishes.
pub const MOST_PORTS: usize = 32;
/// The most characters of a port's name.
pub const LONGEST_PORT_NAME: usize = 64;

/// Who is let in to a published port. Each admits whoever the one before it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Whoever may use the environment.
    Owner,
    /// Whoever is signed in and may see things of the organisation.
    Organisation,
    /// Anybody who knows the address.
    Public,
}

impl Admission {
    /// All of them, the narrowest first.
    pub const ALL: [Self; 3] = [Self::Owner, Self::Organisation, Self::Public];

    /// The word that the API, the pages and the command line use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Organisation => "organisation",
            Self::Public => "public",
        }
    }

    /// The admission of this word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|admission| admission.name() == name)
    }
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The port on the environment's own loopback.
    pub port: u16,
    /// What people call it.
    pub name: Option<String>,
    /// Who is let in.
    pub admission: Admission,
    /// Which opening of a port of this environment it is, counted from 1. Another admission is another
    /// opening, and whatever was handed out for an earlier one is void.
    pub opening: u64,
}

impl State {
    /// The published port of this number, if it is.
    pub fn published(&self, port: u16) -> Option<&Published> {
        self.ports.iter().find(|published| published.port == port)
    }
}

/// Publishes a port, or changes how it is.
pub(super) fn publish(
    state: &State,
    port: u16,
    name: Option<&str>,
    admission: Admission,
) -> Result<Vec<Event>, Refusal> {
    let illegal = |why: String| Err(Refusal::Illegal { why });
    if matches!(state.phase, Phase::Deleting | Phase::Deleted) {
        return illegal("the environment is deleted: nothing of it can be published".to_owned());
    }
    if port == 0 {
        return illegal("a port is a number from 1 to 65535".to_owned());
    }
    let is_name = |name: &str| {
        (1..=LONGEST_PORT_NAME).contains(&name.chars().count())
            && name.trim() == name
            && !name.chars().any(char::is_control)
    };
    if !name.is_none_or(is_name) {
        return illegal(format!(
            "a port's name has 1 to {LONGEST_PORT_NAME} characters, none of them a control character, and no \
             space around it"
        ));
    }
    let before = state.published(port);
    if before.is_none() && state.ports.len() >= MOST_PORTS {
        return illegal(format!(
            "{MOST_PORTS} ports of the environment are published, and more can't be: close one first"
        ));
    }
    let opening = match before {
        Some(before) if before.admission == admission => before.opening,
        Some(_) | None => state.openings + 1,
    };
    let published = Published { port, name: name.map(str::to_owned), admission, opening };
    if before == Some(&published) {
        return Ok(vec![]);
    }
    Ok(vec![Event::Published(published)])
}

/// Closes a port. One that is closed is left alone, and so is what is gone for good.
pub(super) fn unpublish(state: &State, port: u16) -> Vec<Event> {
    let is_there = state.phase != Phase::Deleted;
    state
        .published(port)
        .filter(|_| is_there)
        .map(|_| Event::Unpublished { port })
        .into_iter()
        .collect()
}

impl State {
    pub(super) fn opened(&mut self, published: &Published) {
        self.closed(published.port);
        self.openings = self.openings.max(published.opening);
        self.ports.push(published.clone());
        self.ports.sort_by_key(|published| published.port);
    }

    pub(super) fn closed(&mut self, port: u16) {
        self.ports.retain(|published| published.port != port);
    }
}
