//! windlass-run.
