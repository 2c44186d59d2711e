//! Builtin.
