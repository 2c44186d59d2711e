//! The one binary. This crate reads the process environment, tells roles apart and prints; it decides
//! nothing about runs, policy or repositories.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this is the one place that talks to a terminal, reads the environment and exits"
)]

mod arguments;
mod client;
mod exit;
mod registries;
mod settings;
mod terminal;
mod verbs;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{arguments::Arguments, exit::Exit};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match verbs::dispatch(arguments) {
        Ok(exit) => exit.into(),
        Err(e) => {
            let exit = Exit::of(&e);
            if json {
                let error = serde_json::json!({ "error": format!("{e:#}"), "exit": exit.code() });
                println!("{error}");
            } else {
                eprintln!("{} {e:#}", terminal::Style::for_stderr().red("error:"));
            }
            exit.into()
        }
    }
}
