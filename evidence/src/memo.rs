//! A memory of signatures made on this thread, so that a simulation that makes and verifies the same ones over and over
//! is not slowed down by them. It changes no result: Ed25519 signs the same message the same way every time, and what a
//! key signed is valid under it. Anything else is verified.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::VerifierKey;

/// At this many the memory begins anew.
const SIGNATURES_MAX: usize = 20_000;

thread_local! {
    static MADE: RefCell<Option<HashMap<[u8; 32], [u8; 64]>>> = const { RefCell::new(None) };
}

/// Turns the memory on for this thread.
pub fn remember_signatures_made() {
    MADE.with_borrow_mut(|made| {
        made.get_or_insert_default();
    });
}

/// The signature that this key made of this message, if it is remembered.
pub(crate) fn recall(key: &VerifierKey, message: &[u8]) -> Option<[u8; 64]> {
    MADE.with_borrow(|made| made.as_ref()?.get(&identity(key, message)).copied())
}

/// Remembers a signature, if this thread does.
pub(crate) fn remember(key: &VerifierKey, message: &[u8], signature: [u8; 64]) {
    MADE.with_borrow_mut(|made| {
        let Some(made) = made else { return };
        if made.len() >= SIGNATURES_MAX {
            made.clear();
        }
        made.insert(identity(key, message), signature);
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
    fn what_is_remembered_is_what_would_be_made_and_nothing_else_is_valid() {
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
