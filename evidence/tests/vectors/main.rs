//! The golden vectors of `vectors/`: data files that any language can read (`vectors/README.md`).
//!
//! They are generated here, from fixed keys. Each test fails when a file differs from what this code generates: then a
//! format changed. `UPDATE_VECTORS=1 cargo test -p evidence --test vectors` writes them again. The generator states the
//! hash, the meaning or the refusal of each input, and compares it with the crate. So a vector cannot silently record a
//! mistake.

mod batches;
mod chain;
mod checkpoints;
mod event_proofs;
mod events;
mod fixture;
mod form;
mod incidents;
mod notes;
mod policies;
mod proofs;
mod statements;
mod trees;

use std::path::Path;

use serde::Serialize;

/// Compares a file with what was generated, or writes it.
fn check<T: Serialize>(name: &str, vectors: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    let mut generated = serde_json::to_string_pretty(vectors).expect("plain data");
    generated.push('\n');
    assert!(generated.len() < 1 << 20, "{name} has {} bytes", generated.len());
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        std::fs::write(&path, generated).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    if committed != generated {
        let line = committed.lines().zip(generated.lines()).take_while(|(a, b)| a == b).count() + 1;
        panic!("{name} is not what the code generates, from line {line} on; UPDATE_VECTORS=1 writes it anew");
    }
}

#[test]
fn events() {
    check("events.json", &events::vectors());
}

#[test]
fn batches() {
    check("batches.json", &batches::vectors());
}

#[test]
fn trees() {
    check("trees.json", &trees::vectors());
}

#[test]
fn tiles() {
    check("tiles.json", &trees::tile_vectors());
}

#[test]
fn keys() {
    check("keys.json", &notes::key_vectors());
}

#[test]
fn notes() {
    check("notes.json", &notes::note_vectors());
}

#[test]
fn statements() {
    check("statements.json", &statements::vectors());
}

#[test]
fn entries() {
    check("entries.json", &statements::entry_vectors());
}

#[test]
fn chain() {
    check("chain.json", &chain::vectors());
}

/// Compares the section of SPEC.md that is generated, its last one, or writes it.
#[test]
fn worked_chain_of_the_specification() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../SPEC.md");
    let specification = std::fs::read_to_string(&path).expect("SPEC.md");
    let section = chain::worked::section();
    let heading = section.lines().next().expect("a heading");
    let begin = specification.find(&format!("\n{heading}\n")).expect("SPEC.md has the section") + 1;
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        let updated = format!("{}{section}", &specification[..begin]);
        std::fs::write(&path, updated).expect("SPEC.md is written");
        return;
    }
    assert_eq!(specification[begin..], section, "SPEC.md: UPDATE_VECTORS=1 writes the section again");
}

#[test]
fn checkpoints() {
    check("checkpoints.json", &checkpoints::vectors());
}

#[test]
fn policies() {
    check("policies.json", &policies::vectors());
}

#[test]
fn proofs() {
    check("proofs.json", &proofs::proof_vectors());
}

#[test]
fn event_proofs() {
    check("event_proofs.json", &event_proofs::vectors());
}

#[test]
fn witness() {
    check("witness.json", &proofs::witness_vectors());
}

#[test]
fn incidents() {
    check("incidents.json", &incidents::vectors());
}
