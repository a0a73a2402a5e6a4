use crate::policy::Policy;
use crate::text::{Lines, or_dash};
use crate::{Error, Hash};

const OBJECT: &str = "trust file";
const FIRST_LINE: &str = "streamseal/trust@v1";

/// The auditor's own input: the ledger, and the keys that count (SPEC.md, "Trust file"). Nothing in a bundle can
/// replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustFile {
    /// The ledger's name.
    pub origin: String,
    /// SHA-256 of the text of its genesis.
    pub genesis: Hash,
    /// The largest age of the newest anchor, in seconds. `None` when its age is not judged.
    pub max_anchor_age_s: Option<u64>,
    /// The policy for checkpoints. It has at least one log, and all its logs have the origin as their name.
    pub policy: Policy,
}

impl TrustFile {
    /// Reads a trust file. The first part has one spelling. The policy after the empty line may have comments.
    ///
    /// # Errors
    /// [`Error::Malformed`] for any other spelling, [`Error::Unsupported`] for a version or kind that is not known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::malformed(OBJECT, "not UTF-8"))?;
        let mut lines = Lines::new(OBJECT, text)?;
        match lines.line()? {
            FIRST_LINE => {}
            other if other.starts_with("streamseal/trust@v") => {
                return Err(Error::unsupported(OBJECT, format!("version {other:?}")));
            }
            _ => return Err(lines.error(format!("expected {FIRST_LINE}"))),
        }
        let origin = lines.field("origin")?.name()?;
        let genesis = lines.field("genesis")?.hash()?;
        let max_anchor_age_s = lines.field("max-anchor-age")?.optional().map(|age| age.u63()).transpose()?;
        if !lines.line()?.is_empty() {
            return Err(lines.error("expected an empty line before the policy"));
        }
        let policy = Policy::parse(lines.rest().as_bytes())?;
        if policy.logs().is_empty() {
            return Err(Error::malformed(OBJECT, "the policy has no log line"));
        }
        if let Some(log) = policy.logs().iter().find(|log| log.key.name() != origin) {
            let problem = format!("the policy's log {} is not {origin}, whose trust file this is", log.key.name());
            return Err(Error::malformed(OBJECT, problem));
        }
        Ok(Self { origin, genesis, max_anchor_age_s, policy })
    }

    /// The file, without comments.
    pub fn encode(&self) -> String {
        let Self { origin, genesis, max_anchor_age_s, policy } = self;
        let age = or_dash(*max_anchor_age_s);
        format!("{FIRST_LINE}\norigin {origin}\ngenesis {genesis}\nmax-anchor-age {age}\n\n{}", policy.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Algorithm, SigningKey, sha256};

    fn key(name: &str, algorithm: Algorithm, seed: u8) -> String {
        SigningKey::from_seed(name, algorithm, &[seed; 32]).expect("a name").verifier_key().to_string()
    }

    fn good() -> String {
        let log = key("example.com/audit", Algorithm::Ed25519, 1);
        let witness = key("example.com/anchor", Algorithm::Cosignature, 2);
        format!(
            "streamseal/trust@v1\norigin example.com/audit\ngenesis {}\nmax-anchor-age 86400\n\n\
             log {log}\nwitness anchor {witness}\nquorum anchor\n",
            sha256(b"genesis")
        )
    }

    fn malformed(text: &str) -> bool {
        matches!(TrustFile::parse(text.as_bytes()), Err(Error::Malformed { .. }))
    }

    #[test]
    fn a_trust_file_reads_back() {
        let trust = TrustFile::parse(good().as_bytes()).expect("a trust file");
        assert_eq!(trust.origin, "example.com/audit");
        assert_eq!(trust.genesis, sha256(b"genesis"));
        assert_eq!(trust.max_anchor_age_s, Some(86_400));
        assert_eq!(trust.encode(), good());
        let without_age = good().replace("86400", "-");
        let trust = TrustFile::parse(without_age.as_bytes()).expect("a trust file");
        assert_eq!(trust.max_anchor_age_s, None);
        assert_eq!(trust.encode(), without_age);
    }

    #[test]
    fn the_policy_may_have_comments() {
        let commented = good().replace("witness anchor", "\n# our own\n\twitness  anchor");
        assert_eq!(TrustFile::parse(commented.as_bytes()), TrustFile::parse(good().as_bytes()));
    }

    #[test]
    fn every_cut_is_refused() {
        for end in 0..good().len() {
            assert!(TrustFile::parse(&good().as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn the_first_part_has_one_spelling() {
        for (from, to) in [
            ("trust@v1", "trust"),
            ("origin ", "origin  "),
            ("origin ", "Origin "),
            ("86400", "086400"),
            ("86400", "-1"),
            ("86400", ""),
            ("86400\n\n", "86400\n"),
            ("86400\n\n", "86400\nmore 1\n\n"),
            ("genesis ", ""),
            ("\norigin", "\n# comment\norigin"),
        ] {
            assert!(malformed(&good().replacen(from, to, 1)), "{from:?} as {to:?}");
        }
        let later = good().replace("trust@v1", "trust@v2");
        assert!(matches!(TrustFile::parse(later.as_bytes()), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn every_log_is_the_origins() {
        let log = format!("log {}\n", key("example.com/audit", Algorithm::Ed25519, 1));
        let other = format!("log {}\n", key("example.com/other", Algorithm::Ed25519, 3));
        let rotated = format!("log {}\n", key("example.com/audit", Algorithm::Ed25519, 4));
        assert!(malformed(&good().replace(&log, "")));
        assert!(malformed(&good().replace(&log, &other)));
        assert!(malformed(&good().replace(&log, &format!("{log}{other}"))));
        assert!(!malformed(&good().replace(&log, &format!("{log}{rotated}"))));
    }
}
