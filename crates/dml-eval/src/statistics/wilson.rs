//! Interval of a share of hits.

use super::Interval;

/// 97.5 % quantile of the normal distribution.
pub(super) const Z975: f64 = 1.959_963_984_540_054;

/// 95 % interval of the share `hits / trials` of independent trials, within 0..1 even where all or none hit; `None`
/// without trials or with more hits than trials.
///
/// `(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)`. Wilson, *Probable Inference*, 1927.
pub fn wilson95(hits: usize, trials: usize) -> Option<Interval> {
    if trials == 0 || hits > trials {
        return None;
    }
    let (n, p) = (trials as f64, hits as f64 / trials as f64);
    let z2 = Z975 * Z975;
    let middle = p + z2 / (2.0 * n);
    let half = Z975 * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z2 / n;
    // Rounding must not push the ends beyond what they are exactly.
    let low = if hits == 0 { 0.0 } else { (middle - half) / scale };
    let high = if hits == trials { 1.0 } else { (middle + half) / scale };
    Some(Interval { low, high })
}
