use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, ensure};
use evidence::incident::{INCIDENT_BYTES_MAX, Incident, Kind};
use evidence::statement::LedgerId;
use evidence::time::utc;
use evidence::{Hash, SignedCheckpoint};

use crate::decide::LogIncident;
use crate::unix_seconds;

/// A log that signs another history at every look must not fill the disk. The first incidents prove the most.
const FILES_MAX: usize = 64;

/// The most rollbacks among them. Rollbacks prove less than forks, so the other places are for forks alone.
const ROLLBACKS_MAX: usize = 32;

/// The most rollbacks of one known head. An old copy of the database that grows shows another one at each look.
const ROLLBACKS_PER_HEAD_MAX: usize = 4;

/// The folder `incidents` beside the anchor's key. Each pair of signed heads that contradict each other has a file of its
/// own there, which this process never removes. All calls block.
#[derive(Debug)]
pub(crate) struct Incidents {
    folder: PathBuf,
    /// The incidents that this process knows to be on disk.
    kept: Mutex<HashMap<Hash, PathBuf>>,
}

impl Incidents {
    /// `key` is the anchor's key file.
    pub(crate) fn beside(key: &Path) -> Self {
        Self { folder: key.with_file_name("incidents"), kept: Mutex::default() }
    }

    /// Stores the two heads of an incident, and says in words what it is and where they are. `known` is the head that was
    /// known before, `found` the other one.
    pub(crate) fn keep_both(
        &self,
        ledger: &LedgerId,
        incident: &LogIncident,
        known: Option<SignedCheckpoint>,
        found: SignedCheckpoint,
    ) -> String {
        let kept = match known {
            Some(known) => {
                let shown = incident.shown().cloned();
                match Incident::new(ledger.clone(), unix_seconds(), known, found, shown) {
                    Ok(incident) => self.keep(&incident),
                    Err(error) => format!("the signed heads are not kept: {error}"),
                }
            }
            None => format!("the signature on {} is in an older anchor, and not kept", incident.known()),
        };
        format!("{incident}; {kept}")
    }

    /// Stores an incident once, and says in words where it is or why it is not stored.
    fn keep(&self, incident: &Incident) -> String {
        match self.file(incident) {
            Ok(path) => format!("both signed heads are kept in {}", path.display()),
            Err(error) => format!("the signed heads are not kept: {error:#}"),
        }
    }

    /// The file of an incident, which is on disk when this returns.
    fn file(&self, incident: &Incident) -> anyhow::Result<PathBuf> {
        // A panic cannot leave a half-made map entry, so a poisoned lock is safe to use.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let id = incident.id();
        if let Some(path) = kept.get(&id).filter(|path| path.exists()) {
            return Ok(path.clone());
        }
        let short: String = id.0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let suffix = format!("-{}-{short}", incident.kind());
        let names = self.names()?;
        let (path, bytes) = match names.iter().find(|name| name.ends_with(&suffix)) {
            // Written by an earlier process, which may have ended before it was synced.
            Some(name) => {
                let path = self.folder.join(name);
                let bytes = keystore::read_capped(&path, INCIDENT_BYTES_MAX)?.to_vec();
                let held = Incident::parse(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
                ensure!(held.id() == id, "{} holds another incident", path.display());
                (path, bytes)
            }
            None => {
                self.check_room(&names, incident)?;
                let time = utc(incident.unix_seconds()).replace(['-', ':'], "");
                (self.folder.join(format!("{time}{suffix}")), incident.to_bytes())
            }
        };
        keystore::write_synced(&path, &bytes, 0o644)?;
        kept.insert(id, path.clone());
        Ok(path)
    }

    /// Refuses an incident for which the files of these names leave no room.
    fn check_room(&self, names: &[String], incident: &Incident) -> anyhow::Result<()> {
        let folder = self.folder.display();
        let full = |held: usize, max: usize, what: &str| {
            ensure!(held < max, "{folder} holds {max} {what}, the maximum; move them to a safe place");
            Ok(())
        };
        full(names.len(), FILES_MAX, "files")?;
        if incident.kind() != Kind::Rollback {
            return Ok(());
        }
        let rollbacks: Vec<_> = names.iter().filter(|name| name.contains("-rollback-")).collect();
        full(rollbacks.len(), ROLLBACKS_MAX, "rollbacks")?;
        let known = incident.known().checkpoint();
        // An unreadable file counts for no head.
        let is_of_known = |name: &&&String| {
            let bytes = keystore::read_capped(&self.folder.join(name), INCIDENT_BYTES_MAX).ok();
            let held = bytes.and_then(|bytes| Incident::parse(&bytes).ok());
            held.is_some_and(|held| held.known().checkpoint() == known)
        };
        let held = rollbacks.iter().filter(is_of_known).count();
        ensure!(
            held < ROLLBACKS_PER_HEAD_MAX,
            "{folder} holds {ROLLBACKS_PER_HEAD_MAX} rollbacks of {} {}, the maximum of one head",
            known.size,
            known.root
        );
        Ok(())
    }

    /// The names of the files, oldest first. Makes the folder if necessary, and syncs it.
    fn names(&self) -> anyhow::Result<Vec<String>> {
        let folder = self.folder.display().to_string();
        match fs::create_dir(&self.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("make the folder {folder}")),
        }
        let above = self.folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(above)
            .and_then(|above| above.sync_all())
            .with_context(|| format!("sync the folder {}", above.display()))?;
        let list = || -> std::io::Result<Vec<String>> {
            let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
            names.collect()
        };
        let mut names = list().with_context(|| format!("look into {folder}"))?;
        // A killed process may have left half a file.
        names.retain(|name| !name.ends_with(".tmp"));
        names.sort_unstable();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use evidence::{Algorithm, Checkpoint, SigningKey, sha256};

    use super::*;

    const ORIGIN: &str = "example.com/audit";

    fn signed(size: u64, root: &str) -> SignedCheckpoint {
        let log = SigningKey::from_seed(ORIGIN, Algorithm::Ed25519, &[1; 32]).expect("a name");
        SignedCheckpoint::sign(Checkpoint { origin: ORIGIN.into(), size, root: sha256(root.as_bytes()) }, &log)
    }

    fn incident(unix_seconds: u64, root: &str) -> Incident {
        let ledger = LedgerId { origin: ORIGIN.into(), genesis: sha256(b"genesis") };
        Incident::new(ledger, unix_seconds, signed(3, "ours"), signed(3, root), None).expect("they contradict")
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = fs::read_dir(folder.join("incidents"))
            .expect("listed")
            .map(|entry| entry.expect("listed").path())
            .collect();
        files.sort_unstable();
        files
    }

    #[test]
    fn same_incident_is_one_file_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Incidents::beside(&folder.path().join("anchor.key"));
        let first = open();
        let said = first.keep(&incident(1_700_000_000, "fork"));
        assert_eq!(first.keep(&incident(1_700_000_060, "fork")), said);
        assert_eq!(open().keep(&incident(1_800_000_000, "fork")), said);
        let [file] = files(folder.path()).try_into().expect("one file");
        assert!(said.contains(&file.display().to_string()), "{said}");
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.starts_with("20231114T221320Z-fork-"), "{name}");
        assert_eq!(fs::read(&file).expect("read"), incident(1_700_000_000, "fork").to_bytes());
    }

    #[test]
    fn number_of_files_is_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let incidents = Incidents::beside(&folder.path().join("anchor.key"));
        for number in 0..FILES_MAX {
            assert!(incidents.keep(&incident(1, &number.to_string())).starts_with("both signed heads are kept"));
        }
        let said = incidents.keep(&incident(1, "one more"));
        assert!(said.contains("move them to a safe place"), "{said}");
        assert_eq!(files(folder.path()).len(), FILES_MAX);
        assert!(incidents.keep(&incident(1, "0")).starts_with("both signed heads are kept"), "that one is there");
        // Half a file is not one of them, and one that was moved away is written again.
        fs::rename(&files(folder.path())[0], folder.path().join("safe")).expect("moved");
        fs::write(folder.path().join("incidents/x.tmp"), "half").expect("written");
        assert!(incidents.keep(&incident(1, "one more")).starts_with("both signed heads are kept"));
    }

    /// A head of `known` entries, and then one of the smaller size `found`.
    fn rollback(known: u64, found: u64) -> Incident {
        let ledger = LedgerId { origin: ORIGIN.into(), genesis: sha256(b"genesis") };
        Incident::new(ledger, 1, signed(known, "ours"), signed(found, "old"), None).expect("they contradict")
    }

    /// An old database that was put back grows, and is smaller than what is known at each look.
    #[test]
    fn rollbacks_leave_room_for_forks() {
        let folder = tempfile::tempdir().expect("a folder");
        let incidents = Incidents::beside(&folder.path().join("anchor.key"));
        for found in 900..1_000 {
            let said = incidents.keep(&rollback(1_000, found));
            let is_kept = said.starts_with("both signed heads are kept");
            assert_eq!(is_kept, found < 900 + ROLLBACKS_PER_HEAD_MAX as u64, "{said}");
            assert!(is_kept || said.contains("rollbacks of 1000"), "{said}");
        }
        assert_eq!(files(folder.path()).len(), ROLLBACKS_PER_HEAD_MAX);
        assert!(incidents.keep(&rollback(1_000, 900)).starts_with("both signed heads are kept"), "that one is there");
        // Those of other heads have places of their own, but never all.
        for known in 2_000..2_100 {
            incidents.keep(&rollback(known, 900));
        }
        let said = incidents.keep(&rollback(3_000, 900));
        assert!(said.contains("move them to a safe place"), "{said}");
        assert_eq!(files(folder.path()).len(), ROLLBACKS_MAX);
        for number in 0..FILES_MAX - ROLLBACKS_MAX {
            let said = incidents.keep(&incident(1, &number.to_string()));
            assert!(said.starts_with("both signed heads are kept"), "{said}");
        }
    }

    #[test]
    fn incident_that_cannot_be_stored_is_reported() {
        let folder = tempfile::tempdir().expect("a folder");
        let incidents = Incidents::beside(&folder.path().join("anchor.key"));
        fs::write(folder.path().join("incidents"), "in the way").expect("written");
        let said = incidents.keep(&incident(1, "fork"));
        assert!(said.contains("not kept") && said.contains("incidents"), "{said}");
        fs::remove_file(folder.path().join("incidents")).expect("removed");
        assert!(incidents.keep(&incident(1, "fork")).starts_with("both signed heads are kept"));
        // A file that somebody damaged is no proof, and nothing is written over it.
        let file = files(folder.path()).remove(0);
        fs::write(&file, "damaged").expect("written");
        let again = Incidents::beside(&folder.path().join("anchor.key"));
        let said = again.keep(&incident(1, "fork"));
        assert!(said.contains("is damaged"), "{said}");
        assert_eq!(fs::read(&file).expect("read"), b"damaged");
    }
}
