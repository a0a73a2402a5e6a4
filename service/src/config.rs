//! Reading configuration files.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// Far above any real configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file does not hold a valid configuration.
    #[error("{}{}: {problem}", path.display(), line.map(|l| format!(":{l}")).unwrap_or_default())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1, if it is known.
        line: Option<usize>,
        /// The field, as in `anchor.remotes[0].url`, and what is wrong with it.
        problem: String,
    },
}

/// Reads a TOML file.
///
/// # Errors
/// [`Error`], which names the file, the line, the field and the problem.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    parse(&text, path)
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Reads TOML text; `path` is for the messages.
///
/// # Errors
/// [`Error::Invalid`].
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, Error> {
    let invalid = |error: &toml::de::Error, field: Option<String>| Error::Invalid {
        path: path.to_owned(),
        line: error.span().map(|span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
        problem: match field {
            Some(field) => format!("`{field}`: {}", error.message()),
            None => error.message().to_owned(),
        },
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|e| invalid(&e, None))?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let field = Some(error.path().to_string()).filter(|field| field != ".");
        invalid(error.inner(), field)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        ledger: Ledger,
        #[serde(default)]
        remotes: Vec<Remote>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ledger {
        origin: String,
        #[serde(default)]
        interval_s: u32,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Remote {
        url: String,
    }

    fn problem(text: &str) -> String {
        parse::<Config>(text, Path::new("streamseal.toml")).expect_err("invalid").to_string()
    }

    #[test]
    fn good_file_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("streamseal.toml");
        std::fs::write(&path, "[ledger]\norigin = 'a'\ninterval_s = 5\n[[remotes]]\nurl = '/x'").expect("written");
        let config: Config = load(&path).expect("good");
        assert_eq!((config.ledger.origin.as_str(), config.ledger.interval_s), ("a", 5));
        assert_eq!(config.remotes[0].url, "/x");
    }

    #[test]
    fn problems_name_file_line_and_field() {
        for (text, wanted) in [
            ("[ledger]\norigin = 'a'\ninterval_s = 'soon'", &["streamseal.toml:3: `ledger.interval_s`", "u32"][..]),
            ("[ledger]\norigin = 'a'\ninterval_s = -1", &[":3: `ledger.interval_s`", "-1", "u32"]),
            ("[ledger]\ninterval_s = 1", &["streamseal.toml:", "`ledger`", "missing field `origin`"]),
            ("[ledger]\norigin = 'a'\nintervall_s = 1", &[":3: ", "intervall_s", "expected `origin` or `interval_s`"]),
            (
                "[ledger]\norigin = 'a'\n[[remotes]]\nurl = '/x'\n[[remotes]]\nurl = 1",
                &[":6: `remotes[1].url`", "string"],
            ),
            ("[ledger]\norigin = ", &["streamseal.toml:2: "]),
            ("", &["missing field `ledger`"]),
        ] {
            let problem = problem(text);
            for part in wanted {
                assert!(problem.contains(part), "{problem:?} should contain {part:?}");
            }
        }
    }

    #[test]
    fn absent_file_is_named() {
        let error = load::<Config>(Path::new("/nonexistent/streamseal.toml")).expect_err("absent");
        assert!(error.to_string().contains("/nonexistent/streamseal.toml"), "{error}");
    }
}
