//! The loop of an agent step as a state machine: prompt, the agent ends its turn, the `verify:`
//! commands run, feedback goes back, until they pass or no attempt is left. Pure: it decides what
//! comes next and does nothing itself.

use windlass_wire::session::GiveUp;

use super::{Verified, VerifyResult};
use crate::prompt;

/// Where the loop stands.
#[derive(Clone, Debug)]
pub struct Turns {
    attempts: u32,
    turn: u32,
}

/// How one turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnEnd {
    /// ACP's stop reason.
    pub stop_reason: String,
    /// The give-up report of this turn, if there was one.
    pub gave_up: Option<GiveUp>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Run the `verify:` commands, then call [`Turns::verified`].
    Verify,
    /// Send this prompt as the next turn, then call [`Turns::ended`].
    Prompt(String),
    /// The loop is over.
    Done(Verified),
}

impl Turns {
    /// A loop of at most `attempts` turns (0 counts as 1), whose first turn is under way.
    pub fn new(attempts: u32) -> Self {
        Self { attempts: attempts.max(1), turn: 1 }
    }

    /// The turn that is under way or ended last, from 1.
    pub fn turn(&self) -> u32 {
        self.turn
    }

    /// The agent ended its turn. An agent that gave up is not asked again: its report is worth more
    /// than a second refusal. One that was cut off (`max_tokens`, `max_turn_requests`) is verified
    /// like any other, since what counts is the work tree.
    pub fn ended(&self, end: &TurnEnd) -> Next {
        let stopped_for_good = matches!(end.stop_reason.as_str(), "cancelled" | "refusal");
        if end.gave_up.is_some() || stopped_for_good {
            return Next::Done(Verified::NotAsked);
        }
        Next::Verify
    }

    /// The `verify:` commands ran after the last turn.
    pub fn verified(&mut self, results: Vec<VerifyResult>) -> Next {
        if results.is_empty() {
            return Next::Done(Verified::NotAsked);
        }
        if results.iter().all(VerifyResult::passed) {
            return Next::Done(Verified::Passed);
        }
        if self.turn >= self.attempts {
            return Next::Done(Verified::Failed(results));
        }
        self.turn += 1;
        Next::Prompt(prompt::verify_feedback(&results, self.turn, self.attempts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(stop_reason: &str) -> TurnEnd {
        TurnEnd { stop_reason: stop_reason.to_owned(), gave_up: None }
    }

    fn result(exit_code: Option<i32>) -> VerifyResult {
        VerifyResult { command: "make test".to_owned(), exit_code, output: "boom".to_owned() }
    }

    #[test]
    fn red_verifiers_go_back_until_no_attempt_is_left() {
        let mut turns = Turns::new(2);
        assert_eq!(turns.ended(&end("end_turn")), Next::Verify);
        let Next::Prompt(feedback) = turns.verified(vec![result(Some(1))]) else {
            panic!("expected a second turn");
        };
        assert!(feedback.contains("make test") && feedback.contains("boom"), "{feedback}");
        assert_eq!(turns.turn(), 2);
        assert_eq!(turns.ended(&end("end_turn")), Next::Verify);
        assert_eq!(
            turns.verified(vec![result(None)]),
            Next::Done(Verified::Failed(vec![result(None)]))
        );
    }

    #[test]
    fn green_verifiers_end_the_loop() {
        assert_eq!(Turns::new(3).verified(vec![result(Some(0))]), Next::Done(Verified::Passed));
        assert_eq!(Turns::new(3).verified(vec![]), Next::Done(Verified::NotAsked));
    }

    #[test]
    fn a_turn_that_was_cut_off_is_still_verified() {
        assert_eq!(Turns::new(1).ended(&end("max_tokens")), Next::Verify);
        assert_eq!(Turns::new(1).ended(&end("max_turn_requests")), Next::Verify);
    }

    #[test]
    fn an_agent_that_gave_up_or_refused_is_not_asked_again() {
        let gave_up = Some(GiveUp {
            tried: vec![],
            stopped_because: "no network".to_owned(),
            would_unblock: String::new(),
        });
        let done = Next::Done(Verified::NotAsked);
        assert_eq!(
            Turns::new(3).ended(&TurnEnd { stop_reason: "end_turn".to_owned(), gave_up }),
            done
        );
        assert_eq!(Turns::new(3).ended(&end("refusal")), done);
        assert_eq!(Turns::new(3).ended(&end("cancelled")), done);
    }
}
