//! windlass-sandbox.
