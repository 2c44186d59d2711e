//! windlass-forge.
