use std::path::{Path, PathBuf};

use anyhow::Context;
use git2::Oid;

const HEADER: &str = "streamseal/anchor-remote@v1";
const FILE_BYTES_MAX: usize = 1 << 14;

/// The commit that was last seen at a remote, in a file beside the anchor's key. A remote that later holds less went
/// backwards.
#[derive(Debug)]
pub(crate) struct LastSeen {
    path: PathBuf,
    url: String,
    reference: String,
    commit: Option<Oid>,
}

impl LastSeen {
    /// Reads the file for a remote, if there is one.
    pub(crate) fn open(key: &Path, url: &str, reference: &str) -> anyhow::Result<Self> {
        let mut path = key.as_os_str().to_owned();
        path.push(format!(".remote-{}", short_name(url)));
        let path = PathBuf::from(path);
        let mut this = Self { path, url: url.to_owned(), reference: reference.to_owned(), commit: None };
        // A file that cannot be inspected is an error, not an absent file.
        if this.path.try_exists().with_context(|| format!("look at {}", this.path.display()))? {
            let bytes = keystore::read_capped(&this.path, FILE_BYTES_MAX)?;
            let commit = str::from_utf8(&bytes).ok().and_then(|text| this.parse(text));
            this.commit = Some(commit.with_context(|| {
                let path = this.path.display();
                format!(
                    "{path} is damaged or does not belong to {url}; delete it only after looking at what {url} holds"
                )
            })?);
        }
        Ok(this)
    }

    /// The commit; `None` when nothing was seen there yet.
    pub(crate) const fn commit(&self) -> Option<Oid> {
        self.commit
    }

    /// Stores a commit, durably.
    pub(crate) fn set(&mut self, commit: Oid) -> anyhow::Result<()> {
        if self.commit != Some(commit) {
            keystore::write_synced(&self.path, self.encode(commit).as_bytes(), 0o600)?;
            self.commit = Some(commit);
        }
        Ok(())
    }

    fn encode(&self, commit: Oid) -> String {
        format!("{HEADER}\nurl {}\nbranch {}\ncommit {commit}\n", self.url, self.reference)
    }

    fn parse(&self, text: &str) -> Option<Oid> {
        let commit = text.strip_suffix('\n')?.rsplit_once("\ncommit ")?.1;
        let commit = Oid::from_str(commit).ok()?;
        (self.encode(commit) == text).then_some(commit)
    }
}

/// Reads the file of some remote and encodes it again; `None` when it is not such a file.
#[cfg(feature = "fuzzing")]
pub(crate) fn reencode(text: &str) -> Option<String> {
    let (url, reference) = ("https://example.com/anchors.git".to_owned(), "refs/heads/anchors".to_owned());
    let seen = LastSeen { path: PathBuf::new(), url, reference, commit: None };
    seen.parse(text).map(|commit| seen.encode(commit))
}

/// A short name for an address in files and references: 16 hexadecimal digits.
pub(crate) fn short_name(url: &str) -> String {
    evidence::sha256(url.as_bytes()).0[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRANCH: &str = "refs/heads/anchors";

    #[test]
    fn each_remote_has_its_own_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("anchor.key");
        let commit = Oid::from_str("1111111111111111111111111111111111111111").expect("an id");
        let open = |url| LastSeen::open(&key, url, BRANCH).expect("opens");
        let mut seen = open("/srv/a.git");
        assert_eq!(seen.commit(), None);
        seen.set(commit).expect("written");
        assert_eq!(open("/srv/a.git").commit(), Some(commit));
        assert_eq!(open("/srv/b.git").commit(), None);
    }

    #[test]
    fn damaged_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("anchor.key");
        let commit = Oid::from_str("1111111111111111111111111111111111111111").expect("an id");
        let mut seen = LastSeen::open(&key, "/srv/a.git", BRANCH).expect("opens");
        seen.set(commit).expect("written");
        let good = std::fs::read(&seen.path).expect("read");
        for length in 0..good.len() {
            std::fs::write(&seen.path, &good[..length]).expect("written");
            LastSeen::open(&key, "/srv/a.git", BRANCH).expect_err("truncated");
        }
        std::fs::write(&seen.path, good).expect("written");
        LastSeen::open(&key, "/srv/a.git", "refs/heads/other").expect_err("of another branch");
    }
}
