//! What an anchor's metrics say. They are the process's, so nothing else may run in this one.

mod common;

use common::*;

#[tokio::test]
async fn metrics_show_lag_and_incidents() {
    const INCIDENTS: &str = "streamseal_anchor_log_faults_total{kind=\"contradiction\"}";
    const LAG: &str = "streamseal_anchor_lag_entries";
    let log = Log::start(5).await;
    let site = Site::new(&log, "");
    let running = site.start().await;
    site.until_anchored(5).await;
    running.until_ready().await;
    assert_eq!((running.metric(LAG).await, running.metric(INCIDENTS).await), (0.0, 0.0));
    log.grow(4);
    running.until_not_ready("the log went backwards").await;
    assert_eq!(running.metric(INCIDENTS).await, 1.0);
    log.update(|served| served.checkpoint = None);
    running.until_not_ready("no checkpoint").await;
    // A head that cannot be anchored yet.
    log.grow(8);
    log.update(|served| served.leaves = leaves(8, 7, "fork"));
    running.until_not_ready("the committer's tiles").await;
    assert_eq!((running.metric(LAG).await, running.metric(INCIDENTS).await), (3.0, 1.0));
    log.grow(6);
    site.until_anchored(6).await;
    running.until_ready().await;
    assert_eq!((running.metric(LAG).await, running.metric(INCIDENTS).await), (0.0, 1.0));
    running.stop().await;
}
