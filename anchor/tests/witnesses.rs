//! Witnesses that are away, wrong or behind. The anchor is made without them, and completed when they are back.

mod common;

use common::*;

/// Waits until the newest anchor has the witness's line.
async fn until_completed(site: &Site, witness: &Witness) {
    until("the witness's line", || newest(&site.path("anchor.git")).is_some_and(|a| witness.is_on(&a.checkpoint)))
        .await;
}

/// For each anchor, oldest first, its size and whether the witness has cosigned it.
fn lines(site: &Site, witness: &Witness) -> Vec<(u64, bool)> {
    site.anchors().iter().map(|a| (a.checkpoint.checkpoint().size, witness.is_on(&a.checkpoint))).collect()
}

/// Neither a heartbeat nor a new head comes meanwhile, so only asking again brings the line.
#[tokio::test]
async fn anchor_is_completed_when_the_witness_returns() {
    let log = Log::start(5).await;
    let witness = Witness::start("example.net/back").await;
    let other = Witness::start("example.net/there").await;
    let mut site = Site::new(&log, "");
    let remote = site.path("remote.git");
    site.reconfigure(&log, &format!("{}{}{}", witness.config(), other.config(), remotes(&[&remote])));
    witness.with(|state| state.answer = Some((503, "down".into())));
    let running = site.start().await;
    site.until_anchored(5).await;
    running.until_ready().await;
    let (_, text) = running.get("/readyz").await;
    assert!(text.contains("witness example.net/back: no cosignature of size 5 yet: HTTP status 503"), "{text}");
    assert_eq!(running.metric("streamseal_anchor_witness_owes{witness=\"example.net/back\"}").await, 1.0);
    // The log has moved on, to a head that cannot be anchored yet.
    log.grow(9);
    log.update(|served| served.checkpoint = None);
    running.until_not_ready("no checkpoint").await;
    witness.with(|state| state.answer = None);
    until_completed(&site, &witness).await;
    until("the remote has it", || tip(&remote) == site.tip()).await;
    assert_eq!(lines(&site, &witness), [(5, false), (5, true)]);
    let (_, text) = running.get("/readyz").await;
    assert!(!text.contains("witness"), "{text}");
    running.stop().await;
    let anchors = site.anchors();
    assert!(anchors.iter().all(|anchor| other.is_on(&anchor.checkpoint)), "what others said stays");
    let key = anchor_key();
    let times: Vec<u64> = anchors.iter().map(|a| verify_cosignature(&a.checkpoint, key.verifier_key())).collect();
    assert_eq!(times[0], times[1], "the anchor itself says nothing new");
    assert_eq!(other.with(|state| state.requests), 1, "a witness that gave its line is not asked again");
}

#[tokio::test]
async fn missing_line_is_asked_for_after_a_restart() {
    let log = Log::start(5).await;
    let witness = Witness::start("example.net/restart").await;
    let mut site = Site::new(&log, "");
    site.run_until(5).await;
    site.reconfigure(&log, &witness.config());
    let running = site.start().await;
    until_completed(&site, &witness).await;
    running.stop().await;
    assert_eq!(lines(&site, &witness), [(5, false), (5, true)]);
}

#[tokio::test]
async fn witness_is_asked_again_after_any_answer() {
    let answers = [
        (409, "999999\n"),
        (409, "3\n"),
        (409, "<html>"),
        (400, ""),
        (403, ""),
        (404, "unknown log"),
        (422, "bad proof"),
        (429, ""),
        (500, ""),
        (200, ""),
        (200, "— example.net/wrong AAAA\n"),
        (302, ""),
    ];
    let one = |number: usize, (status, answer): (u16, &'static str)| async move {
        let log = Log::start(5).await;
        let witness = Witness::start(&format!("example.net/wrong-{number}")).await;
        witness.with(|state| state.answer = Some((status, answer.to_owned())));
        let site = Site::new(&log, &witness.config());
        let running = site.start().await;
        site.until_anchored(5).await;
        running.until_ready().await;
        let (_, text) = running.get("/readyz").await;
        assert!(text.contains("no cosignature of size 5 yet"), "{status} {answer:?}: {text}");
        let asked = witness.with(|state| state.requests);
        until("it is asked again", || witness.with(|state| state.requests > asked)).await;
        witness.with(|state| state.answer = None);
        until_completed(&site, &witness).await;
        running.stop().await;
        assert_eq!(lines(&site, &witness), [(5, false), (5, true)], "{status} {answer:?}");
    };
    futures::future::join_all(answers.into_iter().enumerate().map(|(number, answer)| one(number, answer))).await;
}

#[tokio::test]
async fn line_stays_while_the_witness_is_away() {
    let log = Log::start(5).await;
    let witness = Witness::start("example.net/stays").await;
    let site = Site::new(&log, &format!("heartbeat_s = 1\n{}", witness.config()));
    let running = site.start().await;
    until_completed(&site, &witness).await;
    witness.with(|state| state.answer = Some((503, String::new())));
    let made = site.anchors().len();
    until("two heartbeats", || site.anchors().len() >= made + 2).await;
    running.stop().await;
    assert!(lines(&site, &witness).iter().all(|line| *line == (5, true)));
}

/// Verifiers take a time that decreases from one anchor to the next for a forgery, if the witness is the ledger's own.
#[tokio::test]
async fn line_with_an_earlier_time_is_left_out() {
    let log = Log::start(5).await;
    let witness = Witness::start("example.net/clock").await;
    let site = Site::new(&log, &witness.config());
    let running = site.start().await;
    until_completed(&site, &witness).await;
    witness.with(|state| state.time -= 1);
    log.grow(8);
    site.until_anchored(8).await;
    // The anchor before has no line of it now, so the same time is good.
    until_completed(&site, &witness).await;
    running.stop().await;
    assert_eq!(lines(&site, &witness), [(5, true), (8, false), (8, true)]);
}
