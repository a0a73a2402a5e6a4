//! Public and private keys in the text forms of C2SP signed-note (`vkey`) and its Go implementation (`PRIVATE+KEY`).

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Encoding};
use ed25519_dalek::Signer;
use zeroize::{Zeroize, Zeroizing};

#[cfg(feature = "signature-memory")]
use crate::memo;
use crate::public_key::PublicKey;
use crate::{Error, text};

/// The signature algorithms of C2SP signed-note that streamseal uses; the number is the type byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 over the note's text.
    Ed25519 = 0x01,
    /// Ed25519 cosignature over a checkpoint and a time (C2SP tlog-cosignature, `cosignature/v1`).
    Cosignature = 0x04,
}

impl Algorithm {
    fn from_byte(byte: u8) -> Result<Self, Error> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::Cosignature),
            other => Err(Error::unsupported("key", format!("algorithm {other:#04x}; 0x01 and 0x04 are supported"))),
        }
    }
}

/// A public key with its name and algorithm. A signature must match all three to count.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    algorithm: Algorithm,
    public_key: PublicKey,
    id: [u8; 4],
}

impl VerifierKey {
    fn new(name: &str, algorithm: Algorithm, public_key: PublicKey) -> Result<Self, Error> {
        if !text::is_name(name) {
            return Err(Error::malformed("key", format!("{name:?} is not a key name")));
        }
        if public_key.is_weak() {
            return Err(Error::malformed("key", format!("the public key of {name} has small order")));
        }
        let mut preimage = Vec::with_capacity(name.len() + 34);
        preimage.extend_from_slice(name.as_bytes());
        preimage.extend_from_slice(&[b'\n', algorithm as u8]);
        preimage.extend_from_slice(public_key.as_bytes());
        let digest = crate::sha256(&preimage);
        let id = [digest.0[0], digest.0[1], digest.0[2], digest.0[3]];
        Ok(Self { name: name.to_owned(), algorithm, public_key, id })
    }

    /// The key's name, as its signature lines show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key id: the first four bytes of SHA-256(name || 0x0A || algorithm || public key). A hint, not an identity.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The algorithm, part of the key's identity.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The 32-byte Ed25519 public key.
    pub fn public_key(&self) -> &[u8; 32] {
        self.public_key.as_bytes()
    }

    /// `verify_strict`: refuses small-order keys and non-canonical signatures, which plain verification accepts.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        #[cfg(feature = "signature-memory")]
        if memo::recall(self, message).as_ref() == Some(signature) {
            return true;
        }
        self.public_key.verify_strict(message, signature)
    }

    /// Verifies many messages with their signatures, in less time for each.
    pub(crate) fn verify_all(&self, signed: &[(&[u8], &[u8; 64])]) -> Vec<bool> {
        #[cfg(feature = "signature-memory")]
        if memo::is_on() {
            return signed.iter().map(|(message, signature)| self.verify(message, signature)).collect();
        }
        self.public_key.verify_strict_all(signed)
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; 33];
        bytes[0] = self.algorithm as u8;
        bytes[1..].copy_from_slice(self.public_key());
        write!(f, "{}+{}+{}", self.name, hex_id(self.id), Base64::encode_string(&bytes))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    /// Parses a vkey: `name+hex(key id)+base64(algorithm || public key)`.
    fn from_str(s: &str) -> Result<Self, Error> {
        let malformed = |problem: &str| Error::malformed("key", format!("{problem} in {s:?}"));
        let mut parts = s.splitn(3, '+');
        let (Some(name), Some(_id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("expected name+id+key"));
        };
        let bytes = Base64::decode_vec(encoded).map_err(|_| malformed("invalid base64"))?;
        let (&algorithm, public_key) = bytes.split_first().ok_or_else(|| malformed("empty key"))?;
        let algorithm = Algorithm::from_byte(algorithm)?;
        let public_key: &[u8; 32] = public_key.try_into().map_err(|_| malformed("expected 32 bytes of public key"))?;
        let public_key = PublicKey::from_bytes(public_key).map_err(|_| malformed("invalid Ed25519 point"))?;
        let key = Self::new(name, algorithm, public_key)?;
        // Nothing else can differ: base64 of 33 bytes has no unused bits.
        if key.to_string() != s {
            return Err(malformed("wrong key id"));
        }
        Ok(key)
    }
}

/// A private key with its name and algorithm. Dropping it erases the seed from memory. `Debug` does not print the seed.
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    verifier: VerifierKey,
}

impl SigningKey {
    /// Makes a key from the 32 secret bytes of RFC 8032; they must come from the system's random source.
    ///
    /// # Errors
    /// When `name` is not a key name of notes.
    pub fn from_seed(name: &str, algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, Error> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, algorithm, key.verifying_key().into())?;
        Ok(Self { key, verifier })
    }

    /// The public side.
    pub fn verifier_key(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The text form, `PRIVATE+KEY+name+hex(key id)+base64(algorithm || seed)`, erased when dropped.
    pub fn encode(&self) -> Zeroizing<String> {
        let mut bytes = [0; 33];
        bytes[0] = self.verifier.algorithm as u8;
        bytes[1..].copy_from_slice(self.key.as_bytes());
        let encoded = Zeroizing::new(Base64::encode_string(&bytes));
        bytes.zeroize();
        Zeroizing::new(format!("{PRIVATE_PREFIX}{}+{}+{}", self.verifier.name, hex_id(self.verifier.id), *encoded))
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        #[cfg(feature = "signature-memory")]
        if let Some(signature) = memo::recall(&self.verifier, message) {
            return signature;
        }
        let signature = self.key.sign(message).to_bytes();
        #[cfg(feature = "signature-memory")]
        memo::remember(&self.verifier, message, signature);
        signature
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

impl FromStr for SigningKey {
    type Err = Error;

    /// Parses the text form of [`SigningKey::encode`]. Errors never repeat the input, which is secret.
    fn from_str(s: &str) -> Result<Self, Error> {
        let malformed = |problem: &str| Error::malformed("private key", problem);
        let rest = s.strip_prefix(PRIVATE_PREFIX).ok_or_else(|| malformed("does not begin with PRIVATE+KEY+"))?;
        let mut parts = rest.splitn(3, '+');
        let (Some(name), Some(_), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed("expected PRIVATE+KEY+name+id+key"));
        };
        let bytes = Zeroizing::new(Base64::decode_vec(encoded).map_err(|_| malformed("invalid base64"))?);
        let (&algorithm, seed) = bytes.split_first().ok_or_else(|| malformed("empty key"))?;
        let algorithm = Algorithm::from_byte(algorithm)?;
        let seed: &[u8; 32] = seed.try_into().map_err(|_| malformed("expected 32 bytes of seed"))?;
        let key = Self::from_seed(name, algorithm, seed)?;
        if *key.encode() != s {
            return Err(malformed("the key id does not match the name and the key"));
        }
        Ok(key)
    }
}

const PRIVATE_PREFIX: &str = "PRIVATE+KEY+";

fn hex_id(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("ingest-a", Algorithm::Ed25519, &[7; 32]).expect("a valid name")
    }

    #[test]
    fn texts_read_back_as_the_same_key() {
        let key = key();
        let public: VerifierKey = key.verifier_key().to_string().parse().expect("own text");
        assert_eq!(&public, key.verifier_key());
        let private: SigningKey = key.encode().parse().expect("own text");
        assert_eq!(private.verifier_key(), key.verifier_key());
    }

    /// The example key of C2SP signed-note's reference implementation in Go.
    #[test]
    fn the_published_example_key_is_read() {
        let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key: VerifierKey = text.parse().expect("a published vkey");
        assert_eq!(key.name(), "PeterNeumann");
        assert_eq!(key.id(), [0xc7, 0x4f, 0x20, 0xa3]);
    }

    #[test]
    fn other_spellings_and_weak_keys_are_refused() {
        let text = key().verifier_key().to_string();
        let id = hex_id(key().verifier_key().id());
        for bad in [
            text.replace(&id, &id.to_uppercase().replace(char::is_numeric, "A")),
            text.replace("ingest-a", "ingest-b"),
            format!("{text} "),
            text[..text.len() - 4].to_owned(),
            String::new(),
            "a+b".into(),
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad:?}");
        }
        for bad in [text.replace(&id, &id.to_uppercase()), text.replace("ingest-a", "ingest-b")] {
            assert_ne!(bad, text);
            let error = bad.parse::<VerifierKey>().expect_err("must be refused").to_string();
            assert!(error.contains("wrong key id"), "{error}");
        }
        // The identity point: every signature with S = 0 would verify under a lax verifier.
        let mut identity = [0; 32];
        identity[0] = 1;
        let point = PublicKey::from_bytes(&identity).expect("decodes");
        assert!(VerifierKey::new("weak", Algorithm::Ed25519, point).is_err());
    }

    #[test]
    fn an_unknown_algorithm_is_unsupported() {
        let bytes = [&[6_u8][..], key().verifier_key().public_key()].concat();
        let text = format!("w+00000000+{}", Base64::encode_string(&bytes));
        assert!(matches!(text.parse::<VerifierKey>(), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn debug_and_errors_hide_the_seed() {
        let key = key();
        let secret = key.encode();
        let seed_text = secret.rsplit('+').next().expect("has parts").to_owned();
        assert!(!format!("{key:?}").contains(&seed_text));
        let error = secret.replace("ingest-a", "ingest-b").parse::<SigningKey>().expect_err("wrong id");
        assert!(!error.to_string().contains(&seed_text));
    }
}
