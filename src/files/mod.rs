//! The bytes of `state/` and of everything a person writes for us: reading, checking, writing, locking.
//!
//! What a document means is the business of `core`; what stands on disk, and how it got there whole, is decided here.

pub mod atomic;
pub mod cli_versions;
pub mod disk;
pub mod document;
pub mod fleet;
pub mod home;
pub mod identity;
pub mod journal;
pub mod layout;
pub mod ledger;
pub mod lock;
pub mod regular;
pub mod spent;
pub mod store;
pub mod under_way;
pub mod volume;
