//! The golden evidence of `vectors/`: a bundle, an event proof, a trust file, a clone and a pin file, and the
//! outcomes of verifying them, whole and damaged (SPEC.md, section 13.7).
//!
//! All files are generated from fixed keys. If the test fails, a format or a
//! verdict changed. `UPDATE_VECTORS=1 cargo test -p verifier --test verify vectors` writes them again. Each case states
//! the finding that it is about, and records the whole outcome.

mod cases;
mod command;
mod copies;
mod form;
mod readings;
mod replaced;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use evidence::statement::Reason;
use evidence::witness::AddCheckpoint;
use evidence::{Algorithm, EventProof, SigningKey};
use verifier::verify;

use crate::common::bundles::Desk;
use crate::common::clones::{folder, git};
use crate::common::{Event, Ledger, ORIGIN, T0, key, stream};
use form::{Case, Change, Inputs, Outcome};

const STREAM_FILE: &str = "anchors.fast-import";
/// The second clone, which only some cases have.
const SECOND_STREAM_FILE: &str = "second.fast-import";

/// The files of `vectors/`, by their names there.
type Files = BTreeMap<String, Vec<u8>>;

/// The ledger of the vectors, and the files made from it.
struct Golden {
    ledger: Ledger,
    witness: SigningKey,
    files: Files,
}

impl Golden {
    /// | seq | what |
    /// |---|---|
    /// | 0 to 2 | genesis, grants of ingest-a and anchor-a |
    /// | 3 | orders/0, a gap of 4 offsets at its start |
    /// | 4 | payments/0, offsets 0 and 1: not in the bundle |
    /// | 5 | orders/0, offsets 4 to 8, of which 6 has no event |
    /// | 6 | orders/0, offsets 9 and 10, without an event |
    /// | 7 | orders/0, offsets 11 to 12, without a leaf index in the bundle |
    /// | 8 | orders/0 begins epoch 1 at 12 |
    /// | 9 | orders/0 epoch 1, offset 12 |
    /// | 10 | heads |
    fn new() -> Self {
        let mut golden = Self::with_gap_of(4);
        golden.write_bundle();
        golden.files.insert("trust".into(), golden.trust().into_bytes());
        golden.files.insert("event-proof".into(), golden.event_proof().to_bytes());
        golden.files.insert(STREAM_FILE.into(), golden.fast_import(&[(5, 0), (11, 60), (11, 120)]));
        golden
    }

    /// The ledger of the table above if the gap at the start has 4 offsets; otherwise another history of its size.
    fn ledger(count: u64) -> Ledger {
        let mut ledger = Ledger::new();
        let (orders, payments) = (stream("orders", 0, 0), stream("payments", 0, 0));
        ledger.gap(&orders, count, Reason::Start);
        ledger.seal(&payments, 2);
        let events = [4, 5, 7, 8].map(|offset| Event::new(offset, b"value")).to_vec();
        ledger.seal_events(&orders, count..9, events);
        ledger.seal_events(&orders, 9..11, Vec::new());
        ledger.seal(&orders, 2);
        let second = ledger.epoch(&orders, 12);
        ledger.seal(&second, 1);
        ledger.heads();
        ledger
    }

    /// The ledger, without files.
    fn with_gap_of(count: u64) -> Self {
        let ledger = Self::ledger(count);
        let witness = key("witness.example/w", Algorithm::Cosignature, 50);
        Self { ledger, witness, files: Files::new() }
    }

    fn write_bundle(&mut self) {
        let bundle = self.bundle_without(&[4]);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bundle");
        bundle.write(&path);
        for file in crate::hostile::files(&path) {
            let name = file.strip_prefix(folder.path()).expect("inside").display().to_string();
            self.files.insert(name, fs::read(&file).expect("read"));
        }
    }

    /// The proof of orders/0 offset 5.
    fn event_proof(&self) -> EventProof {
        let mut proof = self.ledger.event_proof(&stream("orders", 0, 0), 5, 11);
        proof.proof.checkpoint = self.cosigned(11, 60);
        proof
    }

    fn trust(&self) -> String {
        let (anchor, witness) = (self.ledger.anchor.verifier_key(), self.witness.verifier_key());
        self.ledger
            .trust()
            .replace(
                "quorum anchor-a\n",
                &format!("witness outside {witness}\ngroup both all anchor-a outside\nquorum both\n"),
            )
            .replace(
                &format!("witness anchor-a {anchor}"),
                &format!("# The ledger's own anchor\nwitness anchor-a {anchor}"),
            )
    }

    fn cosigned(&self, size: u64, after_s: u64) -> evidence::SignedCheckpoint {
        let mut signed = self.ledger.cosigned(size, T0 + after_s);
        signed.cosign(&self.witness, T0 + after_s + 1);
        signed
    }

    /// A branch of anchors for `git fast-import`: sizes, and the seconds after `T0` at which they were cosigned.
    fn fast_import(&self, anchors: &[(u64, u64)]) -> Vec<u8> {
        self.fast_import_to("refs/heads/anchors", anchors)
    }

    fn fast_import_to(&self, reference: &str, anchors: &[(u64, u64)]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut old_size = 0;
        for (size, after_s) in anchors {
            let checkpoint = self.cosigned(*size, *after_s);
            let proof = self.ledger.consistency(old_size, *size);
            let request = AddCheckpoint { old_size, proof, checkpoint: checkpoint.clone() };
            old_size = *size;
            let time = T0 + after_s + 1;
            let head =
                format!("commit {reference}\ncommitter anchor <anchor@example.com> {time} +0000\ndata 7\nanchor\n\n");
            out.extend_from_slice(head.as_bytes());
            for (name, bytes) in [("checkpoint", checkpoint.to_bytes()), ("consistency", request.to_bytes())] {
                let line = format!("M 100644 inline logs/{}/{name}\ndata {}\n", folder(ORIGIN), bytes.len());
                out.extend_from_slice(line.as_bytes());
                out.extend_from_slice(&bytes);
                out.push(b'\n');
            }
            out.push(b'\n');
        }
        out
    }

    /// Lays out the files, changes them and verifies, as a reader of the vectors does.
    fn run(&self, changes: &[Change], inputs: &Inputs) -> Outcome {
        if !inputs.make_sense() {
            return Outcome::usage();
        }
        let mut desk = self.lay_out(changes, inputs);
        desk.expect(&inputs.expect);
        let report = verify(&desk.inputs);
        let pin = inputs.pin.then(|| fs::read_to_string(desk.path("pin")).ok()).flatten();
        Outcome::new(&report, desk.dir.path(), pin)
    }

    fn lay_out(&self, changes: &[Change], inputs: &Inputs) -> Desk {
        let mut desk = Desk::new("");
        fs::remove_file(&desk.inputs.trust).expect("removed");
        for (name, bytes) in &self.files {
            write(&desk.path(name), bytes);
        }
        let clones = ["anchors.git/", "second.git/"];
        let (in_clone, before): (Vec<&Change>, Vec<&Change>) =
            changes.iter().partition(|change| clones.iter().any(|clone| change.file.starts_with(clone)));
        before.iter().for_each(|change| change.apply(desk.dir.path()));
        if inputs.clone {
            import(&desk.path("anchors.git"), &desk.path(STREAM_FILE));
            desk.inputs.clones.push(desk.path("anchors.git"));
        }
        if desk.path(SECOND_STREAM_FILE).exists() {
            import(&desk.path("second.git"), &desk.path(SECOND_STREAM_FILE));
            desk.inputs.clones.push(desk.path("second.git"));
        }
        in_clone.iter().for_each(|change| change.apply(desk.dir.path()));
        desk.inputs.bundle = desk.path(inputs.evidence());
        desk.inputs.now_s = inputs.now_s.parse().expect("a number");
        desk.inputs.accepted_gaps = inputs.reasons();
        desk.inputs.pin = inputs.pin.then(|| desk.path("pin"));
        desk
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
    fs::write(path, bytes).expect("written");
}

/// `git init --bare CLONE`, and `git fast-import` in it.
fn import(clone: &Path, stream: &Path) {
    fs::create_dir(clone).expect("made");
    git(clone, &["init", "-q", "--bare", "--object-format=sha1"]);
    let input = fs::File::open(stream).expect("opened");
    let status = std::process::Command::new("git")
        .args(["-c", "fastimport.unpackLimit=1000", "fast-import", "--quiet"])
        .current_dir(clone)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .stdin(input)
        .status()
        .expect("git runs");
    assert!(status.success(), "git fast-import takes {}", stream.display());
}

/// Compares a file with what was generated, or writes it.
fn check(name: &str, generated: &[u8]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
    if std::env::var_os("UPDATE_VECTORS").is_some() {
        write(&path, generated);
        return;
    }
    let committed = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let at = committed.iter().zip(generated).take_while(|(a, b)| a == b).count();
    assert!(
        committed == generated,
        "{name} differs from what the code generates, from byte {at} on; UPDATE_VECTORS=1 writes it again"
    );
}

#[test]
fn vectors() {
    let mut golden = Golden::new();
    golden.files.insert("pin".into(), golden.first_pin().into_bytes());
    for (name, bytes) in &golden.files {
        check(name, bytes);
    }
    let known = golden.files.len() + ["cases.json", "README.md"].len();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    let cases: Vec<Case> = golden.cases();
    let mut json = serde_json::to_string_pretty(&cases).expect("plain data");
    json.push('\n');
    check("cases.json", json.as_bytes());
    assert_eq!(crate::hostile::files(&vectors).len(), known, "a file is not generated");
    cases.iter().for_each(|case| golden.compare_with_command(case));
}
