//! Who does things. Every command has an actor, and an on-behalf-of where somebody acts for
//! somebody else (a runner for the person who started the task).

use serde::{Deserialize, Serialize};

use crate::{RunnerId, TokenId, UserId};

/// Who gave a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", content = "id", rename_all = "snake_case")]
pub enum Actor {
    /// A person.
    User(UserId),
    /// A program with a service token.
    Token(TokenId),
    /// A runner, acting within its lease.
    Runner(RunnerId),
    /// Windlass itself: a reconciler, named.
    System(String),
}

/// The actor of a command and whom it acts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct By {
    /// Who gave the command.
    pub actor: Actor,
    /// On whose behalf, where that is somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Actor>,
}

impl By {
    /// A command of somebody's own.
    pub fn own(actor: Actor) -> Self {
        Self { actor, on_behalf_of: None }
    }

    /// A command of one of Windlass's own reconcilers.
    pub fn system(name: &str) -> Self {
        Self::own(Actor::System(name.to_owned()))
    }
}
