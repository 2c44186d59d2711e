//! Code hosts over the network, one module a host. Each speaks its host's API and nothing else;
//! what a webhook says becomes a [`crate::event::Event`] here.

pub mod github;
