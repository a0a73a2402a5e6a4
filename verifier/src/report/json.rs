use std::ops::Range;

use base64ct::{Base64, Encoding};
use evidence::{Content, StreamId, decode_content};
use serde_json::{Map, Value, json};

use super::{EventReport, Report, StreamReport};
use crate::clones::{Anchored, CloneReport};
use crate::finding::{Finding, Place};
use crate::words::Words;

impl Report {
    /// The report for programs. 64-bit integers are strings, as JavaScript cannot hold them as numbers.
    pub fn to_json(&self) -> Value {
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
            "streams": self.streams.iter().map(stream_report).collect::<Vec<_>>(),
            "clones": self.clones.iter().map(clone).collect::<Vec<_>>(),
            "newest_at_s": self.newest_at_s.map(|at| at.to_string()),
            "findings": self.findings.iter().map(finding).collect::<Vec<_>>(),
            "findings_more": self.findings_more.to_string(),
            "not_checked": self.not_checked,
        })
    }
}

/// Bytes are base64, what is null is null.
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
        "code": finding.code,
        "problem": finding.problem,
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

/// From and to, the offset after the last; no `to` when the range has no end.
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
