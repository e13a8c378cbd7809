//! The loosest threshold that keeps a rate of false positives.

/// The most of `count` that may pass when their share may be `rate`: the largest k with k/count ≤ rate.
pub(crate) fn allowed(rate: f64, count: u64) -> u64 {
    let share = |k: u64| k as f64 / count as f64;
    // The product is rounded, so it may be one off either way.
    let mut k = ((rate * count as f64) as u64).min(count);
    while k < count && share(k + 1) <= rate {
        k += 1;
    }
    while k > 0 && share(k) > rate {
        k -= 1;
    }
    k
}

/// The loosest threshold at which a share of `rate` of the scores passes at most: just above the first that would break
/// it. Scores fall and larger is closer; equal scores pass together.
pub(crate) fn loosest(falling: &[f32], rate: f64) -> f32 {
    falling.get(allowed(rate, falling.len() as u64) as usize).map_or(f32::NEG_INFINITY, |score| score.next_up())
}

/// How many of the falling scores reach `threshold`.
pub(crate) fn reaching(falling: &[f32], threshold: f32) -> usize {
    falling.partition_point(|&score| score >= threshold)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_is_the_largest_count_within_the_rate() {
        assert_eq!((allowed(0.29, 100), allowed(0.07, 100), allowed(0.0, 5), allowed(0.999, 5)), (29, 7, 0, 4));
        for count in 1..3000 {
            for rate in [0.001, 0.01, 0.1, 0.29, 1.0 / 3.0, 0.7] {
                let k = allowed(rate, count);
                assert!(k as f64 / count as f64 <= rate && (k + 1) as f64 / count as f64 > rate);
            }
        }
    }

    #[test]
    fn ties_pass_together() {
        let scores = [5.0, 3.0, 3.0, 3.0, 1.0];
        // Two of five may pass, but the second cannot without the fourth.
        assert_eq!(reaching(&scores, loosest(&scores, 0.4)), 1);
        assert_eq!(reaching(&scores, loosest(&scores, 0.8)), 4);
        assert_eq!(loosest(&scores, 0.0), 5f32.next_up());
    }
}
