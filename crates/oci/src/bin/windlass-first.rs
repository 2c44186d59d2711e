//! The first process of a container, by itself. A tool for those who work on this backend; `windlass`
//! does the same with a verb of its own.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match windlass_sandbox::contained::serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing can be done when the error cannot be written either.
            let _written = writeln!(io::stderr(), "windlass-first: {error}");
            ExitCode::FAILURE
        }
    }
}
