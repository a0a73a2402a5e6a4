# `just` lists these.

[private]
default:
    @just --list

# Everything that has to pass: formatting, lints, all tests (starts a real Kafka, PostgreSQL and Git remotes)
test:
    ./test

# The tests of one package, such as `just test-of evidence`
test-of PACKAGE:
    cargo test --locked --package {{ PACKAGE }}

# Real faults on real Kafka, PostgreSQL and Git: all scenarios, or the one named (as root: some fill up small disks)
chaos *NAME:
    CHAOS_REPORT={{ justfile_directory() / "target/chaos" }} \
        cargo test --locked --package tests --test chaos -- --include-ignored {{ if NAME == "" { "" } else { "--exact " + NAME } }}

# More load than the line can take, some five minutes of each kind; a report for each with samples of every second
overload:
    SOAK_MINUTES=3 SOAK_REPORT={{ justfile_directory() / "target/soak" }} \
        cargo test --release --locked --package tests --test soak -- --nocapture --test-threads 1 overload::

# A load that the line takes with ease for so many minutes; the same kind of report
soak MINUTES:
    SOAK_MINUTES={{ MINUTES }} SOAK_REPORT={{ justfile_directory() / "target/soak" }} \
        cargo test --release --locked --package tests --test soak -- --nocapture soak::

# Every system call that makes something durable, failing: all steps, or those with the word in their names (needs strace and mount namespaces); an hour
faults *WORD:
    FAULTS_REPORT={{ justfile_directory() / "target/faults" }} \
        cargo test --locked --package tests --test faults -- --ignored {{ WORD }}

# Every forgery and damage of evidence that the tests of the verifier know, not only a sample; minutes
hostile:
    HOSTILE_EVIDENCE=whole cargo test --release --locked --package verifier --test verify forgery

# Fuzz every parser for so many minutes each, or only the targets named (cargo install cargo-fuzz)
fuzz MINUTES *TARGETS:
    fuzz/run {{ MINUTES }} {{ TARGETS }}

# Measure all cases, or those named; raw results, report and plots in bench/runs (bench/README.md)
bench *CASES:
    cargo run --release --locked --package bench -- run {{ CASES }}

# Write report and plots of a run anew from its raw results
bench-report RUN:
    cargo run --release --locked --package bench -- report {{ RUN }}

# What got worse from one run to another beyond noise
bench-compare OLD NEW:
    cargo run --release --locked --package bench -- compare {{ OLD }} {{ NEW }}

# Break a package in every small way and see whether tests notice, such as `just mutants evidence --file evidence/src/chain.rs` (cargo install cargo-mutants)
mutants PACKAGE *OPTIONS:
    -cargo mutants --package {{ PACKAGE }} {{ OPTIONS }}
    # What its own tests miss, those of its users may see.
    cargo mutants --package {{ PACKAGE }} --iterate --test-package verifier,committer,simulation {{ OPTIONS }}

# Format the code
fmt:
    cargo fmt --all

# Lints, with warnings denied
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- --deny warnings

# The whole line in one process, with nothing installed
demo *OPTIONS:
    cargo run --release --locked -- demo {{ OPTIONS }}

# Many seeds of the simulation on all processors, with a report, such as `just simulate 1000000`
simulate SEEDS="100000" *OPTIONS:
    cargo run --release --locked --package simulation -- {{ SEEDS }} {{ OPTIONS }}

# Licences, advisories, sources and duplicates of dependencies (cargo install cargo-deny)
deny:
    cargo deny --locked check

# Write the golden vectors anew; a test compares them
vectors:
    UPDATE_VECTORS=1 cargo test --locked --package evidence --test vectors
    UPDATE_VECTORS=1 cargo test --locked --package verifier --test verify vectors
    UPDATE_VECTORS=1 cargo test --locked --package fuzz what_is_taken_from_the_vectors

# Write docs/configuration.md anew; a test compares it
config-reference:
    cargo run --locked -- config-reference > docs/configuration.md

# Write docs/metrics.md; a test compares it
metrics-reference:
    cargo run --locked -- metrics-reference > docs/metrics.md

# All that is generated
generate: vectors config-reference metrics-reference
