//! The report as text.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::ops::Range;

use evidence::{TimestampType, decode_content};

use super::{EventReport, Report, StreamReport};
use crate::finding::offsets_in_words;
use crate::time::utc;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verdict.to_string().to_uppercase())?;
        if let Some(ledger) = &self.ledger {
            write!(f, "  ledger {}, genesis {}", ledger.origin, ledger.genesis)?;
        }
        writeln!(f)?;
        self.findings(f)?;
        if let Some((checkpoint, words)) = &self.checkpoint {
            writeln!(f, "\nCheckpoint: size {}, root {}", checkpoint.size, checkpoint.root)?;
            for word in &words.witnesses {
                let whose = match word.independent {
                    Some(true) => "not a key of the ledger",
                    Some(false) => "the ledger's own key",
                    None => "perhaps a key of the ledger",
                };
                writeln!(f, "  cosigned {} by {} ({whose})", utc(word.time_s), word.key.name())?;
            }
            let Self { entries, evidence, .. } = self;
            writeln!(f, "  {entries} entries of the {evidence} are in its tree and keep the chain's rules")?;
        }
        if let Some(heads) = self.heads {
            let streams = counted(heads.streams, "stream", "s");
            let at = utc(u64::try_from(heads.time_ms).unwrap_or(0) / 1000);
            writeln!(f, "Heads: entry {} of {at} commits to the ends of {streams}", heads.seq)?;
        }
        if let Some(event) = &self.event {
            event.fmt(f)?;
        }
        self.streams(f)?;
        self.clones(f)?;
        if !self.not_checked.is_empty() {
            writeln!(f, "\nNot checked:")?;
            self.not_checked.iter().try_for_each(|what| writeln!(f, "  {}", visible(what)))?;
        }
        Ok(())
    }
}

impl Report {
    fn findings(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let place = finding.place.to_string();
            let place = visible(&place);
            let separator = if place.is_empty() { "" } else { ": " };
            let problem = visible(&finding.problem);
            writeln!(f, "  {}: {place}{separator}{problem} [{}]", finding.verdict, finding.code)?;
        }
        if self.findings_more > 0 {
            writeln!(f, "  and {} more findings", self.findings_more)?;
        }
        Ok(())
    }

    fn streams(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.streams.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nStreams:")?;
        for stream in &self.streams {
            writeln!(f, "  {}: {}", stream.stream, stream.verdict)?;
            stream.details(self.evidence, f)?;
        }
        Ok(())
    }

    fn clones(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.clones.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nClones:")?;
        for clone in &self.clones {
            let whole = if clone.complete { "" } else { ", not read to its first commit" };
            let anchors = counted(clone.anchors, "anchor", "s");
            writeln!(f, "  {} {}: {anchors}{whole}", visible(&clone.path), visible(&clone.reference))?;
            if let Some(newest) = &clone.newest {
                writeln!(f, "    newest: size {}, {}", newest.size, newest.in_words())?;
            }
            match clone.agrees_at {
                Some(size) => writeln!(f, "    agrees with the {} up to size {size}", self.evidence)?,
                None => writeln!(f, "    has no anchor that can be compared with the {}", self.evidence)?,
            }
        }
        Ok(())
    }
}

/// The most characters of a key or value that are shown.
const SHOWN_CHARS: usize = 200;

impl Display for EventReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let by = match self.timestamp_type {
            TimestampType::NotAvailable => "of no stated kind",
            TimestampType::Create => "its producer's",
            TimestampType::LogAppend => "its broker's",
        };
        writeln!(f, "\nEvent: offset {}, timestamp {} ms ({by})", self.offset, self.timestamp)?;
        let Ok(content) = decode_content(&self.content) else { return Ok(()) };
        writeln!(f, "  key:   {}", shown(content.key))?;
        writeln!(f, "  value: {}", shown(content.value))?;
        let mut headers = content.headers();
        headers.try_for_each(|h| writeln!(f, "  header {}: {}", shown(Some(h.name)), shown(h.value)))
    }
}

/// Bytes as text; if they are no text, their number.
fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return format!("{}, not text", counted(bytes.len() as u64, "byte", "s"));
    };
    let start: String = text.chars().take(SHOWN_CHARS).collect();
    let more = if start.len() < text.len() { format!("... ({} bytes)", text.len()) } else { String::new() };
    format!("\"{}\"{more}", visible(&start))
}

impl StreamReport {
    fn details(&self, evidence: &str, f: &mut Formatter<'_>) -> fmt::Result {
        if self.expected.is_empty() {
            writeln!(f, "    expected: nothing")?;
        } else {
            writeln!(f, "    expected: {}", list(&self.expected))?;
        }
        if let Some(start) = self.start {
            writeln!(f, "    begins at offset {start} by its epoch statement")?;
        }
        if self.intact.is_empty() {
            writeln!(f, "    proven: nothing")?;
        } else {
            let what = if self.counts { "proven" } else { "unchanged, but not proven" };
            let more = if self.intact_truncated { " and more" } else { "" };
            let at_least = if self.events_at_least { "at least " } else { "" };
            writeln!(
                f,
                "    {what}: {}{more}; {at_least}{} of {} in {}",
                list(&self.intact),
                counted(self.events, "event", "s"),
                counted(self.event_bytes, "byte", "s"),
                counted(self.batches, "batch", "es"),
            )?;
        }
        for gap in &self.gaps {
            writeln!(f, "    accepted gap: {}, {}, entry {}", offsets_in_words(&gap.offsets), gap.reason, gap.seq)?;
        }
        if self.gaps_more > 0 {
            writeln!(f, "    and {} more accepted gaps", self.gaps_more)?;
        }
        let Some(anchored) = self.anchored.as_ref().filter(|_| self.counts) else { return Ok(()) };
        let place = anchored.commit.as_ref().map_or_else(
            || format!("the {evidence}'s checkpoint"),
            |(path, commit)| format!("commit {commit} in {}", visible(path)),
        );
        writeln!(f, "    {} (size {}, {place})", anchored.in_words(), anchored.size)
    }
}

/// Escapes characters that a terminal obeys or hides. File names and references come with the evidence, and could otherwise
/// write lines of their own into the report.
fn visible(text: &str) -> Cow<'_, str> {
    // Quotes and backslashes, which `escape_debug` escapes too, are harmless.
    let is_plain = |c: char| matches!(c, '"' | '\'' | '\\') || c.escape_debug().len() == 1;
    if text.chars().all(is_plain) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_plain(c) { out.push(c) } else { out.extend(c.escape_debug()) }
    }
    out.into()
}

fn counted(count: u64, what: &str, plural: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { plural })
}

fn list(ranges: &[Range<u64>]) -> String {
    const SHOWN: usize = 10;
    let mut words: Vec<String> = ranges.iter().take(SHOWN).map(offsets_in_words).collect();
    if ranges.len() > SHOWN {
        words.push(format!("{} more ranges", ranges.len() - SHOWN));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use evidence::Partition;

    use super::*;
    use crate::report::HeadsReport;
    use crate::verdict::Verdict;

    fn report(heads: Option<HeadsReport>, findings_more: u64, stream: StreamReport) -> String {
        let report = Report {
            evidence: "bundle",
            verdict: Verdict::Proven,
            ledger: None,
            checkpoint: None,
            heads,
            entries: 0,
            event: None,
            streams: vec![stream],
            clones: Vec::new(),
            newest_at_s: None,
            findings: Vec::new(),
            findings_more,
            not_checked: Vec::new(),
        };
        report.to_string()
    }

    fn stream(intact: Vec<Range<u64>>, gaps_more: u64) -> StreamReport {
        StreamReport {
            stream: Partition { cluster: "-".into(), topic: "orders".into(), number: 3 }.stream(0),
            verdict: Verdict::Proven,
            expected: Vec::new(),
            start: None,
            intact,
            intact_truncated: false,
            counts: true,
            gaps: Vec::new(),
            gaps_more,
            events: 1,
            event_bytes: 2,
            events_at_least: false,
            batches: 1,
            anchored: None,
        }
    }

    #[test]
    fn unlisted_items_are_counted() {
        let ranges = |count: u64| (0..count).map(|i| 2 * i..2 * i + 1).collect::<Vec<_>>();
        let text = report(None, 0, stream(ranges(10), 0));
        assert!(text.contains("    proven: offset 0, offset 2, "), "{text}");
        assert!(text.contains("offset 18; 1 event of 2 bytes in 1 batch\n"), "{text}");
        assert!(!text.contains("more") && !text.contains("Not checked"), "{text}");
        let text = report(None, 0, StreamReport { events_at_least: true, ..stream(ranges(1), 0) });
        assert!(text.contains("    proven: offset 0; at least 1 event of 2 bytes in 1 batch\n"), "{text}");
        let text = report(None, 3, stream(ranges(12), 2));
        assert!(text.contains("\n  and 3 more findings\n"), "{text}");
        assert!(text.contains("offset 18, 2 more ranges; "), "{text}");
        assert!(text.contains("\n    and 2 more accepted gaps\n"), "{text}");
    }

    #[test]
    fn heads_statement_has_a_calendar_time() {
        let heads = HeadsReport { seq: 11, time_ms: 1_709_210_096_999, streams: 1 };
        let text = report(Some(heads), 0, stream(Vec::new(), 0));
        let line = "\nHeads: entry 11 of 2024-02-29T12:34:56Z commits to the ends of 1 stream\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn long_texts_are_cut() {
        let text = |chars| shown(Some("ü".repeat(chars).as_bytes()));
        assert_eq!(text(SHOWN_CHARS), format!("\"{}\"", "ü".repeat(SHOWN_CHARS)));
        assert_eq!(text(SHOWN_CHARS + 1), format!("\"{}\"... (402 bytes)", "ü".repeat(SHOWN_CHARS)));
        let not_text: [Option<&[u8]>; 3] = [None, Some(&[0xff]), Some(&[0xff, 0])];
        assert_eq!(not_text.map(shown), ["null", "1 byte, not text", "2 bytes, not text"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible("it's a \"name\" of Zürich\\"), "it's a \"name\" of Zürich\\");
        assert_eq!(visible("x\nPROVEN\r\u{1b}[2J\u{202e}\u{0}"), "x\\nPROVEN\\r\\u{1b}[2J\\u{202e}\\0");
    }
}
