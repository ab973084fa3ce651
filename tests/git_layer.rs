//! The git layer against real git in temporary folders, hostile cases first.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::type_complexity,
    reason = "tests start git, write files, and keep their cases in tables"
)]

#[path = "git_layer/capture.rs"]
mod capture;
#[path = "git_layer/crashes.rs"]
mod crashes;
#[path = "git_layer/hostile.rs"]
mod hostile;
#[path = "git_layer/landing.rs"]
mod landing;
#[path = "git_layer/objects.rs"]
mod objects;
#[path = "git_layer/opening.rs"]
mod opening;
#[path = "git_layer/own_branches.rs"]
mod own_branches;
#[path = "git_layer/support.rs"]
mod support;
#[path = "git_layer/worktrees.rs"]
mod worktrees;
