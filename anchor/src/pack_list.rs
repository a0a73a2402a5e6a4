use std::path::Path;

use anyhow::Context;
use git2::Oid;

const HEADER: &str = "streamseal/anchor-packs@v1";
/// The file's name in the repository's folder.
const NAME: &str = "anchor-packs";
const BYTES_MAX: usize = 1 << 16;

/// The packs of a repository, in a file in its folder. Repositories without this file are never packed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PackList {
    /// Large packs hold everything up to this commit.
    pub(crate) merged: Option<Oid>,
    /// The small packs after it. Each holds everything up to a commit; the string is the pack's name.
    pub(crate) packs: Vec<(Oid, String)>,
}

impl PackList {
    /// Starts an empty list in a repository's folder, or in one that is about to become a repository. An existing list
    /// is emptied: its packs belong to a history that the branch has left.
    pub(crate) fn start(folder: &Path) -> anyhow::Result<()> {
        Self::default().write(folder)
    }

    /// Whether the repository in this folder is packed here.
    pub(crate) fn exists(folder: &Path) -> bool {
        folder.join(NAME).exists()
    }

    /// Whether [`PackList::start`] was called in this folder, even if it was interrupted.
    pub(crate) fn was_started(folder: &Path) -> bool {
        let list = folder.join(NAME);
        list.exists() || list.with_extension("tmp").exists()
    }

    /// The newest commit that is in a pack.
    pub(crate) fn packed_up_to(&self) -> Option<Oid> {
        self.packs.last().map(|(commit, _)| *commit).or(self.merged)
    }

    /// Reads the list of the repository in this folder; `None` when nothing is packed here.
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        if !Self::exists(folder) {
            return Ok(None);
        }
        let path = folder.join(NAME);
        let bytes = keystore::read_capped(&path, BYTES_MAX)?;
        let list = str::from_utf8(&bytes).ok().and_then(Self::parse);
        list.map(Some).with_context(|| format!("{} is damaged; delete it to stop packing", path.display()))
    }

    /// Writes the list, durably.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        Ok(keystore::write_synced(&folder.join(NAME), self.encode().as_bytes(), 0o644)?)
    }

    pub(crate) fn encode(&self) -> String {
        let merged = self.merged.map_or_else(|| "-".to_owned(), |commit| commit.to_string());
        let packs: String = self.packs.iter().map(|(commit, name)| format!("pack {commit} {name}\n")).collect();
        format!("{HEADER}\nmerged {merged}\n{packs}")
    }

    /// Parses a list, and refuses all but its canonical form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (HEADER, merged) = (lines.next()?, lines.next()?.strip_prefix("merged ")?) else {
            return None;
        };
        let merged = if merged == "-" { None } else { Some(Oid::from_str(merged).ok()?) };
        let pack = |line: &str| {
            let (commit, name) = line.strip_prefix("pack ")?.split_once(' ')?;
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_hexdigit());
            Some((Oid::from_str(commit).ok()?, is_name.then(|| name.to_owned())?))
        };
        let list = Self { merged, packs: lines.map(pack).collect::<Option<_>>()? };
        (list.encode() == text).then_some(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_list_is_refused() {
        let commit = Oid::from_str("1111111111111111111111111111111111111111").expect("an id");
        let list = PackList { merged: Some(commit), packs: vec![(commit, "ab12".to_owned())] };
        assert_eq!(PackList::parse(&list.encode()), Some(list));
        assert_eq!(PackList::parse(&PackList::default().encode()), Some(PackList::default()));
        for bad in ["", "x", "streamseal/anchor-packs@v1\n", "streamseal/anchor-packs@v1\nmerged -\npack x y\n"] {
            assert_eq!(PackList::parse(bad), None, "{bad:?}");
        }
        let traversal = format!("streamseal/anchor-packs@v1\nmerged -\npack {commit} ../../x\n");
        assert_eq!(PackList::parse(&traversal), None);
    }
}
