//! Distances within classes and between them.
//!
//! * Of pairs: mean, deviation and quantiles of the metric over pairs of one class (intra) and of two (inter), each pair
//!   once. All pairs while they are few, else a seeded sample; the result says which.
//! * Of class sums, exact for any number of rows without looking at a pair: mean squared Euclidean distances, by
//!   `Σ_{i<j∈c} ‖xᵢ − xⱼ‖² = n_c Σ_{i∈c} ‖xᵢ − μ_c‖²`.
//! * Embedding space density of Roth et al., *Revisiting Training Strategies and Generalization Performance in Deep Metric
//!   Learning*, 2020, §5: see [`Density`].
//!
//! Cosine is measured on rows of length 1, as the distance `1 − cos`; dot product as `−a·b`; other metrics as they are. Of
//! SNR, which is not symmetric, the row of smaller index is the anchor.

use super::pairs::{Classes, Kind, PairSampling, pairs};
use super::spread::Spread;
use crate::pair_distance::pair_distance;
use crate::{Error, Result, check};
use dml_core::{Exclude, Matrix, Metric, nearest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Distances of one kind of pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairDistances {
    /// Of the distances looked at.
    pub spread: Spread,
    /// Pairs that there are.
    pub pairs: u64,
    /// Pairs looked at; a sample where fewer than `pairs`.
    pub measured: u64,
}

/// Embedding space density of Roth et al., 2020, as their code has it: cosine distances `1 − cos`.
///
/// A class's own distance is the mean over its pairs; its centre is the mean of its rows (of length 1), brought to length 1.
/// Classes of one row have no distance within and are left out of `intra` (their code gives them another class's value).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Density {
    /// π_intra: mean over classes of the mean distance of the class's pairs. Pair-based.
    pub intra: f64,
    /// π_inter: mean distance of two class centres. Centre-based.
    pub inter: f64,
    /// π_ratio = π_intra / π_inter: the smaller, the denser the classes for their distance; none where π_inter is 0.
    pub ratio: Option<f64>,
}

/// One class. Distances are Euclidean, of rows of length 1 for cosine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassDistances {
    /// Label.
    pub label: u32,
    /// Rows.
    pub rows: usize,
    /// Mean of `‖xᵢ − xⱼ‖²` over the pairs of the class; none of one row.
    pub mean_square: Option<f64>,
    /// Mean of `‖xᵢ − μ‖`, μ the mean of the class.
    pub to_centre: f64,
    /// Label of the class whose mean is nearest, and how far that is; none where there is one class.
    pub nearest_class: Option<(u32, f64)>,
}

/// Distances within classes and between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distances {
    /// Pairs of one class; none where every class has one row.
    pub intra: Option<PairDistances>,
    /// Pairs of two classes; none where there is one class.
    pub inter: Option<PairDistances>,
    /// Mean of `‖xᵢ − xⱼ‖²` over all pairs of one class, exact.
    pub mean_square_intra: Option<f64>,
    /// Mean of `‖xᵢ − xⱼ‖²` over all pairs of two classes, exact.
    pub mean_square_inter: Option<f64>,
    /// Of Roth et al.; none where no class has two rows, or there is one class.
    pub density: Option<Density>,
    /// Each class, by label.
    pub by_class: Vec<ClassDistances>,
}

/// Distances within and between the classes of `embeddings` (`[n, d]`).
///
/// # Errors
/// When labels are not one per row, a value is not finite, no pair may be looked at, or a distance is not a number.
pub fn distances(metric: Metric, embeddings: Matrix<'_>, labels: &[u32], sampling: &PairSampling) -> Result<Distances> {
    check(embeddings, labels)?;
    let classes = Classes::of(labels);
    let unit = metric == Metric::Cosine;
    let moments: Vec<Moments> = classes.rows.par_iter().map(|rows| Moments::of(embeddings, rows, unit)).collect();
    let within: Vec<f64> = moments.iter().map(|m| m.within).collect();
    let sizes: Vec<f64> = classes.rows.iter().map(|rows| rows.len() as f64).collect();
    let total = classes.total as f64;
    let intra_pairs: f64 = sizes.iter().map(|n| n * (n - 1.0) / 2.0).sum();
    let inter_pairs = total * (total - 1.0) / 2.0 - intra_pairs;
    let intra_sum: f64 = sizes.iter().zip(&within).map(|(n, w)| n * w).sum();
    // Σ over pairs of two classes = Σ_c (N − n_c) W_c + N Σ_c n_c ‖μ_c − μ‖²: no differences, so nothing cancels.
    let mean = weighted_mean(&moments, &sizes);
    let apart = moments.iter().zip(&sizes).map(|(m, n)| n * square_distance(&m.mean, &mean)).sum::<f64>();
    let inter_sum = sizes.iter().zip(&within).map(|(n, w)| (total - n) * w).sum::<f64>() + total * apart;
    let neighbours = nearest_classes(&moments, &classes)?;
    let by_class = moments.iter().enumerate().map(|(c, m)| ClassDistances {
        label: classes.labels[c],
        rows: classes.rows[c].len(),
        mean_square: (sizes[c] > 1.0).then(|| 2.0 * within[c] / (sizes[c] - 1.0)),
        to_centre: m.to_centre,
        nearest_class: neighbours.get(c).copied(),
    });
    Ok(Distances {
        intra: of_pairs(metric, embeddings, Kind::Intra, &classes, sampling)?,
        inter: of_pairs(metric, embeddings, Kind::Inter, &classes, sampling)?,
        mean_square_intra: (intra_pairs > 0.0).then(|| intra_sum / intra_pairs),
        mean_square_inter: (inter_pairs > 0.0).then(|| inter_sum / inter_pairs),
        density: density(embeddings, &classes),
        by_class: by_class.collect(),
    })
}

fn of_pairs(
    metric: Metric,
    x: Matrix<'_>,
    kind: Kind,
    classes: &Classes,
    sampling: &PairSampling,
) -> Result<Option<PairDistances>> {
    let found = pairs(kind, classes, sampling)?;
    let distance = |&(a, b): &(u32, u32)| pair_distance(metric, x.row(a as usize), x.row(b as usize));
    let distances: Vec<f64> = found.pairs.par_iter().map(distance).collect();
    if let Some(at) = distances.iter().position(|d| !d.is_finite()) {
        let (a, b) = found.pairs[at];
        return Err(Error::Input(format!(
            "the {metric} distance of embeddings {a} and {b} is not a finite number: check that the metric fits them"
        )));
    }
    let measured = distances.len() as u64;
    Ok(Spread::of(distances).map(|spread| PairDistances { spread, pairs: found.population, measured }))
}

/// A class's mean and what is around it.
struct Moments {
    mean: Vec<f64>,
    /// `Σ ‖x − μ‖²`.
    within: f64,
    /// Mean of `‖x − μ‖`.
    to_centre: f64,
}

impl Moments {
    fn of(x: Matrix<'_>, rows: &[u32], unit: bool) -> Self {
        let (n, mean) = (rows.len() as f64, class_mean(x, rows, unit));
        let squares = rows.iter().map(|&i| square_distance(&wide(x.row(i as usize), unit), &mean));
        let (within, roots) = squares.fold((0.0, 0.0), |(sum, roots), s| (sum + s, roots + s.sqrt()));
        Self { mean, within, to_centre: roots / n }
    }
}

/// A row in `f64`, of length 1 if so wished; rows of zeros stay zeros.
fn wide(row: &[f32], unit: bool) -> Vec<f64> {
    let mut wide: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
    if unit {
        to_unit(&mut wide);
    }
    wide
}

fn to_unit(row: &mut [f64]) {
    let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v /= norm);
    }
}

fn class_mean(x: Matrix<'_>, rows: &[u32], unit: bool) -> Vec<f64> {
    let mut mean = vec![0f64; x.cols()];
    for &i in rows {
        mean.iter_mut().zip(wide(x.row(i as usize), unit)).for_each(|(m, v)| *m += v);
    }
    mean.iter_mut().for_each(|m| *m /= rows.len() as f64);
    mean
}

fn weighted_mean(moments: &[Moments], sizes: &[f64]) -> Vec<f64> {
    let total: f64 = sizes.iter().sum();
    let mut mean = vec![0f64; moments.first().map_or(0, |m| m.mean.len())];
    for (m, n) in moments.iter().zip(sizes) {
        mean.iter_mut().zip(&m.mean).for_each(|(to, v)| *to += n / total * v);
    }
    mean
}

fn square_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// The class whose mean is nearest to each class's; nothing for one class.
fn nearest_classes(moments: &[Moments], classes: &Classes) -> Result<Vec<(u32, f64)>> {
    if moments.len() < 2 {
        return Ok(Vec::new());
    }
    let centres: Vec<f32> = moments.iter().flat_map(|m| m.mean.iter().map(|&v| v as f32)).collect();
    let centres = Matrix::new(&centres, moments.len(), moments[0].mean.len())?;
    let found = nearest(Metric::Euclidean, centres, centres, 1, Exclude::SelfIndex)?;
    let of = |(c, m): (usize, &Moments)| {
        let other = found.ids_of(c).first().copied().unwrap_or(0) as usize;
        (classes.labels[other], square_distance(&m.mean, &moments[other].mean).sqrt())
    };
    Ok(moments.iter().enumerate().map(of).collect())
}

/// Mean cosine distances from sums of unit rows: the mean of `x·y` over pairs is `(‖Σx‖² − Σ‖x‖²) / (n(n − 1))`.
fn density(x: Matrix<'_>, classes: &Classes) -> Option<Density> {
    let apart =
        |sum: &[f64], squares: f64, n: f64| 1.0 - (sum.iter().map(|v| v * v).sum::<f64>() - squares) / (n * (n - 1.0));
    let of_class = |rows: &Vec<u32>| {
        let n = rows.len() as f64;
        let mut centre = class_mean(x, rows, true);
        // Rows of zeros have length 0.
        let squares = rows.iter().filter(|&&i| x.row(i as usize).iter().any(|&v| v != 0.0)).count() as f64;
        let sum: Vec<f64> = centre.iter().map(|v| v * n).collect();
        let intra = (rows.len() > 1).then(|| apart(&sum, squares, n));
        to_unit(&mut centre);
        (intra, centre)
    };
    let (intra, centres): (Vec<Option<f64>>, Vec<Vec<f64>>) = classes.rows.par_iter().map(of_class).unzip();
    let intra: Vec<f64> = intra.into_iter().flatten().collect();
    if intra.is_empty() || centres.len() < 2 {
        return None;
    }
    let mut sum = vec![0f64; x.cols()];
    centres.iter().for_each(|centre| sum.iter_mut().zip(centre).for_each(|(s, v)| *s += v));
    let squares = centres.iter().map(|centre| centre.iter().map(|v| v * v).sum::<f64>()).sum();
    // Rounding must not make a distance of 0 a negative one.
    let (intra, inter) =
        (crate::statistics::mean(&intra).max(0.0), apart(&sum, squares, centres.len() as f64).max(0.0));
    Some(Density { intra, inter, ratio: (inter > 0.0).then(|| intra / inter) })
}
