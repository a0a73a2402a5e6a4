//! A link to the database in memory that fails as tests plan it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::store::StoreErrorKind;
use crate::store::memory::{Call, Cut, Link};

/// Counts the reads, and fails one of them.
#[derive(Default)]
pub(crate) struct FailingLink {
    read: Mutex<Vec<&'static str>>,
    /// Which read fails, after how many others of its name, and how.
    fault: Mutex<Option<(&'static str, usize, StoreErrorKind)>>,
}

impl FailingLink {
    /// A link with a planned error.
    pub(crate) fn new(reading: &'static str, after: usize, kind: StoreErrorKind) -> Arc<Self> {
        let link = Self::default();
        link.plan(reading, after, kind);
        Arc::new(link)
    }

    /// Plans that the read of this name fails after `after` others of it.
    pub(crate) fn plan(&self, reading: &'static str, after: usize, kind: StoreErrorKind) {
        *self.fault.lock().expect("not poisoned") = Some((reading, after, kind));
    }

    /// How many reads of this name there were.
    pub(crate) fn count(&self, reading: &str) -> usize {
        self.read.lock().expect("not poisoned").iter().filter(|read| **read == reading).count()
    }
}

#[async_trait]
impl Link for FailingLink {
    async fn request(&self, _call: Call<'_>) -> Result<(), Cut> {
        Ok(())
    }

    async fn reply(&self, call: Call<'_>) -> Result<(), StoreErrorKind> {
        let Call::Read(name) = call else { return Ok(()) };
        self.read.lock().expect("not poisoned").push(name);
        let mut fault = self.fault.lock().expect("not poisoned");
        match &mut *fault {
            Some((reading, after, _)) if *reading == name && *after > 0 => *after -= 1,
            Some((reading, _, kind)) if *reading == name => {
                let kind = *kind;
                *fault = None;
                return Err(kind);
            }
            _ => {}
        }
        Ok(())
    }
}
