//! A first reading of the entries: facts that must be known before they are applied in order.

use evidence::Entry;

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
                b"streamseal/heads@v1" => newest_heads = Some(seq),
                b"streamseal/key@v1" | b"streamseal/genesis@v1" => {
                    key_entry_bytes += bytes.len();
                    if key_entry_bytes > KEY_ENTRY_BYTES_MAX {
                        let problem = format!("more than {KEY_ENTRY_BYTES_MAX} bytes of key entries");
                        return Err(bundle::Error::Unsupported { file: "entries".into(), problem });
                    }
                    // `chain::follow` reports an entry that does not parse.
                    Entry::parse(bytes).iter().for_each(|entry| collector.add(entry));
                }
                _ => {}
            }
        }
    }
    Ok(Scan { newest_heads, distrust: collector.finish() })
}

/// The first line of the statement in an entry, after the first empty line; empty if there is none.
fn statement_kind(entry: &[u8]) -> &[u8] {
    let statement = entry.windows(2).position(|two| two == b"\n\n").map_or(&[][..], |at| &entry[at + 2..]);
    statement.split(|&byte| byte == b'\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kind_follows_the_first_empty_line() {
        assert_eq!(
            statement_kind(b"streamseal/entry@v1\nseq 4\n\nstreamseal/heads@v1\nx\n\ny"),
            b"streamseal/heads@v1"
        );
        for entry in [&b""[..], b"\n", b"a\nb", b"a\n\n"] {
            assert_eq!(statement_kind(entry), b"");
        }
    }
}
