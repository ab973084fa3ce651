//! What several test binaries share.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::expect_used, reason = "a broken test environment should fail loudly")]

pub mod model_server;
