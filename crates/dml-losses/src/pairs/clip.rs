//! CLIP: InfoNCE in both directions between two views.
//!
//! `½·( mean_i −log softmax_j(s_ij/τ)_i + mean_j −log softmax_i(s_ij/τ)_j )` of pairs (i, i) and their cosines. The
//! references are the other view: each row goes with the first reference of its label that is not taken yet; rows without
//! one are left out. Without references the first two samples of each class are the pair. Radford et al., *Learning
//! Transferable Visual Models From Natural Language Supervision*, 2021, fig. 3. τ = 0.07, where the paper begins; there
//! it is learned as `logit_scale = log(1/τ)`, as here with `learn_temperature`. The paper's bound `1/τ ≤ 100` is left to
//! the optimiser. pytorch-metric-learning has no such loss.

use super::n_pairs::first_pairs;
use crate::autograd::{attach, nothing};
use crate::composed::{ComposedTerms, Masks, any, fill, log_sum_exp, reduce, softplus};
use crate::params::{LossParams, positive};
use crate::row_loss::{Sides, Space, TableForm, fused_table, nothing_of, wide};
use crate::softmax::{self, Diagonal};
use crate::{Batch, Context, Error, Evaluation, Kernel, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::vector::{self, widest};
use dml_core::{Metric, Real, Reduction};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// Parameters of the CLIP loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClipParams {
    /// Temperature τ, or where it begins. Default 0.07.
    pub temperature: f64,
    /// Whether it is learned, as `logit_scale`. Default false.
    pub learn_temperature: bool,
}

impl Default for ClipParams {
    fn default() -> Self {
        Self { temperature: 0.07, learn_temperature: false }
    }
}

struct Clip {
    temperature: f64,
    /// `log(1/τ)`, `[1]`, if it is learned.
    logit_scale: Option<Var>,
    reduction: Reduction,
    kernel: Kernel,
}

/// What a table gives besides its value.
struct Seen {
    /// Derivative by `log(1/τ)`.
    slope: f64,
    statistics: Statistics,
}

/// Both cross-entropies of a square table.
struct BothWays {
    /// 1/τ.
    scale: f64,
    learned: bool,
}

/// Columns that are taken at a time.
const COLUMNS: usize = 64;
/// Rows between two sums in double precision.
const ROWS: usize = 256;

/// `log Σ_{i≠j} e^{scale·s_ij}` of each column j of a block that begins with column `first`.
#[inline(always)]
fn columns<T: Real>(table: &Table<'_, T>, factor: f64, first: usize) -> Vec<f64> {
    let (n, width) = (table.n, COLUMNS.min(table.n - first));
    let scale = T::of(factor);
    // What a row has in these columns, before the diagonal and behind it.
    let parts = |i: usize| {
        let row = &table.row(i)[first..first + width];
        let (before, after) =
            if (first..first + width).contains(&i) { (i - first, i - first + 1) } else { (width, width) };
        [(0, &row[..before]), (after, &row[after..])]
    };
    let mut top = vec![T::neg_infinity(); width];
    for (start, row) in (0..n).flat_map(parts) {
        for (top, &s) in top[start..].iter_mut().zip(row) {
            *top = if s > *top { s } else { *top };
        }
    }
    let mut sums = vec![0f64; width];
    for rows in (0..n).step_by(ROWS) {
        let mut block = vec![T::zero(); width];
        for (start, row) in (rows..(rows + ROWS).min(n)).flat_map(parts) {
            for ((sum, &top), &s) in block[start..].iter_mut().zip(&top[start..]).zip(row) {
                *sum += (scale * (s - top)).fast_exp();
            }
        }
        sums.iter_mut().zip(block).for_each(|(sum, b)| *sum += b.wide());
    }
    sums.iter().zip(top).map(|(sum, top)| factor * top.wide() + sum.ln()).collect()
}

impl BothWays {
    /// Writes the gradient of row `i` into `g`; returns its value and the derivative by the scale.
    #[inline(always)]
    fn row<T: Real>(
        &self,
        (i, row): (usize, &[T]),
        target: f64,
        by_column: f64,
        shifts: &[T],
        g: &mut [T],
    ) -> (f64, f64) {
        let scale = T::of(self.scale);
        g.copy_from_slice(row);
        g[i] = T::neg_infinity();
        let (value, slope) = softmax::softplus(vector::log_sum_exp(g, scale, T::zero()) - target);
        let (step, share) = (T::of(0.5 / row.len() as f64) * scale, T::of(slope));
        for ((g, &s), &shift) in g.iter_mut().zip(row).zip(shifts) {
            *g = step * (share * *g + (scale * s - shift).fast_exp());
        }
        g[i] = -step * T::of(slope + by_column);
        (value, if self.learned { vector::dot(g, row) } else { 0.0 })
    }
}

impl TableForm for BothWays {
    type Seen = Seen;

    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<(f64, Seen)> {
        let (n, factor) = (table.n, self.scale);
        let target = |i: usize| factor * table.row(i)[i].wide();
        let of_block = |block: usize| {
            widest(
                #[inline(always)]
                || columns(table, factor, block * COLUMNS),
            )
        };
        let columns: Vec<f64> = (0..n.div_ceil(COLUMNS)).into_par_iter().flat_map_iter(of_block).collect();
        let columns: Vec<(f64, f64)> =
            columns.iter().enumerate().map(|(j, others)| softmax::softplus(others - target(j))).collect();
        // e^{scale·s − log Σ} times this is a column's gradient; with the target's logit as the shift, nothing more is
        // needed: slope/Σ = (1 − slope)/e^{target}.
        let shifts: Vec<T> = columns.iter().enumerate().map(|(j, c)| T::of(target(j) + c.0)).collect();
        let of_row = |(i, g): (usize, &mut [T])| {
            let row = table.row(i);
            let (value, by_scale) = widest(
                #[inline(always)]
                || self.row((i, row), target(i), columns[i].1, &shifts, g),
            );
            [value, by_scale, row[i].wide(), vector::sum(row)]
        };
        let rows: Vec<[f64; 4]> = gradient.par_chunks_mut(n).enumerate().map(of_row).collect();
        let total = |k: usize| -> f64 { rows.iter().map(|row| row[k]).sum() };
        let active = |values: &mut dyn Iterator<Item = f64>| values.filter(|&v| v > 0.0).count() as f64;
        let (pairs, others) = (n as f64, (n * (n - 1)) as f64);
        let statistics = Statistics {
            terms: [pairs; 2],
            active: [active(&mut rows.iter().map(|row| row[0])), active(&mut columns.iter().map(|c| c.0))],
            positive_pairs: pairs,
            mean_positive: total(2) / pairs,
            negative_pairs: others,
            mean_negative: if n > 1 { (total(3) - total(2)) / others } else { 0.0 },
        };
        let value = 0.5 / pairs * (total(0) + columns.iter().map(|c| c.0).sum::<f64>());
        Ok((value, Seen { slope: total(1), statistics }))
    }
}

impl Clip {
    fn scale(&self) -> Result<f64> {
        Ok(match &self.logit_scale {
            Some(logit_scale) => {
                let value: Vec<f64> = logit_scale.to_dtype(candle_core::DType::F64)?.to_vec1()?;
                value.iter().sum::<f64>().exp()
            }
            None => self.temperature.recip(),
        })
    }

    fn fused(&self, sides: Sides<'_>, pairs: &Diagonal<'_>) -> Result<Evaluation> {
        let form = BothWays { scale: self.scale()?, learned: self.logit_scale.is_some() };
        let (mut loss, seen) = fused_table(sides, Space::new(Metric::Cosine, true), pairs, &form)?;
        let Seen { slope, statistics } = seen;
        if let Some(logit_scale) = &self.logit_scale {
            let by_scale = attach(0.0, vec![(logit_scale.as_tensor(), vec![slope])])?;
            loss = (&loss + by_scale.to_dtype(loss.dtype())?)?;
        }
        Ok(Evaluation { loss, statistics })
    }

    fn composed(&self, (a, b): (&Tensor, &Tensor), pairs: &Diagonal<'_>) -> Result<Evaluation> {
        let (a, b) = (wide(a)?, wide(b)?);
        let b = b.to_dtype(a.dtype())?;
        let scores = Space::new(Metric::Cosine, true).compose(&a, &b)?;
        let masks = Masks::new(pairs, scores.dtype(), scores.device())?;
        let logits = match &self.logit_scale {
            Some(logit_scale) => scores.broadcast_mul(&logit_scale.to_dtype(scores.dtype())?.exp()?)?,
            None => (&scores / self.temperature)?,
        };
        let target = (&logits * &masks.positive)?.sum(1)?;
        let one_way = |logits: &Tensor| -> Result<ComposedTerms> {
            let against = (log_sum_exp(&masks.negative, logits)? - &target)?;
            let value = (fill(&any(&masks.negative)?, &softplus(&against)?, 0.0)? * 0.5)?;
            let all = value.ones_like()?;
            Ok(ComposedTerms::new(value, all))
        };
        let groups = [one_way(&logits)?, one_way(&logits.t()?.contiguous()?)?];
        let (loss, statistics) = reduce(&self.reduction, &groups, &[], &masks, &scores)?;
        Ok(Evaluation { loss, statistics })
    }
}

/// Rows of the same label: each of the first with the first of the second that is still free.
fn matched(labels: &[u64], references: &[u64]) -> (Vec<u32>, Vec<u32>) {
    let mut free: HashMap<u64, VecDeque<u32>> = HashMap::new();
    references.iter().enumerate().for_each(|(j, &label)| free.entry(label).or_default().push_back(j as u32));
    let pair = |(i, label): (usize, &u64)| Some((i as u32, free.get_mut(label)?.pop_front()?));
    labels.iter().enumerate().filter_map(pair).unzip()
}

impl Objective for Clip {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_tuples(ClipParams::NAME)?;
        let (labels, (n, m)) = (batch.labels(ClipParams::NAME)?, batch.sizes()?);
        let other = batch.references.map_or(batch.embeddings, |references| references.embeddings);
        let (first, second) = match batch.references {
            None => first_pairs(labels),
            Some(references) => {
                let theirs = references.supervision.labels(ClipParams::NAME)?;
                if theirs.len() != m {
                    let given = theirs.len();
                    let problem = format!("labels of the references have length {given} but there are {m} rows");
                    return Err(Error::Labels(format!("{problem}: pass one label per row")));
                }
                matched(labels, theirs)
            }
        };
        if first.is_empty() {
            let mut loss = nothing_of(Sides::of(batch), &self.reduction)?;
            if let Some(logit_scale) = &self.logit_scale {
                loss = loss.broadcast_add(&nothing(&[logit_scale.as_tensor()])?.to_dtype(loss.dtype())?)?;
            }
            return Ok(loss.into());
        }
        let take = |from: &Tensor, rows: &[u32]| from.index_select(&Tensor::new(rows, from.device())?, 0);
        let (a, b) = (take(batch.embeddings, &first)?, take(other, &second)?);
        let classes: Vec<u64> = first.iter().map(|&i| labels[i as usize]).collect();
        let pairs = Diagonal { rows: first.len(), classes: Some(&classes) };
        let sides = Sides { anchors: &a, references: Some(&b) };
        if sides.fused(self.kernel) && self.reduction == Reduction::Mean {
            return self.fused(sides, &pairs);
        }
        let mut evaluation = self.composed((&a, &b), &pairs)?;
        if self.reduction == Reduction::None {
            let each = &evaluation.loss;
            let rows = Tensor::new(first, each.device())?;
            evaluation.loss = Tensor::zeros(n, each.dtype(), each.device())?.index_add(&rows, each, 0)?;
        }
        Ok(evaluation)
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.logit_scale.iter().map(|var| ("logit_scale".to_owned(), var.clone())).collect()
    }
}

impl LossParams for ClipParams {
    const NAME: &'static str = "clip";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "temperature", self.temperature)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let start = Tensor::new(&[-self.temperature.ln()], &context.device)?.to_dtype(context.dtype)?;
        Ok(Box::new(Clip {
            temperature: self.temperature,
            logit_scale: if self.learn_temperature { Some(Var::from_tensor(&start)?) } else { None },
            reduction: context.reduction.clone().unwrap_or(Reduction::Mean),
            kernel: context.kernel,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { learn_temperature: true, ..Self::default() })]
    }
}

#[cfg(test)]
mod tests {
    use super::matched;

    #[test]
    fn rows_go_with_free_references_of_their_label() {
        assert_eq!(matched(&[7, 3, 7, 5, 7], &[3, 7, 9, 7]), (vec![0, 1, 2], vec![1, 0, 3]));
    }
}
