//! Judges whether a value that is measured every second stays level.

/// A shorter time counts as warming up.
const JUDGED_S: u64 = 60;

/// The limits of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// Maximum value.
    pub(crate) peak: f64,
    /// Maximum rise of the least-squares line through the second half, from its start to its end.
    pub(crate) growth: f64,
}

/// The limits of each service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) resident_mib: Bound,
    pub(crate) descriptors: Bound,
    pub(crate) threads: Bound,
}

/// Measurements over a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Course {
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) peak: f64,
    /// Rise of the least-squares line through the second half, from its start to its end.
    pub(crate) growth: f64,
    /// Length of the second half, in seconds.
    pub(crate) half_s: u64,
}

impl Course {
    /// Summarizes measurements taken once per second; `None` if there are fewer than four.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 4 {
            return None;
        }
        let half = &values[values.len() / 2..];
        Some(Self {
            first: *values.first()?,
            last: *values.last()?,
            peak: values.iter().copied().fold(f64::MIN, f64::max),
            growth: slope(half) * (half.len() - 1) as f64,
            half_s: half.len() as u64,
        })
    }

    /// The exceeded limit, if any. Growth counts only after a minute.
    pub(crate) fn excess(&self, bound: Bound) -> Option<String> {
        let Self { peak, growth, half_s, .. } = *self;
        if peak > bound.peak {
            return Some(format!("a peak of {peak:.1} where {:.1} is allowed", bound.peak));
        }
        (half_s >= JUDGED_S && growth > bound.growth)
            .then(|| format!("a growth of {growth:.2} in its last {half_s} s where {:.2} is allowed", bound.growth))
    }
}

/// The rise of the least-squares line from one value to the next.
fn slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (mean_x, mean_y) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let (mut products, mut squares) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        let x = i as f64 - mean_x;
        products += x * (value - mean_y);
        squares += x * x;
    }
    products / squares
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { peak: 100.0, growth: 2.0 };

    fn excess(values: impl Iterator<Item = f64>) -> Option<String> {
        Course::of(&values.collect::<Vec<f64>>()).expect("enough").excess(BOUND)
    }

    /// Deterministic noise around 0.
    fn noise(i: u32) -> f64 {
        f64::from(i.wrapping_mul(2_654_435_761) >> 16 & 0xff) / 128.0 - 1.0
    }

    #[test]
    fn what_grows_is_not_flat() {
        // A leak under noise ten times larger than its growth per second.
        assert!(excess((0..3600).map(|i| 50.0 + 0.002 * f64::from(i) + noise(i))).is_some());
        // A leak in steps.
        assert!(excess((0..3600).map(|i| 50.0 + f64::from(i / 600))).is_some());
        // A leak that is partly released at times.
        assert!(excess((0..3600).map(|i| 40.0 + 0.002 * f64::from(i) + f64::from(i % 100) / 20.0)).is_some());
        // A leak that begins late.
        assert!(excess((0..3600).map(|i| 50.0 + (f64::from(i) - 2700.0).max(0.0) * 0.01)).is_some());
    }

    #[test]
    fn momentary_excess_is_not_flat() {
        assert!(excess((0..3600).map(|i| if i == 100 { 101.0 } else { 50.0 })).is_some());
    }

    #[test]
    fn level_falling_or_warming_up_is_flat() {
        assert_eq!(excess((0..3600).map(|_| 50.0)), None);
        assert_eq!(excess((0..3600).map(|i| 50.0 + 10.0 * noise(i))), None);
        assert_eq!(excess((0..3600).map(|i| 50.0 - 0.01 * f64::from(i))), None);
        assert_eq!(excess((0..3600).map(|i| 50.0 + (f64::from(i) * 0.02).min(20.0))), None);
        assert_eq!(excess((0..3600).map(|i| 50.0 + f64::from(i % 60) / 6.0)), None);
    }

    #[test]
    fn a_course_is_what_was_measured() {
        let course = Course::of(&[5.0, 9.0, 1.0, 2.0, 3.0, 4.0]).expect("enough");
        assert_eq!(course, Course { first: 5.0, last: 4.0, peak: 9.0, growth: 2.0, half_s: 3 });
        assert_eq!(Course::of(&[1.0, 2.0, 3.0]), None);
    }
}
