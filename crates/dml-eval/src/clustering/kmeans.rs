//! Lloyd's k-means. Lloyd, *Least Squares Quantization in PCM*, 1982.
//!
//! Each pass is one product of rows and those centroids that moved, which is searched as it is made, and work in proportion to
//! the rows.

use super::assigner::Assigner;
use super::centroids::{Members, take_in_far_rows};
use super::{greedy_seeding, seeding};
use crate::finite::{check_directions, check_rows};
use crate::{Error, Result};
use dml_core::vector::widest;
use dml_core::{Matrix, Metric, Projection};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Where centroids start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// k-means++ row by row up to `n·k·d = 2³²`; above that in rounds that each draw a sixteenth of the rows still
    /// missing, as k-means‖ draws many at once.
    #[default]
    PlusPlus,
    /// k-means++ that draws `2 + ⌊ln k⌋` rows for each place and takes the one that leaves the least inertia, as scikit-learn
    /// does; above `n·k·d·(2 + ⌊ln k⌋) = 2³²` the same as [`PlusPlus`](Self::PlusPlus).
    GreedyPlusPlus,
    /// Different rows, uniformly.
    Random,
    /// These centroids, `[k, d]`. One start is all there is: restarts change nothing.
    Given(Vec<f32>),
}

/// k-means and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KMeans {
    /// k.
    pub clusters: usize,
    /// Passes at most; 25 unless told.
    pub iterations: usize,
    /// Starts, of which the one of least inertia is kept, the first of equal ones; 1 unless told.
    pub restarts: usize,
    /// Stop when the squared moves of all centroids add up to no more than this × the mean variance of a column; 1e-4 unless
    /// told, as scikit-learn. 0: go on until no row changes its cluster.
    pub tolerance: f64,
    /// Seed.
    pub seed: u64,
    /// Rows and centroids have length 1 and are compared by cosine. Dhillon & Modha, *Concept Decompositions*, 2001.
    pub spherical: bool,
    /// Where centroids start.
    pub init: Init,
}

/// Where k-means is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Seed.
    pub seed: u64,
    /// Starts that are done.
    pub restart: usize,
    /// Passes that are done, of this start.
    pub pass: usize,
}

/// Asked many times in each pass, from any thread: shows progress, and says whether to go on.
pub type Watch<'a> = &'a (dyn Fn(Progress) -> ControlFlow<()> + Sync);

impl KMeans {
    /// k-means of `clusters` clusters with defaults: 25 iterations, 1 start, tolerance 1e-4, seed 0, Euclidean, k-means++.
    pub fn new(clusters: usize) -> Self {
        Self { clusters, iterations: 25, restarts: 1, tolerance: 1e-4, seed: 0, spherical: false, init: Init::PlusPlus }
    }

    /// Settings of `faiss.Kmeans`, which pytorch-metric-learning and many papers use: 25 iterations from 1 random start, seed
    /// 1234, never stopped by a tolerance. Not its draws, its way with empty clusters, nor its sample of 256 rows per cluster.
    pub fn faiss(clusters: usize) -> Self {
        Self { tolerance: 0.0, seed: 1234, init: Init::Random, ..Self::new(clusters) }
    }

    /// Settings of scikit-learn's `KMeans`: 300 iterations at most from 1 start of greedy k-means++, tolerance 1e-4. Not its
    /// draws.
    pub fn sklearn(clusters: usize) -> Self {
        Self { iterations: 300, init: Init::GreedyPlusPlus, ..Self::new(clusters) }
    }
}

/// Clusters that k-means has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KMeansResult {
    /// Centroids, `[k, d]`, of length 1 when spherical.
    pub centroids: Vec<f32>,
    /// Nearest centroid of each row, the smaller of equally near ones, `[n]`.
    pub assignment: Vec<u32>,
    /// `Σ ‖x − c‖²` over rows and their centroids; spherical: of rows of length 1, `Σ 2 (1 − cos)`.
    pub inertia: f64,
    /// Passes that were made.
    pub iterations: usize,
    /// Whether it stopped by itself.
    pub converged: bool,
}

impl KMeans {
    /// Clusters the rows of `x` (`[n, d]`). The same seed gives the same result, bit for bit, on any number of threads.
    ///
    /// A cluster that loses its rows takes in the row farthest from its centroid, of equals the first, from a cluster that
    /// keeps one. It stays empty only when no row is off its centroid: fewer different rows than clusters.
    ///
    /// # Errors
    /// When `clusters` is 0 or more than n, there are 0 restarts, the tolerance is no number of 0 or more, a value is not finite
    /// or its square leaves the range of `f32`, a row of zeros is to be spherical, or given centroids are not `[k, d]`.
    pub fn fit(&self, x: Matrix<'_>) -> Result<KMeansResult> {
        self.fit_watched(x, &|_| ControlFlow::Continue(()))
    }

    /// [`fit`](Self::fit), watched.
    ///
    /// # Errors
    /// As [`fit`](Self::fit), and `dml_core::Error::Cancelled` when `watch` breaks off.
    pub fn fit_watched(&self, x: Matrix<'_>, watch: Watch<'_>) -> Result<KMeansResult> {
        self.check(x)?;
        let (n, d) = (x.rows(), x.cols());
        let (shift, rows) = if self.spherical {
            (vec![0.0; d], Projection::Unit.apply(x).values)
        } else {
            // About their mean, as differences of squares lose digits far from 0.
            let shift: Vec<f64> = Members::all(n).mean(x, 0);
            let moved = x.data().par_chunks(d).flat_map_iter(|row| row.iter().zip(&shift).map(|(v, s)| minus(*v, *s)));
            let moved: Vec<f32> = moved.collect();
            (shift, moved)
        };
        let rows = Matrix::new(&rows, n, d)?;
        if !self.spherical {
            check_squares(rows)?;
        }
        let restarts = if matches!(self.init, Init::Given(_)) { 1 } else { self.restarts };
        let mut best: Option<KMeansResult> = None;
        for restart in 0..restarts {
            let in_pass = |pass| watch(Progress { seed: self.seed, restart, pass });
            let start = self.start(rows, &shift, restart, &|_| in_pass(0))?;
            let run = self.run(rows, start, &in_pass)?;
            if best.as_ref().is_none_or(|best| run.inertia < best.inertia) {
                best = Some(run);
            }
        }
        let mut best =
            best.ok_or_else(|| Error::Input("k-means was given no start: want 1 restart or more".to_owned()))?;
        for centroid in best.centroids.chunks_exact_mut(d) {
            centroid.iter_mut().zip(&shift).for_each(|(c, s)| *c = (f64::from(*c) + s) as f32);
        }
        Ok(best)
    }

    fn check(&self, x: Matrix<'_>) -> Result<()> {
        check_rows("k-means", x, 1)?;
        let (k, n, d) = (self.clusters, x.rows(), x.cols());
        if k == 0 || k > n {
            return Err(Error::Input(format!("k-means of {n} rows into {k} clusters: want 1 to {n} clusters")));
        }
        if self.restarts == 0 {
            return Err(Error::Input("k-means was given 0 restarts: want 1 or more".to_owned()));
        }
        if self.tolerance.is_nan() || self.tolerance < 0.0 {
            return Err(Error::Input(format!("k-means tolerance is {}: want 0 or more", self.tolerance)));
        }
        if self.spherical {
            check_directions("spherical k-means", x)?;
        }
        if let Init::Given(centroids) = &self.init {
            if centroids.len() != k * d {
                return Err(Error::Input(format!(
                    "k-means was given {} numbers as centroids: want {k} centroids of {d} numbers, {} in all",
                    centroids.len(),
                    k * d
                )));
            }
            let given = Matrix::new(centroids, k, d)?;
            check_rows("given centroids of k-means", given, 1)?;
            if self.spherical {
                check_directions("given centroids of spherical k-means", given)?;
            }
        }
        Ok(())
    }

    /// First centroids, among the prepared rows.
    fn start(&self, rows: Matrix<'_>, shift: &[f64], restart: usize, watch: dml_core::Watch<'_>) -> Result<Vec<f32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(restart as u64);
        let chosen = match &self.init {
            Init::PlusPlus => seeding::plus_plus(rows, self.clusters, &mut rng, watch)?,
            Init::GreedyPlusPlus => greedy_seeding::plus_plus(rows, self.clusters, &mut rng, watch)?,
            Init::Random => seeding::random(rows.rows(), self.clusters, &mut rng),
            Init::Given(given) if self.spherical => {
                return Ok(Projection::Unit.apply(Matrix::new(given, self.clusters, rows.cols())?).values);
            }
            Init::Given(given) => {
                let moved: Vec<f32> = given.iter().zip(shift.iter().cycle()).map(|(v, s)| minus(*v, *s)).collect();
                check_squares(Matrix::new(&moved, self.clusters, rows.cols())?)?;
                return Ok(moved);
            }
        };
        Ok(chosen.iter().flat_map(|&row| rows.row(row)).copied().collect())
    }

    fn run(
        &self,
        rows: Matrix<'_>,
        mut centroids: Vec<f32>,
        watch: &(impl Fn(usize) -> ControlFlow<()> + Sync),
    ) -> Result<KMeansResult> {
        let (k, d) = (self.clusters, rows.cols());
        let least_move = self.tolerance * mean_variance(rows);
        let mut assigner = Assigner::new(if self.spherical { Metric::Dot } else { Metric::SquaredEuclidean }, rows);
        let (mut before, mut iterations, mut converged) = (Vec::new(), 0, false);
        while iterations < self.iterations && !converged {
            let mut members = assigner.pass(&centroids, &|_| watch(iterations))?;
            let moved = take_in_far_rows(rows, &centroids, &mut members);
            let next = Members::new(&members, k).centroids(rows, &centroids, self.spherical);
            let squares = centroids.chunks_exact(d).zip(next.chunks_exact(d)).map(|(a, b)| squared_distance(a, b));
            let change: f64 = squares.sum();
            centroids = next;
            converged = (moved == 0 && members == before) || change <= least_move;
            before = members;
            iterations += 1;
        }
        let assignment = assigner.pass(&centroids, &|_| watch(iterations))?;
        let inertia = sum_over_rows(rows, |i| squared_distance(rows.row(i), centroid(&centroids, d, assignment[i])));
        Ok(KMeansResult { centroids, assignment, inertia, iterations, converged })
    }
}

fn minus(value: f32, shift: f64) -> f32 {
    (f64::from(value) - shift) as f32
}

/// Centroid `id` of `[k, d]`.
pub(super) fn centroid(centroids: &[f32], d: usize, id: u32) -> &[f32] {
    &centroids[id as usize * d..][..d]
}

/// Refuses values whose squared distances leave the range of `f32`.
fn check_squares(x: Matrix<'_>) -> Result<()> {
    let largest = x.data().iter().fold(0f32, |most, v| most.max(v.abs()));
    if 4.0 * x.cols() as f64 * f64::from(largest).powi(2) < f64::from(f32::MAX) {
        return Ok(());
    }
    Err(Error::Input(format!(
        "k-means: a value lies {largest} from the mean, and its square leaves the range of f32: scale the embeddings"
    )))
}

/// `‖a − b‖²`, differences in `f32`, sums of 256 of them in eight lanes.
pub(super) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    const BLOCK: usize = 256;
    widest(
        #[inline(always)]
        || {
            let mut total = 0f64;
            for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
                let mut lanes = [0f32; LANES];
                let (a_lanes, b_lanes) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
                let rest = a_lanes.remainder().iter().zip(b_lanes.remainder());
                total += rest.map(|(a, b)| f64::from((a - b) * (a - b))).sum::<f64>();
                for (a, b) in a_lanes.zip(b_lanes) {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        *lane += (a - b) * (a - b);
                    }
                }
                total += lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>();
            }
            total
        },
    )
}

/// Sum over rows in blocks whose size does not depend on the number of threads.
fn sum_over_rows(x: Matrix<'_>, term: impl Fn(usize) -> f64 + Sync) -> f64 {
    const ROWS: usize = 1024;
    let blocks = x.rows().div_ceil(ROWS);
    let of_block = |b: usize| (b * ROWS..x.rows().min((b + 1) * ROWS)).map(&term).sum();
    let sums: Vec<f64> = (0..blocks).into_par_iter().map(of_block).collect();
    sums.iter().sum()
}

/// Mean over columns of their variance (divisor n).
fn mean_variance(x: Matrix<'_>) -> f64 {
    let mean: Vec<f32> = Members::all(x.rows()).mean(x, 0).iter().map(|&v| v as f32).collect();
    sum_over_rows(x, |i| squared_distance(x.row(i), &mean)) / (x.rows() * x.cols()) as f64
}
