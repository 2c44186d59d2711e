//! windlass-xtask.

fn main() {}
