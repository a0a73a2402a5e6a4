//! Remembers signatures made on this thread. A simulation makes and verifies the same ones again and again, and this
//! saves the time. It changes no result: Ed25519 signs a message the same way every time, and a signature that a key
//! made is valid. All other signatures are verified.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::VerifierKey;

/// Capacity. Beyond it, entries that were not recalled recently are forgotten.
const SIGNATURES_MAX: usize = 10_000;

/// Signatures by key and message.
type Signatures = HashMap<[u8; 32], [u8; 64]>;

#[derive(Default)]
struct Memory {
    recent: Signatures,
    older: Signatures,
}

impl Memory {
    /// Recalled signatures stay, no matter how old: every world begins with the same ones.
    fn recall(&mut self, identity: &[u8; 32]) -> Option<[u8; 64]> {
        if let Some(signature) = self.recent.get(identity) {
            return Some(*signature);
        }
        let signature = self.older.remove(identity)?;
        self.remember(*identity, signature);
        Some(signature)
    }

    fn remember(&mut self, identity: [u8; 32], signature: [u8; 64]) {
        if self.recent.len() >= SIGNATURES_MAX {
            std::mem::swap(&mut self.recent, &mut self.older);
            self.recent.clear();
        }
        self.recent.insert(identity, signature);
    }
}

thread_local! {
    static MADE: RefCell<Option<Memory>> = const { RefCell::new(None) };
}

/// Turns the memory on for this thread.
pub fn remember_signatures_made() {
    MADE.with_borrow_mut(|made| {
        made.get_or_insert_default();
    });
}

/// Whether it is.
pub(crate) fn is_on() -> bool {
    MADE.with_borrow(Option::is_some)
}

/// The signature that this key made of this message, if it is remembered.
pub(crate) fn recall(key: &VerifierKey, message: &[u8]) -> Option<[u8; 64]> {
    MADE.with_borrow_mut(|made| made.as_mut()?.recall(&identity(key, message)))
}

/// Remembers a signature, if this thread does.
pub(crate) fn remember(key: &VerifierKey, message: &[u8], signature: [u8; 64]) {
    MADE.with_borrow_mut(|made| {
        if let Some(made) = made {
            made.remember(identity(key, message), signature);
        }
    });
}

fn identity(key: &VerifierKey, message: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(key.public_key()).update(message).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, SigningKey};

    #[test]
    fn recently_recalled_signatures_are_kept() {
        let mut memory = Memory::default();
        let identity = |n: usize| *blake3::hash(&n.to_be_bytes()).as_bytes();
        for n in 0..5 * SIGNATURES_MAX {
            memory.remember(identity(n), [n as u8; 64]);
            assert_eq!(memory.recall(&identity(0)), Some([0; 64]), "after {n} others");
        }
        assert_eq!(memory.recall(&identity(1)), None);
        assert!(memory.recent.len() + memory.older.len() <= 2 * SIGNATURES_MAX);
    }

    #[test]
    fn memory_changes_no_signature_and_no_verdict() {
        let key = |seed| SigningKey::from_seed("k", Algorithm::Ed25519, &[seed; 32]).expect("a name");
        let (one, other) = (key(1), key(2));
        let fresh = one.sign(b"message");
        assert_eq!(recall(one.verifier_key(), b"message"), None, "off until it is turned on");
        remember_signatures_made();
        for _ in 0..2 {
            assert_eq!(one.sign(b"message"), fresh);
            assert_eq!(recall(one.verifier_key(), b"message"), Some(fresh));
            assert!(one.verifier_key().verify(b"message", &fresh));
        }
        let mut changed = fresh;
        changed[3] ^= 1;
        assert!(!one.verifier_key().verify(b"message", &changed));
        assert!(!one.verifier_key().verify(b"massage", &fresh));
        assert!(!other.verifier_key().verify(b"message", &fresh));
        let elsewhere = std::thread::spawn(move || key(2).sign(b"unseen")).join().expect("no panic");
        assert_eq!(recall(other.verifier_key(), b"unseen"), None);
        assert!(other.verifier_key().verify(b"unseen", &elsewhere));
    }
}
