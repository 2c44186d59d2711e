//! windlass-cli.

fn main() {}
