//! t-SNE: rows that are near in the space are near in the plane.
//!
//! Each row `i` spreads its attention over its 3·perplexity nearest neighbours by a Gaussian,
//! `p_{j|i} ∝ e^{−d_ij²/2σ_i²}`, whose width σ_i gives it the wanted perplexity `2^H`; with `p_ij = (p_{j|i} + p_{i|j})/2n` and
//! `q_ij ∝ 1/(1 + ‖y_i − y_j‖²)` in the plane, gradient descent lessens `KL(P ‖ Q)`. (van der Maaten & Hinton, *Visualizing
//! Data using t-SNE*, 2008; the tree that makes it `O(n log n)`: van der Maaten, *Accelerating t-SNE using Tree-Based
//! Algorithms*, 2014.)
//!
//! It starts from the PCA map, so that what is far apart has its place from the space and not by chance (Kobak & Berens, *The
//! art of using t-SNE for single-cell transcriptomics*, 2019), and steps as far as Belkina et al., *Automated optimized
//! parameters for t-distributed stochastic neighbor embedding improve visualization and analysis of large datasets*, 2019, say.
//!
//! Distances between far groups, and how large a group is drawn, mean little.

use super::{as_drawn, pca_map};
use crate::finite::check_rows;
use crate::{Error, Result};
use bhtsne::{Neighbor, tSNE};
use dml_core::{Exclude, Matrix, Metric, nearest};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};

/// Fewest rows that have a map, and the least perplexity: 2 ≤ (8 − 1)/3.
const LEAST_ROWS: usize = 8;
const LEAST_PERPLEXITY: f64 = 2.0;
/// Affinities are multiplied by this at first, so that groups find together.
const EXAGGERATION: f64 = 12.0;
/// Spread of the first places along their longer direction: small beside 1, the width of the kernel in the plane.
const START: f64 = 1e-4;
/// Noise of the first places, as a share of their spread: rows that are equal do not start at one place.
const NOISE: f64 = 0.01;

/// How [`tsne_map`] draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TsneOptions {
    /// Neighbours that a row minds. Held between 2 and (n − 1)/3, since three times as many are looked at.
    pub perplexity: f64,
    /// Steps. The first 250 of them, a third where there are fewer than 750, are exaggerated 12 times.
    pub iterations: usize,
    /// Size over distance below which a cell of the tree counts as one point; smaller is more exact and slower.
    pub theta: f64,
    /// Length of a step; none: max(n/12, 200), as Belkina et al. and Kobak & Berens have it. (scikit-learn's gradient is four
    /// times as long, and its rate a quarter.)
    pub learning_rate: Option<f64>,
    /// Seed of the noise that the start is given.
    pub seed: u64,
}

/// Perplexity 30, 750 steps, θ = 0.5, the learning rate by n, seed 0.
impl Default for TsneOptions {
    fn default() -> Self {
        Self { perplexity: 30.0, iterations: 750, theta: 0.5, learning_rate: None, seed: 0 }
    }
}

/// Rows in the plane, neighbours kept together.
#[derive(Clone, Debug, PartialEq)]
pub struct TsneMap {
    /// One place per row, `[n]`.
    pub places: Vec<[f32; 2]>,
    /// The perplexity that was used.
    pub perplexity: f64,
    /// The learning rate that was used.
    pub learning_rate: f64,
}

/// The t-SNE map of the rows of `x` (`[n, d]`), from their PCA map.
///
/// Distances are those of `metric`: Euclidean between rows of length 1 for cosine. Dot products and signal-to-noise ratios are
/// no distances: with them rows are compared by Euclidean distance. Neighbours are exact and found on all threads; the descent
/// runs on one, since sums over several depend on their number. It cannot be broken off: n bounds its time.
///
/// # Errors
/// When there are fewer than 8 rows, a value or a distance is not finite, an option is out of its range, or the descent ran
/// away (a learning rate that is too large).
pub fn tsne_map(metric: Metric, x: Matrix<'_>, options: &TsneOptions) -> Result<TsneMap> {
    check_rows("t-SNE", x, LEAST_ROWS)?;
    tsne_map_from(metric, x, &pca_map(metric, x)?.places, options)
}

/// [`tsne_map`] from a map that is there: `start` (`[n]`), brought to a spread of 1e-4.
///
/// # Errors
/// As [`tsne_map`], and when `start` is not one finite place per row.
pub fn tsne_map_from(metric: Metric, x: Matrix<'_>, start: &[[f32; 2]], options: &TsneOptions) -> Result<TsneMap> {
    check_rows("t-SNE", x, LEAST_ROWS)?;
    check(options)?;
    let n = x.rows();
    if start.len() != n || !start.as_flattened().iter().all(|v| v.is_finite()) {
        return Err(Error::Input(format!(
            "t-SNE of {n} rows starts from {} places: give a finite one for each",
            start.len()
        )));
    }
    let perplexity = options.perplexity.clamp(LEAST_PERPLEXITY, (n - 1) as f64 / 3.0);
    let learning_rate = options.learning_rate.unwrap_or((n as f64 / EXAGGERATION).max(200.0));
    let neighbours = neighbours(metric, x, ((3.0 * perplexity) as usize).min(n - 1))?;
    let alone = ThreadPoolBuilder::new().num_threads(1).build();
    let alone = alone.map_err(|e| Error::Input(format!("t-SNE cannot start its thread: {e}")))?;
    let places = alone.install(|| {
        // Neighbours are given, so that there is nothing to say of the rows but how many there are.
        let rows = vec![(); n];
        let mut descent = tSNE::<f64, (), 2>::new(&rows);
        let exaggerated = (options.iterations / 3).min(250);
        descent.perplexity(perplexity).epochs(options.iterations).learning_rate(learning_rate);
        descent.early_exaggeration(EXAGGERATION).stop_lying_epoch(exaggerated).momentum_switch_epoch(exaggerated);
        descent.initial_embedding(first_places(start, options.seed));
        descent.barnes_hut_with_neighbors(options.theta, &neighbours).embedding()
    });
    let places: Vec<[f32; 2]> = places.chunks_exact(2).map(|at| [at[0] as f32, at[1] as f32]).collect();
    if !places.as_flattened().iter().all(|v| v.is_finite()) {
        return Err(Error::Input(format!("t-SNE ran away to infinity with learning rate {learning_rate}: lower it")));
    }
    Ok(TsneMap { places, perplexity, learning_rate })
}

fn check(options: &TsneOptions) -> Result<()> {
    let TsneOptions { perplexity, iterations, theta, learning_rate, .. } = *options;
    let positive = |value: f64| value.is_finite() && value > 0.0;
    let problem = if !positive(perplexity) {
        format!("perplexity {perplexity}: want a number above 0, such as 30")
    } else if iterations == 0 {
        "0 steps: want some hundreds, such as 750".to_owned()
    } else if !positive(theta) {
        format!("theta {theta}: want a number above 0, such as 0.5")
    } else if let Some(rate) = learning_rate.filter(|&rate| !positive(rate)) {
        format!("learning rate {rate}: want a number above 0, or none to have it follow from the rows")
    } else {
        return Ok(());
    };
    Err(Error::Input(format!("t-SNE with {problem}")))
}

/// The `k` nearest rows of each row, their distances over the mean of all: t-SNE does not see the scale, but squares of very
/// large and very small distances would leave the range of numbers.
fn neighbours(metric: Metric, x: Matrix<'_>, k: usize) -> Result<Vec<Vec<Neighbor<f64>>>> {
    let (values, distance) = as_drawn(metric, x);
    let rows = Matrix::new(&values, x.rows(), x.cols())?;
    let found = nearest(distance, rows, rows, k, Exclude::SelfIndex)?;
    if let Some(at) = found.scores().iter().position(|d| !d.is_finite()) {
        return Err(Error::Input(format!(
            "t-SNE: the distance of row {} to a neighbour is not finite: scale the embeddings down",
            at / k
        )));
    }
    let mean = found.scores().iter().map(|&d| f64::from(d)).sum::<f64>() / found.scores().len() as f64;
    let unit = if mean > 0.0 { mean } else { 1.0 };
    let list = |row: usize| {
        let pairs = found.ids_of(row).iter().zip(found.scores_of(row));
        pairs.map(|(&id, &d)| Neighbor { index: id as usize, distance: f64::from(d).max(0.0) / unit }).collect()
    };
    Ok((0..x.rows()).map(list).collect())
}

/// The start about its mean, its longer side of standard deviation 1e-4, and noise of a hundredth of that; noise alone where
/// all places are one.
fn first_places(start: &[[f32; 2]], seed: u64) -> Vec<f64> {
    let n = start.len() as f64;
    let side = |axis: usize| start.iter().map(move |at| f64::from(at[axis]));
    let means = [0, 1].map(|axis| side(axis).sum::<f64>() / n);
    let spread = |axis: usize| (side(axis).map(|v| (v - means[axis]).powi(2)).sum::<f64>() / n).sqrt();
    let widest = spread(0).max(spread(1));
    let scale = if widest > 0.0 { START / widest } else { 0.0 };
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut noise = || START * NOISE * random.random_range(-1.0..1.0);
    let places = start.iter().flat_map(|at| [0, 1].map(|axis| (f64::from(at[axis]) - means[axis]) * scale));
    places.map(|place| place + noise()).collect()
}
