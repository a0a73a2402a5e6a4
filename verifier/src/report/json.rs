use std::io::{self, Write};
use std::ops::Range;

use base64ct::{Base64, Encoding};
use evidence::{Content, StreamId, decode_content};
use serde_json::{Map, Value, json};

use super::{EventReport, Report, StreamReport};
use crate::clones::{Anchored, CloneReport};
use crate::finding::{Finding, Place};
use crate::words::Words;

impl Report {
    /// The report for programs (SPEC.md, section 13.9). 64-bit integers are strings, as JavaScript numbers cannot hold them.
    pub fn to_json(&self) -> Value {
        let mut value = self.without_streams();
        value["streams"] = self.streams.iter().map(stream_report).collect();
        value
    }

    /// Writes [`Report::to_json`] stream by stream: a value of 65,536 streams would take hundreds of megabytes.
    pub(crate) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let text = format!("{:#}", self.without_streams());
        let (before, after) = text.split_once(STREAMS).expect("the report has streams, and no string has a line break");
        write!(out, "{before}{}", &STREAMS[..STREAMS.len() - 1])?;
        for (i, stream) in self.streams.iter().enumerate() {
            let separator = if i == 0 { "\n" } else { ",\n" };
            let stream = format!("{:#}", stream_report(stream));
            write!(out, "{separator}    {}", stream.replace('\n', "\n    "))?;
        }
        let end = if self.streams.is_empty() { "" } else { "\n  " };
        writeln!(out, "{end}]{after}")
    }

    fn without_streams(&self) -> Value {
        json!({
            "verdict": self.verdict.to_string(),
            "exit_code": self.verdict.exit_code(),
            "ledger": self.ledger.as_ref().map(|ledger| json!({
                "origin": ledger.origin,
                "genesis": ledger.genesis.to_string(),
            })),
            "checkpoint": self.checkpoint.as_ref().map(|(checkpoint, said)| {
                let mut value = json!({"size": checkpoint.size.to_string(), "root": checkpoint.root.to_string()});
                extend(&mut value, words(said));
                value
            }),
            "heads": self.heads.map(|heads| json!({
                "entry": heads.seq.to_string(),
                "time_ms": heads.time_ms.to_string(),
                "streams": heads.streams.to_string(),
            })),
            "evidence": self.evidence,
            "entries": self.entries.to_string(),
            "event": self.event.as_ref().map(event),
            "streams": [],
            "clones": self.clones.iter().map(clone).collect::<Vec<_>>(),
            "newest_at_s": self.newest_at_s.map(|at| at.to_string()),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "findings_more": self.findings_more.to_string(),
            "not_checked": self.not_checked,
        })
    }
}

/// The field of no streams in the JSON text. A JSON string has no line break, so it occurs once.
const STREAMS: &str = "\n  \"streams\": []";

/// Bytes are base64; null stays null.
fn event(event: &EventReport) -> Value {
    let base64 = |bytes: Option<&[u8]>| bytes.map(Base64::encode_string);
    let content = decode_content(&event.content).ok();
    json!({
        "offset": event.offset.to_string(),
        "timestamp": event.timestamp.to_string(),
        "timestamp_type": event.timestamp_type as u8,
        "key": content.and_then(|content| base64(content.key)),
        "value": content.and_then(|content| base64(content.value)),
        "headers": content.iter().flat_map(Content::headers).map(|header| json!({
            "name": base64(Some(header.name)),
            "value": base64(header.value),
        })).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    let Place { file, commit, entry, stream: found, offsets } = &finding.place;
    json!({
        "verdict": finding.verdict.to_string(),
        "code": finding.code.as_str(),
        "problem": finding.problem,
        "count": finding.count.to_string(),
        "file": file,
        "commit": commit,
        "entry": entry.map(|seq| seq.to_string()),
        "stream": found.as_ref().map(stream),
        "offsets": offsets.as_ref().map(range),
    })
}

fn stream_report(report: &StreamReport) -> Value {
    let mut value = stream(&report.stream);
    extend(
        &mut value,
        json!({
            "verdict": report.verdict.to_string(),
            "expected": report.expected.iter().map(range).collect::<Vec<_>>(),
            "start": report.start.map(|start| start.to_string()),
            "proven": report.proven().iter().map(range).collect::<Vec<_>>(),
            "intact": report.intact.iter().map(range).collect::<Vec<_>>(),
            "intact_truncated": report.intact_truncated,
            "gaps": report.gaps.iter().map(|gap| json!({
                "offsets": range(&gap.offsets),
                "reason": gap.reason.to_string(),
                "entry": gap.seq.to_string(),
            })).collect::<Vec<_>>(),
            "gaps_more": report.gaps_more.to_string(),
            "events": report.events.to_string(),
            "events_at_least": report.events_at_least,
            "event_bytes": report.event_bytes.to_string(),
            "batches": report.batches.to_string(),
            "anchored": report.anchored.as_ref().map(anchored),
        }),
    );
    value
}

fn clone(clone: &CloneReport) -> Value {
    json!({
        "path": clone.path,
        "reference": clone.reference,
        "commits": clone.commits.to_string(),
        "anchors": clone.anchors.to_string(),
        "newest": clone.newest.as_ref().map(anchored),
        "agrees_at": clone.agrees_at.map(|size| size.to_string()),
        "complete": clone.complete,
    })
}

fn anchored(anchored: &Anchored) -> Value {
    let mut value = json!({
        "size": anchored.size.to_string(),
        "root": anchored.root.to_string(),
        "clone": anchored.commit.as_ref().map(|(path, _)| path),
        "commit": anchored.commit.as_ref().map(|(_, commit)| commit),
    });
    extend(&mut value, words(&anchored.words));
    value
}

fn words(words: &Words) -> Value {
    json!({
        "log": words.log.to_string(),
        "log_key_revoked": words.log_key_revoked,
        "witnesses": words.witnesses.iter().map(|word| json!({
            "key": word.key.to_string(),
            "time_s": word.time_s.to_string(),
            "independent": word.independent,
            "counts": word.counts,
        })).collect::<Vec<_>>(),
        "policy_satisfied": words.satisfied,
        "existed_by_s": words.existed_by_s.map(|at| at.to_string()),
        "newest_at_s": words.newest_at_s.map(|at| at.to_string()),
    })
}

fn stream(stream: &StreamId) -> Value {
    json!({
        "cluster": stream.partition.cluster,
        "topic": stream.partition.topic,
        "partition": stream.partition.number,
        "epoch": stream.epoch.to_string(),
    })
}

/// `from` and `to`, the offset after the last; `to` is null if the range has no end.
fn range(range: &Range<u64>) -> Value {
    let to = (range.end != u64::MAX).then(|| range.end.to_string());
    json!({"from": range.start.to_string(), "to": to})
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        let more: Map<String, Value> = more;
        value.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use evidence::Partition;

    use super::*;
    use crate::Verdict;

    fn report(streams: u32) -> Report {
        let stream = |number| StreamReport {
            stream: Partition { cluster: "-".into(), topic: "orders".into(), number }.stream(0),
            verdict: Verdict::Proven,
            expected: vec![0..9, 10..12],
            start: None,
            intact: Vec::new(),
            intact_truncated: false,
            counts: true,
            gaps: Vec::new(),
            gaps_more: 0,
            events: 1,
            event_bytes: 2,
            events_at_least: false,
            batches: 1,
            anchored: None,
        };
        Report {
            evidence: "bundle",
            verdict: Verdict::Proven,
            ledger: None,
            checkpoint: None,
            heads: None,
            entries: 0,
            event: None,
            streams: (0..streams).map(stream).collect(),
            clones: Vec::new(),
            newest_at_s: None,
            findings: Vec::new(),
            findings_more: 0,
            // In a string, a line break is escaped.
            not_checked: vec![STREAMS.to_owned(), "\n".to_owned()],
        }
    }

    #[test]
    fn streamed_json_equals_the_whole_report() {
        for streams in 0..3 {
            let report = report(streams);
            let mut written = Vec::new();
            report.write_json(&mut written).expect("a Vec takes all");
            let written = String::from_utf8(written).expect("text");
            assert_eq!(written, format!("{:#}\n", report.to_json()));
        }
    }
}
