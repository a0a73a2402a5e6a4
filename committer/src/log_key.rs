//! The log key and the high-water file beside it, which remembers the last head signed for the ledger.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use evidence::Head;
use evidence::chain::{Keys, Role};
use evidence::{Algorithm, SigningKey};
use keystore::HighWater;

use crate::config::Ledger;

/// A log key with the memory of what was signed for the ledger. Clones share that memory.
#[derive(Clone)]
pub struct LogKey {
    key: Arc<SigningKey>,
    high_water: Arc<Mutex<HighWater>>,
    /// Whether the genesis names this key. No other log key can have signed before that one.
    is_first: bool,
}

/// Why a log key must not sign now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogKeyError {
    /// The ledger has not granted it, or has revoked it.
    #[error("{0}")]
    NotInForce(String),
    /// The ledger was signed for before, but the high-water file is missing. It is read at the start only, so the
    /// service must end.
    #[error("{0}")]
    HighWaterMissing(String),
}

impl LogKey {
    /// Takes a log key, whose file is at `path`, and opens the high-water file beside it. The signer checks in the chain
    /// whether the ledger granted the key.
    ///
    /// # Errors
    /// If the key has another name or algorithm than this ledger's log keys, or the high-water file is unusable.
    pub fn open(key: SigningKey, path: &Path, ledger: &Ledger) -> anyhow::Result<Self> {
        let (vkey, origin) = (key.verifier_key(), &ledger.id().origin);
        ensure!(
            vkey.name() == origin && vkey.algorithm() == Algorithm::Ed25519,
            "`committer.log_key` {}: {vkey} can be no log key of this ledger: those are named {origin}",
            path.display(),
        );
        let high_water = HighWater::open(&high_water_path(path), origin)?;
        let is_first = vkey == ledger.log_key();
        Ok(Self { key: Arc::new(key), high_water: Arc::new(Mutex::new(high_water)), is_first })
    }

    /// Reads the log key at `path` and opens the high-water file beside it.
    pub(crate) fn read(path: &Path, ledger: &Ledger) -> anyhow::Result<Self> {
        let key = keystore::read_signing_key(path).context("`committer.log_key`")?;
        Self::open(key, path, ledger)
    }

    /// The key that signs.
    pub(crate) fn key(&self) -> &Arc<SigningKey> {
        &self.key
    }

    /// The last head signed for the ledger.
    pub(crate) fn signed(&self) -> Option<Head> {
        self.lock().head()
    }

    /// Where the high-water file is.
    pub(crate) fn high_water_path(&self) -> std::path::PathBuf {
        self.lock().path().to_owned()
    }

    /// Writes a head to the high-water file and syncs it.
    ///
    /// # Errors
    /// If the head contradicts the last one, or the file cannot be written.
    pub(crate) fn advance(&self, head: Head) -> Result<(), keystore::Error> {
        self.lock().advance(head)
    }

    /// The ledger must have granted the key for the log, and not revoked it.
    pub(crate) fn check_in_force(&self, keys: &Keys) -> Result<(), LogKeyError> {
        let key = self.key.verifier_key();
        if keys.in_force(Role::Log).any(|granted| granted.key == *key) {
            return Ok(());
        }
        let granted = keys.granted().iter().find(|granted| granted.key == *key);
        let problem = match granted.and_then(|granted| granted.revoked) {
            Some(end) => format!("was revoked in entry {}", end.seq),
            None => "is not granted as a log key of this ledger".to_owned(),
        };
        let in_force: Vec<_> = keys.in_force(Role::Log).map(|granted| granted.key.to_string()).collect();
        let in_force = if in_force.is_empty() { "none".to_owned() } else { in_force.join(" ") };
        Err(LogKeyError::NotInForce(format!(
            "the log key {key} {problem}, so it signs nothing. Log keys in force: {in_force}. Put one of them in its place, \
             with the high-water file, or have one granted (`streamseal key --config FILE grant VKEY --role log \
             --operator-key FILE`)"
        )))
    }

    /// A key without a high-water file must not sign where it, or another key, signed before. `stored` is the size of
    /// the database's checkpoint.
    pub(crate) fn check_high_water(&self, stored: u64) -> Result<(), LogKeyError> {
        let high_water = self.lock();
        if high_water.head().is_some() || (self.is_first && stored == 0) {
            return Ok(());
        }
        let before = match stored {
            0 => "it is not the log key that the ledger began with".to_owned(),
            size => format!("the database has a checkpoint of size {size}"),
        };
        Err(LogKeyError::HighWaterMissing(format!(
            "{} is not there, and this ledger was signed for before: {before}. The log key could sign another history now. \
             Move the high-water file of the log key that signed last to that name. If it is lost, make sure that the \
             database is not behind the newest anchor, and run `streamseal committer --config FILE adopt`",
            high_water.path().display()
        )))
    }

    fn lock(&self) -> MutexGuard<'_, HighWater> {
        // The file is only ever replaced whole, so a panic elsewhere cannot have left the value half changed.
        self.high_water.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the high-water file of a log key is: beside it.
fn high_water_path(log_key: &Path) -> std::path::PathBuf {
    let mut path = log_key.as_os_str().to_owned();
    path.push(".high-water");
    path.into()
}
