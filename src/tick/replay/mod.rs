//! Going through the journal again: every decision made anew and compared, and any past state.
//!
//! Nothing is written, and nobody decides by what is found here.

mod again;
mod check;
mod past;
mod track;

pub use check::{Finding, Replayed, Span, Unread, replay};
pub use past::{Commit, Past, PastError, at};
