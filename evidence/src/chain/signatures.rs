use super::{GrantedKey, Keys, Refusal};
use crate::statement::{Action, Gap, Genesis, KeyStatement, Reason, Role, Statement, StatementKind};
use crate::{Entry, NoteError, StreamId, VerifierKey};

/// Every signature must be by a key that is granted at this seq and may sign this statement, and must verify.
pub(super) fn check(keys: &Keys, entry: &Entry) -> Result<(), Refusal> {
    match entry.statement.statement() {
        Statement::Genesis(genesis) => check_genesis(entry, genesis),
        Statement::Key(key) => check_key(keys, entry, key),
        Statement::Summary(summary) => check_each(keys, entry, |key| in_scope(key, &summary.stream)),
        Statement::Gap(gap) => check_each(keys, entry, |key| check_gap(key, gap)),
        Statement::Epoch(_) | Statement::Heads(_) => check_each(keys, entry, |_| Ok(())),
    }
}

/// Only the two keys that a genesis names sign it.
fn check_genesis(entry: &Entry, genesis: &Genesis) -> Result<(), Refusal> {
    only(entry, &[&genesis.operator, &genesis.log])?;
    verify(entry, &genesis.operator)?;
    verify(entry, &genesis.log)
}

/// Operators sign a key statement. A new operator key also signs its own grant.
fn check_key(keys: &Keys, entry: &Entry, statement: &KeyStatement) -> Result<(), Refusal> {
    let new_operator = statement.action == Action::Grant && statement.role == Role::Operator;
    let mut by_operator = false;
    for signature in entry.statement.note().signatures() {
        if new_operator && signature.name() == statement.key.name() && signature.id() == statement.key.id() {
            continue;
        }
        let key = granted(keys, signature)?;
        check_role(key, StatementKind::Key)?;
        verify(entry, &key.key)?;
        by_operator = true;
    }
    if !by_operator {
        return Err(NoteError::Absent("an operator".into()).into());
    }
    if new_operator { verify(entry, &statement.key) } else { Ok(()) }
}

/// Each signer has a role that may sign this kind. `may_sign` makes the further checks.
fn check_each(
    keys: &Keys,
    entry: &Entry,
    may_sign: impl Fn(&GrantedKey) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for signature in entry.statement.note().signatures() {
        let key = granted(keys, signature)?;
        check_role(key, entry.statement.statement().kind())?;
        may_sign(key)?;
        verify(entry, &key.key)?;
    }
    Ok(())
}

/// An ingest key may state gaps over offsets that cannot be read. Only an operator may leave out readable ones.
fn check_gap(key: &GrantedKey, gap: &Gap) -> Result<(), Refusal> {
    if key.role == Role::Operator {
        return Ok(());
    }
    in_scope(key, &gap.stream)?;
    let bad = |problem: String| Refusal::BadGap { stream: gap.stream.clone(), problem };
    match gap.reason {
        Reason::Start | Reason::Retention if gap.next <= gap.low => Ok(()),
        Reason::Start | Reason::Retention => Err(bad(format!(
            "offsets {} to {} can be read, so only the operator may leave them out",
            gap.low.max(gap.first),
            gap.next - 1
        ))),
        Reason::Truncated | Reason::Operator => Err(bad(format!("reason {} needs an operator key", gap.reason))),
    }
}

fn in_scope(key: &GrantedKey, stream: &StreamId) -> Result<(), Refusal> {
    let topic = &stream.partition.topic;
    if key.topics.iter().any(|pattern| pattern.matches(topic)) {
        return Ok(());
    }
    Err(Refusal::OutOfScope { name: key.key.name().to_owned(), topic: topic.clone() })
}

fn check_role(key: &GrantedKey, kind: StatementKind) -> Result<(), Refusal> {
    if kind.signers().contains(&key.role) {
        return Ok(());
    }
    Err(Refusal::WrongRole { name: key.key.name().to_owned(), role: key.role, what: kind.phrase().to_owned() })
}

fn granted<'a>(keys: &'a Keys, signature: &crate::NoteSignature) -> Result<&'a GrantedKey, Refusal> {
    let key = keys.by_signature(signature).ok_or_else(|| Refusal::UnknownKey(signature.name().to_owned()))?;
    match key.revoked {
        Some(revocation) => Err(Refusal::RevokedKey { name: key.key.name().to_owned(), seq: revocation.seq }),
        None => Ok(key),
    }
}

fn only(entry: &Entry, allowed: &[&VerifierKey]) -> Result<(), Refusal> {
    for signature in entry.statement.note().signatures() {
        if !allowed.iter().any(|key| key.name() == signature.name() && key.id() == signature.id()) {
            return Err(Refusal::UnknownKey(signature.name().to_owned()));
        }
    }
    Ok(())
}

/// A key signs a statement once. A second line by it would make another entry of the same statement.
fn verify(entry: &Entry, key: &VerifierKey) -> Result<(), Refusal> {
    Ok(entry.statement.note().verify_only(key)?)
}
