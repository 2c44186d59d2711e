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
    end_quietly_when_nobody_reads();
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

/// Whoever reads what is printed may have seen enough, as in `windlass runs | head`: that is no fault of
/// ours, and there is nobody to tell. The code is that of a program which the pipe's signal ended.
fn end_quietly_when_nobody_reads() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default();
        if said.starts_with("failed printing to std") && said.contains("Broken pipe") {
            std::process::exit(141);
        }
        usual(panic);
    }));
}
