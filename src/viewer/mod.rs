//! Showing a night in windows: tmux, and programs whose lines are shown in one stream.
//!
//! What is started here only looks: a viewer that is killed changes nothing in any queue. What the windows show, and
//! which there are, is the caller's business; no agent and no git is started here.

mod follower;
mod tmux;

pub use follower::{Followers, News};
pub use tmux::{Invocation, SessionName, Shown, Tmux, TmuxError, Window, WindowLife, arrange};
