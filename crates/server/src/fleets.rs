//! The changes of a fleet: what they have in common, and what is done to many of them. What a person may ask for
//! is in the actions; what goes on by itself in the reconcilers.

pub(crate) mod clusters;

mod operate;

pub(crate) use operate::{Detail, operate};
