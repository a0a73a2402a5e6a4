//! Which statements of a group may be in the chain already, so that the database must be asked.

use std::collections::HashMap;

use evidence::{Hash, Partition, SignedStatement};

use super::Candidate;
use super::worker::Work;
use crate::chain::Chain;
use crate::store::Sought;

/// Those of the statements that do not name as `prev` where `chain`, and those before them, leave their partition: what
/// follows the newest cannot be in that chain. All of them when there is no chain to go by.
pub(super) fn sought(chain: Option<&Chain>, work: &[Work]) -> Vec<Sought> {
    let mut newest = HashMap::new();
    let mut sought = Vec::new();
    for Candidate { hash, statement } in work.iter().flatten().flatten() {
        if !chain.is_some_and(|chain| continues(chain, &mut newest, *hash, statement)) {
            sought.push(Sought::from(statement));
        }
    }
    sought
}

/// `newest`: of the partitions that statements before this one continue.
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
