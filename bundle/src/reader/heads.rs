use std::fs::File;
use std::io::{BufRead, BufReader, Read, Take};

use evidence::statement::HeadsLine;

use crate::Error;

const FILE: &str = "heads";

/// Room for the longest line: two names of 255 bytes, three numbers, a hash.
const LINE_BYTES_MAX: u64 = 1024;

/// Reads heads lines in the order of the file.
pub struct HeadsReader {
    file: BufReader<Take<File>>,
    number: u64,
}

impl HeadsReader {
    pub(super) fn new(file: File, len: u64) -> Self {
        Self { file: BufReader::new(file.take(len)), number: 0 }
    }

    /// The next line; `None` after the last.
    ///
    /// # Errors
    /// When it is not a heads line in its only spelling, or has no newline.
    pub fn next_line(&mut self) -> Result<Option<HeadsLine>, Error> {
        let mut line = Vec::new();
        let read = (&mut self.file).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).map_err(Error::io(FILE))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let malformed = |problem: String| Error::malformed(FILE, format!("line {}: {problem}", self.number));
        let line = line.strip_suffix(b"\n").ok_or_else(|| malformed("too long, or without a newline".into()))?;
        let line = std::str::from_utf8(line).map_err(|_| malformed("not UTF-8".into()))?;
        line.parse().map(Some).map_err(|e: evidence::Error| malformed(e.to_string()))
    }
}
