//! Proofs of single events, verified on one thread.

use std::time::{Duration, Instant};

use evidence::policy::Policy;
use evidence::tree::{self, node_hash, verify_inclusion};
use evidence::{EventProof, EventProofChecker, Hash, LeafHasher, Partition, TlogProof, batch};

use crate::memory_ledger::{Ledger, event};
use crate::{Better, Case, Context, Goal, Measurement};

pub(super) const CASE: Case = Case {
    name: "proofs",
    about: "Proofs of events of 100 B that one thread verifies in a second: in batches of 4,096 (a path of 12 nodes) in a \
            log of 2^20 entries (a path of 20 nodes), signatures verified before. One at a time: content, leaf and every \
            node of both paths are hashed for each. In bulk: by one EventProofChecker, of any events of 48 batches or of \
            all events of two. From bytes: decoded first. Alone: by a checker that has seen nothing, with the signatures \
            of checkpoint, witness, keys and summary.",
    run,
};

const LEVELS: usize = 20;
const BATCH: usize = 4096;
const BATCHES: usize = 48;
const VALUE: [u8; 100] = [7; 100];

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    let log = Log::new();
    let policy = Policy::parse(log.ledger.policy().as_bytes())?;
    let scattered: Vec<_> = (0..BATCH).map(|i| log.proof(i * 29 % BATCHES, i * 1031 % BATCH)).collect();
    let whole: Vec<_> =
        (0..2).flat_map(|batch| (0..BATCH).map(move |at| (batch, at))).map(|(b, at)| log.proof(b, at)).collect();
    let bytes: Vec<_> = scattered.iter().map(EventProof::to_bytes).collect();
    let size = bytes[0].len();
    let least = context.size(Duration::from_millis(500), Duration::from_millis(1));
    let new = || EventProofChecker::new(log.ledger.state.ledger().clone(), &policy);
    let record = |name: &str, goal: Option<f64>, work: &mut dyn FnMut(usize)| {
        if !context.wants(name) {
            return Ok(());
        }
        let samples = context.repeat(|| Ok(rate(least, &mut *work)))?;
        let measured = Measurement::new(name, "proofs/s", Better::Higher, samples).setting("proof bytes", size);
        context.record(match goal {
            Some(least) => measured.goal(Goal::AtLeast(least)),
            None => measured,
        })
    };
    record("one at a time", Some(250e3), &mut |i| log.verify_paths(&scattered[i % BATCH]))?;
    for (name, proofs) in [("in bulk, any events", &scattered), ("in bulk, whole batches", &whole)] {
        let mut checker = new();
        record(name, Some(1e6), &mut |i| check(&mut checker, &proofs[i % proofs.len()]))?;
    }
    let mut checker = new();
    let decode = |bytes: &[u8]| EventProof::parse(bytes).expect("its own bytes");
    record("from bytes, any events", None, &mut |i| check(&mut checker, &decode(&bytes[i % BATCH])))?;
    record("alone", None, &mut |i| check(&mut new(), &scattered[i % BATCH]))
}

fn check(checker: &mut EventProofChecker<'_>, proof: &EventProof) {
    assert!(checker.check(proof).is_ok_and(|sealed| sealed.words.satisfied), "it is a proof");
}

/// The rate of `work` per second, measured over at least `least`. `work` gets the number of earlier calls.
fn rate(least: Duration, work: &mut dyn FnMut(usize)) -> f64 {
    let (begun, mut times) = (Instant::now(), 0);
    while begun.elapsed() < least {
        // Reads the clock only now and then.
        for _ in 0..64 {
            work(times);
            times += 1;
        }
    }
    times as f64 / begun.elapsed().as_secs_f64()
}

/// A log of 2^20 entries. Only the proven ones are real.
struct Log {
    ledger: Ledger,
    sealed: Vec<SealedBatch>,
    newest: Vec<u8>,
    /// The hashes of each level of the tree, from the leaves up.
    levels: Vec<Vec<Hash>>,
    content: Vec<u8>,
}

struct SealedBatch {
    seq: u64,
    entry: Vec<u8>,
    leaf: Hash,
    leaves: Vec<Hash>,
    root: Hash,
}

impl Log {
    fn new() -> Self {
        let mut ledger = Ledger::new();
        let mut leaves: Vec<Hash> = (0..1_u64 << LEVELS).map(|i| evidence::sha256(&i.to_be_bytes())).collect();
        let mut hasher = LeafHasher::new();
        let mut sealed = Vec::new();
        for number in 0..BATCHES {
            (0..BATCH as u64).for_each(|offset| hasher.push(&event(offset, &VALUE)));
            ledger.state.skip_to(((number + 1) * 21_001) as u64);
            let seq = ledger.state.next_seq();
            let stream = Partition { cluster: "-".into(), topic: "orders".into(), number: number as u32 }.stream(0);
            let batch_leaves = hasher.drain();
            let entry = ledger.seal(&stream, batch_leaves);
            let leaf = tree::leaf_hash(&entry);
            leaves[seq as usize] = leaf;
            let (leaves, root) = (batch_leaves.leaves.to_vec(), batch::root(batch_leaves.leaves));
            sealed.push(SealedBatch { seq, entry, leaf, leaves, root });
        }
        ledger.state.skip_to((1 << LEVELS) - 1);
        let newest = ledger.heads();
        leaves[(1 << LEVELS) - 1] = tree::leaf_hash(&newest);
        let mut levels = vec![leaves];
        for level in 0..LEVELS {
            levels.push(levels[level].chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect());
        }
        let mut content = Vec::new();
        event(0, &VALUE).encode_content(&mut content);
        Self { ledger, sealed, newest, levels, content }
    }

    fn path(&self, index: u64) -> Vec<Hash> {
        (0..LEVELS).map(|level| self.levels[level][(index as usize >> level) ^ 1]).collect()
    }

    /// The proof of the event at this place of a batch.
    fn proof(&self, batch: usize, at: usize) -> EventProof {
        let SealedBatch { seq, entry, leaves, .. } = &self.sealed[batch];
        let event = event(at as u64, &VALUE);
        let checkpoint = self.ledger.checkpoint(1 << LEVELS, self.levels[LEVELS][0]);
        EventProof {
            offset: at as u64,
            timestamp: event.timestamp,
            timestamp_type: event.timestamp_type,
            content: self.content.clone(),
            leaf_index: at as u64,
            leaf_path: batch::prove(leaves, at),
            entry: entry.clone(),
            keys: self.ledger.keys.clone(),
            newest: self.newest.clone(),
            newest_path: self.path((1 << LEVELS) - 1),
            proof: TlogProof { extra: None, index: *seq, path: self.path(*seq), checkpoint },
        }
    }

    /// Verifies both paths of a proof without a cache.
    fn verify_paths(&self, proof: &EventProof) {
        let SealedBatch { seq, leaf, root, .. } = &self.sealed[proof.proof.index as usize / 21_001 - 1];
        let event = batch::verify(&proof.leaf(), proof.leaf_index, BATCH as u64, &proof.leaf_path, root);
        let log = &self.levels[LEVELS][0];
        let entry = verify_inclusion(leaf, *seq, 1 << LEVELS, &proof.proof.path, log);
        assert_eq!((event, entry), (Ok(()), Ok(())), "it is a proof");
    }
}
