//! Autometta turns a queue of stage cards into verified commits, one cron tick at a time.
//!
//! Layers, each of which may use only what stands to its right:
//! `cli` → { `sim`, `tick` } → { `files`, `runs`, `families`, `git`, `report`, `timers` } → `core`.

pub mod cli;
pub mod core;
pub mod families;
mod fault;
pub mod files;
pub mod git;
pub mod report;
pub mod runs;
pub mod sim;
pub mod tick;
pub mod timers;
pub mod viewer;
