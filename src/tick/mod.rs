//! The tick: the only place where observing, deciding, committing and performing meet.

pub mod brief;
mod carry;
pub mod clock;
pub mod counts;
pub mod doctor;
mod error;
mod evidence;
mod fire;
pub mod grade;
pub mod heartbeat;
pub mod init;
mod landing;
mod meter;
pub mod night;
mod observe;
pub mod operate;
mod order;
mod perform;
mod plan;
mod prompt;
mod publish;
mod rebrief;
pub mod register;
pub mod restore;
mod returned;
mod script;
mod site;
pub mod snapshot;
pub mod tell;
mod versions;
pub mod wake;

pub use error::{FailureKind, TickError};
pub use fire::{Report, belongs_here, fire};
pub use meter::meter_for;
pub use plan::{Plan, PlannedLaunch, plan};
pub use site::{FollowUp, LOCAL_MANIFEST, MANIFEST, Site, find_root, held, read_manifest};
