//! The `autometta` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    autometta::cli::main()
}
