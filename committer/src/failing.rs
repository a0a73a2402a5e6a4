//! A link to the database in memory that fails as tests want it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::store::StoreErrorKind;
use crate::store::memory::{Call, Cut, Link};

/// Notes what is read, and fails a reading once.
#[derive(Default)]
pub(crate) struct Failing {
    read: Mutex<Vec<&'static str>>,
    /// Which reading, after how many others of its name, and how.
    fault: Mutex<Option<(&'static str, usize, StoreErrorKind)>>,
}

impl Failing {
    /// One that fails so from the start.
    pub(crate) fn new(reading: &'static str, after: usize, kind: StoreErrorKind) -> Arc<Self> {
        let failing = Self::default();
        failing.plan(reading, after, kind);
        Arc::new(failing)
    }

    /// Has the reading of this name fail, after so many others of it.
    pub(crate) fn plan(&self, reading: &'static str, after: usize, kind: StoreErrorKind) {
        *self.fault.lock().expect("not poisoned") = Some((reading, after, kind));
    }

    /// How often this was read.
    pub(crate) fn count(&self, reading: &str) -> usize {
        self.read.lock().expect("not poisoned").iter().filter(|read| **read == reading).count()
    }
}

#[async_trait]
impl Link for Failing {
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
