//! Where k-means starts: rows of the set.

use super::kmeans::squared_distance;
use crate::Result;
use dml_core::{Error, Exclude, Matrix, Metric, Watch, nearest_watched};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// `n · k · d` up to which k-means++ draws row by row: some seconds of one core.
pub(super) const EXACT: u128 = 1 << 32;

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
pub(super) fn plus_plus(x: Matrix<'_>, k: usize, rng: &mut ChaCha8Rng, watch: Watch<'_>) -> Result<Vec<usize>> {
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
        come_nearer(x, &new, &mut distances, watch)?;
        let missing = k - chosen.len();
        new = draw(&distances, if one_by_one { 1 } else { missing.div_ceil(PART) }, rng);
        new.sort_unstable();
        new.dedup();
        if new.is_empty() {
            new = not_yet(n, &chosen).take(missing).collect();
        }
    }
}

/// `count` rows with their distances as weights, perhaps some of them twice; none when all distances are 0.
pub(super) fn draw(distances: &[f32], count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    let add = |sum: &mut f64, &distance: &f32| {
        *sum += f64::from(distance);
        Some(*sum)
    };
    let sums: Vec<f64> = distances.iter().scan(0.0, add).collect();
    let sum = sums.last().copied().unwrap_or(0.0);
    let at = (0..count).map(|_| sum * rng.random::<f64>());
    at.map(|at| sums.partition_point(|&s| s <= at)).filter(|&row| row < sums.len()).collect()
}

/// Rows not chosen, in order: where all others are copies of chosen ones, nothing is left to draw.
pub(super) fn not_yet(n: usize, chosen: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let mut taken = vec![false; n];
    chosen.iter().for_each(|&row| taken[row] = true);
    (0..n).filter(move |&row| !taken[row])
}

/// Squared distance of each row to row `centre`, where that is less than before. A row drawn is never drawn again, whatever
/// rounding says of its distance to itself.
pub(super) fn nearer_by_one(x: Matrix<'_>, centre: usize, distances: &[f32]) -> Vec<f32> {
    let each = distances.par_iter().enumerate().with_min_len(256);
    let nearer = each.map(|(i, distance)| distance.min(squared_distance(x.row(i), x.row(centre)) as f32));
    let mut nearer: Vec<f32> = nearer.collect();
    nearer[centre] = 0.0;
    nearer
}

/// Squared distances to the nearest centre, now that rows `new` are centres, too.
fn come_nearer(x: Matrix<'_>, new: &[usize], distances: &mut Vec<f32>, watch: Watch<'_>) -> Result<()> {
    if let [only] = new {
        *distances = nearer_by_one(x, *only, distances);
        return if watch(0).is_break() { Err(Error::Cancelled.into()) } else { Ok(()) };
    }
    let centres: Vec<f32> = new.iter().flat_map(|&row| x.row(row)).copied().collect();
    let centres = Matrix::new(&centres, new.len(), x.cols())?;
    let found = nearest_watched(Metric::SquaredEuclidean, x, centres, 1, Exclude::Nothing, watch)?;
    distances.iter_mut().zip(found.scores()).for_each(|(distance, &score)| *distance = distance.min(score.max(0.0)));
    new.iter().for_each(|&row| distances[row] = 0.0);
    Ok(())
}
