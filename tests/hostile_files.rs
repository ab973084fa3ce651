//! Files that are not what we wrote: cut off, flipped, another repository's, or no files at all. Whatever stands in a
//! file's place, tick and status end soon and in little memory, name the path, replace nothing by less, serve the other
//! repositories, and go on as before once the file is back.

#![allow(clippy::expect_used, clippy::disallowed_methods, reason = "a broken test environment should fail loudly")]
#![allow(clippy::disallowed_macros, reason = "tests say how many cases there were")]

#[path = "hostile_files/bytes.rs"]
mod bytes;
#[path = "hostile_files/permission.rs"]
mod permission;
#[path = "hostile_files/places.rs"]
mod places;
mod support;
#[path = "hostile_files/world.rs"]
mod world;
