//! The row driver: every pair, ranking and proxy loss is a function of one row of a score matrix.
//!
//! `scores(anchors, references)` → per row `(loss, dloss/drow)` → `dL/danchors, dL/dreferences`. A loss owns only the
//! middle. Rows are independent, so they run in parallel; sums are taken in row order, so the result does not depend
//! on the number of threads.

use crate::device::cpu::{Strided, dot, parallel_product};
use crate::normalize::{normalize_gradient, normalize_rows};
use crate::scores::{CANCELLED, scores};
use crate::{Error, Matrix, Metric, Result};
use rayon::prelude::*;

/// One row of the score matrix: an anchor against all references.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Index of the anchor.
    pub anchor: usize,
    /// Its label.
    pub label: u32,
    /// Scores against all references.
    pub scores: &'a [f32],
    /// Labels of the references.
    pub labels: &'a [u32],
    /// The column that is the anchor itself, if the references hold it: neither positive nor negative.
    pub itself: Option<usize>,
}

impl Row<'_> {
    /// Columns of the anchor's class, without itself.
    pub fn positives(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.labels.len()).filter(|&j| self.labels[j] == self.label && Some(j) != self.itself)
    }

    /// Columns of other classes.
    pub fn negatives(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.labels.len()).filter(|&j| self.labels[j] != self.label)
    }
}

/// The two groups of terms a loss may average separately (e.g. positive and negative pairs).
pub type Groups = [f64; 2];

/// A loss of one row.
pub trait RowObjective: Sync {
    /// Terms of this row in each group. The loss is `Σ_g (Σ terms of g) / (Σ counts of g)`; a group that counts 0 is 0.
    /// The default averages over all rows.
    fn count(&self, _row: &Row<'_>) -> Groups {
        [1.0, 0.0]
    }

    /// Loss of this row with the terms of group `g` multiplied by `weight[g]`; its derivative by the scores is
    /// **added** to `gradient`, which comes as zeros.
    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64;
}

/// Anchors, references and who is of which class.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// How they are compared.
    pub metric: Metric,
    /// Anchors `[n, d]`.
    pub anchors: Matrix<'a>,
    /// Labels of the anchors `[n]`.
    pub anchor_labels: &'a [u32],
    /// References `[m, d]`.
    pub references: Matrix<'a>,
    /// Labels of the references `[m]`.
    pub reference_labels: &'a [u32],
    /// Reference `self_offset + i` is anchor `i` itself; `None` when the references do not hold the anchors.
    pub self_offset: Option<usize>,
}

/// A loss and its gradients.
#[derive(Clone, Debug)]
pub struct RowwiseOutput {
    /// The loss.
    pub value: f32,
    /// `dL/danchors` `[n, d]`.
    pub d_anchors: Vec<f32>,
    /// `dL/dreferences` `[m, d]`.
    pub d_references: Vec<f32>,
}

/// Runs `objective` over all rows of `problem`.
///
/// # Errors
/// When labels are not one per row, or vectors differ in length.
pub fn rowwise(problem: &Problem<'_>, objective: &impl RowObjective) -> Result<RowwiseOutput> {
    one_label_each("anchors", problem.anchors, problem.anchor_labels)?;
    one_label_each("references", problem.references, problem.reference_labels)?;
    if problem.metric != Metric::Cosine {
        return run(problem, objective);
    }
    // Cosine is the dot product of unit vectors; their gradient goes back through the normalisation.
    let (a, a_norms) = normalize_rows(problem.anchors);
    let (b, b_norms) = normalize_rows(problem.references);
    let d = problem.anchors.cols();
    let (a, b) = (Matrix::new(&a, a_norms.len(), d)?, Matrix::new(&b, b_norms.len(), problem.references.cols())?);
    let mut output = run(&Problem { metric: Metric::Dot, anchors: a, references: b, ..*problem }, objective)?;
    normalize_gradient(a, &a_norms, &mut output.d_anchors);
    normalize_gradient(b, &b_norms, &mut output.d_references);
    Ok(output)
}

fn one_label_each(what: &str, rows: Matrix<'_>, labels: &[u32]) -> Result<()> {
    if rows.rows() == labels.len() {
        return Ok(());
    }
    Err(Error::Shape(format!(
        "labels of the {what} have length {} but there are {} rows: pass one label per row",
        labels.len(),
        rows.rows()
    )))
}

fn run(problem: &Problem<'_>, objective: &impl RowObjective) -> Result<RowwiseOutput> {
    let (n, m) = (problem.anchors.rows(), problem.references.rows());
    let mut table = vec![0f32; n * m];
    scores(problem.metric, problem.anchors, problem.references, &mut table)?;
    let row = |i: usize| Row {
        anchor: i,
        label: problem.anchor_labels[i],
        scores: &table[i * m..][..m],
        labels: problem.reference_labels,
        itself: problem.self_offset.map(|o| o + i),
    };
    let counts: Vec<Groups> = (0..n).into_par_iter().map(|i| objective.count(&row(i))).collect();
    let weight = [0, 1].map(|g| {
        let count: f64 = counts.iter().map(|c| c[g]).sum();
        if count > 0.0 { (1.0 / count) as f32 } else { 0.0 }
    });
    let mut gradient = vec![0f32; n * m];
    let losses: Vec<f64> = if m == 0 {
        Vec::new()
    } else {
        let rows = gradient.par_chunks_mut(m).enumerate();
        rows.map(|(i, gradient)| objective.row(&row(i), weight, gradient)).collect()
    };
    let value = losses.iter().sum::<f64>() as f32;
    let (d_anchors, d_references) = pull_back(problem, &table, gradient);
    Ok(RowwiseOutput { value, d_anchors, d_references })
}

/// From `dL/dscores` to the gradients of both sides.
fn pull_back(problem: &Problem<'_>, table: &[f32], mut gradient: Vec<f32>) -> (Vec<f32>, Vec<f32>) {
    let (a, b) = (problem.anchors, problem.references);
    let (n, m, d) = (a.rows(), b.rows(), a.cols());
    if problem.metric == Metric::Euclidean {
        // d‖a−b‖ = d‖a−b‖² / (2‖a−b‖), and 0 at distance 0.
        for (g, &score) in gradient.iter_mut().zip(table) {
            *g = if score > 0.0 { *g / (2.0 * score) } else { 0.0 };
        }
    }
    let near = if problem.metric.is_similarity() { Vec::new() } else { take_near(problem, table, &mut gradient) };
    let mut d_anchors = vec![0f32; n * d];
    let mut d_references = vec![0f32; m * d];
    let g = Strided::rows(&gradient, m);
    parallel_product(n, d, m, g, Strided::rows(b.data(), d), &mut d_anchors);
    parallel_product(m, d, n, g.transposed(), Strided::rows(a.data(), d), &mut d_references);
    if !problem.metric.is_similarity() && m > 0 {
        let row_sums: Vec<f32> = gradient.chunks_exact(m).map(|r| r.iter().sum()).collect();
        let mut column_sums = vec![0f32; m];
        for row in gradient.chunks_exact(m) {
            column_sums.iter_mut().zip(row).for_each(|(s, g)| *s += g);
        }
        from_products(a, &row_sums, &mut d_anchors);
        from_products(b, &column_sums, &mut d_references);
    }
    for Near { anchor, reference, gradient } in near {
        let (da, db) = (&mut d_anchors[anchor * d..][..d], &mut d_references[reference * d..][..d]);
        for (((da, db), a), b) in da.iter_mut().zip(db).zip(a.row(anchor)).zip(b.row(reference)) {
            let pull = 2.0 * gradient * (a - b);
            *da += pull;
            *db -= pull;
        }
    }
    (d_anchors, d_references)
}

/// An entry at so small a distance that `Σg·a − G·B` would be the difference of two nearly equal numbers.
struct Near {
    anchor: usize,
    reference: usize,
    gradient: f32,
}

/// Takes the near entries out of `dL/d‖a−b‖²`, in order, so that they can be pulled back by subtraction.
fn take_near(problem: &Problem<'_>, table: &[f32], gradient: &mut [f32]) -> Vec<Near> {
    let squares = |x: Matrix<'_>| -> Vec<f32> { (0..x.rows()).map(|i| dot(x.row(i), x.row(i))).collect() };
    let (a, b) = (squares(problem.anchors), squares(problem.references));
    let m = b.len().max(1);
    let rows = gradient.par_chunks_mut(m).zip(table.par_chunks(m)).enumerate();
    let near = rows.flat_map_iter(|(anchor, (gradients, scores))| {
        let (square, b) = (a[anchor], &b);
        gradients.iter_mut().zip(scores).enumerate().filter_map(move |(reference, (g, &score))| {
            let distance = if problem.metric == Metric::Euclidean { score * score } else { score };
            let taken = *g != 0.0 && distance < CANCELLED * (square + b[reference]);
            taken.then(|| Near { anchor, reference, gradient: std::mem::take(g) })
        })
    });
    near.collect()
}

/// `d‖a−b‖²/da = 2(a − b)`, summed: `2(Σg · a − G·B)`, with `G·B` given in `out`.
fn from_products(x: Matrix<'_>, sums: &[f32], out: &mut [f32]) {
    for ((i, &sum), out) in sums.iter().enumerate().zip(out.chunks_exact_mut(x.cols().max(1))) {
        for (o, &v) in out.iter_mut().zip(x.row(i)) {
            *o = 2.0 * (sum * v - *o);
        }
    }
}
