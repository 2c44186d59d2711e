//! Runs this crate's own processes by themselves: the verbs arrive with the supervisor's loop.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}
