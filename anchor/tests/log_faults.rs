//! A log that contradicts itself or is not what it claims: nothing is cosigned, and it is said why.

mod common;

use common::*;
use evidence::{Algorithm, Checkpoint, SignedCheckpoint, SigningKey};

/// Anchors a log of 5 entries, then lets it serve something else, and checks that the anchor refuses for this reason,
/// keeps what it had, and goes on once the log is what it was.
async fn refuses(spoil: impl FnOnce(&Log), reason: &str) {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    site.run_until(5).await;
    let before = site.tip();
    spoil(&log);
    let running = site.start().await;
    running.until_not_ready(reason).await;
    running.stop().await;
    assert_eq!(site.tip(), before, "nothing was published");
    log.grow(9);
    site.run_until(9).await;
    assert_eq!(site.anchors().len(), 2);
}

fn sign(checkpoint: Checkpoint, key: &SigningKey) -> Vec<u8> {
    SignedCheckpoint::sign(checkpoint, key).to_bytes()
}

#[tokio::test]
async fn another_root_of_the_same_size() {
    refuses(|log| log.set(leaves(5, 4, "fork")), "the log forked").await;
}

#[tokio::test]
async fn a_larger_head_that_is_no_continuation() {
    refuses(|log| log.set(leaves(9, 4, "fork")), "the log forked").await;
}

#[tokio::test]
async fn a_head_that_differs_in_its_first_entry_only() {
    let fork = || {
        let mut fork = leaves(9, u64::MAX, "");
        fork[0] = leaves(1, 0, "fork")[0];
        fork
    };
    refuses(|log| log.set(fork()), "the log forked").await;
}

#[tokio::test]
async fn a_smaller_head() {
    refuses(|log| log.grow(4), "the log went backwards").await;
}

#[tokio::test]
async fn a_checkpoint_of_another_log() {
    let other = SigningKey::from_seed("example.com/other", Algorithm::Ed25519, &[1; 32]).expect("a name");
    let spoil = |log: &Log| {
        let leaves = leaves(9, u64::MAX, "");
        let checkpoint = Checkpoint { origin: "example.com/other".into(), ..checkpoint(&leaves) };
        log.update(|served| served.checkpoint = Some(sign(checkpoint, &other)));
    };
    refuses(spoil, "it is of the log \"example.com/other\"").await;
}

#[tokio::test]
async fn a_checkpoint_signed_by_another_key() {
    let thief = SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[4; 32]).expect("a name");
    let spoil = |log: &Log| {
        log.grow(9);
        log.update(|served| served.checkpoint = Some(sign(checkpoint(&served.leaves), &thief)));
    };
    refuses(spoil, "it is signed by no log key of the ledger").await;
}

#[tokio::test]
async fn a_checkpoint_whose_signature_is_of_another_text() {
    let spoil = |log: &Log| {
        log.grow(9);
        log.update(|served| {
            let text = String::from_utf8(served.checkpoint.take().expect("served")).expect("text");
            served.checkpoint = Some(text.replacen("\n9\n", "\n10\n", 1).into_bytes());
        });
    };
    refuses(spoil, "not valid").await;
}

#[tokio::test]
async fn what_is_no_checkpoint() {
    refuses(|log| log.update(|served| served.checkpoint = Some(b"hello\n".to_vec())), "malformed").await;
}

#[tokio::test]
async fn tiles_that_are_not_of_the_signed_tree() {
    let spoil = |log: &Log| {
        log.grow(9);
        log.update(|served| served.leaves = leaves(9, 8, "fork"));
    };
    refuses(spoil, "the committer's tiles").await;
}

#[tokio::test]
async fn tiles_of_the_wrong_length() {
    let spoil = |log: &Log| {
        log.grow(9);
        log.update(|served| served.tile = Some(vec![0; 31]));
    };
    refuses(spoil, "the committer's tiles").await;
}

#[tokio::test]
async fn a_first_head_whose_tiles_do_not_agree_is_not_anchored() {
    let log = Log::start(5).await;
    log.update(|served| served.leaves = leaves(5, 4, "fork"));
    let site = Site::new(&log, "");
    let running = site.start().await;
    running.until_not_ready("the committer's tiles").await;
    running.stop().await;
    assert_eq!(site.tip(), None);
}
