use std::ops::Range;

/// Collects the seqs of entries and returns them as ranges.
#[derive(Debug, Default)]
pub(crate) struct SeqSet {
    seqs: Vec<u64>,
}

impl SeqSet {
    pub(crate) fn insert(&mut self, seq: u64) {
        self.seqs.push(seq);
    }

    /// The seqs as ascending ranges with gaps between them.
    pub(crate) fn into_ranges(mut self) -> Vec<Range<u64>> {
        self.seqs.sort_unstable();
        self.seqs.dedup();
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for seq in self.seqs {
            match ranges.last_mut() {
                Some(last) if last.end == seq => last.end += 1,
                _ => ranges.push(seq..seq + 1),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join_and_duplicates_count_once() {
        let mut seqs = SeqSet::default();
        for seq in [7, 0, 1, 8, 1, 3] {
            seqs.insert(seq);
        }
        assert_eq!(seqs.into_ranges(), [0..2, 3..4, 7..9]);
    }
}
