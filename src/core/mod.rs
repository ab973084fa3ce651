//! The pure heart: documents' types, the state machine, policy and arithmetic.
//!
//! Nothing here reads a file, starts a process, or knows the time: what the world looks like comes in as data,
//! what is to be done goes out as data. `tests/boundaries.rs` holds this module to it.

pub mod archive;
pub mod budget;
pub mod card;
pub mod dependencies;
pub mod disagreement;
pub mod exit;
pub mod fallback;
pub mod family;
pub mod fault;
pub mod fleet;
pub mod forecast;
pub mod grade;
pub mod graph;
pub mod handoff;
pub mod honesty;
pub mod ids;
pub mod inbox;
pub mod journal;
pub mod ladder;
pub mod manifest;
pub mod models;
pub mod night;
pub mod notice;
pub mod observation;
pub mod operate;
pub mod outcome;
pub mod outlook;
pub mod pace;
pub mod paths;
pub mod policy;
pub mod quantity;
pub mod quorum;
pub mod quota;
pub mod random;
pub mod rates;
pub mod rest;
pub mod retention;
pub mod run;
pub mod schedule;
pub mod secrecy;
pub mod sleep;
pub mod state;
pub mod state_doc;
pub mod step;
mod strict;
pub mod subscriber;
pub mod template;
pub mod timer;
pub mod train;
pub mod v1;
pub mod verdict;
pub mod wait;
pub mod weather;
pub mod words;
