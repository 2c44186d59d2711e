//! Models of the outside for tests: never linked into `windlass`, never reached over any network but
//! loopback.

pub mod acp_agent;
pub mod model_server;
