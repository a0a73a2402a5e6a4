//! The front half of a verification whose evidence is a bundle.

use std::path::Path;

use bundle::Reader;
use evidence::chain::{Keys, State};
use evidence::statement::LedgerId;
use evidence::{SignedCheckpoint, TrustFile};

use crate::chain::{Chain, follow};
use crate::code::Code;
use crate::finding::{Counts, Findings, Place};
use crate::heads::{Plan, plan};
use crate::inputs::Inputs;
use crate::report::{HeadsReport, Report};
use crate::scan::{Scan, scan};
use crate::stream::{StreamCheck, StreamResult};
use crate::verdict::Verdict;
use crate::verification::{Shown, Verification};
use crate::words::Judge;

/// The most expectations.
const EXPECTATIONS_MAX: usize = 1000;

/// The largest trust file that is read, in bytes.
const TRUST_BYTES_MAX: usize = 128 * 1024;

/// Verifies evidence. Writes only the pin file, and only if the verdict is neither tampered nor unusable.
pub fn verify(inputs: &Inputs) -> Report {
    let mut report = Report {
        evidence: "bundle",
        verdict: Verdict::Unusable,
        ledger: None,
        checkpoint: None,
        heads: None,
        entries: 0,
        event: None,
        streams: Vec::new(),
        clones: Vec::new(),
        newest_at_s: None,
        findings: Vec::new(),
        findings_more: 0,
        not_checked: Vec::new(),
    };
    let mut findings = Findings::default();
    if inputs.expectations.len() > EXPECTATIONS_MAX {
        let problem = format!("more than {EXPECTATIONS_MAX} expectations: verify them in several runs");
        findings.add(Code::Usage, Place::default(), problem);
    } else if let Some(trust) = read_trust(&inputs.trust, &mut findings) {
        report.ledger = Some(LedgerId { origin: trust.origin.clone(), genesis: trust.genesis });
        Verification { inputs, trust: &trust, findings: &mut findings, report: &mut report }.run();
    }
    findings.sort();
    report.verdict = findings.verdict;
    report.findings = findings.kept;
    report.findings_more = findings.more;
    report
}

fn read_trust(path: &Path, findings: &mut Findings) -> Option<TrustFile> {
    let place = Place::file(path.display());
    let bytes = match keystore::read_capped(path, TRUST_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => {
            findings.unread(place, &error);
            return None;
        }
    };
    TrustFile::parse(&bytes).map_err(|error| findings.unparsable(place, &error)).ok()
}

impl Verification<'_> {
    /// Verifies as much of the evidence as can be read.
    fn run(&mut self) {
        // A path that is no folder is read as a file. Reading refuses special files.
        if self.inputs.bundle.exists() && !self.inputs.bundle.is_dir() {
            self.report.evidence = "event proof";
            self.event_proof();
        } else if let Some(reader) = self.open() {
            self.bundle(&reader);
        }
    }

    fn bundle(&mut self, reader: &Reader) {
        let place = Place::file("checkpoint");
        let bytes = reader.checkpoint().map_err(|error| self.findings.unreadable(&error));
        let Ok(parsed) = bytes.map(|bytes| SignedCheckpoint::parse(&bytes)) else { return };
        let parsed = parsed.map_err(|error| self.findings.unparsable(place, &error));
        let Some(signed) = parsed.ok().filter(|signed| self.is_by_log(signed)) else { return };
        let (chain, plan) = self.entries(reader, &signed);
        self.conclude(Shown { reader: Some(reader), signed, chain, plan });
    }

    /// Works out the expectations and follows the entries. A part that cannot be read keeps no other from being checked.
    fn entries(&mut self, reader: &Reader, signed: &SignedCheckpoint) -> (Chain, Plan) {
        let state = State::new(&self.trust.origin, self.trust.genesis);
        let scan = match scan(reader) {
            Ok(scan) => scan,
            Err(error) => {
                self.findings.unreadable(&error);
                return (Chain::unseen(state), Plan::default());
            }
        };
        let lines = reader.heads();
        let plan = lines.and_then(|lines| plan(&self.inputs.expectations, reader.manifest(), lines, self.findings));
        let mut plan = plan.unwrap_or_else(|error| {
            self.findings.unreadable(&error);
            Plan::of_nothing(reader.manifest())
        });
        let chain = self.follow(reader, state, signed, &scan, &mut plan);
        self.require_expected(&chain);
        (chain, plan)
    }

    /// Opens the bundle, and requires that it is about the ledger of the trust file.
    fn open(&mut self) -> Option<Reader> {
        let reader = Reader::open(&self.inputs.bundle).map_err(|error| self.findings.unreadable(&error)).ok()?;
        let manifest = reader.manifest();
        let LedgerId { origin, genesis } = self.report.ledger.clone()?;
        let place = Place::file("manifest");
        if manifest.origin != origin {
            let problem = format!("the bundle is about {}, but the trust file is about {origin}", manifest.origin);
            self.findings.add(Code::OtherLedger, place, problem);
            return None;
        }
        if manifest.genesis != genesis {
            let problem =
                format!("the bundle names the genesis {}, but the trust file names {genesis}", manifest.genesis);
            self.findings.add(Code::WrongGenesis, place, problem);
            return None;
        }
        Some(reader)
    }

    /// Whether the log of the trust file signed the checkpoint. The ledger's own keys are not known yet.
    pub(crate) fn is_by_log(&mut self, signed: &SignedCheckpoint) -> bool {
        let judge =
            Judge { origin: &self.trust.origin, policy: &self.trust.policy, keys: &Keys::default(), all_keys: false };
        let judged = judge.judge(signed);
        if let Err(refusal) = &judged {
            let problem = format!("the checkpoint is refused: {refusal}");
            self.findings.add(refusal.code(), Place::file("checkpoint"), problem);
        }
        judged.is_ok()
    }

    /// Requires that something is expected, unless a finding says that it is missing.
    fn require_expected(&mut self, chain: &Chain) {
        let is_idle = |stream: &StreamResult| stream.expected.is_empty() && stream.findings.verdict == Verdict::Proven;
        if self.findings.verdict == Verdict::Proven && chain.streams.iter().all(is_idle) {
            let problem = "no offset is expected, so there is nothing to prove";
            self.findings.add(Code::NothingExpected, Place::default(), problem);
        }
    }

    fn follow(
        &mut self,
        reader: &Reader,
        state: State,
        signed: &SignedCheckpoint,
        scan: &Scan,
        plan: &mut Plan,
    ) -> Chain {
        let (inputs, counts) = (self.inputs, Counts::default());
        let heads = scan.newest_heads.filter(|_| plan.committed.is_some());
        let check = |(range, planned)| StreamCheck::new(range, planned, &inputs.accepted_gaps, heads, &counts);
        let checks = reader.manifest().streams.iter().zip(&mut plan.streams).map(check).collect();
        let chain = follow(reader, state, signed.checkpoint(), plan, scan, checks, self.findings);
        self.report.entries = chain.entries;
        self.report.heads = chain.heads.map(|(seq, time_ms, streams)| HeadsReport { seq, time_ms, streams });
        chain
    }
}
