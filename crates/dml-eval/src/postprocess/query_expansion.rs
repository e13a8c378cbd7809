//! Query expansion: a query becomes the weighted mean of itself and its nearest gallery rows, and searches again.
//!
//! The query itself has weight 1. Weights of the neighbours are 1 (average QE: Chum et al., *Total Recall*, 2007, §4),
//! `cos^α` (αQE: Radenović et al., *Fine-tuning CNN Image Retrieval with No Human Annotation*, 2018, §4.3, α = 3), or fall with
//! the rank (Gordo et al., *End-to-end Learning of Deep Visual Representations for Image Retrieval*, 2017, §5.2, for databases).
//!
//! For cosine, rows have length 1 before and after.

use crate::finite::{check_directions, check_rows};
use crate::{Error, Result};
use dml_core::{Exclude, Matrix, Metric, Nearest, Projection, nearest};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How much a neighbour counts; the row itself counts 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeighbourWeights {
    /// As much as the row itself.
    Average,
    /// `max(cos, 0)^α`, α of 0 or more; for cosine only.
    Power(f64),
    /// `(n + 1 − r)/(n + 1)` at rank r of n neighbours, r = 1 the nearest.
    Rank,
}

/// How a row is expanded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Expansion {
    /// Neighbours that are added.
    pub neighbours: usize,
    /// How much they count.
    pub weights: NeighbourWeights,
}

/// αQE: 10 neighbours, α = 3.
impl Default for Expansion {
    fn default() -> Self {
        Self { neighbours: 10, weights: NeighbourWeights::Power(3.0) }
    }
}

impl Expansion {
    /// Weights of the neighbours of one row, best first.
    fn weights<'a>(&self, scores: &'a [f32]) -> impl Iterator<Item = f64> + use<'a> {
        let (count, weights) = (scores.len() as f64, self.weights);
        scores.iter().enumerate().map(move |(r, &score)| match weights {
            NeighbourWeights::Average => 1.0,
            NeighbourWeights::Power(alpha) => f64::from(score).max(0.0).powf(alpha),
            NeighbourWeights::Rank => (count - r as f64) / (count + 1.0),
        })
    }

    fn check(&self, metric: Metric, available: usize) -> Result<()> {
        let n = self.neighbours;
        if n == 0 || n > available {
            return Err(Error::Input(format!(
                "expansion by {n} neighbours but the gallery has {available} to give: want 1 to {available}"
            )));
        }
        match self.weights {
            NeighbourWeights::Power(alpha) if !(alpha >= 0.0 && alpha.is_finite()) => {
                Err(Error::Input(format!("expansion with weights cos^{alpha}: want an exponent of 0 or more")))
            }
            NeighbourWeights::Power(_) if metric != Metric::Cosine => Err(Error::Input(format!(
                "expansion weighs neighbours by powers of the cosine, but the metric is {metric}: use cosine, average or rank"
            ))),
            _ => Ok(()),
        }
    }
}

/// `queries` (`[q, d]`), each expanded by its nearest rows of `gallery` (`[m, d]`): `[q, d]`, of length 1 for cosine.
/// Queries that are rows of the gallery find themselves; [`augment_database`](super::augment_database) leaves them out.
///
/// # Errors
/// When vectors differ in length, a value is not finite, there are fewer gallery rows than neighbours, weights do not fit the
/// metric, or, for cosine, a row or a sum has no direction.
pub fn expand_queries(
    metric: Metric,
    queries: Matrix<'_>,
    gallery: Matrix<'_>,
    expansion: &Expansion,
) -> Result<Vec<f32>> {
    check_rows("query expansion, queries", queries, 1)?;
    check_rows("query expansion, gallery", gallery, 1)?;
    expansion.check(metric, gallery.rows())?;
    if metric != Metric::Cosine {
        let found = nearest(metric, queries, gallery, expansion.neighbours, Exclude::Nothing)?;
        return expanded(metric, queries, gallery, &found, expansion);
    }
    check_directions("query expansion, queries", queries)?;
    check_directions("query expansion, gallery", gallery)?;
    let (q, g) = (Projection::Unit.apply(queries).values, Projection::Unit.apply(gallery).values);
    let queries = Matrix::new(&q, queries.rows(), queries.cols())?;
    let gallery = Matrix::new(&g, gallery.rows(), gallery.cols())?;
    let found = nearest(metric, queries, gallery, expansion.neighbours, Exclude::Nothing)?;
    expanded(metric, queries, gallery, &found, expansion)
}

/// As [`expand_queries`], of a set in itself: no row is its own neighbour.
pub(super) fn expand_within(metric: Metric, x: Matrix<'_>, expansion: &Expansion) -> Result<Vec<f32>> {
    check_rows("database augmentation", x, 2)?;
    expansion.check(metric, x.rows() - 1)?;
    let mut projection = Projection::None;
    if metric == Metric::Cosine {
        check_directions("database augmentation", x)?;
        projection = Projection::Unit;
    }
    let values = projection.apply(x).values;
    let x = Matrix::new(&values, x.rows(), x.cols())?;
    let found = nearest(metric, x, x, expansion.neighbours, Exclude::SelfIndex)?;
    expanded(metric, x, x, &found, expansion)
}

fn expanded(
    metric: Metric,
    queries: Matrix<'_>,
    gallery: Matrix<'_>,
    found: &Nearest,
    expansion: &Expansion,
) -> Result<Vec<f32>> {
    let one = |q: usize| -> Result<Vec<f32>> {
        let mut sum: Vec<f64> = queries.row(q).iter().map(|&v| f64::from(v)).collect();
        let mut total = 1.0;
        for (&id, weight) in found.ids_of(q).iter().zip(expansion.weights(found.scores_of(q))) {
            total += weight;
            sum.iter_mut().zip(gallery.row(id as usize)).for_each(|(s, &v)| *s += weight * f64::from(v));
        }
        if metric == Metric::Cosine {
            total = sum.iter().map(|v| v * v).sum::<f64>().sqrt();
            // Of rows of length 1; less is the rounding of f32.
            if total < 1e-6 {
                return Err(Error::Input(format!(
                    "row {q} and its neighbours cancel out, so that their mean has no direction: use fewer neighbours"
                )));
            }
        }
        Ok(sum.iter().map(|v| (v / total) as f32).collect())
    };
    let rows: Vec<Vec<f32>> = (0..queries.rows()).into_par_iter().map(one).collect::<Result<_>>()?;
    Ok(rows.concat())
}
