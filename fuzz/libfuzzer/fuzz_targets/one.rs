//! libFuzzer on the targets named in the variable FUZZ_TARGET, joined by commas. Each of them gets every input. One
//! program holds all targets, so that it is built once.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGETS: LazyLock<Vec<fuzz::Target>> = LazyLock::new(|| {
    let names = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names targets");
    let target = |name| fuzz::target(name).unwrap_or_else(|| panic!("no target {name:?}; there are {:?}", fuzz::names()));
    names.split(',').map(target).collect()
});

fuzz_target!(|data: &[u8]| TARGETS.iter().for_each(|target| target(data)));
