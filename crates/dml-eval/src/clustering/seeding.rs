//! Where k-means starts: rows of the set.

use super::kmeans::squared_distance;
use crate::Result;
use dml_core::{Exclude, Matrix, Metric, nearest};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// `n · k · d` up to which k-means++ draws row by row: some seconds of one core.
const EXACT: u128 = 1 << 32;

/// Above that each round draws one in so many of the rows still missing: few enough that they seldom land in one place.
const PART: usize = 16;

/// `k` different rows, uniformly.
pub(super) fn random(n: usize, k: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..n).collect();
    for i in 0..k {
        rows.swap(i, rng.random_range(i..n));
    }
    rows.truncate(k);
    rows
}

/// `k` different rows, each drawn with the squared distance to the nearest drawn before as its weight: k-means++. Arthur &
/// Vassilvitskii, *k-means++: The Advantages of Careful Seeding*, 2007.
///
/// Above `n·k·d = 2³²` each round draws a sixteenth of the rows still missing at once, about `16 ln k` rounds in all. Many rows
/// of a round are as in k-means‖ (Bahmani et al., *Scalable K-Means++*, 2012), but no more are drawn than are needed, so there is
/// nothing to thin out. The products of all rounds cost one pass of k-means.
pub(super) fn plus_plus(x: Matrix<'_>, k: usize, rng: &mut ChaCha8Rng) -> Result<Vec<usize>> {
    let (n, d) = (x.rows(), x.cols());
    let one_by_one = n as u128 * k as u128 * d as u128 <= EXACT;
    let mut distances = vec![f32::INFINITY; n];
    let mut chosen = Vec::with_capacity(k);
    let mut new = vec![rng.random_range(0..n)];
    loop {
        chosen.extend_from_slice(&new);
        if chosen.len() >= k {
            return Ok(chosen);
        }
        come_nearer(x, &new, &mut distances)?;
        // A drawn row is never drawn again, whatever rounding says of its distance to itself.
        new.iter().for_each(|&row| distances[row] = 0.0);
        let mut sum = 0f64;
        let sums: Vec<f64> = distances
            .iter()
            .map(|&distance| {
                sum += f64::from(distance);
                sum
            })
            .collect();
        let missing = k - chosen.len();
        new = (0..if one_by_one { 1 } else { missing.div_ceil(PART) })
            .map(|_| sum * rng.random::<f64>())
            .map(|at| sums.partition_point(|&s| s <= at))
            .filter(|&row| row < n)
            .collect();
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            // All other rows are copies of drawn ones.
            let mut taken = vec![false; n];
            chosen.iter().for_each(|&row| taken[row] = true);
            new = (0..n).filter(|&row| !taken[row]).take(missing).collect();
        }
    }
}

/// Squared distances to the nearest centre, now that rows `new` are centres, too.
fn come_nearer(x: Matrix<'_>, new: &[usize], distances: &mut [f32]) -> Result<()> {
    if let [only] = new {
        let centre = x.row(*only);
        let each = distances.par_iter_mut().enumerate().with_min_len(256);
        each.for_each(|(i, distance)| *distance = distance.min(squared_distance(x.row(i), centre) as f32));
        return Ok(());
    }
    let centres: Vec<f32> = new.iter().flat_map(|&row| x.row(row)).copied().collect();
    let centres = Matrix::new(&centres, new.len(), x.cols())?;
    let found = nearest(Metric::SquaredEuclidean, x, centres, 1, Exclude::Nothing)?;
    distances.iter_mut().zip(found.scores()).for_each(|(distance, &score)| *distance = distance.min(score.max(0.0)));
    Ok(())
}
