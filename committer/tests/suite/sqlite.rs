//! The suite on SQLite, and what only a file can do.

use std::fs;
use std::path::{Path, PathBuf};

use super::Database;
use super::running::Place;
use super::safety::unavailable;
use committer::fsck;
use committer::store::open_existing;
use testbed::statements::stream;

super::all::whole_suite!(Database::sqlite());

/// The folder of a database's file, `chain.db`.
fn folder(database: &Database) -> PathBuf {
    let file = Path::new(database.url.strip_prefix("sqlite:").expect("a file"));
    file.parent().expect("in a folder").to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("there").map(|entry| entry.expect("read").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("text")).collect();
    names.sort();
    names
}

/// Checks everything in a database. Returns its number of entries.
async fn sound_size(url: &str, place: &Place) -> u64 {
    let store = open_existing(url, &place.ledger.id()).await.expect("opens");
    let report = fsck(&*store, &place.ledger.id(), |_, _| ()).await.expect("reads");
    assert!(report.is_sound(), "{report}");
    report.size
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removed_or_replaced_files_acknowledge_nothing() {
    let (database, place) = (Database::sqlite(), Place::new());
    let statements = place.ledger.summaries(&stream("t", 0), 0, 10, 3, None);
    let running = place.start(&database).await;
    running.append(&statements[..1]).await;
    running.signed().await;
    running.until_ready().await;
    let folder = folder(&database);
    let away = |name: &str| folder.join(format!("{name}.away"));
    let all = ["chain.db", "chain.db-wal", "chain.db-shm"];
    for gone in [&all[..], &all[..1], &all[1..2], &all[2..]] {
        gone.iter().for_each(|name| fs::rename(folder.join(name), away(name)).expect("was there"));
        for replaced in [false, true] {
            if replaced {
                gone.iter().for_each(|name| fs::write(folder.join(name), "another").expect("written"));
            }
            let reason = unavailable(&running, &statements[1]).await;
            assert!(reason.contains(gone[0]) && reason.contains("removed or replaced"), "{gone:?}: {reason}");
            running.until_not_ready(&["database: ", gone[0], "removed or replaced", "start the committer"]).await;
            assert_eq!(running.get("checkpoint").await.0, 503, "{gone:?}");
        }
        // The original files are back.
        gone.iter().for_each(|name| fs::rename(away(name), folder.join(name)).expect("was there"));
        running.until_ready_after(async || running.try_submit(&statements[..1]).await.is_ok()).await;
        assert_eq!(running.client.status().await.expect("answered").size, 3, "nothing was appended: {gone:?}");
    }
    assert_eq!(running.append(&statements[1..]).await, [3, 4]);
    running.signed().await;
    running.stop().await;
    assert_eq!(sound_size(&database.url, &place).await, 6, "with a heads statement at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_stop_leaves_one_file() {
    let (database, place) = (Database::sqlite(), Place::new());
    let (folder, elsewhere) = (folder(&database), tempfile::tempdir().expect("a folder"));
    let running = place.start(&database).await;
    running.append(&place.ledger.summaries(&stream("t", 0), 0, 10, 300, None)).await;
    let size = running.signed().await.size;
    assert!(names(&folder).contains(&"chain.db-wal".to_owned()), "a running committer has a log");
    running.stop().await;
    assert_eq!(names(&folder), ["chain.db"]);
    let copy = elsewhere.path().join("copy.db");
    fs::copy(folder.join("chain.db"), &copy).expect("copied");
    let url = format!("sqlite:{}", copy.display());
    assert_eq!(sound_size(&url, &place).await, size + 1, "with a heads statement at the end");
}
