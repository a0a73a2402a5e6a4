//! The proof that a log contradicted itself: two heads that it signed (SPEC.md, "Incidents"). A component that notices
//! such a pair keeps it, because the log will hardly show both again.

use std::fmt;

use thiserror::Error;

use crate::proof::{hash_lines, push_hash_lines};
use crate::statement::LedgerId;
use crate::text::{Lines, or_dash};
use crate::tree::{TreeError, verify_consistency};
use crate::{Checkpoint, Error, Hash, SignedCheckpoint, VerifierKey, sha256};

const OBJECT: &str = "incident";
const FIRST_LINE: &str = "streamseal/incident@v1";

/// The longest incident: two notes of the longest length, a proof of the most hashes, and the lines before them.
pub const INCIDENT_BYTES_MAX: usize = 2 * crate::note::NOTE_BYTES_MAX + (1 << 13);

/// Two signed heads of one log that contradict each other. Reading one verifies no signature. [`Incident::verify`]
/// verifies them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    ledger: LedgerId,
    unix_seconds: u64,
    known: SignedCheckpoint,
    found: SignedCheckpoint,
    shown: Option<Shown>,
}

/// The root that the tree of the larger head has at the size of the smaller one. It differs from the smaller head's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The root of the larger tree at the smaller head's size.
    pub root: Hash,
    /// The consistency path from that root to the larger head.
    pub path: Vec<Hash>,
}

/// How two heads contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No log can honestly sign both: they are of different trees.
    Fork,
    /// The head found is smaller than the one known. An honest log never goes back, but nothing here shows that the
    /// trees differ.
    Rollback,
}

/// Why an incident proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IncidentError {
    /// A head is not signed by the log.
    #[error("the head of size {size} is signed by none of the log's keys")]
    NotByLog {
        /// The size of the head.
        size: u64,
    },
    /// The path does not lead from the root shown to the larger head.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl Incident {
    /// Pairs the head that was `known` first with the one that was `found` later. Pass `shown` for heads of different
    /// sizes, if it is known.
    ///
    /// # Errors
    /// When a head is of another log than the ledger's, and when the heads do not contradict each other.
    pub fn new(
        ledger: LedgerId,
        unix_seconds: u64,
        known: SignedCheckpoint,
        found: SignedCheckpoint,
        shown: Option<Shown>,
    ) -> Result<Self, Error> {
        let incident = Self { ledger, unix_seconds, known, found, shown };
        incident.check().map_err(|problem| Error::malformed(OBJECT, problem))?;
        Ok(incident)
    }

    fn check(&self) -> Result<(), String> {
        let (known, found) = (self.known.checkpoint(), self.found.checkpoint());
        if let Some(other) = [known, found].into_iter().find(|head| head.origin != self.ledger.origin) {
            return Err(format!("a checkpoint of {}, not of {}", other.origin, self.ledger.origin));
        }
        match &self.shown {
            Some(_) if known.size == found.size => Err("heads of one size need no proof".to_owned()),
            Some(shown) if shown.root == self.smaller().root => Err("the larger head continues the smaller".to_owned()),
            None if known.size == found.size && known.root == found.root => Err("both heads are the same".to_owned()),
            None if known.size < found.size => Err("nothing shows that the larger head is another tree's".to_owned()),
            _ => Ok(()),
        }
    }

    /// Reads an incident in its only spelling.
    ///
    /// # Errors
    /// Also when the heads do not contradict each other. Another version is unsupported.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > INCIDENT_BYTES_MAX {
            return Err(Error::malformed(OBJECT, format!("more than {INCIDENT_BYTES_MAX} bytes")));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(OBJECT, "not UTF-8"))?;
        let mut lines = Lines::new(OBJECT, text)?;
        match lines.line()? {
            FIRST_LINE => {}
            other if other.starts_with("streamseal/incident@v") => {
                return Err(Error::unsupported(OBJECT, format!("version {other:?}")));
            }
            _ => return Err(lines.error(format!("expected {FIRST_LINE}"))),
        }
        let mut ledger = lines.fields("ledger")?;
        let (origin, genesis) = (ledger.next()?.name()?, ledger.next()?.hash()?);
        ledger.end()?;
        let unix_seconds = lines.field("time")?.u63()?;
        let [known_len, found_len] = [lines.field("known")?.u63()?, lines.field("found")?.u63()?];
        let root = lines.field("shown")?.optional().map(|root| root.hash()).transpose()?;
        let path = hash_lines(&mut lines)?;
        if root.is_none() && !path.is_empty() {
            return Err(lines.error("a consistency path without a `shown` root"));
        }
        let mut checkpoint = |len: u64| {
            // A length above any text's is cut short.
            let block = lines.block(usize::try_from(len).unwrap_or(usize::MAX))?;
            SignedCheckpoint::parse(block.as_bytes())
        };
        let (known, found) = (checkpoint(known_len)?, checkpoint(found_len)?);
        lines.end()?;
        let shown = root.map(|root| Shown { root, path });
        let incident = Self::new(LedgerId { origin, genesis }, unix_seconds, known, found, shown)?;
        if incident.to_bytes() != bytes {
            return Err(Error::malformed(OBJECT, "not the only spelling of its content"));
        }
        Ok(incident)
    }

    /// The file form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (known, found) = (self.known.to_bytes(), self.found.to_bytes());
        let LedgerId { origin, genesis } = &self.ledger;
        let mut out = format!(
            "{FIRST_LINE}\nledger {origin} {genesis}\ntime {}\nknown {}\nfound {}\nshown {}\n",
            self.unix_seconds,
            known.len(),
            found.len(),
            or_dash(self.shown.as_ref().map(|shown| shown.root)),
        );
        push_hash_lines(&mut out, self.shown.as_ref().map_or(&[], |shown| shown.path.as_slice()));
        [out.into_bytes(), known, found].concat()
    }

    /// Verifies that the log signed both heads, with any of these keys, and that they contradict each other.
    ///
    /// # Errors
    /// When a head has no valid signature of a key given, or the proof does not hold.
    pub fn verify(&self, log_keys: &[VerifierKey]) -> Result<Kind, IncidentError> {
        for signed in [&self.known, &self.found] {
            if !log_keys.iter().any(|key| signed.verify(key).is_ok()) {
                return Err(IncidentError::NotByLog { size: signed.checkpoint().size });
            }
        }
        if let Some(shown) = &self.shown {
            let (smaller, larger) = (self.smaller(), self.larger());
            verify_consistency(smaller.size, &shown.root, larger.size, &larger.root, &shown.path)?;
        }
        Ok(self.kind())
    }

    /// How the heads contradict each other, once both are verified.
    pub fn kind(&self) -> Kind {
        let same_size = self.known.checkpoint().size == self.found.checkpoint().size;
        if same_size || self.shown.is_some() { Kind::Fork } else { Kind::Rollback }
    }

    /// Identifies this pair of heads, no matter when it was noticed: the SHA-256 of both texts, the known one first.
    pub fn id(&self) -> Hash {
        sha256((self.known.checkpoint().encode() + &self.found.checkpoint().encode()).as_bytes())
    }

    /// The ledger whose heads these are.
    pub fn ledger(&self) -> &LedgerId {
        &self.ledger
    }

    /// When the contradiction was noticed, in seconds since 1970.
    pub fn unix_seconds(&self) -> u64 {
        self.unix_seconds
    }

    /// The head that was known first.
    pub fn known(&self) -> &SignedCheckpoint {
        &self.known
    }

    /// The head that contradicts it.
    pub fn found(&self) -> &SignedCheckpoint {
        &self.found
    }

    fn smaller(&self) -> &Checkpoint {
        let (known, found) = (self.known.checkpoint(), self.found.checkpoint());
        if known.size < found.size { known } else { found }
    }

    fn larger(&self) -> &Checkpoint {
        let (known, found) = (self.known.checkpoint(), self.found.checkpoint());
        if known.size < found.size { found } else { known }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fork => "fork",
            Self::Rollback => "rollback",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{leaf_hash, node_hash};
    use crate::{Algorithm, SigningKey};

    const ORIGIN: &str = "example.com/audit";

    fn log() -> SigningKey {
        SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[1; 32]).expect("a name")
    }

    fn ledger() -> LedgerId {
        LedgerId { origin: ORIGIN.into(), genesis: sha256(b"genesis") }
    }

    fn leaves() -> [Hash; 3] {
        [leaf_hash(b"0"), leaf_hash(b"1"), leaf_hash(b"2")]
    }

    fn signed(size: u64, root: Hash) -> SignedCheckpoint {
        SignedCheckpoint::sign(Checkpoint { origin: ORIGIN.into(), size, root }, &log())
    }

    /// The head of two entries.
    fn two() -> SignedCheckpoint {
        let [a, b, _] = leaves();
        signed(2, node_hash(&a, &b))
    }

    /// A head of three entries with another second entry, and the proof of that.
    fn forked_three() -> (SignedCheckpoint, Shown) {
        let [a, _, c] = leaves();
        let root = node_hash(&a, &leaf_hash(b"other"));
        (signed(3, node_hash(&root, &c)), Shown { root, path: vec![c] })
    }

    fn incident(known: SignedCheckpoint, found: SignedCheckpoint, shown: Option<Shown>) -> Result<Incident, Error> {
        Incident::new(ledger(), 1_700_000_000, known, found, shown)
    }

    fn fork() -> Incident {
        let (three, shown) = forked_three();
        incident(two(), three, Some(shown)).expect("they contradict each other")
    }

    #[test]
    fn each_kind_reads_back_and_verifies() {
        let (three, shown) = forked_three();
        let beside = signed(2, leaf_hash(b"beside"));
        let keys = [log().verifier_key().clone()];
        for (known, found, shown, kind) in [
            (two(), beside, None, Kind::Fork),
            (two(), three.clone(), Some(shown.clone()), Kind::Fork),
            (three.clone(), two(), Some(shown), Kind::Fork),
            (three, two(), None, Kind::Rollback),
        ] {
            let incident = incident(known, found, shown).expect("they contradict each other");
            assert_eq!(Incident::parse(&incident.to_bytes()).as_ref(), Ok(&incident));
            assert_eq!(incident.verify(&keys), Ok(kind));
        }
    }

    #[test]
    fn the_file_is_text_for_people() {
        let (three, _) = forked_three();
        let rollback = incident(three.clone(), two(), None).expect("it went back");
        let text = String::from_utf8(rollback.to_bytes()).expect("text");
        let (known, found) = (three.to_bytes(), two().to_bytes());
        let start = format!(
            "streamseal/incident@v1\nledger {ORIGIN} {}\ntime 1700000000\nknown {}\nfound {}\nshown -\n\n{ORIGIN}\n3\n",
            ledger().genesis,
            known.len(),
            found.len()
        );
        assert!(text.starts_with(&start), "{text}");
        assert!(text.as_bytes().ends_with(&[known, found].concat()));
    }

    #[test]
    fn heads_that_agree_are_no_incident() {
        let [a, b, c] = leaves();
        let three = signed(3, node_hash(&node_hash(&a, &b), &c));
        let honest = Shown { root: two().checkpoint().root, path: vec![c] };
        let other = SignedCheckpoint::sign(
            Checkpoint { origin: "example.com/other".into(), ..two().checkpoint().clone() },
            &SigningKey::from_seed("example.com/other", Algorithm::Ed25519, &[1; 32]).expect("a name"),
        );
        let (forked, shown) = forked_three();
        for (known, found, shown) in [
            (two(), two(), None),
            (two(), three.clone(), None),
            (two(), three.clone(), Some(honest.clone())),
            (three, two(), Some(honest)),
            (two(), signed(2, leaf_hash(b"beside")), Some(shown)),
            (forked, other, None),
        ] {
            assert!(matches!(incident(known, found, shown), Err(Error::Malformed { .. })));
        }
    }

    #[test]
    fn unsigned_or_unproven_pairs_do_not_verify() {
        let stranger = SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[2; 32]).expect("a name");
        let keys = [log().verifier_key().clone()];
        assert_eq!(fork().verify(&[]), Err(IncidentError::NotByLog { size: 2 }));
        assert_eq!(fork().verify(&[stranger.verifier_key().clone()]), Err(IncidentError::NotByLog { size: 2 }));
        let theirs = SignedCheckpoint::sign(two().checkpoint().clone(), &stranger);
        let (three, shown) = forked_three();
        let made_up = incident(theirs, three.clone(), Some(shown)).expect("in form");
        assert_eq!(made_up.verify(&keys), Err(IncidentError::NotByLog { size: 2 }));
        // Another root at that size, which the larger head does not have.
        let made_up = Shown { root: leaf_hash(b"x"), path: vec![leaves()[2]] };
        let made_up = incident(two(), three, Some(made_up)).expect("in form");
        assert!(matches!(made_up.verify(&keys), Err(IncidentError::Tree(TreeError::WrongRoot { .. }))));
    }

    #[test]
    fn incident_id_depends_on_the_heads_alone() {
        let (three, shown) = forked_three();
        let later = Incident::new(ledger(), 9, two(), three.clone(), Some(shown.clone())).expect("in form");
        assert_eq!(later.id(), fork().id());
        let turned = Incident::new(ledger(), 9, three, two(), Some(shown)).expect("in form");
        assert_ne!(turned.id(), fork().id());
    }

    #[test]
    fn cuts_and_other_spellings_are_refused() {
        let text = String::from_utf8(fork().to_bytes()).expect("text");
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(Incident::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
        }
        let refused = |from: &str, to: &str| {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from:?}");
            Incident::parse(changed.as_bytes()).expect_err(to)
        };
        for (from, to) in [
            ("time 17", "time 017"),
            ("time 1700000000", "time -"),
            ("known ", "known 0"),
            ("known ", "known 9"),
            ("found ", "found 1"),
            ("shown ", "shown - "),
            ("\n\nexample", "\nexample"),
            ("ledger ", "ledger example.com/other "),
            (ORIGIN, "example.com/other"),
            ("streamseal/incident@v1", "streamseal/incidents@v1"),
        ] {
            assert!(matches!(refused(from, to), Error::Malformed { .. }), "{to:?}");
        }
        assert!(matches!(refused("incident@v1", "incident@v2"), Error::Unsupported { .. }));
        assert!(Incident::parse(format!("{text}\n").as_bytes()).is_err());
        let end_of_root = text.find("\n\n").expect("an empty line");
        let start = &text[..text.find("shown").expect("there")];
        let without_root = format!("{start}shown -{}", &text[end_of_root..]);
        assert!(matches!(Incident::parse(without_root.as_bytes()), Err(Error::Malformed { .. })), "no proof");
        let too_long = "x".repeat(INCIDENT_BYTES_MAX) + "\n";
        assert!(Incident::parse(too_long.as_bytes()).is_err());
    }
}
