# `just` lists these.

[private]
default:
    @just --list

# Everything that must pass: formatting, lints, all tests (starts a real Kafka, PostgreSQL and Git remotes)
test:
    ./test

# The tests of one package, such as `just test-of evidence`
test-of PACKAGE:
    cargo test --locked --package {{ PACKAGE }}

# Injects faults into real Kafka, PostgreSQL and Git: all scenarios, or one (as root: some fill small disks)
chaos *NAME:
    CHAOS_REPORT={{ justfile_directory() / "target/chaos" }} \
        cargo test --locked --package tests --test chaos -- --include-ignored {{ if NAME == "" { "" } else { "--exact " + NAME } }}

# Overload of each kind, about five minutes each; writes reports with samples of every second
overload:
    SOAK_MINUTES=3 SOAK_REPORT={{ justfile_directory() / "target/soak" }} \
        cargo test --release --locked --package tests --test soak -- --nocapture --test-threads 1 overload::

# A load that the line easily sustains, for MINUTES; writes the same kind of report
soak MINUTES:
    SOAK_MINUTES={{ MINUTES }} SOAK_REPORT={{ justfile_directory() / "target/soak" }} \
        cargo test --release --locked --package tests --test soak -- --nocapture soak::

# Fails every system call that makes something durable: all steps, or those with WORD in their names (needs strace and mount namespaces); an hour
faults *WORD:
    FAULTS_REPORT={{ justfile_directory() / "target/faults" }} \
        cargo test --locked --package tests --test faults -- --ignored {{ WORD }}

# Every forgery and damage of evidence in the verifier's tests, not only a sample; minutes
hostile:
    HOSTILE_EVIDENCE=whole cargo test --release --locked --package verifier --test verify forgery

# Fuzz every parser, or the named targets, for MINUTES each (cargo install cargo-fuzz)
fuzz MINUTES *TARGETS:
    fuzz/run {{ MINUTES }} {{ TARGETS }}

# Measure all cases, or the named ones; writes raw results, report and plots to bench/runs (bench/README.md)
bench *CASES:
    cargo run --release --locked --package bench -- run {{ CASES }}

# Rebuild report and plots of a run from its raw results
bench-report RUN:
    cargo run --release --locked --package bench -- report {{ RUN }}

# List what got worse beyond noise from one run to another
bench-compare OLD NEW:
    cargo run --release --locked --package bench -- compare {{ OLD }} {{ NEW }}

# Mutate a package and see whether tests notice, such as `just mutants evidence --file evidence/src/chain.rs` (cargo install cargo-mutants)
mutants PACKAGE *OPTIONS:
    -cargo mutants --package {{ PACKAGE }} {{ OPTIONS }}
    # What its own tests miss, those of its users may see.
    cargo mutants --package {{ PACKAGE }} --iterate --test-package verifier,committer,simulation {{ OPTIONS }}

# Format the code
fmt:
    cargo fmt --all

# What a newcomer waits for: a build from nothing, its processor time (user and sys) and a page of each crate's time
first-build:
    rm -rf target/first-build
    bash -c 'time cargo build --release --locked --timings --target-dir target/first-build'

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
    UPDATE_VECTORS=1 cargo test --locked --package fuzz corpus_matches_vectors

# Write docs/configuration.md anew; a test compares it
config-reference:
    cargo run --locked -- config-reference > docs/configuration.md

# Write docs/metrics.md; a test compares it
metrics-reference:
    cargo run --locked -- metrics-reference > docs/metrics.md

# Write the tables of codes in SPEC.md and docs/auditing.md; a test compares them
tables:
    UPDATE_TABLES=1 cargo test --locked --package verifier --test verify tables

# All that is generated
generate: vectors config-reference metrics-reference tables
