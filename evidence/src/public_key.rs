//! Ed25519 public keys that verify strictly, and twice as fast once they recur.
//!
//! They accept exactly the signatures that `ed25519_dalek::VerifyingKey::verify_strict` accepts. It checks that `s` is
//! canonical, and that neither the key nor `R` has small order. It also checks that `R` is the encoding of the point `s
//! B - k A`, byte for byte. There `k` is the hash of `R`, the key and the message. Most of its time goes into
//! doublings, because it knows nothing of `A` beforehand. A few ingest keys sign nearly everything. So a key that
//! recurs gets a table of its multiples, and `s B - k A` becomes some eighty additions. `R` need not be decoded. It is
//! compared with the encoding of the computed point, so a valid `R` decodes to that point. The order of that point is
//! then checked instead.
//!
//! All inputs are public, so nothing here runs in constant time.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::CompressedEdwardsY;
use curve25519_dalek::traits::Identity;
use curve25519_dalek::{EdwardsPoint, Scalar};
use ed25519_dalek::{Signature, SignatureError, VerifyingKey};
use sha2::{Digest, Sha512};

/// The signatures that a key verifies before it gets a table. The table takes as long to make as half of these take to
/// verify.
const USES_BEFORE_TABLE: usize = 32;

/// The most tables in this process, of 215 KiB each, so that keys in hostile evidence cannot fill the memory. Later
/// keys stay slow.
const TABLES_MAX: usize = 64;

static TABLES: AtomicUsize = AtomicUsize::new(0);

/// Multiples of the base point.
static BASE: LazyLock<Multiples> = LazyLock::new(|| Multiples::of(ED25519_BASEPOINT_POINT));

/// A public key. Clones share its table.
#[derive(Clone)]
pub(crate) struct PublicKey {
    key: VerifyingKey,
    recurring: Arc<Recurring>,
}

#[derive(Default)]
struct Recurring {
    uses: AtomicUsize,
    table: OnceLock<Option<KeyTable>>,
}

impl PublicKey {
    /// Decodes the key from 32 bytes.
    ///
    /// # Errors
    /// When they do not encode a point.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<Self, SignatureError> {
        VerifyingKey::from_bytes(bytes).map(Self::from)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether it has small order, so that nearly every signature would verify under a lax verifier.
    pub(crate) fn is_weak(&self) -> bool {
        self.key.is_weak()
    }

    /// Verifies exactly like `verify_strict` of ed25519-dalek.
    pub(crate) fn verify_strict(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match self.table(1) {
            Some(table) => table.verify_strict(&self.key, message, signature),
            None => self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok(),
        }
    }

    /// Verifies many messages with their signatures. It takes less time for each, because it encodes all points
    /// together.
    pub(crate) fn verify_strict_all(&self, signed: &[(&[u8], &[u8; 64])]) -> Vec<bool> {
        match self.table(signed.len()) {
            Some(table) => table.verify_strict_all(&self.key, signed),
            None => signed.iter().map(|(message, signature)| self.verify_strict(message, signature)).collect(),
        }
    }

    /// The table, once the key is used often enough. The caller is about to verify this number of signatures.
    fn table(&self, used: usize) -> Option<&KeyTable> {
        let Recurring { uses, table } = &*self.recurring;
        // Uses are counted only until then.
        if table.get().is_none() && uses.fetch_add(used, Ordering::Relaxed) < USES_BEFORE_TABLE {
            return None;
        }
        table.get_or_init(|| KeyTable::new(&self.key)).as_ref()
    }
}

impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> Self {
        Self { key, recurring: Arc::default() }
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// Multiples of the negated key.
struct KeyTable(Multiples);

impl KeyTable {
    /// `None` when the key has small order, or there are too many tables.
    fn new(key: &VerifyingKey) -> Option<Self> {
        let one_more = |tables| (tables < TABLES_MAX).then_some(tables + 1);
        if key.is_weak() || TABLES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err() {
            return None;
        }
        Some(Self(Multiples::of(-key.to_edwards())))
    }

    fn verify_strict(&self, key: &VerifyingKey, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        let point = self.point(key, message, &signature);
        point.is_some_and(|point| is_valid(&signature, &point, &point.compress()))
    }

    fn verify_strict_all(&self, key: &VerifyingKey, signed: &[(&[u8], &[u8; 64])]) -> Vec<bool> {
        let signed = signed.iter().map(|(message, signature)| (message, Signature::from_bytes(signature)));
        let signed: Vec<_> =
            signed.map(|(message, signature)| (self.point(key, message, &signature), signature)).collect();
        // One inversion for all of them. A signature without a point is invalid.
        let points: Vec<_> = signed.iter().map(|(point, _)| point.unwrap_or_default()).collect();
        let encoded = EdwardsPoint::compress_batch_alloc(&points);
        let valid = |((point, signature), encoded): (&(Option<EdwardsPoint>, Signature), _)| {
            point.is_some_and(|point| is_valid(signature, &point, encoded))
        };
        signed.iter().zip(&encoded).map(valid).collect()
    }

    /// `s B - k A`; `None` when `s` is not canonical.
    fn point(&self, key: &VerifyingKey, message: &[u8], signature: &Signature) -> Option<EdwardsPoint> {
        let s = Option::<Scalar>::from(Scalar::from_canonical_bytes(*signature.s_bytes()))?;
        let hash = Sha512::new().chain_update(signature.r_bytes()).chain_update(key.as_bytes()).chain_update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let mut point = EdwardsPoint::identity();
        BASE.add_multiple(&mut point, &s);
        self.0.add_multiple(&mut point, &k);
        Some(point)
    }
}

/// Whether `R` is the point of the equation, and not of small order.
fn is_valid(signature: &Signature, point: &EdwardsPoint, encoded: &CompressedEdwardsY) -> bool {
    encoded.as_bytes() == signature.r_bytes() && !point.is_small_order()
}

impl Drop for KeyTable {
    fn drop(&mut self) {
        TABLES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bits of a digit. With more, the tables outgrow the caches. With fewer, there are more additions.
const BITS: usize = 6;

/// Digits of a scalar, which is below 2^253, with room for the carry into the highest.
const DIGITS: usize = 254_usize.div_ceil(BITS);

/// Digits are signed, from `1 - HALF` to `HALF`, so that a table has half as many multiples.
const HALF: usize = 1 << (BITS - 1);

/// For each digit of a scalar in base `2^BITS`, the multiples 1 to `HALF` of the point at the digit's place.
struct Multiples(Vec<EdwardsPoint>);

impl Multiples {
    fn of(point: EdwardsPoint) -> Self {
        let mut points = Vec::with_capacity(DIGITS * HALF);
        let mut place = point;
        for _ in 0..DIGITS {
            let mut multiple = place;
            for _ in 1..HALF {
                points.push(multiple);
                multiple += place;
            }
            points.push(multiple);
            place = multiple + multiple;
        }
        Self(points)
    }

    /// Adds the multiple by a scalar to a point.
    fn add_multiple(&self, point: &mut EdwardsPoint, scalar: &Scalar) {
        let mut carry = 0;
        for (place, multiples) in self.0.chunks_exact(HALF).enumerate() {
            let digit = digit_at(scalar.as_bytes(), place * BITS) + carry;
            carry = usize::from(digit > HALF);
            if carry == 1 {
                let negative = (1 << BITS) - digit;
                if negative > 0 {
                    *point -= &multiples[negative - 1];
                }
            } else if digit > 0 {
                *point += &multiples[digit - 1];
            }
        }
    }
}

/// The `BITS` bits of a little-endian number from a place on.
fn digit_at(number: &[u8; 32], place: usize) -> usize {
    let byte = |at: usize| number.get(at).copied().unwrap_or(0);
    let two = u16::from_le_bytes([byte(place / 8), byte(place / 8 + 1)]);
    usize::from(two >> (place % 8)) & ((1 << BITS) - 1)
}

#[cfg(test)]
mod tests;
