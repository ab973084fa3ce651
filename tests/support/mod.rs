//! What several test binaries share.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "a broken test environment should fail loudly"
)]

pub mod clis;
pub mod dice;
pub mod landed;
pub mod model_server;
pub mod night;
pub mod past;
