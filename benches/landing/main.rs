//! What it costs to land stages of the built-in families: alone, eight at once, a queue of 200, and from the first to
//! the last of many; with the git processes and the processor time of each, beside the floor of the machine.
//!
//! `cargo bench --bench landing` prints tables. What may stand behind it: `-- --times 30` (landings alone), `--drain 200`
//! (the length of the queue, two or more), `--stages 5000` (landed one after the other, told by tenths); 0 leaves a table out.

#![allow(clippy::expect_used, clippy::disallowed_methods, clippy::disallowed_macros, reason = "a benchmark prints")]
#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "a bench that is broken fails loudly")]

#[cfg(target_os = "linux")]
mod bare;
#[cfg(target_os = "linux")]
mod counted;
#[cfg(target_os = "linux")]
mod descendants;
#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod tables;

fn main() {
    #[cfg(target_os = "linux")]
    tables::print();
    #[cfg(not(target_os = "linux"))]
    println!("it needs Linux, where children that are left behind can be waited for");
}
