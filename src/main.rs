//! The `autometta` command.

use std::path::Path;
use std::process::ExitCode;

use autometta::runs::{NoMeter, supervise};

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().skip(1).take(2).collect();
    match words.as_slice() {
        [hidden, run_dir] if hidden == "__supervise" => supervise(Path::new(run_dir), &|_| Box::new(NoMeter)),
        _ => ExitCode::SUCCESS,
    }
}
