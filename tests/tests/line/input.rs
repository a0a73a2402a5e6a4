//! The lines to seal, divided by topic, partition and slice of time.

use std::fs;
use std::path::{Path, PathBuf};

/// The topics over which lines are spread, each with [`PARTITIONS`].
pub(crate) const TOPICS: [&str; 2] = ["packages", "descriptions"];
pub(crate) const PARTITIONS: u32 = 4;

/// Files of lines, one for each partition and slice, and the expected numbers of lines.
pub(crate) struct Input {
    folder: PathBuf,
    slices: usize,
    /// Lines of each partition, as `TOPICS x PARTITIONS`.
    counts: Vec<u64>,
    /// Number of lines before each slice; the last element counts all lines.
    lines_before: Vec<u64>,
}

impl Input {
    /// Spreads the lines of all files in the environment variable STREAMSEAL_LINE_INPUT (separated by `:`), and writes
    /// the slices below `folder`. Without the variable, it generates a text like a list of packages. Empty lines are
    /// left out, because kcat does not produce them.
    pub(crate) fn prepare(folder: PathBuf, slices: usize) -> Self {
        let text = match std::env::var("STREAMSEAL_LINE_INPUT") {
            Ok(files) => {
                files.split(':').map(|file| fs::read(file).unwrap_or_else(|e| panic!("{file}: {e}"))).collect()
            }
            Err(_) => vec![packages(1_500).into_bytes()],
        };
        let lines: Vec<&[u8]> =
            text.iter().flat_map(|text| text.split(|&byte| byte == b'\n')).filter(|line| !line.is_empty()).collect();
        let lines_before = (0..=slices).map(|slice| (lines.len() * slice / slices) as u64).collect();
        let mut input = Self { folder, slices, counts: vec![0; TOPICS.len() * PARTITIONS as usize], lines_before };
        for slice in 0..slices {
            let (from, to) = (input.lines_before[slice] as usize, input.lines_before[slice + 1] as usize);
            let mut files = vec![Vec::new(); input.counts.len()];
            for (i, line) in lines[from..to].iter().enumerate() {
                // Runs of lines, as a producer sends them that batches by key.
                let place = (i / 10) % files.len();
                files[place].extend_from_slice(line);
                files[place].push(b'\n');
                input.counts[place] += 1;
            }
            for (place, text) in files.iter().enumerate() {
                fs::write(input.path(slice, place), text).unwrap();
            }
        }
        input
    }

    /// All places: topic, partition, and number of lines.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&'static str, u32, u64)> {
        let places = TOPICS.into_iter().flat_map(|topic| (0..PARTITIONS).map(move |partition| (topic, partition)));
        places.zip(&self.counts).map(|((topic, partition), &count)| (topic, partition, count))
    }

    /// The file with one slice of a place's lines.
    pub(crate) fn file(&self, slice: usize, topic: &str, partition: u32) -> PathBuf {
        let place = self.places().position(|(t, p, _)| (t, p) == (topic, partition));
        self.path(slice, place.expect("a place of the input"))
    }

    /// All lines of a place, in order.
    pub(crate) fn lines(&self, topic: &str, partition: u32) -> Vec<u8> {
        (0..self.slices).flat_map(|slice| fs::read(self.file(slice, topic, partition)).unwrap()).collect()
    }

    /// Number of lines in the slices before `slice`.
    pub(crate) fn before(&self, slice: usize) -> u64 {
        self.lines_before[slice]
    }

    /// Number of all lines.
    pub(crate) fn len(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn path(&self, slice: usize, place: usize) -> PathBuf {
        Path::new(&self.folder).join(format!("slice-{slice}-{place}"))
    }
}

/// Text like Debian's lists of packages: a stanza of fields for each package, with long lines, repeated lines and
/// UTF-8.
fn packages(count: usize) -> String {
    let stanza = |i: usize| {
        let hash = |salt: usize| format!("{:016x}", (i + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let depends: Vec<String> = (1..=i % 40).map(|k| format!("lib{}-{} (>= {k}.{})", hash(k), k, i % 7)).collect();
        format!(
            "Package: package-{i}\nSource: source-{}\nVersion: {}.{}-{}\nInstalled-Size: {}\nMaintainer: Zoë Müller {} <z@example.com>\n\
             Architecture: amd64\nDepends: {}\nDescription: does {} für alle\nSection: misc\nPriority: optional\n\
             Filename: pool/main/p/package-{i}.deb\nSize: {}\nMD5sum: {}{}\n SHA256: {}{}{}{}\n\n",
            i / 3,
            i % 9,
            i % 11,
            i % 5,
            i * 37,
            i % 100,
            depends.join(", "),
            hash(1),
            i * 12_345,
            hash(2),
            hash(3),
            hash(4),
            hash(5),
            hash(6),
            hash(7),
        )
    };
    (0..count).map(stanza).collect()
}
