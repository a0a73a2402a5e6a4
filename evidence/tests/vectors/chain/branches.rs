//! Other continuations of the chain, where it takes several entries to accept or refuse.

use evidence::statement::{Action, Epoch, Reason, Role, Summary};
use evidence::{Algorithm, SignedStatement, SigningKey, Statement};

use super::{Batch, Branch, Chain, sign, text};
use crate::fixture::{KeyRing, ORIGIN, key, stream};

/// A branch as it grows.
struct Growing {
    name: &'static str,
    after: u64,
    chain: Chain,
    entries: Vec<String>,
}

impl Growing {
    fn new(name: &'static str, chain: &Chain, after: usize) -> Self {
        Self { name, after: after as u64, chain: chain.after(after), entries: Vec::new() }
    }

    fn accept(mut self, statement: impl FnOnce(&Chain) -> SignedStatement) -> Self {
        let entry = self.chain.state.draft(statement(&self.chain), self.chain.now);
        self.chain.state.apply(&entry).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        self.entries.push(text(&entry));
        self.chain.now += 1000;
        self
    }

    fn refuse(mut self, code: &'static str, statement: impl FnOnce(&Chain) -> SignedStatement) -> Branch {
        let entry = self.chain.state.draft(statement(&self.chain), self.chain.now);
        let found = self.chain.state.apply(&entry).expect_err(self.name);
        assert_eq!(found.code(), code, "{}: {found}", self.name);
        self.entries.push(text(&entry));
        Branch { code: Some(code), ..self.end() }
    }

    fn end(self) -> Branch {
        Branch { name: self.name, after: self.after.into(), entries: self.entries, code: None }
    }
}

pub(super) fn branches(chain: &Chain) -> Vec<Branch> {
    let ring = KeyRing::new();
    let begin = |name, after| Growing::new(name, chain, after);
    let gap = |next| {
        let by = &ring.ingest_b;
        move |chain: &Chain| {
            sign(Statement::Gap(chain.gap(&stream("orders", 0, 1), next, Reason::Start, next, 9)), &[by])
        }
    };
    let seal = |chain: &Chain| {
        let Batch { summary, .. } = chain.batch(&stream("orders", 0, 1), &[4, 5], 6, 1_732_180_030_000);
        sign(Statement::Summary(summary), &[&ring.ingest_b])
    };
    let orders = stream("orders", 0, 0);
    let truncated = |chain: &Chain| {
        let good = chain.epoch(&orders, 2);
        let epoch = Epoch { topic_id: good.old_topic_id.clone(), ..good };
        sign(Statement::Epoch(epoch), &[&ring.operator_2])
    };
    let same_topic = |chain: &Chain| {
        let Batch { summary, .. } = chain.batch(&stream("orders", 0, 1), &[2], 3, 1_732_180_030_000);
        let topic_id = chain.state.stream(&orders).expect("sealed").topic_id.clone();
        sign(Statement::Summary(Summary { topic_id, ..summary }), &[&ring.ingest_b])
    };
    let log_2 = key(ORIGIN, Algorithm::Ed25519, 11);
    let grant = |chain: &Chain| log_key(chain, Action::Grant, &log_2);
    let revoke = |chain: &Chain| log_key(chain, Action::Revoke, &ring.log);
    let heads = |by: &SigningKey| {
        let by = by.clone();
        move |chain: &Chain| sign(Statement::Heads(chain.heads()), &[&by])
    };
    vec![
        begin("an epoch from where the topic was truncated", 16).accept(truncated).accept(same_topic).end(),
        begin("what was gone when a new epoch began", 17).accept(gap(4)).end(),
        begin("what was gone at the start, in two gaps", 17).accept(gap(4)).refuse("bad-gap", gap(6)),
        begin("heads by another log key", 19).accept(grant).accept(heads(&log_2)).end(),
        begin("heads by the log key beside another one", 19).accept(grant).accept(heads(&ring.log)).end(),
        begin("a log key in the place of another", 19).accept(grant).accept(revoke).accept(heads(&log_2)).end(),
        begin("heads by the log key that was replaced", 19)
            .accept(grant)
            .accept(revoke)
            .refuse("revoked-key", heads(&ring.log)),
        begin("the log key that was replaced, granted again", 19)
            .accept(grant)
            .accept(revoke)
            .refuse("bad-key", |chain| log_key(chain, Action::Grant, &ring.log)),
        begin("the only log key revoked, which the operator may", 19).accept(revoke).accept(grant).end(),
        begin("sealed on after what was gone", 17).accept(gap(4)).accept(seal).end(),
    ]
}

fn log_key(chain: &Chain, action: Action, key: &SigningKey) -> SignedStatement {
    let statement = chain.key_statement(action, Role::Log, key.verifier_key(), &[]);
    sign(Statement::Key(statement), &[&chain.ring.operator_2])
}
