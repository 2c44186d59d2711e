//! How ready a repository is for agents: which tools it wants, how it is built and tested, what came of
//! trying, what is missing, and what would make it better.
//!
//! Pure: files come in as text, outputs of programs as text, and what to run next goes out as data. No
//! file is opened here, no program started and no clock read; whoever runs the commands (the runner)
//! brings what the platform saw of them. Nothing here believes a program about itself but for the counts
//! in its output, and those only as counts.

pub mod check;
pub mod detect;
pub mod diagnose;
pub mod hints;
pub mod observe;
pub mod plan;
pub mod propose;
pub mod report;
pub mod score;
pub mod tree;

mod markdown;

pub use check::{Check, Ended, How};
pub use plan::{Command, Phase, Plan, Unit};
pub use report::Report;
pub use tree::Tree;
