//! `windlass schedule`: when an expression fires, as the server would have it. Nothing is asked of anybody.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use windlass_run::{
    Time,
    schedule::{Cron, Schedule, Zone, parse_rfc3339},
};

use crate::{
    arguments::{self, NextFires},
    exit::Exit,
};

pub(crate) fn run(json: bool, verb: arguments::Schedule) -> Result<Exit> {
    match verb {
        arguments::Schedule::Next(asked) => next(json, &asked),
    }
}

fn next(json: bool, asked: &NextFires) -> Result<Exit> {
    let cron: Cron = asked.expression.parse().map_err(|error| not_understood("EXPR", error))?;
    let zone: Zone = asked.timezone.parse().map_err(|error| not_understood("--timezone", error))?;
    let from = match &asked.from {
        Some(text) => parse_rfc3339(text).map_err(|error| not_understood("--from", error))?,
        None => now()?,
    };
    let schedule = Schedule::new(cron, zone);
    let fires = schedule.fires_after(from).take(asked.number as usize);
    if json {
        let next: Vec<_> = fires.map_while(|fire| schedule.zone().rfc3339(fire)).collect();
        super::print_json(&serde_json::json!({ "next": next }))?;
    } else {
        for fire in fires.map_while(|fire| schedule.zone().for_people(fire)) {
            println!("{fire}");
        }
    }
    Ok(Exit::Success)
}

fn not_understood(argument: &str, error: impl std::fmt::Display) -> anyhow::Error {
    Exit::NotUnderstood.error(format!("{argument}: {error}"))
}

fn now() -> Result<Time> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let micros = i64::try_from(since.as_micros()).context("the clock is beyond all years")?;
    Ok(Time::from_micros(micros))
}
