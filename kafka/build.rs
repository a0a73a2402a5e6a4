//! Compiles the C code that reads librdkafka's internal structures, against the sources that rdkafka-sys built.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo::rerun-if-changed=src/raw_headers.c");
    let sources = env::var_os("DEP_RDKAFKA_ROOT").expect("rdkafka-sys builds librdkafka and says where");
    let sources = PathBuf::from(sources);
    // librdkafka's headers cause warnings.
    cc::Build::new()
        .file("src/raw_headers.c")
        .include(&sources)
        .include(sources.join("src"))
        .warnings(false)
        .compile("streamseal_raw_headers");
}
