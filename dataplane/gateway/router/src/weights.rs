//! Sharing requests among backends in proportion to their weights.

/// Weights as running sums, so that a choice is one search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    running: Vec<u64>,
}

impl Weights {
    /// Takes the weights in the order of the backends.
    pub fn new(weights: impl IntoIterator<Item = u32>) -> Self {
        let running = weights.into_iter().scan(0u64, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Self { running: running.collect() }
    }

    /// The sum of all; where it is 0, no backend takes requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.running.last().copied().unwrap_or(0)
    }

    /// The backend that `point`, any number below [`Self::total`], falls to.
    #[must_use]
    pub fn pick(&self, point: u64) -> Option<usize> {
        (point < self.total()).then(|| self.running.partition_point(|sum| *sum <= point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_gets_its_share_and_no_more() {
        let weights = Weights::new([1, 0, 3]);
        let picked: Vec<usize> = (0..weights.total()).filter_map(|point| weights.pick(point)).collect();
        assert_eq!(picked, [0, 2, 2, 2]);
        assert_eq!(weights.pick(weights.total()), None);
    }

    #[test]
    fn without_any_weight_nobody_is_picked() {
        assert_eq!(Weights::new([0, 0]).pick(0), None);
        assert_eq!(Weights::new([]).pick(0), None);
    }
}
