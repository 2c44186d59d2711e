//! windlass-testkit.
