//! `windlass event`: what happened, as triggers see it.

mod parse;

use anyhow::Result;

use crate::{arguments, exit::Exit, settings::Settings};

pub(crate) fn run(settings: &Settings, verb: arguments::Event) -> Result<Exit> {
    match verb {
        arguments::Event::Parse(asked) => parse::run(settings, &asked),
    }
}
