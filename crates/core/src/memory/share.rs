//! Divides a budget into shares: pure arithmetic.

/// What one user of the budget uses, and what it would gain from more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) used_bytes: u64,
    pub(super) capacity_bytes: u64,
    pub(super) most_bytes: u64,
    /// The part of its use by which it would grow, from 0 to 1.
    pub(super) growth: f64,
    /// Its recent worth, in hits.
    pub(super) merit: f64,
}

/// The guaranteed part of an equal share: enough to collect hits that earn more.
const CERTAIN: u64 = 8;
/// A user gives up at most this part of its use at once, because the thread that asked for the division drops the entries.
const GIVEN_AT_ONCE: u64 = 8;

/// Divides `available` bytes. The sum of the shares never exceeds them.
///
/// No user gets more than is of use to it. First each gets its guaranteed part, then what it wants: its use, and some more if it is full.
/// If that exceeds what is available, the rest is divided by the cube roots of the merits, so a cache with a thousand times the hits of
/// another has ten times its share: more space makes more hits, and a small lead must not end with everything.
/// What no user wants is divided equally, so that all can grow.
pub(super) fn divide(available: u64, claims: Vec<Claim>) -> Vec<u64> {
    let count = u64::try_from(claims.len()).unwrap_or(u64::MAX).max(1);
    let least = available / count / CERTAIN;
    let gentle: Vec<u64> = claims.iter().map(|claim| claim.kept(least)).collect();
    // When the budget itself has shrunk, users must give up more at once.
    let mut shares = if gentle.iter().sum::<u64>() <= available {
        gentle
    } else {
        claims.iter().map(|claim| claim.most_bytes.min(least)).collect()
    };
    let wants: Vec<u64> = claims.iter().zip(&shares).map(|(claim, share)| claim.wants(least).max(*share)).collect();
    let merits: Vec<f64> = claims.iter().map(|claim| claim.merit.cbrt() + 0.01).collect();
    fill_up(&mut shares, &wants, &merits, available);
    let most: Vec<u64> = claims.iter().zip(&shares).map(|(claim, share)| claim.most_bytes.max(*share)).collect();
    fill_up(&mut shares, &most, &vec![1.0; claims.len()], available);
    shares
}

impl Claim {
    /// The least that it keeps of its share.
    fn kept(&self, least: u64) -> u64 {
        let used = self.used_bytes.min(self.capacity_bytes);
        (used - used / GIVEN_AT_ONCE).max(least).min(self.most_bytes)
    }

    fn wants(&self, least: u64) -> u64 {
        let used = self.used_bytes;
        (used + used / 16 + part(used, self.growth) + least).min(self.most_bytes)
    }
}

/// Raises `shares` to `goals` as far as `available` allows. If that is too little, each gets a part by its weight; what one cannot
/// use goes to the others.
fn fill_up(shares: &mut [u64], goals: &[u64], weights: &[f64], available: u64) {
    let mut rest = available.saturating_sub(shares.iter().sum());
    let mut open: Vec<usize> = (0..shares.len()).collect();
    while rest > 0 && !open.is_empty() {
        let weight = |index: &usize| weights.get(*index).copied().unwrap_or_default();
        let missing = |shares: &[u64], index: usize| {
            goals.get(index).copied().unwrap_or_default().saturating_sub(shares.get(index).copied().unwrap_or_default())
        };
        let sum: f64 = open.iter().map(weight).sum();
        let offers = open.iter().map(|index| (*index, part(rest, weight(index) / sum))).collect::<Vec<_>>();
        let (done, still_open): (Vec<_>, Vec<_>) =
            offers.into_iter().partition(|(index, offer)| missing(shares, *index) <= *offer);
        let is_last = done.is_empty();
        for (index, offer) in if is_last { &still_open } else { &done } {
            let given = missing(shares, *index).min(*offer);
            if let Some(share) = shares.get_mut(*index) {
                *share += given;
            }
            rest = rest.saturating_sub(given);
        }
        if is_last {
            break;
        }
        open = still_open.into_iter().map(|(index, _)| index).collect();
    }
}

/// A part, from 0 to 1, of a number of bytes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a number of bytes is between 0 and that number"
)]
fn part(bytes: u64, part: f64) -> u64 {
    ((bytes as f64 * part.clamp(0.0, 1.0)) as u64).min(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Claim, divide};

    const IDLE: Claim = Claim { used_bytes: 0, capacity_bytes: 0, most_bytes: u64::MAX, growth: 0.0, merit: 0.0 };

    #[test]
    fn who_has_nothing_yet_has_an_equal_share() {
        assert_eq!(divide(1_000, vec![IDLE; 4]), [250; 4]);
        assert_eq!(divide(1_000, Vec::new()), [0; 0]);
    }

    #[test]
    fn a_hot_cache_takes_from_an_idle_one_step_by_step() {
        let mut hot = Claim { used_bytes: 500, capacity_bytes: 500, growth: 1.0, merit: 1e6, ..IDLE };
        let mut idle = Claim { used_bytes: 500, capacity_bytes: 500, ..IDLE };
        for step in 0..40 {
            let shares = divide(1_000, vec![hot, idle]);
            let [of_hot, of_idle] = shares[..] else { panic!("{shares:?}") };
            assert!(of_hot >= hot.capacity_bytes && of_idle >= idle.capacity_bytes * 7 / 8, "{step}: {shares:?}");
            assert!(of_hot + of_idle <= 1_000, "{step}: {shares:?}");
            (hot.used_bytes, hot.capacity_bytes) = (of_hot, of_hot);
            (idle.used_bytes, idle.capacity_bytes) = (idle.used_bytes.min(of_idle), of_idle);
        }
        assert!(hot.capacity_bytes > 900 && idle.capacity_bytes < 100, "{hot:?} {idle:?}");
        assert!(idle.capacity_bytes >= 62, "everybody keeps something: {idle:?}");
    }

    #[test]
    fn what_fits_stays_although_others_have_more_hits() {
        let fits = Claim { used_bytes: 300, capacity_bytes: 400, merit: 10.0, ..IDLE };
        let hungry = Claim { used_bytes: 500, capacity_bytes: 500, growth: 1.0, merit: 20.0, ..IDLE };
        let shares = divide(1_000, vec![fits, hungry]);
        assert!(shares[0] >= 300, "{shares:?}");
        assert!(shares[1] > 500, "{shares:?}");
    }

    #[test]
    fn a_smaller_budget_is_kept_at_once() {
        let full = Claim { used_bytes: 500, capacity_bytes: 500, growth: 1.0, merit: 5.0, ..IDLE };
        let shares = divide(100, vec![full; 3]);
        assert!(shares.iter().sum::<u64>() <= 100 && shares.iter().all(|share| *share >= 30), "{shares:?}");
    }

    #[test]
    fn nobody_gets_more_than_is_of_use() {
        let small = Claim { most_bytes: 50, used_bytes: 50, capacity_bytes: 50, growth: 1.0, merit: 1e9 };
        assert_eq!(divide(1_000, vec![small, IDLE]), [50, 950], "not even of what others have for certain");
        assert_eq!(divide(300, vec![small, IDLE]), [50, 250]);
    }
}
