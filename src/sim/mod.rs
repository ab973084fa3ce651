//! Simulated nights: the tick's own engine in a world that is made up, the same for the same seed.
//!
//! Everything that a tick decides it decides here as it does on a machine: the engine, the machine of `core` and the
//! store's transactions are the real ones. What lies around them is reduced to what matters: a disk with its power cuts,
//! a git of trees, processes that do what a [`Cast`] says.

pub mod cast;
pub mod chaos;
pub mod clock;
pub mod disk;
mod effects;
pub mod git;
pub mod ground;
mod look;
pub mod night;
pub mod process;
mod runs;
pub mod trial;
pub mod trouble;
pub mod truth;

pub use crate::core::random::Random;
pub use cast::{Call, Cast, Play};
pub use ground::{Cut, Ground, Setup};
pub use night::{Line, Night, What};
