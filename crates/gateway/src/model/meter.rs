//! Tokens granted and spent. A call is reserved before it is sent and settled after it ended; without
//! a grant that covers it, it is not sent.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;

use super::{route::Wire, tally::Usage};

/// A call that is about to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Unique among all calls of all doors.
    pub id: String,
    /// The format of the call.
    pub wire: Wire,
    /// The model asked for, as the client wrote it.
    pub model: String,
    /// About how many tokens the prompt has: a third of its bytes.
    pub input_tokens: u64,
    /// The most tokens that the answer may have, by the call's own limit or the door's default.
    pub output_tokens: u64,
}

impl Call {
    /// What the call may cost at most, as far as can be told beforehand.
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

/// Why a call is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Spent {
    /// One sentence for a person: what is used up and who can give more.
    pub why: String,
}

/// Grants and counts tokens. Implemented over the server's ledger by the runner.
pub trait Meter: Send + Sync {
    /// Sets aside what the call may cost, or refuses it. A second reservation with the same id
    /// replaces the first.
    fn reserve<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), Spent>>;

    /// Gives the reservation back and books what was used. Idempotent by call id.
    fn settle(&self, call_id: &str, usage: Usage);
}

/// Grants everything and counts nothing, for a door over a session file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unmetered;

impl Meter for Unmetered {
    fn reserve<'a>(&'a self, _: &'a Call) -> BoxFuture<'a, Result<(), Spent>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn settle(&self, _: &str, _: Usage) {}
}

/// A number of tokens in memory, for one job.
#[derive(Debug)]
pub struct Allotment {
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    granted: u64,
    used: Usage,
    reserved: HashMap<String, u64>,
    settled: HashSet<String>,
}

impl Ledger {
    fn remaining(&self) -> u64 {
        let reserved = self.reserved.values().fold(0u64, |sum, tokens| sum.saturating_add(*tokens));
        self.granted.saturating_sub(self.used.total()).saturating_sub(reserved)
    }
}

impl Allotment {
    /// An allotment of so many tokens, sent and received together.
    pub fn new(tokens: u64) -> Self {
        Self { ledger: Mutex::new(Ledger { granted: tokens, ..Ledger::default() }) }
    }

    /// Adds tokens.
    pub fn grant(&self, tokens: u64) {
        let mut ledger = self.ledger();
        ledger.granted = ledger.granted.saturating_add(tokens);
    }

    /// Tokens neither used nor reserved.
    pub fn remaining(&self) -> u64 {
        self.ledger().remaining()
    }

    /// What was used so far.
    pub fn used(&self) -> Usage {
        self.ledger().used
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No code that holds the lock can panic half-way through a change.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Meter for Allotment {
    fn reserve<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<(), Spent>> {
        let mut ledger = self.ledger();
        ledger.reserved.remove(&call.id);
        let remaining = ledger.remaining();
        let answer = if call.tokens() <= remaining {
            ledger.reserved.insert(call.id.clone(), call.tokens());
            Ok(())
        } else {
            let why = format!(
                "the job's token budget does not cover this call: it may take {} tokens (about {} for the prompt \
                 and up to {} for the answer) and {remaining} of {} are left; raise `limits.tokens`, or have the \
                 agent ask for shorter answers",
                call.tokens(),
                call.input_tokens,
                call.output_tokens,
                ledger.granted,
            );
            Err(Spent { why })
        };
        Box::pin(std::future::ready(answer))
    }

    fn settle(&self, call_id: &str, usage: Usage) {
        let mut ledger = self.ledger();
        ledger.reserved.remove(call_id);
        if ledger.settled.insert(call_id.to_owned()) {
            ledger.used = ledger.used + usage;
        }
    }
}
