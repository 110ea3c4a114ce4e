//! Whether paired measurements show that something got slower.
//!
//! Both programs run in turn, so each pair is made under nearly the same conditions, and what disturbs the machine for longer
//! than a pair disturbs both. Of each pair only the ratio is looked at. Nothing is assumed of how ratios are distributed:
//! the bounds of the median are order statistics. If the median ratio were `x`, each ratio would be above `x` with
//! probability ½ at most; so with `n` pairs the `k`-th smallest ratio is above it with probability at most
//! `P(Binomial(n, ½) < k)`, and `k` is the largest number for which that is less than [`ERROR`].

/// How probable it may be that the lower bound of one path lies above its true median, by chance.
const ERROR: f64 = 0.001;

/// The median of paired ratios, with one-sided bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MedianRatio {
    pub(crate) lower: f64,
    pub(crate) median: f64,
    pub(crate) upper: f64,
}

impl MedianRatio {
    /// Of the ratios `after / before`; `None` of too few of them.
    pub(crate) fn of(pairs: &[(f64, f64)]) -> Option<Self> {
        let mut ratios: Vec<f64> = pairs.iter().map(|(before, after)| after / before).collect();
        ratios.sort_by(f64::total_cmp);
        let rank = rank(ratios.len())?;
        let at = |index: usize| ratios.get(index).copied();
        Some(Self {
            lower: at(rank - 1)?,
            median: f64::midpoint(at((ratios.len() - 1) / 2)?, at(ratios.len() / 2)?),
            upper: at(ratios.len() - rank)?,
        })
    }

    /// Whether it is certain that the median is above this.
    pub(crate) fn is_above(self, threshold: f64) -> bool {
        self.lower > threshold
    }
}

/// The largest `k` with `P(Binomial(n, ½) < k) ≤ ERROR`, if there is one above zero.
fn rank(n: usize) -> Option<usize> {
    let mut probability = 0.5_f64.powi(i32::try_from(n).ok()?);
    let mut below = 0.0;
    for k in 0..n {
        below += probability;
        if below > ERROR {
            return (k > 0).then_some(k);
        }
        probability *= (n - k) as f64 / (k + 1) as f64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise that is the same in every run: between -1 and 1.
    fn noise(number: usize) -> f64 {
        let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5bf0_3635;
        let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed >> 40) as f64 / f64::from(1 << 23)) - 1.0
    }

    /// Pairs in which the second takes `ratio` times as long, with noise of both, and now and then a disturbance.
    fn pairs(count: usize, ratio: f64, noise_size: f64) -> Vec<(f64, f64)> {
        let disturbed = |number: usize| if number.is_multiple_of(9) { 3.0 } else { 1.0 };
        (0..count)
            .map(|number| {
                let before = 100.0 * (1.0 + noise_size * noise(2 * number));
                (before, 100.0 * ratio * (1.0 + noise_size * noise(2 * number + 1)) * disturbed(number))
            })
            .collect()
    }

    #[test]
    fn the_rank_is_that_of_the_binomial_distribution() {
        // P(B(20, ½) < 3) = 0.0002, P(B(20, ½) < 4) = 0.0013.
        assert_eq!(rank(20), Some(3));
        assert_eq!(rank(10), Some(1));
        assert_eq!(rank(9), None);
        assert_eq!(rank(100), Some(35));
    }

    #[test]
    fn a_slowdown_is_seen_through_noise() {
        let slower = MedianRatio::of(&pairs(20, 1.3, 0.08)).unwrap();
        assert!(slower.is_above(1.1), "{slower:?}");
        assert!((slower.median - 1.3).abs() < 0.1, "{slower:?}");
    }

    #[test]
    fn what_is_unchanged_is_not_taken_for_slower() {
        for noise_size in [0.0, 0.02, 0.1, 0.3] {
            let same = MedianRatio::of(&pairs(20, 1.0, noise_size)).unwrap();
            assert!(!same.is_above(1.05), "{same:?}");
        }
    }

    #[test]
    fn few_pairs_show_nothing() {
        assert_eq!(MedianRatio::of(&pairs(9, 2.0, 0.0)), None);
        assert_eq!(MedianRatio::of(&[]), None);
    }
}
