//! Files of the anchor.

use anchor::fuzzing;

use crate::text;

pub(crate) fn packs(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Some(again) = fuzzing::packs(text) {
        assert_eq!(again, text);
    }
}

pub(crate) fn record(data: &[u8]) {
    if let Some(again) = fuzzing::record(data) {
        assert_eq!(again, data);
    }
}

pub(crate) fn remote(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Some(again) = fuzzing::remote(text) {
        assert_eq!(again, text);
    }
}
