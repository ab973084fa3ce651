//! What a terminal can show: how wide texts are, which letters and colours there are, and tables that fit.
//!
//! Nothing here knows a stage, and nothing here prints.

pub mod look;
pub mod table;
pub mod text;

pub use look::{Look, LookArgs};
