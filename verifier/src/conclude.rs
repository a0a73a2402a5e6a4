//! The conclusions: who vouches for the evidence, how fresh it is, and what is proven.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use evidence::{SignedCheckpoint, TrustFile};

use crate::chain::Chain;
use crate::clones::{Anchored, Clones, Comparison};
use crate::code::Code;
use crate::finding::Place;
use crate::heads::Plan;
use crate::pin::{Pin, Source};
use crate::report::StreamReport;
use crate::stream::StreamResult;
use crate::time::utc;
use crate::verdict::Verdict;
use crate::verification::{Shown, Verification};
use crate::words::{Judge, Words};

/// How far a witness's clock may be ahead of the auditor's, in seconds.
const CLOCK_TOLERANCE_S: u64 = 300;

impl Verification<'_> {
    /// Draws the conclusions.
    pub(crate) fn conclude(&mut self, shown: Shown<'_>) {
        let Shown { reader, signed, chain, plan } = shown;
        let judge = Judge {
            origin: &self.trust.origin,
            policy: &self.trust.policy,
            keys: chain.state.keys(),
            all_keys: chain.is_whole,
        };
        // The signatures were verified before. Now the ledger's own and revoked keys are known too.
        let words = match judge.judge(&signed) {
            Ok(words) => words,
            Err(refusal) => {
                let problem = format!("the checkpoint is refused: {refusal}");
                self.findings.add(refusal.code(), Place::file("checkpoint"), problem);
                return;
            }
        };
        self.report.checkpoint = Some((signed.checkpoint().clone(), words.clone()));
        let pin = self.read_pin();
        let newest = |stream: &StreamResult| stream.newest_statement.unwrap_or(0);
        let mut seqs: Vec<u64> = chain.streams.iter().map(newest).collect();
        seqs.sort_unstable();
        seqs.dedup();
        // The last one is that of the heads statement, which says where streams end.
        seqs.push(chain.heads.map_or(0, |(seq, ..)| seq));
        let comparison = Comparison {
            reader,
            checkpoint: signed.checkpoint(),
            chain: &chain,
            proven_runs: OnceCell::new(),
            judge: &judge,
            pin: pin.as_ref(),
            branch: &self.inputs.branch,
            seqs: &seqs,
        };
        let paths: Vec<&Path> = self.inputs.clones.iter().map(PathBuf::as_path).collect();
        let clones = comparison.walk(&paths, self.findings);
        let own = self.own_voucher(&signed, &words, &clones);
        self.freshness(words.newest_at_s.filter(|_| own.is_ok()), &clones);
        let pin_holds = self.compare_pin(pin.as_ref(), &comparison, &clones);
        let largest = clones.largest.as_ref().map_or(0, |largest| largest.size).max(signed.checkpoint().size);
        self.heads_freshness(&chain, &plan, largest);
        // A clone's anchors come first: their order was verified. The bundle's checkpoint only fills in.
        let mut by_seq: Vec<_> = clones.vouchers.iter().map(|voucher| voucher.as_ref().or(own.as_ref().ok())).collect();
        let for_heads = by_seq.pop().flatten();
        let voucher = |(i, stream): (usize, &StreamResult)| {
            // A heads statement that no anchor covers could leave out sealed events.
            let is_ended_by_heads = plan.streams.get(i).is_some_and(|planned| planned.is_ended_by_heads);
            let at = seqs[..by_seq.len()].binary_search(&newest(stream)).ok()?;
            by_seq[at].filter(|_| for_heads.is_some() || !is_ended_by_heads)
        };
        let vouchers: Vec<Option<&Anchored>> = chain.streams.iter().enumerate().map(voucher).collect();
        if let Err(problem) = &own
            && vouchers.iter().all(Option::is_none)
        {
            self.findings.add(Code::NotAnchored, Place::file("checkpoint"), problem);
        }
        let by_whom: Vec<&Words> = match vouchers.iter().flatten().map(|voucher| &*voucher.words).collect::<Vec<_>>() {
            none if none.is_empty() => vec![&words],
            vouching => vouching,
        };
        self.note_limits(&chain, largest, &by_whom, &clones);
        self.report.clones.clone_from(&clones.reports);
        self.streams(chain, vouchers);
        self.write_pin(pin.as_ref(), pin_holds, &clones, own.ok());
    }

    /// The bundle's own checkpoint as a voucher, or why it is none. With clones, one of them must have the same head.
    /// Without clones, a witness outside the ledger must have cosigned, as one party holds everything else.
    fn own_voucher(&self, signed: &SignedCheckpoint, words: &Words, clones: &Clones) -> Result<Anchored, String> {
        let size = signed.checkpoint().size;
        let no_quorum = "the policy's quorum of witnesses did not cosign the checkpoint".to_owned();
        if words.log_key_revoked {
            return Err("the ledger had revoked the log key that signed this checkpoint".into());
        }
        if self.inputs.clones.is_empty() && words.satisfied && !words.is_independent() {
            return Err(
                "no clone was given, and no independent witness vouches for when this existed: the operator could show \
                 others something else"
                    .into(),
            );
        }
        if !self.inputs.clones.is_empty() && !clones.reports.iter().any(|report| report.agrees_at == Some(size)) {
            let newest = clones.reports.iter().filter_map(|report| report.newest.as_ref()).map(|n| n.size).max();
            let behind = newest.is_some_and(|newest| newest < size);
            let advice = match clones.reports.iter().all(|report| report.complete) {
                _ if behind => "; fetch, or export up to an anchored checkpoint",
                true => "",
                false => "; one clone could not be read to its first commit",
            };
            let evidence = self.report.evidence;
            return Err(format!("no clone has a verified anchor with the {evidence}'s root at size {size}{advice}"));
        }
        if !words.satisfied {
            return Err(no_quorum);
        }
        Ok(Anchored { commit: None, size, root: signed.checkpoint().root, words: Arc::new(words.clone()) })
    }

    /// Compares the newest anchor's age with what the auditor allows.
    ///
    /// `own_at_s` is the time of the bundle's checkpoint, if that vouches for something.
    fn freshness(&mut self, own_at_s: Option<u64>, clones: &Clones) {
        let newest_at_s = clones.newest_at_s.max(own_at_s);
        self.report.newest_at_s = newest_at_s;
        let Some(age_max_s) = self.trust.max_anchor_age_s else {
            self.report.not_checked.push("freshness: the trust file sets no maximum anchor age".into());
            return;
        };
        let now_s = self.inputs.now_s;
        let problem = match newest_at_s {
            None => "no quorum of witnesses says when the newest anchor was made".to_owned(),
            Some(at) if at > now_s.saturating_add(CLOCK_TOLERANCE_S) => {
                format!("the newest anchor was made at {}, which is in the future by this machine's clock", utc(at))
            }
            Some(at) if now_s.saturating_sub(at) > age_max_s => format!(
                "the newest anchor was made at {}, {} s ago; the trust file allows {age_max_s} s",
                utc(at),
                now_s - at
            ),
            Some(_) => return,
        };
        self.findings.add(Code::Stale, Place::default(), problem);
    }

    /// Compares the age of the newest heads statement with the age that the auditor allows. It matters only if the statement
    /// says where streams end and more was appended since: the maker of the bundle chose it.
    fn heads_freshness(&mut self, chain: &Chain, plan: &Plan, largest: u64) {
        let Some((seq, time_ms, _)) =
            chain.heads.filter(|_| plan.streams.iter().any(|planned| planned.is_ended_by_heads))
        else {
            return;
        };
        let Some(age_max_s) = self.trust.max_anchor_age_s else { return };
        let at_s = u64::try_from(time_ms).unwrap_or(0) / 1000;
        if chain.unmoved_to < largest && self.inputs.now_s.saturating_sub(at_s) > age_max_s {
            let problem = format!(
                "the newest heads statement, which says where streams end, was made at {}; {} entries were anchored since, \
                 and the trust file allows {age_max_s} s: take a newer bundle",
                utc(at_s),
                largest - chain.unmoved_to
            );
            self.findings.add(Code::Stale, Place::entry(seq), problem);
        }
    }

    fn read_pin(&mut self) -> Option<Pin> {
        let Some(path) = &self.inputs.pin else {
            self.report.not_checked.push("rollback: no --pin remembers what was seen before".into());
            return None;
        };
        let place = Place::file(path.display());
        let pin = match Pin::read(path) {
            Ok(pin) => pin?,
            Err(problem) => {
                self.findings.add(Code::UnreadablePin, place, problem);
                return None;
            }
        };
        if (&pin.origin, pin.genesis) != (&self.trust.origin, self.trust.genesis) {
            let problem = format!("the pin file is about {} with genesis {}", pin.origin, pin.genesis);
            self.findings.add(Code::OtherLedger, place, problem);
            return None;
        }
        Some(pin)
    }

    /// Compares the evidence with the pinned head, and returns whether it contains that head.
    fn compare_pin(&mut self, pin: Option<&Pin>, comparison: &Comparison<'_>, clones: &Clones) -> bool {
        let Some(pin) = pin else { return true };
        let size = comparison.checkpoint.size;
        if size < pin.size {
            self.report.not_checked.push(format!(
                "what was sealed after the {}, which ends at size {size}: a head of size {} was seen before",
                self.report.evidence, pin.size
            ));
        }
        let newest = clones.reports.iter().filter_map(|report| report.newest.as_ref()).map(|newest| newest.size);
        let largest = newest.chain([size]).max().unwrap_or(0);
        let root = comparison.root_at(pin.size);
        let (code, problem) = match root {
            Some(root) if root != pin.root => {
                let (evidence, Pin { size, root: pinned, .. }) = (self.report.evidence, pin);
                (
                    Code::Fork,
                    format!(
                        "at the pinned size {size} the {evidence} has root {root}, but the pinned root is {pinned}"
                    ),
                )
            }
            _ if largest < pin.size => (
                Code::Rollback,
                format!("a head of size {} was seen before, but bundle and clones end at {largest}", pin.size),
            ),
            Some(_) => return true,
            None if clones.pin_found => return true,
            None => {
                let what =
                    format!("rollback: the pinned head of size {} could not be compared with anything", pin.size);
                self.report.not_checked.push(what);
                return false;
            }
        };
        let place = self.inputs.pin.as_ref().map_or_else(Place::default, |path| Place::file(path.display()));
        self.findings.add(code, place, problem);
        false
    }

    /// Pins the largest head in a clone that agrees with the bundle; without clones, the bundle's own head.
    fn write_pin(&mut self, pin: Option<&Pin>, pin_holds: bool, clones: &Clones, own: Option<Anchored>) {
        let Some(path) = self.inputs.pin.as_ref().filter(|_| pin_holds) else { return };
        if matches!(self.findings.verdict, Verdict::Tampered | Verdict::Unusable) {
            return;
        }
        let (seen, from) = match (&clones.pinnable, own) {
            (Some(largest), _) => (largest.clone(), Source::Git),
            // No clone was given, or only a copy that may be another branch agrees.
            (None, Some(own)) => (own, Source::Bundle),
            (None, None) => return,
        };
        // A head seen in Git must be found there again, even if a bundle has it now.
        let keeps = |pin: &Pin| pin.size == seen.size && (pin.from == from || pin.from == Source::Git);
        if pin.is_some_and(|pin| pin.size > seen.size || keeps(pin)) {
            return;
        }
        let TrustFile { origin, genesis, .. } = self.trust;
        let new = Pin { origin: origin.clone(), genesis: *genesis, size: seen.size, root: seen.root, from };
        if let Err(problem) = new.write(path) {
            self.findings.add(Code::UnwritablePin, Place::file(path.display()), problem);
        }
    }

    /// Notes what the verdict does not cover.
    ///
    /// `by_whom` are the signatures on the checkpoints that count; `largest` is the size of the largest head.
    fn note_limits(&mut self, chain: &Chain, largest: u64, by_whom: &[&Words], clones: &Clones) {
        let size = self.report.checkpoint.as_ref().map_or(0, |(checkpoint, _)| checkpoint.size);
        let notes = &mut self.report.not_checked;
        if self.inputs.clones.is_empty() {
            notes.push("Git: no clone of the anchors was given".into());
        }
        if by_whom.iter().any(|words| words.by_then().next().is_none()) {
            notes.push("time: no witness says when all of this existed".into());
        } else if by_whom.iter().any(|words| words.by_then().any(|word| word.independent.is_none())) {
            notes.push("independence: not all key entries were read, so some witnesses may be the ledger's own".into());
        } else if by_whom.iter().any(|words| !words.is_independent()) {
            notes.push("time: only keys of the ledger itself say when some or all of this existed".into());
        } else {
            notes.push("independence: that others hold a witness's key is the trust file's word".into());
        }
        if let Some((seq, time_ms, _)) = chain.heads
            && chain.unmoved_to < largest
        {
            notes.push(format!(
                "what was sealed after {}, the time of the newest heads statement (entry {seq}): {} entries were anchored \
                 since; expected offsets that you named do not depend on it",
                utc(u64::try_from(time_ms).unwrap_or(0) / 1000),
                largest - chain.unmoved_to
            ));
        }
        if chain.entries < size {
            notes.push(format!(
                "whether {} of the {size} entries keep the chain's rules: the {} does not hold them",
                size - chain.entries,
                self.report.evidence
            ));
        }
        notes.push("what the events say, their timestamps included: that is their producers' word".into());
        notes.extend(clones.notes.iter().cloned());
    }

    /// Draws the conclusion for each stream.
    fn streams(&mut self, chain: Chain, vouchers: Vec<Option<&Anchored>>) {
        // A contradiction in the chain counts against every stream.
        let common = match self.findings.verdict {
            verdict @ (Verdict::Tampered | Verdict::Unusable) => verdict,
            _ => Verdict::Proven,
        };
        let any_voucher = vouchers.iter().any(Option::is_some);
        for (result, voucher) in chain.streams.into_iter().zip(vouchers) {
            let mut findings = result.findings;
            let is_expected = !result.expected.is_empty() && result.newest_statement.is_some();
            if is_expected && voucher.is_none() && any_voucher {
                let problem = "no anchor covers all statements of this stream, although one covers those of others";
                findings.add(Code::NotAnchored, Place::stream(&result.stream), problem);
            }
            let anchored = if is_expected && voucher.is_none() { Verdict::NotAnchored } else { Verdict::Proven };
            self.report.streams.push(StreamReport {
                stream: result.stream,
                verdict: findings.verdict.or(common).or(anchored),
                expected: result.expected.into_vec(),
                start: result.start,
                intact: result.intact.into_vec(),
                intact_truncated: result.intact_truncated,
                counts: voucher.is_some() && common != Verdict::Tampered,
                gaps: result.gaps,
                gaps_more: result.gaps_more,
                events: result.events,
                event_bytes: result.event_bytes,
                events_at_least: result.events_at_least,
                batches: result.batches,
                anchored: voucher.cloned(),
            });
            self.findings.extend(findings);
        }
    }
}
