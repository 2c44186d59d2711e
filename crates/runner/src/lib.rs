//! windlass-runner.
