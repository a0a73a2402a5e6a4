//! Reads a Git repository that may come from anybody.
//!
//! Git is only transport here: the caller verifies what a commit holds. The reader promises bounds and not truth. Each
//! step reads a bounded number of bytes, unpacks a bounded number of bytes, and cannot run in circles.
//!
//! Objects are read raw from the object database: loose, or from packs of version 2. Nothing in the repository's
//! configuration, in `refs/replace` or in grafts can show other content or another history. Each object is hashed, and
//! must have the SHA-1 that it is asked for by. A `shallow` file is not read: an absent object is an error.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path();
//! # let git = git2::Repository::init(path)?;
//! # let who = git2::Signature::now("a", "a@example.com")?;
//! # let tree = git.treebuilder(None)?.write()?;
//! # git.commit(Some("refs/heads/anchors"), &who, &who, "first", &git.find_tree(tree)?, &[])?;
//! use git_reader::Repository;
//!
//! let repository = Repository::open(path)?;
//! if let Some(error) = repository.unread() {
//!     eprintln!("a part was left out: {error}");
//! }
//! for tip in repository.copies("anchors").tips {
//!     let commit = repository.commit(tip.commit)?;
//!     println!("{} ends at {}, which has {} parents", tip.reference, tip.commit, commit.parents.len());
//!     repository.tree(commit.tree, |entry| println!("{:?}", entry.name))?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(clippy::missing_errors_doc)]

mod bounds;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod id;
mod objects;
mod pack;
mod references;
mod repository;
mod store;

pub use error::Error;
pub use id::Id;
pub use objects::{Commit, MODE_FILE, MODE_TREE, TreeEntry};
pub use references::{Copies, Tip};
pub use repository::Repository;
