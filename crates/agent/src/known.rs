//! Known agents.
