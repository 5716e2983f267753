//! A set of durations.

use std::time::Duration;

/// Durations, ordered.
#[derive(Clone, Debug)]
pub(super) struct Sample(Vec<Duration>);

impl Sample {
    pub(super) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The smallest duration that at least `percent` of all do not exceed, in milliseconds; 0 of nothing.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        let value = self.0.get(rank - 1).copied().unwrap_or_default();
        to_milliseconds(value)
    }

    pub(super) fn median(&self) -> f64 {
        self.percentile(50)
    }
}

/// To the microsecond.
pub(super) fn to_milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_of_the_sample() {
        let sample = Sample::new((1..=200).rev().map(Duration::from_millis).collect());
        assert_eq!(sample.median(), 100.0);
        assert_eq!(sample.percentile(99), 198.0);
        assert_eq!(sample.percentile(100), 200.0);
        assert_eq!(Sample::new(Vec::new()).median(), 0.0);
        let single = Sample::new(vec![Duration::from_micros(1500)]);
        assert_eq!(single.percentile(1), 1.5);
    }
}
