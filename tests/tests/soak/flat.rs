//! Whether something that was measured every second stays level.

/// What is shorter is warming up.
const JUDGED_S: u64 = 60;

/// What is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    /// No value above this.
    pub(crate) peak: f64,
    /// How much the line through the second half may rise from its beginning to its end.
    pub(crate) growth: f64,
}

/// What is allowed of each service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) resident_mib: Bound,
    pub(crate) descriptors: Bound,
    pub(crate) threads: Bound,
}

/// What was measured over a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Course {
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) peak: f64,
    /// How much the line of least squares through the second half rises from its beginning to its end.
    pub(crate) growth: f64,
    /// Of how many seconds that is.
    pub(crate) half_s: u64,
}

impl Course {
    /// What became of a value, of which there is a measurement a second: `None` when there are fewer than four.
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

    /// What is wrong with it. Growth is judged when there was a minute to see it in.
    pub(crate) fn fault(&self, bound: Bound) -> Option<String> {
        let Self { peak, growth, half_s, .. } = *self;
        if peak > bound.peak {
            return Some(format!("a peak of {peak:.1} where {:.1} is allowed", bound.peak));
        }
        (half_s >= JUDGED_S && growth > bound.growth)
            .then(|| format!("a growth of {growth:.2} in its last {half_s} s where {:.2} is allowed", bound.growth))
    }
}

/// By how much the line of least squares rises from one value to the next.
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

    fn fault(values: impl Iterator<Item = f64>) -> Option<String> {
        Course::of(&values.collect::<Vec<f64>>()).expect("enough").fault(BOUND)
    }

    /// What looks random and is the same every time, around 0.
    fn noise(i: u32) -> f64 {
        f64::from(i.wrapping_mul(2_654_435_761) >> 16 & 0xff) / 128.0 - 1.0
    }

    #[test]
    fn what_grows_is_not_flat() {
        // A leak, under noise ten times as large as what it adds in a second.
        assert!(fault((0..3600).map(|i| 50.0 + 0.002 * f64::from(i) + noise(i))).is_some());
        // One in steps.
        assert!(fault((0..3600).map(|i| 50.0 + f64::from(i / 600))).is_some());
        // One that is given back now and then, and never all of it.
        assert!(fault((0..3600).map(|i| 40.0 + 0.002 * f64::from(i) + f64::from(i % 100) / 20.0)).is_some());
        // One that begins late.
        assert!(fault((0..3600).map(|i| 50.0 + (f64::from(i) - 2700.0).max(0.0) * 0.01)).is_some());
    }

    #[test]
    fn what_is_too_much_for_a_moment_is_not_flat() {
        assert!(fault((0..3600).map(|i| if i == 100 { 101.0 } else { 50.0 })).is_some());
    }

    #[test]
    fn what_is_level_falls_or_was_warming_up_is_flat() {
        assert_eq!(fault((0..3600).map(|_| 50.0)), None);
        assert_eq!(fault((0..3600).map(|i| 50.0 + 10.0 * noise(i))), None);
        assert_eq!(fault((0..3600).map(|i| 50.0 - 0.01 * f64::from(i))), None);
        assert_eq!(fault((0..3600).map(|i| 50.0 + (f64::from(i) * 0.02).min(20.0))), None);
        assert_eq!(fault((0..3600).map(|i| 50.0 + f64::from(i % 60) / 6.0)), None);
    }

    #[test]
    fn a_course_is_what_was_measured() {
        let course = Course::of(&[5.0, 9.0, 1.0, 2.0, 3.0, 4.0]).expect("enough");
        assert_eq!(course, Course { first: 5.0, last: 4.0, peak: 9.0, growth: 2.0, half_s: 3 });
        assert_eq!(Course::of(&[1.0, 2.0, 3.0]), None);
    }
}
