//! Partial evidence: chains with missing entries.

use evidence::chain::{Refusal, State};
use evidence::statement::{Epoch, Gap, Heads, Reason, Summary};
use evidence::{Entry, Statement, sha256};

use super::{Chain, Partial, sign, text, topic_id};
use crate::fixture::{ORIGIN, stream};
use crate::form::texts;

/// Partial evidence that is accepted, and entries that contradict it.
pub(super) fn partial(chain: &Chain) -> Vec<Partial> {
    let case = |name: &'static str, applied: &[u64], last: Option<&Entry>, code: Option<&'static str>| {
        let mut state = State::new(ORIGIN, chain.state.ledger().genesis);
        let entries = applied.iter().map(|seq| &chain.entries[*seq as usize]).chain(last);
        let results: Vec<Result<(), Refusal>> = entries
            .map(|entry| {
                state.skip_to(entry.seq);
                state.apply(entry)
            })
            .collect();
        let (last_result, before) = results.split_last().expect("some entries");
        assert!(before.iter().all(Result::is_ok), "{name}: {results:?}");
        assert_eq!(last_result.as_ref().err().map(Refusal::code), code, "{name}: {last_result:?}");
        Partial { name, applied: texts(applied), last: last.map(text), code }
    };
    let key_entries = [0, 1, 2, 7, 8, 10, 11];
    let with = |seqs: &[u64]| {
        let mut all: Vec<u64> = key_entries.iter().chain(seqs).copied().collect();
        all.sort_unstable();
        all
    };
    let summary = |seq: usize, change: &dyn Fn(&mut Summary)| {
        let entry = chain.entries[seq].clone();
        let Statement::Summary(mut summary) = entry.statement.statement().clone() else { unreachable!("a summary") };
        change(&mut summary);
        Entry { statement: sign(Statement::Summary(summary), &[&chain.ring.ingest_b]), ..entry }
    };
    let backwards = summary(18, &|summary| summary.first = 149);
    let from_nowhere = summary(18, &|summary| summary.prev = None);
    let stale = summary(18, &|summary| summary.first = 150);
    let other_topic = summary(18, &|summary| summary.topic_id = Some("another".into()));
    let closed = summary(18, &|summary| {
        summary.stream = stream("orders", 0, 0);
        summary.topic_id = topic_id(&summary.stream);
    });
    let epoch = |change: &dyn Fn(&mut Epoch)| {
        let entry = chain.entries[16].clone();
        let Statement::Epoch(mut epoch) = entry.statement.statement().clone() else { unreachable!("an epoch") };
        change(&mut epoch);
        Entry { statement: sign(Statement::Epoch(epoch), &[&chain.ring.operator_2]), ..entry }
    };
    let later = epoch(&|epoch| epoch.stream.epoch = 3);
    let again =
        Entry { seq: 18, prev: chain.entries[18].prev, time: chain.entries[18].time, ..chain.entries[16].clone() };
    let lower_end = epoch(&|epoch| epoch.old_next = 7);
    let other_prev = epoch(&|epoch| epoch.old_next = 8);
    let other_old_topic = epoch(&|epoch| epoch.old_topic_id = None);
    let gap_at_start = {
        let entry = chain.entries[14].clone();
        let Statement::Gap(gap) = entry.statement.statement().clone() else { unreachable!("a gap") };
        let gap = Gap { reason: Reason::Start, ..gap };
        Entry { statement: sign(Statement::Gap(gap), &[&chain.ring.ingest_b]), ..entry }
    };
    let first_with_prev = summary(18, &|summary| {
        summary.stream = stream("orders", 9, 0);
        summary.first = 0;
    });
    let new_epoch_without_prev = summary(17, &|summary| summary.prev = None);
    let too_late = epoch(&|epoch| epoch.start = 1);
    let heads_again = Entry { statement: chain.entries[6].statement.clone(), ..chain.entries[19].clone() };
    let true_of_nothing = {
        let heads = Heads { streams: 77, root: sha256(b"unseen"), ledger: chain.state.ledger().clone() };
        Entry { statement: sign(Statement::Heads(heads), &[&chain.ring.log]), ..chain.entries[19].clone() }
    };
    vec![
        case("one stream with all key entries", &with(&[3, 9, 12, 14, 15, 16, 17]), None, None),
        case("a stream without one of its batches", &with(&[3, 12]), None, None),
        case("the middle of a stream", &with(&[12]), None, None),
        case("key entries, the newest heads and nothing else", &with(&[19]), None, None),
        case("heads that cannot be compared", &with(&[6, 19]), None, None),
        case("a new epoch without its epoch entry", &with(&[12, 17]), None, None),
        case("without the genesis", &[1], None, Some("wrong-keys")),
        case("without a key entry", &[0, 1, 3], None, Some("wrong-keys")),
        case("without the newest key entry", &[0, 1, 2, 7, 8, 10, 12], None, Some("wrong-keys")),
        case(
            "an entry out of order",
            &with(&[12])[..8].iter().copied().chain([3]).collect::<Vec<_>>(),
            None,
            Some("wrong-seq"),
        ),
        case("a range before the cursor", &with(&[5]), Some(&backwards), Some("wrong-cursor")),
        case("a later range without prev", &key_entries, Some(&from_nowhere), Some("wrong-prev")),
        case("a range at the cursor with another prev", &with(&[5]), Some(&stale), Some("wrong-prev")),
        case("a later range with another topic id", &with(&[5]), Some(&other_topic), Some("wrong-topic-id")),
        case("a range of an epoch that is closed", &with(&[16]), Some(&closed), Some("wrong-epoch")),
        case("an epoch that ends the stream further on", &with(&[12, 16]), None, None),
        case("an epoch of a stream that was not given", &with(&[16]), None, None),
        case("an epoch after others that were not given", &with(&[12]), Some(&later), None),
        case("an epoch that is open already", &with(&[17]), Some(&again), Some("wrong-epoch")),
        case("an epoch that ends the stream further back", &with(&[12]), Some(&lower_end), Some("wrong-cursor")),
        case("an epoch at the cursor with another prev", &with(&[12]), Some(&other_prev), Some("wrong-prev")),
        case("an epoch with another topic id", &with(&[12]), Some(&other_old_topic), Some("wrong-topic-id")),
        case("a gap at the start, further on than the cursor", &with(&[3]), Some(&gap_at_start), None),
        case(
            "a gap at the start, at a cursor that is not the start",
            &with(&[12]),
            Some(&gap_at_start),
            Some("bad-gap"),
        ),
        case("offset 0 of epoch 0 with a prev", &key_entries, Some(&first_with_prev), Some("wrong-prev")),
        case("a new epoch without prev", &with(&[12]), Some(&new_epoch_without_prev), Some("wrong-prev")),
        case(
            "an epoch of another topic that does not begin at 0, of a stream that was not given",
            &key_entries,
            Some(&too_late),
            Some("bad-epoch"),
        ),
        case("heads again", &with(&[6]), Some(&heads_again), Some("bad-heads")),
        case("heads of streams that were not given", &key_entries, Some(&true_of_nothing), None),
    ]
}
