//! A first reading of the entries: facts that must be known before they are applied in order.

use evidence::Entry;
use evidence::statement::StatementKind;

use crate::distrust::{Collector, Distrust};

/// The most bytes of key entries: over 50,000 keys. The chain's state takes about as much memory.
const KEY_ENTRY_BYTES_MAX: usize = 64 << 20;

/// The results of a first reading. They are not verified; `chain::follow` compares them.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The seq of the newest heads entry.
    pub(crate) newest_heads: Option<u64>,
    /// The distrusted keys.
    pub(crate) distrust: Distrust,
}

/// Reads all entries once, up to one that cannot be read. `chain::follow` stops at the same place and reports it.
///
/// # Errors
/// If there are too many key entries for memory.
pub(crate) fn scan(reader: &bundle::Reader) -> Result<Scan, bundle::Error> {
    let mut newest_heads = None;
    let mut collector = Collector::default();
    let mut key_entry_bytes = 0;
    let mut runs = reader.runs().ok();
    while let Some(run) = runs.as_mut().and_then(|runs| runs.next_run().ok()?) {
        for (seq, bytes) in (run.first..).zip(&run.entries) {
            match statement_kind(bytes) {
                Some(StatementKind::Heads) => newest_heads = Some(seq),
                Some(StatementKind::Genesis | StatementKind::Key) => {
                    key_entry_bytes += bytes.len();
                    if key_entry_bytes > KEY_ENTRY_BYTES_MAX {
                        let problem = format!("more than {KEY_ENTRY_BYTES_MAX} bytes of key entries");
                        return Err(bundle::Error::Unsupported { file: "entries".into(), problem });
                    }
                    // `chain::follow` reports an entry that does not parse.
                    Entry::parse(bytes).iter().for_each(|entry| collector.add(entry));
                }
                Some(StatementKind::Summary | StatementKind::Gap | StatementKind::Epoch) | None => {}
            }
        }
    }
    Ok(Scan { newest_heads, distrust: collector.finish() })
}

/// The kind of the statement in an entry, by the line after the first empty line. The rest need not decode.
fn statement_kind(entry: &[u8]) -> Option<StatementKind> {
    let at = entry.windows(2).position(|two| two == b"\n\n")? + 2;
    let first_line = entry[at..].split(|&byte| byte == b'\n').next()?;
    StatementKind::from_first_line(str::from_utf8(first_line).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_follows_the_first_empty_line() {
        for &kind in StatementKind::ALL {
            let entry = format!("streamseal/entry@v1\nseq 4\n\n{}\nx\n\ny", kind.first_line());
            assert_eq!(statement_kind(entry.as_bytes()), Some(kind));
        }
        for entry in [&b""[..], b"\n", b"a\nb", b"a\n\n", b"a\n\nstreamseal/heads@v2\n", b"a\n\n\xFF\n"] {
            assert_eq!(statement_kind(entry), None);
        }
    }
}
