//! Every byte that reaches the state directory goes through here.

pub mod atomic;
pub mod lock;
