use crate::Error;
use crate::parts::PartsReader;
use crate::run::Run;

/// Reads runs of entries in ascending order.
pub struct RunReader {
    parts: PartsReader,
    end: u64,
}

impl RunReader {
    pub(super) fn new(parts: PartsReader) -> Self {
        Self { parts, end: 0 }
    }

    /// The next run; `None` after the last.
    ///
    /// # Errors
    /// When it is malformed or begins before the previous one ends.
    pub fn next_run(&mut self) -> Result<Option<Run>, Error> {
        if self.parts.is_at_end() {
            return Ok(None);
        }
        let run = Run::read(&mut self.parts)?;
        if run.first < self.end {
            let problem = format!("a run that begins at {} after one that ends at {}", run.first, self.end);
            return Err(self.parts.malformed(problem));
        }
        self.end = run.end();
        Ok(Some(run))
    }
}
