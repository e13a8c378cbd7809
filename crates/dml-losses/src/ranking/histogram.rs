//! Histogram loss.
//!
//! `Σ_r p⁻_r Σ_{q≤r} p⁺_q`: the chance that a negative pair has a larger cosine than a positive one, from histograms of
//! both over nodes `t_r = −1 + r·Δ`, `Δ = 2/num_bins`, to which each cosine gives its share linearly. Ustinova & Lempitsky,
//! *Learning Deep Embeddings with Histogram Loss*, 2016, eq. 1–4. A pair counts once, whichever way round; as in
//! pytorch-metric-learning only those of anchors that have both a positive and a negative. A cosine of 1 falls in the last
//! bin (there an index error). One number, which no reduction changes.

use crate::autograd::nothing;
use crate::params::{LossParams, within};
use crate::row_loss::{Sides, Space, TableForm, fused_table, wide};
use crate::{Batch, Context, Evaluation, Kernel, Objective, Result, Supervision};
use candle_core::{DType, Tensor};
use dml_core::relevance::{Relevance, Sets};
use dml_core::table::Table;
use dml_core::{Metric, Real, Row, pairwise};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Parameters of the histogram loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HistogramParams {
    /// Bins of cosines from −1 to 1. Default 100.
    pub num_bins: usize,
}

impl Default for HistogramParams {
    fn default() -> Self {
        Self { num_bins: 100 }
    }
}

/// Positives and negatives.
const KINDS: [usize; 2] = [0, 1];

/// Rows whose pairs go into one histogram before those are added up.
const TILE: usize = 32;

/// Which pairs count.
enum Pairs {
    /// Who is a positive (negative) of whom goes both ways: a pair counts in its first row, or where that row lacks
    /// positives or negatives in the other. With it: who has both, and who is without a positive.
    Mutual { complete: Vec<bool>, alone: Vec<usize> },
    /// What each row has: a pair of two rows that both have it counts in the first.
    Each(Vec<Sets>),
}

impl Pairs {
    fn of(batch: &Batch<'_>, relevance: &dyn Relevance) -> Self {
        let n = relevance.anchors();
        let sets = |i: usize| {
            let mut sets = Sets::default();
            relevance.row(i, &mut sets);
            sets
        };
        let mutual = matches!(batch.supervision, Supervision::Labels(_) | Supervision::LabelSets { .. });
        if !mutual || batch.tuples.is_some() {
            return Self::Each((0..n).map(sets).collect());
        }
        let pairs = (0..n).map(sets).map(|sets| (sets.positives.len(), sets.ignored.len()));
        let pairs: Vec<(usize, usize)> = pairs.collect();
        let complete = pairs.iter().map(|&(positives, ignored)| positives > 0 && positives + ignored < n).collect();
        Self::Mutual { complete, alone: (0..n).filter(|&i| pairs[i].0 == 0).collect() }
    }

    /// Whether the pair (i, j) that row i has counts in row i.
    fn counts(&self, kind: usize, i: usize, j: usize) -> bool {
        let rows = match self {
            Self::Mutual { complete, .. } => return j > i || !complete[j],
            Self::Each(rows) => rows,
        };
        let (sets, i) = (&rows[j], i as u32);
        let among = |list: &[u32]| list.binary_search(&i).is_ok();
        let (other, complete) = match &sets.negatives {
            Some(negatives) => (among(negatives), !negatives.is_empty()),
            None => {
                let rest = rows.len() > sets.positives.len() + sets.ignored.len();
                (!among(&sets.positives) && !among(&sets.ignored), rest)
            }
        };
        let has = if kind == 0 { among(&sets.positives) } else { other };
        j >= i as usize || !(has && complete && !sets.positives.is_empty())
    }

    /// Calls `f` with the kind and the column of each pair that counts in a row.
    fn of_row<T: Real>(&self, row: &Row<'_, T>, mut f: impl FnMut(usize, usize)) {
        if row.positives.is_empty() || row.count_negatives() == 0 {
            return;
        }
        let i = row.anchor;
        row.positives().filter(|&j| self.counts(0, i, j)).for_each(|j| f(0, j));
        if let Self::Mutual { alone, .. } = self {
            // Of the rows before this one only those that do not count their negatives: whoever is without a positive.
            alone.iter().take_while(|&&j| j < i).for_each(|&j| f(1, j));
            row.negative_ranges().flat_map(|range| range.start.max(i + 1)..range.end).for_each(|j| f(1, j));
        } else {
            row.negatives().filter(|&j| self.counts(1, i, j)).for_each(|j| f(1, j));
        }
    }
}

/// The node below a cosine, and how far above it that is, in bins.
fn place(bins: usize, score: f64) -> (usize, f64) {
    let at = (score + 1.0) * bins as f64 / 2.0;
    let node = (at.max(0.0) as usize).min(bins - 1);
    (node, at - node as f64)
}

struct Histogram {
    bins: usize,
    pairs: Pairs,
}

impl TableForm for Histogram {
    type Seen = ();

    fn table<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T]) -> Result<(f64, ())> {
        let (n, m, bins) = (table.n, table.m, self.bins);
        if gradient.is_empty() {
            return Ok((0.0, ()));
        }
        let of_tile = |tile: usize| {
            let mut densities = KINDS.map(|_| vec![0f64; bins + 1]);
            let mut counts = [0f64; 2];
            for i in tile * TILE..((tile + 1) * TILE).min(n) {
                table.with_row(i, |row| {
                    self.pairs.of_row(row, |kind, j| {
                        let (node, share) = place(bins, row.scores[j].wide());
                        densities[kind][node] += 1.0 - share;
                        densities[kind][node + 1] += share;
                        counts[kind] += 1.0;
                    });
                });
            }
            (densities, counts)
        };
        let tiles: Vec<_> = (0..n.div_ceil(TILE)).into_par_iter().map(of_tile).collect();
        let counts = KINDS.map(|kind| tiles.iter().map(|tile| tile.1[kind]).sum::<f64>());
        if counts.contains(&0.0) {
            return Ok((0.0, ()));
        }
        let density =
            |kind: usize, node: usize| tiles.iter().map(|tile| tile.0[kind][node]).sum::<f64>() / counts[kind];
        let [positive, negative] = KINDS.map(|kind| (0..=bins).map(|node| density(kind, node)).collect::<Vec<f64>>());
        let (mut value, mut below) = (0.0, 0.0);
        for (p, q) in positive.iter().zip(&negative) {
            below += p;
            value += q * below;
        }
        // A positive that moves up a bin leaves the negatives of its lower node behind; a negative gains the positives of
        // its upper one.
        let per_bin = |kind: usize| bins as f64 / 2.0 / counts[kind];
        let slopes: [Vec<T>; 2] = [
            (0..bins).map(|r| T::of(-negative[r] * per_bin(0))).collect(),
            (0..bins).map(|r| T::of(positive[r + 1] * per_bin(1))).collect(),
        ];
        gradient.par_chunks_mut(m).enumerate().for_each(|(i, gradient)| {
            table.with_row(i, |row| {
                self.pairs.of_row(row, |kind, j| gradient[j] += slopes[kind][place(bins, row.scores[j].wide()).0]);
            });
        });
        Ok((value, ()))
    }
}

impl Histogram {
    fn compose(&self, x: &Tensor, relevance: &dyn Relevance) -> Result<Tensor> {
        let n = relevance.anchors();
        let scores = pairwise(Metric::Cosine, x, x)?.flatten_all()?;
        let host: Vec<f64> = scores.detach().to_dtype(DType::F64)?.to_vec1()?;
        let mut cells = KINDS.map(|_| Vec::new());
        let table = Table { scores: &host, n, m: n, relevance };
        for i in 0..n {
            table.with_row(i, |row| self.pairs.of_row(row, |kind, j| cells[kind].push((i * n + j) as u32)));
        }
        if cells.iter().any(Vec::is_empty) {
            return nothing(&[x]);
        }
        let densities = cells.map(|cells| -> Result<Tensor> {
            let count = cells.len();
            let nodes: Vec<u32> = cells.iter().map(|&c| place(self.bins, host[c as usize]).0 as u32).collect();
            let index = |values: Vec<u32>| Tensor::from_vec(values, count, x.device());
            let next = index(nodes.iter().map(|node| node + 1).collect())?;
            let nodes = index(nodes)?;
            let at = ((scores.index_select(&index(cells)?, 0)? + 1.0)? * (self.bins as f64 / 2.0))?;
            let share = (at - nodes.to_dtype(x.dtype())?)?;
            let empty = Tensor::zeros(self.bins + 1, x.dtype(), x.device())?;
            let density = empty.index_add(&nodes, &(1.0 - &share)?, 0)?.index_add(&next, &share, 0)?;
            Ok((density / count as f64)?)
        });
        let [positive, negative] = densities;
        Ok((negative? * positive?.cumsum(0)?)?.sum_all()?)
    }
}

struct HistogramLoss {
    bins: usize,
    kernel: Kernel,
}

impl Objective for HistogramLoss {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(HistogramParams::NAME)?;
        let relevance = batch.named(false)?;
        let relevance = relevance.as_ref();
        let form = Histogram { bins: self.bins, pairs: Pairs::of(batch, relevance) };
        let sides = Sides::of(batch);
        if sides.fused(self.kernel) {
            return Ok(fused_table(sides, Space::new(Metric::Cosine, true), relevance, &form)?.0.into());
        }
        Ok(form.compose(&wide(batch.embeddings)?, relevance)?.into())
    }

    fn takes_tuples(&self) -> bool {
        true
    }
}

impl LossParams for HistogramParams {
    const NAME: &'static str = "histogram";

    fn check(&self) -> Result<()> {
        within(Self::NAME, "num_bins", self.num_bins, 1, 1 << 20)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        Ok(Box::new(HistogramLoss { bins: self.num_bins, kernel: context.kernel }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
