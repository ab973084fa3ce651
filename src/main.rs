//! The `autometta` command.

fn main() {}
