//! The command line, shared by `streamseal verify` and the stand-alone `streamseal-verify`.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use evidence::statement::Reason;
use evidence::text::parse_u63;

use crate::time::parse_rfc3339;
use crate::{Expectation, Inputs, verify};

/// Verifies a bundle, or the proof of one event, offline against the keys you trust and the streams you expect.
///
/// Exit codes: 0 proven; 1 tampered; 2 usage; 3 incomplete; 4 not anchored; 5 unusable or unsupported input. When
/// several apply: 1, then 5, 3, 4.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The bundle (a folder from `streamseal export`), or the proof of one event (a file from `streamseal prove`)
    pub bundle: PathBuf,
    /// The trust file: origin, genesis and whose signatures count. It must not come with the bundle
    #[arg(long, value_name = "FILE")]
    pub trust: PathBuf,
    /// A clone of the repository with the anchors, bare or not; may be repeated
    #[arg(long = "clone", value_name = "DIR")]
    pub clones: Vec<PathBuf>,
    /// Streams and offsets that must be there: [CLUSTER:]TOPIC/PARTITION[#EPOCH][@FROM..TO], such as 'orders/*' or
    /// 'orders/3@0..100'; may be repeated. The default is all streams of the newest heads statement, up to their ends in it
    #[allow(rustdoc::broken_intra_doc_links, reason = "a help text, not Markdown")]
    #[arg(long = "stream", value_name = "STREAMS")]
    pub streams: Vec<Expectation>,
    /// Accept signed gaps with this reason: start, retention, truncated, operator or all; may be repeated
    #[arg(long, value_name = "REASON")]
    pub accept_gap: Vec<GapReasons>,
    /// Remember the largest head in this file. Evidence that contradicts it, or ends before it, is tampered
    #[arg(long, value_name = "FILE")]
    pub pin: Option<PathBuf>,
    /// The branch that anchors are on
    #[arg(long, value_name = "NAME", default_value = "anchors")]
    pub branch: String,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Verify as if it were this time: seconds since 1970, or a time such as 2026-11-21T12:00:00Z
    #[arg(long, value_name = "TIME", hide = true)]
    pub now: Option<Clock>,
}

/// One reason for a gap, or all.
#[derive(Debug, Clone)]
pub struct GapReasons(Vec<Reason>);

impl FromStr for GapReasons {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        if s == "all" {
            return Ok(Self(Reason::ALL.to_vec()));
        }
        s.parse().map(|reason| Self(vec![reason])).map_err(|_| "start, retention, truncated, operator or all".into())
    }
}

/// The time on the auditor's clock, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Clock(u64);

impl Clock {
    /// The time of this machine. A clock before 1970 puts every anchor in the future, and the report says so.
    fn of_machine() -> Self {
        Self(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
    }
}

impl FromStr for Clock {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let seconds = parse_u63(s).or_else(|| parse_rfc3339(s));
        seconds.map(Self).ok_or("expected seconds since 1970, or a time such as 2026-11-21T12:00:00Z")
    }
}

/// Verifies, prints the report to `out` and returns the exit code.
pub fn run(args: Args, out: &mut impl Write) -> u8 {
    let Clock(now_s) = args.now.unwrap_or_else(Clock::of_machine);
    let inputs = Inputs {
        bundle: args.bundle,
        trust: args.trust,
        clones: args.clones,
        branch: args.branch,
        expectations: args.streams,
        accepted_gaps: args.accept_gap.into_iter().flat_map(|GapReasons(reasons)| reasons).collect::<BTreeSet<_>>(),
        pin: args.pin,
        now_s,
    };
    let report = verify(&inputs);
    // If the reader closed the output, the exit code still says the verdict.
    let _ = if args.json { report.write_json(out) } else { write!(out, "{report}") };
    let _ = out.flush();
    report.verdict.exit_code()
}
