//! Which statements of a group may be in the chain already, so that the database must be asked.

use std::collections::HashMap;

use evidence::chain::StreamHead;
use evidence::{Hash, Partition, SignedStatement};

use super::Candidate;
use super::worker::Work;
use crate::chain::Chain;
use crate::store::Sought;

/// Where the open stream of a partition stands: its epoch, cursor and newest statement.
type Standing = (u64, u64, Hash);

/// Those of the statements that do not continue their stream where `chain`, and those before them, leave it: whatever
/// continues it cannot be in that chain. All of them when there is no chain to go by.
pub(super) fn sought(chain: Option<&Chain>, work: &[Work]) -> Vec<Sought> {
    let mut moved = HashMap::new();
    let mut sought = Vec::new();
    for Candidate { hash, statement } in work.iter().flatten().flatten() {
        if !chain.is_some_and(|chain| continues(chain, &mut moved, *hash, statement)) {
            sought.push(Sought::from(statement));
        }
    }
    sought
}

fn continues<'a>(
    chain: &Chain,
    moved: &mut HashMap<&'a Partition, Standing>,
    hash: Hash,
    statement: &'a SignedStatement,
) -> bool {
    let Some(advance) = statement.statement().advance() else { return false };
    let (partition, epoch) = (&advance.stream.partition, advance.stream.epoch);
    let standing = moved.get(partition).copied().or_else(|| chain.state().streams().open(partition).map(standing));
    let continues = match standing {
        Some((open, next, newest)) => open == epoch && next == advance.first && Some(newest) == advance.prev,
        None => epoch == 0 && advance.first == 0 && advance.prev.is_none(),
    };
    if continues {
        moved.insert(partition, (epoch, advance.next, hash));
    }
    continues
}

fn standing(head: &StreamHead) -> Standing {
    (head.id.epoch, head.next, head.statement)
}
