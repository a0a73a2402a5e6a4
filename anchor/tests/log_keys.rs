//! Log keys that are granted and revoked while the anchor runs: it follows what the ledger's key entries say.

mod common;

use std::fs;

use anchor::{Source, adopt};
use common::*;
use evidence::statement::Action;
use evidence::{Algorithm, SigningKey};

/// A log key that the genesis does not name.
fn second() -> SigningKey {
    SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[7; 32]).expect("a name")
}

fn honest(size: u64) -> Vec<evidence::Hash> {
    leaves(size, u64::MAX, "")
}

#[tokio::test]
async fn replaced_log_key_is_followed() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    let running = site.start().await;
    site.until_anchored(5).await;

    log.set_signed(honest(6), &second());
    running.until_not_ready("it is signed by no log key of the ledger").await;
    log.change_log_key(5, Action::Grant, &second());
    site.until_anchored(6).await;
    running.until_ready().await;
    // Until it is revoked the first key counts too.
    log.grow(7);
    site.until_anchored(7).await;

    log.change_log_key(7, Action::Revoke, &log_key());
    log.grow(8);
    running.until_not_ready("was revoked, and no longer counts on a checkpoint of size 8").await;
    log.set_signed(honest(8), &second());
    site.until_anchored(8).await;
    running.until_ready().await;
    running.stop().await;
    let newest = newest(&site.path("anchor.git")).expect("there");
    newest.checkpoint.verify(second().verifier_key()).expect("signed by the second key");

    // A branch that the revoked key's signatures are in can still be continued.
    fs::remove_file(site.path("anchor.key.high-water")).expect("removed");
    adopt(&site.config, ledger(), &Source::Repository).await.expect("adopted");
    log.set_signed(honest(9), &second());
    let running = site.start().await;
    site.until_anchored(9).await;
    running.stop().await;
}

#[tokio::test]
async fn branch_by_no_log_key_is_not_adopted() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    log.change_log_key(5, Action::Grant, &second());
    log.set_signed(honest(6), &second());
    let running = site.start().await;
    site.until_anchored(6).await;
    running.stop().await;
    fs::remove_file(site.path("anchor.key.high-water")).expect("removed");
    // The second key was never granted.
    log.update(|served| served.keys.truncate(1));
    log.grow(6);
    let error = adopt(&site.config, ledger(), &Source::Repository).await.expect_err("refused");
    assert!(error.to_string().contains("signed by no log key of the ledger"), "{error:#}");
    assert!(!site.path("anchor.key.high-water").exists(), "nothing was changed");
}

#[tokio::test]
async fn key_entries_must_follow_from_the_genesis() {
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    log.change_log_key(5, Action::Grant, &second());
    log.set_signed(honest(6), &second());
    let genesis = log.served.lock().expect("not poisoned").keys[0].clone();
    log.update(|served| {
        served.keys.remove(0);
    });
    let running = site.start().await;
    running.until_not_ready("the committer's key entries").await;
    assert_eq!(site.tip(), None);
    log.update(|served| served.keys.insert(0, genesis));
    site.until_anchored(6).await;
    running.stop().await;
}
