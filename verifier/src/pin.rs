//! The pin file: the largest head that an auditor has seen.

use std::path::Path;

use evidence::Hash;
use evidence::text::parse_u63;

const FIRST_LINE: &str = "streamseal/pin@v1";

const PIN_BYTES_MAX: usize = 4096;

/// The content of a pin file:
///
/// ```text
/// streamseal/pin@v1
/// origin <origin>
/// genesis <SHA-256 of the genesis text>
/// size <entries>
/// root <root>
/// from <git or bundle>
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) origin: String,
    pub(crate) genesis: Hash,
    pub(crate) size: u64,
    pub(crate) root: Hash,
    /// Where the head was seen. A head from Git must be found there again.
    pub(crate) from: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Git,
    Bundle,
}

impl Pin {
    /// Reads a pin file; `None` when there is none yet.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, String> {
        if !path.try_exists().map_err(|e| e.to_string())? {
            return Ok(None);
        }
        let bytes = keystore::read_capped(path, PIN_BYTES_MAX).map_err(|e| e.to_string())?;
        let pin = std::str::from_utf8(&bytes).ok().and_then(Self::decode);
        pin.map(Some).ok_or_else(|| "not a pin file that this verifier wrote".to_owned())
    }

    /// Replaces the pin file, durably.
    pub(crate) fn write(&self, path: &Path) -> Result<(), String> {
        keystore::write_synced(path, self.encode().as_bytes(), 0o644).map_err(|e| e.to_string())
    }

    pub(crate) fn encode(&self) -> String {
        let Self { origin, genesis, size, root, from } = self;
        let from = match from {
            Source::Git => "git",
            Source::Bundle => "bundle",
        };
        format!("{FIRST_LINE}\norigin {origin}\ngenesis {genesis}\nsize {size}\nroot {root}\nfrom {from}\n")
    }

    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut field = |name| lines.next()?.strip_prefix(name);
        let pin = Self {
            origin: field("origin ")?.to_owned(),
            genesis: field("genesis ")?.parse().ok()?,
            size: parse_u63(field("size ")?)?,
            root: field("root ")?.parse().ok()?,
            from: match field("from ")? {
                "git" => Source::Git,
                "bundle" => Source::Bundle,
                _ => return None,
            },
        };
        (pin.encode() == text).then_some(pin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pin_files_round_trip_and_damage_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        assert_eq!(Pin::read(&path), Ok(None));
        let pin = Pin {
            origin: "example.com/audit".into(),
            genesis: evidence::sha256(b"genesis"),
            size: 42,
            root: evidence::sha256(b"root"),
            from: Source::Git,
        };
        pin.write(&path).expect("written");
        assert_eq!(Pin::read(&path), Ok(Some(pin.clone())));
        let bytes = std::fs::read(&path).expect("read");
        for end in 0..bytes.len() {
            std::fs::write(&path, &bytes[..end]).expect("written");
            assert!(Pin::read(&path).is_err(), "cut at {end}");
        }
        std::fs::write(&path, [&bytes[..], b"\n"].concat()).expect("written");
        assert!(Pin::read(&path).is_err());
        assert!(Pin::read(folder.path()).is_err(), "a folder");
    }
}
