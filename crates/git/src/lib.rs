//! windlass-git.
