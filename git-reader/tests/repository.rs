//! The reader through its public interface, on repositories that libgit2 makes.

use std::path::Path;

use git_reader::{Error, Id, MODE_FILE, MODE_TREE, Repository};
use git2::{FileMode, Oid, Signature};

const CONTENT: &[u8] = b"hello\n";

/// Makes a commit on `refs/heads/main`: a folder `logs` with a file `checkpoint`.
fn commit(git: &git2::Repository) -> Oid {
    let mut folder = git.treebuilder(None).expect("a builder");
    folder.insert("checkpoint", git.blob(CONTENT).expect("a blob"), FileMode::Blob.into()).expect("inserted");
    let mut root = git.treebuilder(None).expect("a builder");
    root.insert("logs", folder.write().expect("a tree"), FileMode::Tree.into()).expect("inserted");
    let tree = git.find_tree(root.write().expect("a tree")).expect("there");
    let who = Signature::now("a", "a@example.com").expect("a signature");
    git.commit(Some("refs/heads/main"), &who, &who, "first", &tree, &[]).expect("committed")
}

/// A bare repository with that commit.
fn repository(path: &Path) -> (git2::Repository, Oid) {
    let git = git2::Repository::init_bare(path).expect("made");
    let commit = commit(&git);
    (git, commit)
}

fn entries(repository: &Repository, tree: Id) -> Vec<(String, Vec<u8>, Id)> {
    let mut entries = Vec::new();
    let each = |entry: git_reader::TreeEntry<'_>| {
        entries.push((String::from_utf8_lossy(entry.name).into_owned(), entry.mode.to_vec(), entry.id));
    };
    repository.tree(tree, each).expect("a tree");
    entries
}

#[test]
fn commits_trees_and_blobs_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_git, commit) = repository(folder.path());
    let repository = Repository::open(folder.path()).expect("opened");
    assert_eq!(repository.unread(), None);
    let copies = repository.copies("main");
    assert_eq!((copies.tips.len(), &copies.errors[..]), (1, &[][..]));
    assert_eq!(copies.tips[0].commit.to_string(), commit.to_string());
    let commit = repository.commit(copies.tips[0].commit).expect("a commit");
    assert!(commit.parents.is_empty());
    let root = entries(&repository, commit.tree);
    assert_eq!((root[0].0.as_str(), &root[0].1[..]), ("logs", MODE_TREE));
    let logs = entries(&repository, root[0].2);
    assert_eq!((logs[0].0.as_str(), &logs[0].1[..]), ("checkpoint", MODE_FILE));
    assert_eq!(repository.blob(logs[0].2, CONTENT.len()).as_deref(), Ok(CONTENT));
    assert!(matches!(repository.blob(logs[0].2, CONTENT.len() - 1), Err(Error::Unreadable(_))), "too long");
    assert!(matches!(repository.commit(logs[0].2), Err(Error::Unreadable(_))), "a blob is no commit");
}

#[test]
fn remote_copies_are_found_and_doubtful_ones_marked() {
    let folder = tempfile::tempdir().expect("a folder");
    let (git, commit) = repository(folder.path());
    for name in ["refs/remotes/origin/main", "refs/remotes/origin/fix/main"] {
        git.reference(name, commit, false, "fetched").expect("made");
    }
    let tips = Repository::open(folder.path()).expect("opened").copies("main").tips;
    let found: Vec<_> = tips.iter().map(|tip| (tip.reference.as_str(), tip.is_doubtful)).collect();
    assert_eq!(
        found,
        [("refs/heads/main", false), ("refs/remotes/origin/main", false), ("refs/remotes/origin/fix/main", true)]
    );
}

#[test]
fn absent_objects_differ_from_damaged_ones() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_git, commit) = repository(folder.path());
    let name = commit.to_string();
    let object = folder.path().join("objects").join(&name[..2]).join(&name[2..]);
    let repository = Repository::open(folder.path()).expect("opened");
    let tip = repository.copies("main").tips[0].commit;
    std::fs::remove_file(&object).expect("removed");
    assert_eq!(repository.commit(tip), Err(Error::Absent(tip)));
    std::fs::write(&object, b"damaged").expect("written");
    assert!(matches!(repository.commit(tip), Err(Error::Unreadable(_))));
}

#[test]
fn folders_without_a_repository_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(Repository::open(folder.path()), Err(Error::Unreadable(_))));
}
