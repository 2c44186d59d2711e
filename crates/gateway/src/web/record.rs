//! What is known of one request through the web door. A record is sent exactly once, when the
//! request is over, however it ends.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use http::Method;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use windlass_policy::network::{Decision, Effect, Layer};

use crate::door::Sink;

/// One request through the web door. Holds no path, header or body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `CONNECT` or the method of a plain request.
    pub method: String,
    /// The host asked for, in canonical form where it could be parsed; at most 253 characters.
    pub host: String,
    /// The port asked for; 0 where there was none.
    pub port: u16,
    /// Whether it was allowed.
    pub effect: Effect,
    /// The rule that decided, as written; empty where no rule did.
    pub rule: String,
    /// Whose rule it was.
    pub layer: Option<Layer>,
    /// One sentence for a person.
    pub why: String,
    /// The address that was connected to; absent when none was, or when the operator's proxy chose.
    pub address: Option<IpAddr>,
    /// Bytes of bodies or of the tunnel that came from inside.
    pub bytes_up: u64,
    /// Bytes of bodies or of the tunnel that went inside.
    pub bytes_down: u64,
    /// From the request to its end, in microseconds.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request through the web door ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The rules refused it.
    Refused,
    /// It was allowed, but the name did not resolve or nothing answered.
    Unreachable,
    /// The far side answered, or the tunnel ended in order.
    Done,
    /// One side broke off, or the door was stopped.
    Cut,
    /// It stood still for too long.
    TimedOut,
}

/// Bytes in both directions, counted while they pass.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    pub(super) up: AtomicU64,
    pub(super) down: AtomicU64,
}

/// A record in the making; sent when dropped.
pub(super) struct Recording {
    records: Arc<dyn Sink<Record>>,
    since: Instant,
    pub(super) traffic: Arc<Traffic>,
    record: Option<Record>,
}

impl Recording {
    pub(super) fn new(
        records: Arc<dyn Sink<Record>>,
        method: &Method,
        host: &str,
        port: u16,
    ) -> Self {
        let record = Record {
            method: method.as_str().chars().take(32).collect(),
            host: host.chars().take(253).collect(),
            port,
            effect: Effect::Deny,
            rule: String::new(),
            layer: None,
            why: String::new(),
            address: None,
            bytes_up: 0,
            bytes_down: 0,
            duration_us: 0,
            outcome: Outcome::Cut,
        };
        Self { records, since: Instant::now(), traffic: Arc::default(), record: Some(record) }
    }

    /// Takes over what was decided.
    pub(super) fn decided(&mut self, decision: &Decision) {
        if let Some(record) = &mut self.record {
            record.effect = decision.effect;
            record.rule.clone_from(&decision.rule);
            record.layer = decision.layer;
            record.why.clone_from(&decision.why);
            if !decision.is_allowed() {
                record.outcome = Outcome::Refused;
            }
        }
    }

    /// Notes a refusal for another reason than the rules.
    pub(super) fn refuse(&mut self, why: &str) {
        if let Some(record) = &mut self.record {
            record.effect = Effect::Deny;
            record.outcome = Outcome::Refused;
            why.clone_into(&mut record.why);
        }
    }

    /// Notes where the connection went.
    pub(super) fn connected(&mut self, address: Option<IpAddr>) {
        if let Some(record) = &mut self.record {
            record.address = address;
        }
    }

    /// Notes how it ended.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        if let Some(record) = &mut self.record {
            record.outcome = outcome;
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.bytes_up = self.traffic.up.load(Ordering::Relaxed);
            record.bytes_down = self.traffic.down.load(Ordering::Relaxed);
            record.duration_us =
                u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.records.record(record);
        }
    }
}
