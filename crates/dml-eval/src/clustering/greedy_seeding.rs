//! Greedy k-means++: of several rows drawn for a place, the one that leaves the least inertia.

use super::seeding::{self, EXACT, draw, nearer_by_one, not_yet};
use crate::Result;
use dml_core::{Error, Matrix, Watch};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// `k` different rows by k-means++ with `2 + ⌊ln k⌋` draws for each but the first, the first of equally good ones kept. Arthur
/// & Vassilvitskii, *k-means++*, 2007, §7, whose own code does this; scikit-learn's does, too.
///
/// Above `n·k·d·(2 + ⌊ln k⌋) = 2³²` it is plain [`seeding::plus_plus`].
pub(super) fn plus_plus(x: Matrix<'_>, k: usize, rng: &mut ChaCha8Rng, watch: Watch<'_>) -> Result<Vec<usize>> {
    let (n, d) = (x.rows(), x.cols());
    let draws = 2 + (k as f64).ln() as usize;
    if n as u128 * k as u128 * d as u128 * draws as u128 > EXACT {
        return seeding::plus_plus(x, k, rng, watch);
    }
    let mut chosen = vec![rng.random_range(0..n)];
    let mut distances = nearer_by_one(x, chosen[0], &vec![f32::INFINITY; n]);
    while chosen.len() < k {
        if watch(0).is_break() {
            return Err(Error::Cancelled.into());
        }
        let mut best: Option<(f64, usize, Vec<f32>)> = None;
        for row in draw(&distances, draws, rng) {
            let left = nearer_by_one(x, row, &distances);
            let inertia = left.iter().map(|&v| f64::from(v)).sum();
            if best.as_ref().is_none_or(|best| inertia < best.0) {
                best = Some((inertia, row, left));
            }
        }
        match best {
            Some((_, row, left)) => {
                chosen.push(row);
                distances = left;
            }
            None => chosen.extend(not_yet(n, &chosen).take(k - chosen.len())),
        }
    }
    Ok(chosen)
}
