//! Files that people write, as values that know their places: JSON with comments and YAML become one
//! [`tree`]; [`read`] takes typed values out of it; a [`place::Finding`] is what is said of a file, and
//! never lacks a place and a word on what to do.
//!
//! Pure, and without any notion of what a file is for.

pub mod place;
pub mod read;
pub mod tree;

pub use place::{Finding, Findings, Place, Refused, Severity};
pub use tree::{Node, Value};
