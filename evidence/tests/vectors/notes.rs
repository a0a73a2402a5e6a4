//! Keys and signed notes.

use evidence::{Algorithm, Error, Note, NoteError, SigningKey, VerifierKey};
use serde::Serialize;

use crate::fixture::{KeyRing, key};
use crate::form::{Hex, Input, Refused, Text, refused_text};

#[derive(Serialize)]
pub(crate) struct KeyVectors {
    keys: Vec<Key>,
    refused_vkeys: Vec<Refused<Input>>,
    refused_private_keys: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Key {
    name: String,
    algorithm: Text,
    seed: Hex,
    public_key: Hex,
    key_id: Hex,
    vkey: Text,
    private_key: String,
}

pub(crate) fn key_vectors() -> KeyVectors {
    let ring = KeyRing::new();
    let keys = ring.all().map(|(key, seed)| describe(key, seed)).into();
    KeyVectors { keys, refused_vkeys: refused_vkeys(), refused_private_keys: refused_private_keys() }
}

fn describe(key: &SigningKey, seed: u8) -> Key {
    let public = key.verifier_key();
    assert_eq!(public.to_string().parse().as_ref(), Ok(public));
    assert_eq!(key.encode().parse::<SigningKey>().expect("own text").verifier_key(), public);
    Key {
        name: public.name().to_owned(),
        algorithm: (public.algorithm() as u8).into(),
        seed: Hex(vec![seed; 32]),
        public_key: Hex(public.public_key().to_vec()),
        key_id: Hex(public.id().to_vec()),
        vkey: public.into(),
        private_key: key.encode().to_string(),
    }
}

/// A vkey with the right key id, for any name and bytes.
fn vkey(name: &str, bytes: &[u8]) -> String {
    use base64ct::{Base64, Encoding};
    let id = evidence::sha256(&[name.as_bytes(), b"\n", bytes].concat());
    let id: String = id.0[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}+{id}+{}", Base64::encode_string(bytes))
}

fn refused_vkeys() -> Vec<Refused<Input>> {
    let good = key("operator", Algorithm::Ed25519, 1).verifier_key().clone();
    let text = good.to_string();
    let public = good.public_key();
    let bytes = |algorithm: u8, public: &[u8]| [&[algorithm][..], public].concat();
    let mut identity = [0; 32];
    identity[0] = 1;
    let parse = |bytes: &[u8]| std::str::from_utf8(bytes).expect("text").parse::<VerifierKey>();
    let refused = |name: &str, text: &str, code| refused_text(name, text.as_bytes(), code, parse);
    assert_eq!(vkey("operator", &bytes(1, public)), text);
    vec![
        refused("empty", "", "malformed"),
        refused("no key", &text[..text.rfind('+').expect("has one")], "malformed"),
        refused("wrong key id", &text.replacen(&text[9..17], "00000000", 1), "malformed"),
        refused("key id in capitals", &text.replacen(&text[9..17], &text[9..17].to_uppercase(), 1), "malformed"),
        refused("another name", &text.replacen("operator", "operatos", 1), "malformed"),
        refused("the URL alphabet", &text.replace('/', "_"), "malformed"),
        refused("a space at the end", &format!("{text} "), "malformed"),
        refused("a public key of 31 bytes", &vkey("operator", &bytes(1, &public[..31])), "malformed"),
        refused("a public key of 33 bytes", &vkey("operator", &bytes(1, &[&public[..], b"\0"].concat())), "malformed"),
        refused("no bytes", &vkey("operator", b""), "malformed"),
        refused("the identity point", &vkey("operator", &bytes(1, &identity)), "malformed"),
        refused("no point of the curve", &vkey("operator", &bytes(1, &[2; 32])), "malformed"),
        refused("an empty name", &vkey("", &bytes(1, public)), "malformed"),
        refused("a space in the name", &vkey("my operator", &bytes(1, public)), "malformed"),
        refused("a name of 256 bytes", &vkey(&"n".repeat(256), &bytes(1, public)), "malformed"),
        refused("algorithm 0x02 (ECDSA)", &vkey("operator", &bytes(2, public)), "unsupported"),
        refused("algorithm 0x06 (ML-DSA-44 cosignature)", &vkey("operator", &bytes(6, public)), "unsupported"),
    ]
}

fn refused_private_keys() -> Vec<Refused<Input>> {
    let text = key("operator", Algorithm::Ed25519, 1).encode().to_string();
    let parse = |bytes: &[u8]| std::str::from_utf8(bytes).expect("text").parse::<SigningKey>();
    let refused = |name: &str, text: &str| refused_text(name, text.as_bytes(), "malformed", parse);
    vec![
        refused("no prefix", text.trim_start_matches("PRIVATE+KEY+")),
        refused("another name", &text.replacen("operator", "operatos", 1)),
        refused("a newline at the end", &format!("{text}\n")),
    ]
}

#[derive(Serialize)]
pub(crate) struct NoteVectors {
    verified: Vec<Verified>,
    not_verified: Vec<NotVerified>,
    refused: Vec<Refused<Input>>,
}

#[derive(Serialize)]
struct Verified {
    name: &'static str,
    note: String,
    vkey: Text,
    /// The time of a cosignature in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    cosigned_at: Option<Text>,
}

#[derive(Serialize)]
struct NotVerified {
    name: &'static str,
    note: String,
    vkey: Text,
    code: &'static str,
}

const TEXT: &str = "example.com/audit\n42\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

fn note_text(note: &Note) -> String {
    let bytes = note.to_bytes();
    assert_eq!(Note::parse(&bytes).as_ref(), Ok(note));
    String::from_utf8(bytes).expect("a note is text")
}

pub(crate) fn note_vectors() -> NoteVectors {
    let ring = KeyRing::new();
    NoteVectors { verified: verified(&ring), not_verified: not_verified(&ring), refused: refused_notes(&ring) }
}

fn note(text: &str, sign: impl FnOnce(&mut Note)) -> Note {
    let mut note = Note::unsigned(text.into()).expect("lines");
    sign(&mut note);
    note
}

fn verified(ring: &KeyRing) -> Vec<Verified> {
    let plain = |name, text: &str, key: &SigningKey| {
        let note = note(text, |note| note.sign(key));
        assert_eq!(note.verify(key.verifier_key()), Ok(()));
        Verified { name, note: note_text(&note), vkey: key.verifier_key().into(), cosigned_at: None }
    };
    let cosigned = |name, time, key: &SigningKey| {
        let note = note(TEXT, |note| {
            note.sign(&ring.log);
            note.cosign(key, time);
        });
        assert_eq!(note.verify_cosignature(key.verifier_key()), Ok(time));
        let cosigned_at = Some(time.into());
        Verified { name, note: note_text(&note), vkey: key.verifier_key().into(), cosigned_at }
    };
    let twice = note(TEXT, |note| [(); 2].iter().for_each(|()| note.sign(&ring.operator)));
    assert_eq!(twice.verify(ring.operator.verifier_key()), Ok(()));
    let vkey = ring.operator.verifier_key().into();
    vec![
        Verified { name: "two lines by the key", note: note_text(&twice), vkey, cosigned_at: None },
        plain("one line", "text\n", &ring.operator),
        plain("an empty line in the text", "first\n\nthird\n", &ring.operator),
        plain("an empty line at the end of the text", "first\n\n", &ring.operator),
        plain("a text beyond ASCII", "Grüße — 你好\n", &ring.operator),
        plain("a text that looks like a signature line", "— operator AAAAAAAA\n", &ring.operator),
        cosigned("a cosignature", 1_732_180_060, &ring.witness_1),
        cosigned("a cosignature at time 0", 0, &ring.witness_1),
        cosigned("a cosignature at the largest time", u64::MAX, &ring.witness_1),
    ]
}

/// Notes that read well and are not signed by the key in question.
fn not_verified(ring: &KeyRing) -> Vec<NotVerified> {
    let by = &ring.operator;
    let good = note(TEXT, |note| note.sign(by));
    let other_text = note("another text\n", |note| note.sign(by));
    let line = |note: &Note| note.signatures().next().expect("signed").clone();
    let same_name = key("operator", Algorithm::Ed25519, 99);
    let cosigning = key("operator", Algorithm::Cosignature, 1);
    let with_bytes = |bytes: &[u8]| {
        use base64ct::{Base64, Encoding};
        let encoded = Base64::encode_string(&[&by.verifier_key().id()[..], bytes].concat());
        format!("{TEXT}\n— operator {encoded}\n")
    };
    let signature = by_operator_signature(&good);
    let mut malleable = signature.clone();
    add_group_order(&mut malleable[32..]);
    let case = |name, note: String, key: &SigningKey, code| {
        let parsed = Note::parse(note.as_bytes()).expect(name);
        let error = parsed.verify(key.verifier_key()).expect_err(name);
        let found = match error {
            NoteError::Absent(_) => "absent",
            NoteError::Repeated(_) => unreachable!("several lines of a key are an error in statements alone"),
            NoteError::Invalid(_) => "invalid",
        };
        assert_eq!(found, code, "{name}");
        NotVerified { name, note, vkey: key.verifier_key().into(), code }
    };
    vec![
        case("another key", note_text(&good), &ring.log, "absent"),
        case("a key of the same name", note_text(&good), &same_name, "absent"),
        case("the same key as a cosigning key", note_text(&good), &cosigning, "absent"),
        case(
            "the signature of another text",
            note_text(&note(TEXT, |n| n.add_signature(line(&other_text)))),
            by,
            "invalid",
        ),
        case(
            "a second line by the key that is not valid",
            note_text(&note(TEXT, |n| {
                n.sign(by);
                n.add_signature(line(&other_text));
            })),
            by,
            "invalid",
        ),
        case(
            "a first line by the key that is not valid",
            note_text(&note(TEXT, |n| {
                n.add_signature(line(&other_text));
                n.sign(by);
            })),
            by,
            "invalid",
        ),
        case("a signature of 63 bytes", with_bytes(&signature[..63]), by, "invalid"),
        case("a signature of 65 bytes", with_bytes(&[&signature[..], b"\0"].concat()), by, "invalid"),
        case("a scalar at or above the order of the group", with_bytes(&malleable), by, "invalid"),
        case("an R of small order, which lax verification accepts", with_bytes(&SMALL_ORDER_R), by, "invalid"),
        case(
            "a cosignature read as a plain signature",
            note_text(&note(TEXT, |n| n.cosign(&ring.witness_1, 7))),
            &key("example.net/w1", Algorithm::Ed25519, 7),
            "absent",
        ),
        case("a cosignature with another time", cosignature_with_another_time(ring), &ring.witness_1, "invalid"),
    ]
}

fn by_operator_signature(note: &Note) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    let line = note.signatures().next().expect("signed").to_line();
    let encoded = line.rsplit(' ').next().expect("a field");
    Base64::decode_vec(encoded).expect("own line")[4..].to_vec()
}

/// A signature of [`TEXT`] by the operator's key with the identity as R, and S = SHA-512(R || A || text) times the secret
/// scalar: the equation holds.
const SMALL_ORDER_R: [u8; 64] = [
    1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x05, 0x6e, 0x93,
    0x82, 0xf1, 0xfb, 0x70, 0x94, 0xf8, 0xe2, 0x44, 0x0e, 0x7e, 0x76, 0xde, 0x66, 0x54, 0x63, 0xc0, 0xc0, 0x82, 0x8f,
    0xad, 0xf0, 0x20, 0x97, 0x1a, 0xb2, 0xdd, 0x13, 0xa8, 0x0b,
];

/// Adds the order of Ed25519's group to a little-endian scalar: another spelling of the same signature.
fn add_group_order(scalar: &mut [u8]) {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0;
    for (byte, order) in scalar.iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
}

fn cosignature_with_another_time(ring: &KeyRing) -> String {
    use base64ct::{Base64, Encoding};
    let line = note(TEXT, |n| n.cosign(&ring.witness_1, 1000)).signatures().next().expect("cosigned").to_line();
    let (start, encoded) = line.rsplit_once(' ').expect("a field");
    let mut bytes = Base64::decode_vec(encoded).expect("own line");
    bytes[4 + 7] ^= 1;
    format!("{TEXT}\n{start} {}\n", Base64::encode_string(&bytes))
}

fn refused_notes(ring: &KeyRing) -> Vec<Refused<Input>> {
    let good = note_text(&note("first\nsecond\n", |n| n.sign(&ring.operator)));
    let (text, line) = good.split_once("\n\n").expect("a text and a line");
    let refused = |name: &str, bytes: &[u8]| refused_text(name, bytes, "malformed", parse);
    let changed = |name: &str, from: &str, to: &str| {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        refused(name, changed.as_bytes())
    };
    vec![
        refused("empty", b""),
        refused("no signature", format!("{text}\n").as_bytes()),
        refused("no signature after the empty line", format!("{text}\n\n").as_bytes()),
        refused("no text", format!("\n{line}").as_bytes()),
        refused("an empty first line", format!("\n\n{line}").as_bytes()),
        refused("no newline at the end", good.trim_end().as_bytes()),
        refused("an empty line at the end", format!("{good}\n").as_bytes()),
        refused("text after the signature", format!("{good}third\n").as_bytes()),
        refused("carriage returns", good.replace('\n', "\r\n").as_bytes()),
        changed("a tab in the text", "first", "fir\tst"),
        changed("a zero byte in the text", "first", "fir\0st"),
        refused("not UTF-8", &[b"\xff", good.as_bytes()].concat()),
        changed("a hyphen for the em dash", "— ", "- "),
        changed("two spaces before the name", "— operator", "—  operator"),
        changed("a plus in the name", "operator", "oper+ator"),
        changed("no name", "— operator", "—"),
        refused("a space at the end", format!("{} \n", good.trim_end()).as_bytes()),
        changed("base64 without padding", "=\n", "\n"),
        refused("a signature of no bytes", format!("{text}\n\n— operator AAAAAA==\n").as_bytes()),
        refused("shorter than a key id", format!("{text}\n\n— operator AAAA\n").as_bytes()),
        refused("65 signatures", format!("{text}\n\n{}", line.repeat(65)).as_bytes()),
        refused("longer than 64 KiB", format!("{}\n\n{line}", "x".repeat(65_536)).as_bytes()),
    ]
}

fn parse(bytes: &[u8]) -> Result<Note, Error> {
    Note::parse(bytes)
}
