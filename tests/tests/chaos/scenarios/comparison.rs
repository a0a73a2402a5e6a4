//! A test of the comparison itself.

use evidence::{Algorithm, SignedStatement, SigningKey, Statement};

use crate::account::Falsehood;
use crate::run::{Run, Scenario, Tally};
use crate::site::{Plan, Site};
use testbed::forge::Forgery;

pub(super) const SCENARIOS: &[Scenario] = &[Scenario {
    name: "comparison",
    fault: "none: the account and a bundle's coverage are falsified",
    expected: "the comparison counts each falsification",
    quick: true,
    play,
}];

fn play(run: &mut Run) {
    let mut site = Site::start(run, Plan { partitions: 1, ..Plan::default() });
    let place = site.place(0);
    site.produce(120);
    let evidence = site.prove(run);
    let verdict = evidence.verify(&[]);
    let right = run.record.tally;
    for (falsehood, expected) in [
        (Falsehood::Another, Tally { falsely_proven: 1, ..right }),
        (Falsehood::More, Tally { produced: right.produced + 1, lost: 1, ..right }),
        (Falsehood::Less, Tally { produced: right.produced - 1, falsely_proven: 1, ..right }),
        (Falsehood::Destroyed, Tally { destroyed: 1, falsely_proven: 1, ..right }),
    ] {
        run.fault(&format!("{falsehood:?}"));
        let mut account = site.account.clone();
        account.falsify(&place, falsehood);
        assert_eq!(account.compare(&evidence.bundle, &verdict, |_| true), expected, "{falsehood:?}");
    }

    run.fault("a batch that begins before the previous one ends");
    let mut forgery = Forgery::of(&evidence.bundle);
    let seq = forgery.stream(&place.0, place.1).batches[1].seq;
    let mut entry = forgery.entry(seq);
    let Statement::Summary(mut summary) = entry.statement.statement().clone() else {
        panic!("entry {seq} is no summary")
    };
    summary.first -= 3;
    let key = SigningKey::from_seed("forger", Algorithm::Ed25519, &[7; 32]).unwrap();
    entry.statement = SignedStatement::sign(Statement::Summary(summary), &[&key]);
    forgery.replace_entry(seq, entry.to_bytes());
    let bundle = evidence.bundle.with_extension("overlap");
    forgery.write(&bundle);
    let found = site.account.compare(&bundle, &verdict, |_| true);
    assert_eq!(found, Tally { doubled: 3, ..right });
}
