//! Keys, and the files that signers keep beside them.

use std::fs;

use evidence::{SigningKey, VerifierKey, sha256};
use keystore::HighWater;

use crate::{scratch, text};

const ORIGIN: &str = "example.com/audit";

pub(crate) fn vkey(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
}

pub(crate) fn private_key(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(key) = text.parse::<SigningKey>() {
        assert_eq!(key.encode().as_str(), text);
    }
}

/// A key file: the key and an optional newline.
pub(crate) fn key_file(data: &[u8]) {
    scratch::with(|folder| {
        let path = folder.join("key");
        scratch::write_private(&path, data);
        if let Ok(key) = keystore::read_signing_key(&path) {
            let line = data.strip_suffix(b"\n").unwrap_or(data);
            assert_eq!(key.encode().as_bytes(), line);
        }
    });
}

/// The file below the checksum. The checksum is computed, because random bytes never pass it.
pub(crate) fn high_water(data: &[u8]) {
    scratch::with(|folder| {
        let path = folder.join("high-water");
        let head = format!("streamseal/high-water@v1\nsum {}\n", sha256(data));
        let bytes = [head.as_bytes(), data].concat();
        scratch::write_private(&path, &bytes);
        let Ok(mut file) = HighWater::open(&path, ORIGIN) else { return };
        let (head, record) = (file.head().expect("there is a file"), file.record().to_vec());
        // Written again, it is the same file.
        file.advance_with(head, &record).expect("the same head");
        assert_eq!(fs::read(&path).expect("read"), bytes);
    });
}
