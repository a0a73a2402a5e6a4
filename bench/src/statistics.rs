//! Statistics for few samples.

/// The median. For an even number of values, the mean of the middle two.
///
/// # Panics
/// When there is no value.
pub(crate) fn median(values: &[f64]) -> f64 {
    assert!(!values.is_empty(), "no values");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}

/// The smallest and the largest.
pub(crate) fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
}

/// The probability that samples of one distribution favour `high` at least this much, by the one-sided exact
/// Mann-Whitney test. The test assumes nothing about the distribution, and an outlier weighs no more than its rank.
///
/// # Panics
/// When there is no value on one side.
pub(crate) fn chance_of_higher(high: &[f64], low: &[f64]) -> f64 {
    assert!(!high.is_empty() && !low.is_empty(), "no values");
    let pairs = high.iter().flat_map(|high| low.iter().map(move |low| (high, low)));
    // Number of pairs against it; a tie counts half.
    let against: f64 = pairs
        .map(|(high, low)| {
            if high > low {
                0.0
            } else if high < low {
                1.0
            } else {
                0.5
            }
        })
        .sum();
    let ways = orders(high.len(), low.len());
    let all: f64 = ways.iter().sum();
    let at_most: f64 = ways.iter().take(against.ceil() as usize + 1).sum();
    at_most / all
}

/// The number of orders of `m` and `n` values with 0, 1, 2, ... pairs in which the one of the `n` is larger: the
/// coefficients of the Gaussian binomial of m + n over m.
fn orders(m: usize, n: usize) -> Vec<f64> {
    // For each number of the `m` values, those with as many of the `n` as rows were done.
    let mut row = vec![vec![1.0]; m + 1];
    for _ in 0..n {
        let mut next = vec![vec![1.0]];
        for i in 1..=m {
            // The largest value is one of the `m`, and in no such pair, or one of the `n`, and in one with each of the
            // `m`.
            let without: &[f64] = &next[i - 1];
            let with = &row[i];
            let mut ways = vec![0.0; without.len().max(with.len() + i)];
            without.iter().enumerate().for_each(|(count, way)| ways[count] += way);
            with.iter().enumerate().for_each(|(count, way)| ways[count + i] += way);
            next.push(ways);
        }
        row = next;
    }
    row.swap_remove(m)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn orders_are_counted() {
        // Of 2 and 2 values: one order each with 0, 1, 3 and 4 pairs, two with 2.
        assert_eq!(orders(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(orders(5, 5).iter().sum::<f64>(), 252.0);
    }

    #[test]
    fn chances_are_those_of_the_tables() {
        let (low, high) = ([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0]);
        assert_eq!(chance_of_higher(&high, &low), 1.0 / 252.0);
        assert_eq!(chance_of_higher(&low, &high), 1.0);
        // One pair points the other way.
        assert_eq!(chance_of_higher(&[5.5, 7.0, 8.0, 9.0, 10.0], &[1.0, 2.0, 3.0, 4.0, 6.0]), 2.0 / 252.0);
        assert!(chance_of_higher(&low, &low) > 0.5);
    }
}
