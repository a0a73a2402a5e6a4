use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use evidence::{Algorithm, SigningKey};
use zeroize::Zeroizing;

use crate::Error;
use crate::synced::{open_regular, read_open, sync_folder};

/// A key file holds one line: the prefix, a name of at most 255 bytes, an id and 44 characters. Access tokens of Git
/// servers can be longer.
const SECRET_BYTES_MAX: usize = 4096;

/// Makes a new key from the system's random source.
///
/// # Errors
/// [`evidence::Error`] when `name` is not a key name.
///
/// # Panics
/// When the system has no random source: nothing could be signed safely after that.
pub fn generate(name: &str, algorithm: Algorithm) -> Result<SigningKey, evidence::Error> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *seed).expect("the system provides random bytes");
    SigningKey::from_seed(name, algorithm, &seed)
}

/// Writes a new key file with mode 0600 and makes it durable. An existing file is never overwritten.
///
/// # Errors
/// [`Error::Io`], also when the file exists.
pub fn write_signing_key(path: &Path, key: &SigningKey) -> Result<(), Error> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(Error::io("create key file", path))?;
    let mut write = || -> io::Result<()> {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        let mut line = Zeroizing::new(String::with_capacity(SECRET_BYTES_MAX));
        line.push_str(&key.encode());
        line.push('\n');
        file.write_all(line.as_bytes())?;
        file.sync_all()
    };
    let written = write().map_err(Error::io("write key file", path)).and_then(|()| sync_folder(path));
    if written.is_err() {
        // A partial or unsynced key is useless, and would block the next attempt.
        let _ = fs::remove_file(path);
    }
    written
}

/// Reads a key file: one line `PRIVATE+KEY+name+id+base64`.
///
/// # Errors
/// [`Error::Permissions`] when anyone but the owner may use the file; [`Error::Malformed`] when it is not a key, without
/// repeating what it holds; [`Error::Io`].
pub fn read_signing_key(path: &Path) -> Result<SigningKey, Error> {
    read_secret(path)?.parse().map_err(|e: evidence::Error| Error::malformed(path, e.to_string()))
}

/// Reads a file with one line of secret text, such as a password. The last newline is not part of it.
///
/// # Errors
/// As [`read_signing_key`].
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, Error> {
    let file = open_private(path)?;
    let bytes = read_open(&file, path, SECRET_BYTES_MAX)?;
    let text = str::from_utf8(&bytes).map_err(|_| Error::malformed(path, "not text"))?;
    let line = text.strip_suffix('\n').unwrap_or(text);
    if line.is_empty() || line.contains('\n') {
        return Err(Error::malformed(path, "expected one line of text"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

/// Checks the permissions of a private key file that another library reads.
///
/// # Errors
/// [`Error::Permissions`] when anyone but the owner may use it; [`Error::Io`].
pub fn check_private(path: &Path) -> Result<(), Error> {
    open_private(path).map(drop)
}

fn open_private(path: &Path) -> Result<File, Error> {
    let file = open_regular(path)?;
    // Of the open file, not of the path: what was checked is what is read.
    let mode = file.metadata().map_err(Error::io("inspect key file", path))?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::Permissions { path: path.to_owned(), mode });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn written_key_reads_back() {
        let folder = folder();
        let path = folder.path().join("log.key");
        let key = generate("example.com/audit", Algorithm::Ed25519).expect("a name");
        write_signing_key(&path, &key).expect("written");
        assert_eq!(read_signing_key(&path).expect("read").verifier_key(), key.verifier_key());
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn two_generated_keys_differ() {
        let [a, b] = [0, 1].map(|_| generate("a", Algorithm::Cosignature).expect("a name"));
        assert_ne!(a.verifier_key(), b.verifier_key());
    }

    #[test]
    fn existing_file_is_never_overwritten() {
        let folder = folder();
        let path = folder.path().join("log.key");
        fs::write(&path, "precious").expect("written");
        let key = generate("a", Algorithm::Ed25519).expect("a name");
        let error = write_signing_key(&path, &key).expect_err("exists");
        assert!(error.to_string().contains("log.key"), "{error}");
        assert_eq!(fs::read(&path).expect("read"), b"precious");
    }

    #[test]
    fn key_that_others_can_read_is_refused() {
        let folder = folder();
        let path = folder.path().join("log.key");
        write_signing_key(&path, &generate("a", Algorithm::Ed25519).expect("a name")).expect("written");
        for mode in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
            let error = read_signing_key(&path).expect_err("open to others");
            assert!(matches!(error, Error::Permissions { mode: found, .. } if found == mode), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("set");
        read_signing_key(&path).expect("only its owner can read it");
    }

    #[test]
    fn truncated_key_is_refused_and_never_shown() {
        let folder = folder();
        let path = folder.path().join("log.key");
        let key = generate("a", Algorithm::Ed25519).expect("a name");
        let text = key.encode();
        for length in 0..text.len() {
            fs::write(&path, &text[..length]).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
            let error = read_signing_key(&path).expect_err("truncated");
            assert!(matches!(error, Error::Malformed { .. }), "{length}: {error}");
            assert!(!error.to_string().contains(&text[text.len() - 44..text.len() - 34]), "{error}");
        }
        for bad in [format!("{}\n\n", *text), format!(" {}", *text), format!("{}{}", *text, " ".repeat(5000))] {
            fs::write(&path, bad).expect("written");
            assert!(matches!(read_signing_key(&path), Err(Error::Malformed { .. })));
        }
    }

    #[test]
    fn secret_is_one_private_line() {
        let folder = folder();
        let path = folder.path().join("password");
        fs::write(&path, "pass word\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("set");
        assert!(matches!(read_secret(&path), Err(Error::Permissions { .. })));
        assert!(matches!(check_private(&path), Err(Error::Permissions { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
        assert_eq!(**read_secret(&path).expect("read"), *"pass word");
        check_private(&path).expect("private");
        for bad in ["", "\n", "a\nb\n", "a\n\n"] {
            fs::write(&path, bad).expect("written");
            assert!(matches!(read_secret(&path), Err(Error::Malformed { .. })), "{bad:?}");
        }
    }

    #[test]
    fn absent_key_is_named() {
        let error = read_signing_key(&folder().path().join("absent.key")).expect_err("absent");
        assert!(error.to_string().contains("absent.key"), "{error}");
    }
}
