//! libFuzzer on the target that the variable FUZZ_TARGET names. One program for all of them is built once.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
    fuzz::target(&name).unwrap_or_else(|| panic!("no target {name:?}; there are {:?}", fuzz::names()))
});

fuzz_target!(|data: &[u8]| TARGET(data));
