//! The pure heart: documents' types, the state machine, policy and arithmetic.
//!
//! Nothing here reads a file, starts a process, or knows the time: what the world looks like comes in as data,
//! what is to be done goes out as data. `tests/boundaries.rs` holds this module to it.

pub mod card;
pub mod exit;
pub mod fault;
pub mod ids;
pub mod quantity;
pub mod run;
