//! A committer in this process, on SQLite.

use std::time::Instant;

use crate::embedded::Embedded;
use crate::submissions::Submissions;
use crate::{Better, Case, Context, Goal, Measurement};
use testbed::statements::TestLedger;

pub(super) const CASE: Case = Case {
    name: "append",
    about: "Statements of some 560 bytes, signed beforehand, submitted in this process until they are committed: parsed, \
            signatures verified, applied, hashed, and in an SQLite file of synchronous=FULL, an fsync for each \
            transaction. A signer reads all of it back meanwhile and signs a checkpoint each second; in the row `signed`, \
            until the last of it is signed.",
    run,
};

const STATEMENTS: usize = 300_000;

/// Goal, in entries per second.
const GOAL: f64 = 50_000.0;

fn run(context: &Context<'_>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ledger = TestLedger::new("bench");
    for (name, streams, per_request) in
        [("64 to a request", 64, 64), ("8 to a request", 256, 8), ("1 to a request", 1024, 1)]
    {
        if !context.wants(name) {
            continue;
        }
        let statements = context.size(STATEMENTS, 2_000);
        let submissions = Submissions::make(&ledger, statements, streams, per_request);
        let mut signed = Vec::new();
        let committed = context.repeat(|| {
            let folder = context.scratch("append");
            runtime.block_on(async {
                let committer = Embedded::start(&ledger, folder.path()).await?;
                let begun = Instant::now();
                let rate = || submissions.statements as f64 / begun.elapsed().as_secs_f64();
                submissions.submit(&committer.opened).await?;
                let committed = rate();
                committer.until_signed(submissions.statements as u64).await?;
                signed.push(rate());
                committer.end().await?;
                anyhow::Ok(committed)
            })
        })?;
        // The warm-up sample.
        signed.remove(0);
        for (name, samples) in [(name.to_owned(), committed), (format!("{name}: signed"), signed)] {
            let measured = Measurement::new(name, "entries/s", Better::Higher, samples)
                .goal(Goal::AtLeast(GOAL))
                .setting("entries", submissions.statements)
                .setting("streams", streams);
            context.record(measured)?;
        }
    }
    Ok(())
}
