//! The nearest centroid of each row, pass after pass, without looking again at what cannot have changed.

use crate::Result;
use dml_core::{Exclude, Matrix, Metric, Nearest, Watch, nearest_watched};

/// Nearest centroids, kept from pass to pass.
///
/// When many clusters share few rows, most centroids soon stand still. So a pass compares rows with the centroids that moved;
/// what comes nearer than the nearest of before is the nearest now. Otherwise it is still the one of before, if that stood
/// still. Only rows whose centroid moved away, and which no other took, look at all. The score of a pair is the same, bit for
/// bit, whatever it is computed with, so the result is that of comparing everything.
pub(super) struct Assigner<'a> {
    metric: Metric,
    rows: Matrix<'a>,
    /// Centroids of the last pass, `[k, d]`.
    centroids: Vec<f32>,
    /// (score, id) of the nearest one of each row; of equal scores the smaller id.
    nearest: Vec<(f32, u32)>,
    /// Pairs of a row and a centroid compared so far.
    compared: usize,
}

impl<'a> Assigner<'a> {
    /// Before the first pass.
    pub(super) fn new(metric: Metric, rows: Matrix<'a>) -> Self {
        let worst = if metric.is_similarity() { f32::NEG_INFINITY } else { f32::INFINITY };
        let nearest = vec![(worst, u32::MAX); rows.rows()];
        Self { metric, rows, centroids: Vec::new(), nearest, compared: 0 }
    }

    /// Nearest of `centroids` (`[k, d]`, the same k in every pass) to each row.
    pub(super) fn pass(&mut self, centroids: &[f32], watch: Watch<'_>) -> Result<Vec<u32>> {
        let d = self.rows.cols();
        let has_moved = |c: usize| self.centroids.get(c * d..(c + 1) * d) != Some(&centroids[c * d..][..d]);
        let (moved, still): (Vec<usize>, Vec<usize>) = (0..centroids.len() / d).partition(|&c| has_moved(c));
        let now = Matrix::new(centroids, centroids.len() / d, d)?;
        let mut has_moved = vec![false; now.rows()];
        moved.iter().for_each(|&c| has_moved[c] = true);

        let found = self.search(self.rows, now, &moved, watch)?;
        let mut left = Vec::new();
        for (i, new) in entries(&found, &moved).enumerate() {
            let old = self.nearest[i];
            if !self.nearer(old, new) {
                self.nearest[i] = new;
            } else if has_moved.get(old.1 as usize) == Some(&true) {
                self.nearest[i] = new;
                left.push(i);
            }
        }
        let rows = gathered(self.rows, &left);
        let found = self.search(Matrix::new(&rows, left.len(), d)?, now, &still, watch)?;
        for (&i, new) in left.iter().zip(entries(&found, &still)) {
            if self.nearer(new, self.nearest[i]) {
                self.nearest[i] = new;
            }
        }
        self.centroids.clear();
        self.centroids.extend_from_slice(centroids);
        Ok(self.nearest.iter().map(|nearest| nearest.1).collect())
    }

    /// Nearest of the centroids `among` to each of `rows`, as positions in `among`; nothing where there are none.
    fn search(&mut self, rows: Matrix<'_>, all: Matrix<'_>, among: &[usize], watch: Watch<'_>) -> Result<Nearest> {
        if among.is_empty() || rows.rows() == 0 {
            return Ok(Nearest::default());
        }
        self.compared += rows.rows() * among.len();
        let part = gathered(all, among);
        let part = Matrix::new(&part, among.len(), all.cols())?;
        Ok(nearest_watched(self.metric, rows, part, 1, Exclude::Nothing, watch)?)
    }

    fn nearer(&self, a: (f32, u32), b: (f32, u32)) -> bool {
        self.metric.closer(a.0, b.0) || (a.0 == b.0 && a.1 < b.1)
    }
}

fn gathered(x: Matrix<'_>, rows: &[usize]) -> Vec<f32> {
    rows.iter().flat_map(|&i| x.row(i)).copied().collect()
}

/// (score, centroid) of each row.
fn entries<'a>(found: &'a Nearest, among: &'a [usize]) -> impl Iterator<Item = (f32, u32)> + 'a {
    found.scores().iter().zip(found.ids()).map(|(&score, &at)| (score, among[at as usize] as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dml_core::{nearest, unwatched};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Some centroids move a little, a long way, onto another, onto a row, or not at all.
    fn shaken(centroids: &mut [f32], x: Matrix<'_>, rng: &mut ChaCha8Rng) {
        let (d, k) = (x.cols(), centroids.len() / x.cols());
        for c in 0..k {
            let step = match rng.random_range(0..10) {
                0 => 0.01,
                1 => 2.0,
                2 => {
                    let other = rng.random_range(0..k);
                    centroids.copy_within(other * d..(other + 1) * d, c * d);
                    0.0
                }
                3 => {
                    centroids[c * d..][..d].copy_from_slice(x.row(rng.random_range(0..x.rows())));
                    0.0
                }
                _ => 0.0,
            };
            for v in &mut centroids[c * d..][..d] {
                *v += step * rng.random_range(-1.0..1.0f32);
            }
        }
    }

    #[test]
    fn passes_equal_full_searches_bit_for_bit() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for (n, k, d) in [(300, 90, 5), (70, 70, 17), (1200, 7, 3), (700, 600, 33), (5, 1, 2)] {
            // On a coarse grid scores are often equal, off it never.
            for grid in [None, Some(4.0f32)] {
                let mut draw = || {
                    let v = rng.random_range(-1.0..1.0f32);
                    grid.map_or(v, |g| (v * g).round() / g)
                };
                let values: Vec<f32> = (0..n * d).map(|_| draw()).collect();
                let mut centroids: Vec<f32> = (0..k * d).map(|_| draw()).collect();
                let x = Matrix::new(&values, n, d).unwrap();
                for metric in [Metric::SquaredEuclidean, Metric::Dot] {
                    let mut assigner = Assigner::new(metric, x);
                    for _ in 0..8 {
                        let now = Matrix::new(&centroids, k, d).unwrap();
                        let whole = nearest(metric, x, now, 1, Exclude::Nothing).unwrap();
                        assert_eq!(assigner.pass(&centroids, &unwatched).unwrap(), whole.ids());
                        let scores: Vec<f32> = assigner.nearest.iter().map(|n| n.0).collect();
                        assert_eq!(scores, whole.scores());
                        shaken(&mut centroids, x, &mut rng);
                    }
                }
            }
        }
    }

    #[test]
    fn what_stood_still_is_not_compared_again() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let x = Matrix::new(&values, 100, 1).unwrap();
        let mut centroids: Vec<f32> = (0..10).map(|c| 10.0 * c as f32 + 4.5).collect();
        let mut assigner = Assigner::new(Metric::SquaredEuclidean, x);
        let first = assigner.pass(&centroids, &unwatched).unwrap();
        assert_eq!((first[37], assigner.compared), (3, 1000));
        assert_eq!(assigner.pass(&centroids, &unwatched).unwrap(), first);
        assert_eq!(assigner.compared, 1000);
        // One moves up by 1, away from the lower half of its ten rows: those look at the nine others.
        centroids[3] += 1.0;
        assigner.pass(&centroids, &unwatched).unwrap();
        assert_eq!(assigner.compared, 1000 + 100 + 5 * 9);
    }
}
