//! The fuzzer's program: one target of the shared module, the one that `FUZZ_TARGET` names.

#![no_main]

use std::sync::OnceLock;

use autometta_fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

fn chosen() -> &'static Target {
    static CHOSEN: OnceLock<&'static Target> = OnceLock::new();
    CHOSEN.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        let found = TARGETS.iter().find(|target| target.name == name);
        found.unwrap_or_else(|| panic!("FUZZ_TARGET is `{name}`; it is one of {}", names.join(", ")))
    })
}

fuzz_target!(|bytes: &[u8]| (chosen().run)(bytes));
