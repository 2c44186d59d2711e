//! The real binary, as a stranger uses it: real processes, real git, real environments, the demo's
//! session files instead of a model.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read how they were called, and say loudly what they skip"
)]

#[path = "whole/world.rs"]
mod world;

#[path = "whole/automation.rs"]
mod automation;
#[path = "whole/bad_input.rs"]
mod bad_input;
#[path = "whole/classes.rs"]
mod classes;
#[path = "whole/demo.rs"]
mod demo;
#[path = "whole/env.rs"]
mod env;
#[path = "whole/env_files.rs"]
mod env_files;
#[path = "whole/env_services.rs"]
mod env_services;
#[path = "whole/environment.rs"]
mod environment;
#[path = "whole/event.rs"]
mod event;
#[path = "whole/fleet.rs"]
mod fleet;
#[path = "whole/image.rs"]
mod image;
#[path = "whole/in_force.rs"]
mod in_force;
#[path = "whole/library.rs"]
mod library;
#[path = "whole/ports.rs"]
mod ports;
#[path = "whole/readiness.rs"]
mod readiness;
#[path = "whole/real_agents.rs"]
mod real_agents;
#[path = "whole/runner.rs"]
mod runner;
#[path = "whole/schedule.rs"]
mod schedule;
#[path = "whole/secrets.rs"]
mod secrets;
#[path = "whole/ssh.rs"]
mod ssh;
#[path = "whole/task.rs"]
mod task;
#[path = "whole/triggers.rs"]
mod triggers;
#[path = "whole/volume.rs"]
mod volume;
