//! Heads that are refused: nothing is cosigned, and the reason is reported.

mod common;

use common::*;
use evidence::{Algorithm, Checkpoint, SignedCheckpoint, SigningKey};

/// Anchors a log of 5 entries, then lets it serve something else, and checks that the anchor refuses for this reason,
/// keeps what it had, and continues once the log serves the old entries again.
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
async fn other_root_of_same_size_is_refused() {
    refuses(|log| log.set(leaves(5, 4, "fork")), "the log forked").await;
}

#[tokio::test]
async fn larger_fork_is_refused() {
    refuses(|log| log.set(leaves(9, 4, "fork")), "the log forked").await;
}

#[tokio::test]
async fn fork_at_the_first_entry_is_refused() {
    let fork = || {
        let mut fork = leaves(9, u64::MAX, "");
        fork[0] = leaves(1, 0, "fork")[0];
        fork
    };
    refuses(|log| log.set(fork()), "the log forked").await;
}

#[tokio::test]
async fn smaller_head_is_refused() {
    refuses(|log| log.grow(4), "the log went backwards").await;
}

#[tokio::test]
async fn checkpoint_of_another_log_is_refused() {
    let other = SigningKey::from_seed("example.com/other", Algorithm::Ed25519, &[1; 32]).expect("a name");
    let spoil = |log: &Log| {
        let leaves = leaves(9, u64::MAX, "");
        let checkpoint = Checkpoint { origin: "example.com/other".into(), ..checkpoint(&leaves) };
        log.update(|served| served.checkpoint = Some(sign(checkpoint, &other)));
    };
    refuses(spoil, "it is of the log \"example.com/other\"").await;
}

#[tokio::test]
async fn checkpoint_by_another_key_is_refused() {
    let thief = SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[4; 32]).expect("a name");
    let spoil = |log: &Log| {
        log.grow(9);
        log.update(|served| served.checkpoint = Some(sign(checkpoint(&served.leaves), &thief)));
    };
    refuses(spoil, "it is signed by no log key of the ledger").await;
}

#[tokio::test]
async fn invalid_signature_is_refused() {
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
async fn malformed_checkpoint_is_refused() {
    refuses(|log| log.update(|served| served.checkpoint = Some(b"hello\n".to_vec())), "malformed").await;
}

#[tokio::test]
async fn tiles_of_another_tree_are_refused() {
    let spoil = |log: &Log| {
        log.grow(9);
        log.update(|served| served.leaves = leaves(9, 8, "fork"));
    };
    refuses(spoil, "the committer's tiles").await;
}

#[tokio::test]
async fn tiles_of_wrong_length_are_refused() {
    let spoil = |log: &Log| {
        log.grow(9);
        log.update(|served| served.tile = Some(vec![0; 31]));
    };
    refuses(spoil, "the committer's tiles").await;
}

#[tokio::test]
async fn first_head_with_wrong_tiles_is_refused() {
    let log = Log::start(5).await;
    log.update(|served| served.leaves = leaves(5, 4, "fork"));
    let site = Site::new(&log, "");
    let running = site.start().await;
    running.until_not_ready("the committer's tiles").await;
    running.stop().await;
    assert_eq!(site.tip(), None);
}
