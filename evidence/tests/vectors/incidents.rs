//! Two signed heads that contradict each other.

use evidence::incident::{Incident, IncidentError, Shown};
use evidence::{Checkpoint, SignedCheckpoint, SigningKey, tree};
use serde::Serialize;

use crate::batches::tree_code;
use crate::fixture::{KeyRing, ORIGIN, checkpoint, entry_leaves, genesis, head, ledger, path, root};
use crate::form::{Input, Refused, Text, as_text, refused_text};

const TIME: u64 = 1_732_180_000;

#[derive(Serialize)]
pub(crate) struct Vectors {
    log_key: String,
    incidents: Vec<Valid>,
    /// Incidents that read well and prove nothing.
    not_proven: Vec<NotProven>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Valid {
    name: &'static str,
    incident: String,
    kind: String,
    id: Text,
}

#[derive(Serialize)]
struct NotProven {
    name: &'static str,
    incident: String,
    code: &'static str,
}

/// A head of seven entries of another tree, of which the first four are the same.
fn forked_head() -> Checkpoint {
    let mut leaves = entry_leaves(7);
    leaves[4] = tree::leaf_hash(b"another");
    Checkpoint { root: root(&leaves, 0..7), ..head(7) }
}

fn signed(checkpoint: Checkpoint, key: &SigningKey) -> SignedCheckpoint {
    SignedCheckpoint::sign(checkpoint, key)
}

/// What the tree of 1025 entries has at size 7.
fn shown() -> Shown {
    let nodes = tree::consistency_nodes(7, 1025).expect("the older is not the larger");
    Shown { root: head(7).root, path: path(&entry_leaves(1025), nodes) }
}

fn incident(ring: &KeyRing, known: SignedCheckpoint, found: SignedCheckpoint, shown: Option<Shown>) -> Incident {
    let ledger = ledger(genesis(ring).hash());
    Incident::new(ledger, TIME, known, found, shown).expect("they contradict each other")
}

pub(crate) fn vectors() -> Vectors {
    let ring = KeyRing::new();
    let cosigned = |size| checkpoint(size, &ring, &[(&ring.anchor, 100)]);
    let forked = signed(forked_head(), &ring.log);
    let keys = [ring.log.verifier_key().clone()];
    let incidents = [
        ("two roots of one size", incident(&ring, cosigned(7), forked.clone(), None)),
        ("a larger head of another tree", incident(&ring, forked.clone(), cosigned(1025), Some(shown()))),
        ("a smaller head of another tree", incident(&ring, cosigned(1025), forked.clone(), Some(shown()))),
        ("a smaller head", incident(&ring, cosigned(7), cosigned(5), None)),
    ]
    .map(|(name, incident)| {
        assert_eq!(Incident::parse(&incident.to_bytes()).as_ref(), Ok(&incident), "{name}");
        let kind = incident.verify(&keys).expect(name);
        Valid { name, incident: as_text(incident.to_bytes()), kind: kind.to_string(), id: incident.id().into() }
    });
    let not_proven = not_proven(&ring, &forked);
    Vectors { log_key: keys[0].to_string(), incidents: incidents.into(), not_proven, refused: refused(&ring, &forked) }
}

fn not_proven(ring: &KeyRing, forked: &SignedCheckpoint) -> Vec<NotProven> {
    let by_stranger = SigningKey::from_seed(ORIGIN, evidence::Algorithm::Ed25519, &[99; 32]).expect("a name");
    let made_up = signed(forked_head(), &by_stranger);
    let larger = checkpoint(1025, ring, &[]);
    let other_root = Shown { root: head(5).root, ..shown() };
    let shorter = Shown { path: shown().path[1..].to_vec(), ..shown() };
    [
        ("a head by another key", incident(ring, made_up, larger.clone(), Some(shown())), "not-by-log"),
        (
            "a root that the tree has not",
            incident(ring, forked.clone(), larger.clone(), Some(other_root)),
            "wrong-root",
        ),
        ("a hash missing", incident(ring, forked.clone(), larger, Some(shorter)), "wrong-length"),
    ]
    .map(|(name, incident, code)| {
        let parsed = Incident::parse(&incident.to_bytes()).expect(name);
        let found = match parsed.verify(&[ring.log.verifier_key().clone()]) {
            Err(IncidentError::NotByLog { .. }) => "not-by-log",
            Err(IncidentError::Tree(error)) => tree_code(&error),
            Ok(kind) => panic!("{name}: {kind}"),
        };
        assert_eq!(found, code, "{name}");
        NotProven { name, incident: as_text(incident.to_bytes()), code }
    })
    .into()
}

fn refused(ring: &KeyRing, forked: &SignedCheckpoint) -> Vec<Refused<Input>> {
    let good = as_text(incident(ring, forked.clone(), checkpoint(1025, ring, &[]), Some(shown())).to_bytes());
    let same_size = as_text(incident(ring, forked.clone(), checkpoint(7, ring, &[]), None).to_bytes());
    let changed = |name: &str, text: &str, from: &str, to: &str, code| {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        refused_text(name, changed.as_bytes(), code, Incident::parse)
    };
    let root_line = format!("shown {}\n", shown().root);
    let hashes: String = shown().path.iter().map(|hash| format!("{hash}\n")).collect();
    let continued = format!("shown {}\n", forked.checkpoint().root);
    let forked_root = forked.checkpoint().root.to_string();
    vec![
        changed("another version", &good, "incident@v1", "incident@v2", "unsupported"),
        changed("no version", &good, "streamseal/incident@v1\n", "", "malformed"),
        changed("no time", &good, &format!("time {TIME}\n"), "", "malformed"),
        changed("a time with a leading zero", &good, "time ", "time 0", "malformed"),
        changed("a length twice", &good, "known ", "known 1\nknown ", "malformed"),
        changed("another ledger's heads", &good, &format!("ledger {ORIGIN}"), "ledger example.com/other", "malformed"),
        changed("hashes without a root", &good, &root_line, "shown -\n", "malformed"),
        changed("a larger head without a proof", &good, &format!("{root_line}{hashes}"), "shown -\n", "malformed"),
        changed("heads that continue each other", &good, &root_line, &continued, "malformed"),
        changed("a proof for one size", &same_size, "shown -\n", &root_line, "malformed"),
        changed("the same head twice", &same_size, &forked_root, &head(7).root.to_string(), "malformed"),
        changed("no empty line before the checkpoints", &good, "\n\nexample.com", "\nexample.com", "malformed"),
        refused_text("a line after the end", format!("{good}\n").as_bytes(), "malformed", Incident::parse),
    ]
}
