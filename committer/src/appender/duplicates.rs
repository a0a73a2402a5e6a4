//! Which statements the chain may already hold, so that the database must be asked.

use std::collections::HashMap;

use evidence::{Hash, Partition, SignedStatement};

use super::request::{Candidate, Work};
use crate::chain::Chain;
use crate::store::Lookup;

/// The statements that `chain` may already hold; all of them when there is no chain to tell.
///
/// A statement whose `prev` is the newest of its partition, in the chain or before it in `work`, is new.
pub(super) fn possible_duplicates(chain: Option<&Chain>, work: &[Work]) -> Vec<Lookup> {
    let mut newest = HashMap::new();
    let mut lookups = Vec::new();
    for Candidate { hash, statement } in work.iter().flatten().flatten() {
        if !chain.is_some_and(|chain| continues(chain, &mut newest, *hash, statement)) {
            lookups.push(Lookup::from(statement));
        }
    }
    lookups
}

/// Whether a statement continues its partition. `newest` holds the newest statements so far of the partitions in the work.
fn continues<'a>(
    chain: &Chain,
    newest: &mut HashMap<&'a Partition, Hash>,
    hash: Hash,
    statement: &'a SignedStatement,
) -> bool {
    let Some(advance) = statement.statement().advance() else { return false };
    let partition = &advance.stream.partition;
    let open = || chain.state().streams().open(partition).map(|head| head.statement);
    let continues = newest.get(partition).copied().or_else(open) == advance.prev;
    if continues {
        newest.insert(partition, hash);
    }
    continues
}
