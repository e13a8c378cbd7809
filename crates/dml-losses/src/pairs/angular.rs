//! Angular loss.
//!
//! `mean over positive pairs (a, p) of log(1 + Σ_{n: other class than a} e^{4t(a + p)·n − 2(1 + t) a·p})`, `t = tan²α`. Wang et al., *Deep
//! Metric Learning with Angular Loss*, 2017, eq. 8, there over one negative of each class. Negatives are all of the batch,
//! or of the references, whatever a miner says; an anchor without one counts as 0, and all is 0 without a positive or a
//! negative (mined) pair. `normalize` brings all rows to length 1; pytorch-metric-learning leaves the negatives as they are.
//!
//! Within a batch the exponentials factor, `e^{4t(a + p)·n} = e^{4t a·n} e^{4t p·n}`: one for each pair of rows, none for each triple.

use crate::composed::{ComposedTerms, Masks, any, log_one_plus_sum_exp, reduce};
use crate::params::{LossParams, wrong};
use crate::row_loss::{Sides, Space, nothing_of, wide};
use crate::tabular::{Counting, fused_counting};
use crate::{Batch, Context, Evaluation, Kernel, Objective, Result};
use candle_core::{DType, Tensor};
use dml_core::relevance::Relevance;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Metric, Real, Reduction, pairwise, vector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Parameters of the angular loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AngularParams {
    /// Largest angle at a negative, in degrees. Default 40; the paper has 36 to 55.
    pub alpha: f64,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for AngularParams {
    fn default() -> Self {
        Self { alpha: 40.0, normalize: true }
    }
}

/// Products of exponentials that sum to less than this have lost digits to underflow.
const SMALLEST: f64 = 1e-12;

struct Angles<'a> {
    /// tan²α.
    square: f64,
    /// Whose negatives enter, whatever a miner says.
    all: &'a dyn Relevance,
}

/// A positive pair.
struct Pair {
    positive: u32,
    term: f64,
    /// dL/d of the sum of exponentials, and by the exponent they share.
    slope: f64,
    share: f64,
    /// Whether the exponentials had to be taken one by one.
    direct: bool,
}

/// What an anchor has.
struct Anchor {
    pairs: Vec<Pair>,
    negatives: Vec<Range<usize>>,
}

impl Angles<'_> {
    /// `4t(s_an + s_pn) − 2(1 + t) s_ap` of the negatives.
    fn exponents<T: Real>(&self, table: &Table<'_, T>, (a, p): (usize, usize), negatives: &[Range<usize>]) -> Vec<T> {
        let (four, base) = (T::of(4.0 * self.square), T::of(self.base(table, (a, p))));
        let of = |range: &Range<usize>| {
            let both = table.row(a)[range.clone()].iter().zip(&table.row(p)[range.clone()]);
            both.map(move |(&s, &r)| four * (s + r) + base)
        };
        negatives.iter().flat_map(of).collect()
    }

    fn base<T: Real>(&self, table: &Table<'_, T>, (a, p): (usize, usize)) -> f64 {
        -2.0 * (1.0 + self.square) * table.row(a)[p].wide()
    }

    /// `powers` `[n, m]`: `e^{4t(s − top)}`.
    fn pair<T: Real>(
        &self,
        table: &Table<'_, T>,
        (powers, tops): (&[T], &[T]),
        (a, p): (usize, usize),
        negatives: &[Range<usize>],
    ) -> Pair {
        let positive = p as u32;
        if negatives.is_empty() {
            return Pair { positive, term: 0.0, slope: 0.0, share: 0.0, direct: false };
        }
        let row = |i: usize| &powers[i * table.m..][..table.m];
        let sum: f64 = negatives.iter().map(|r| vector::dot(&row(a)[r.clone()], &row(p)[r.clone()])).sum();
        if !(SMALLEST..f64::INFINITY).contains(&sum) {
            let log = vector::log_sum_exp(&mut self.exponents(table, (a, p), negatives), T::one(), T::zero());
            let term = vector::softplus(log).0;
            return Pair { positive, term, slope: 0.0, share: -(-term).exp_m1(), direct: true };
        }
        let base = 4.0 * self.square * (tops[a].wide() + tops[p].wide()) + self.base(table, (a, p));
        let log = base + sum.ln();
        let term = vector::softplus(log).0;
        let slope = (base - term).exp();
        Pair { positive, term, slope, share: slope * sum, direct: false }
    }
}

impl Counting for Angles<'_> {
    fn count<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T], seen: &mut Statistics) -> Result<f64> {
        let m = table.m;
        let four = T::of(4.0 * self.square);
        let mut powers = table.scores.to_vec();
        let power = |row: &mut [T]| {
            let top = vector::largest(row);
            row.iter_mut().for_each(|v| *v = (four * (*v - top)).fast_exp());
            top
        };
        let tops: Vec<T> = powers.par_chunks_mut(m).map(power).collect();
        let unmined = Table { scores: table.scores, n: table.n, m, relevance: self.all };
        let anchor = |a: usize| {
            let negatives: Vec<_> = unmined.with_row(a, |row| row.negative_ranges().collect());
            table.with_row(a, |row| {
                let pair = |p| self.pair(table, (&powers, &tops), (a, p), &negatives);
                Anchor { pairs: row.positives().map(pair).collect(), negatives }
            })
        };
        let anchors: Vec<Anchor> = (0..table.n).into_par_iter().map(anchor).collect();
        let pairs: usize = anchors.iter().map(|anchor| anchor.pairs.len()).sum();
        if pairs == 0 || seen.negative_pairs == 0.0 {
            return Ok(0.0);
        }
        seen.terms[0] = pairs as f64;
        seen.active[0] = anchors.iter().flat_map(|anchor| &anchor.pairs).filter(|pair| pair.term > 0.0).count() as f64;
        // Pairs by their positive: its row takes part in them too.
        let mut backward: Vec<Vec<(usize, &Pair)>> = (0..table.n).map(|_| Vec::new()).collect();
        for (a, anchor) in anchors.iter().enumerate() {
            anchor.pairs.iter().for_each(|pair| backward[pair.positive as usize].push((a, pair)));
        }
        let step = 1.0 / pairs as f64;
        gradient.par_chunks_mut(m).enumerate().for_each(|(i, gradient)| {
            // (anchor of the pair, its other end, the pair): row i is the one or the other.
            let forward = anchors[i].pairs.iter().map(|pair| (i, pair.positive as usize, pair));
            let ends = || forward.clone().chain(backward[i].iter().map(|&(a, pair)| (a, a, pair)));
            for (a, other, pair) in ends().filter(|end| !end.2.direct) {
                let (slope, other) = (T::of(4.0 * self.square * step * pair.slope), &powers[other * m..][..m]);
                for range in &anchors[a].negatives {
                    let g = gradient[range.clone()].iter_mut();
                    g.zip(&other[range.clone()]).for_each(|(g, &power)| *g += slope * power);
                }
            }
            gradient.iter_mut().zip(&powers[i * m..][..m]).for_each(|(g, &power)| *g *= power);
            for (a, _, pair) in ends().filter(|end| end.2.direct) {
                let negatives = &anchors[a].negatives;
                let exponents = self.exponents(table, (a, pair.positive as usize), negatives);
                let (weight, term) = (T::of(4.0 * self.square * step), T::of(pair.term));
                for (j, x) in negatives.iter().cloned().flatten().zip(exponents) {
                    gradient[j] += weight * (x - term).fast_exp();
                }
            }
            for pair in &anchors[i].pairs {
                gradient[pair.positive as usize] -= T::of(2.0 * (1.0 + self.square) * step * pair.share);
            }
        });
        let terms = |anchor: &Anchor| anchor.pairs.iter().map(|pair| pair.term).sum::<f64>();
        Ok(anchors.iter().map(terms).sum::<f64>() * step)
    }
}

struct Angular {
    square: f64,
    space: Space,
    reduction: Reduction,
    kernel: Kernel,
}

impl Angular {
    fn compose(&self, sides: Sides<'_>, all: &dyn Relevance, named: &dyn Relevance) -> Result<Evaluation> {
        let project = |x: &Tensor| -> Result<Tensor> { Ok(self.space.projection.compose(&wide(x)?)?) };
        let x = project(sides.anchors)?;
        let y = sides.references.map_or_else(|| Ok(x.clone()), project)?.to_dtype(x.dtype())?;
        let scores = pairwise(Metric::Dot, &x, &y)?;
        // Of a positive, a reference, with all others.
        let others = if sides.references.is_some() { pairwise(Metric::Dot, &y, &y)? } else { scores.clone() };
        let masks = Masks::new(named, x.dtype(), x.device())?;
        let (a, p) = masks.positive_pairs();
        // Not asked of an empty tensor.
        let negatives = |mask: &Tensor| mask.to_dtype(DType::F64)?.max_all()?.to_scalar::<f64>();
        if a.is_empty() || negatives(&masks.negative)? == 0.0 {
            return Ok(nothing_of(sides, &self.reduction)?.into());
        }
        let m = scores.dim(1)? as u32;
        let cells: Vec<u32> = a.iter().zip(&p).map(|(&a, &p)| a * m + p).collect();
        let index = |rows: Vec<u32>| Tensor::new(rows, x.device());
        let (rows, columns) = (index(a.clone())?, index(p)?);
        let own = scores.flatten_all()?.index_select(&index(cells)?, 0)?.unsqueeze(1)?;
        let both = (scores.index_select(&rows, 0)? + others.index_select(&columns, 0)?)?;
        let exponents = (both * (4.0 * self.square))?.broadcast_sub(&(own * (2.0 * (1.0 + self.square)))?)?;
        let negative = Masks::new(all, x.dtype(), x.device())?.negative.index_select(&rows, 0)?;
        // What is masked away is not to be seen by the exponential either; a pair without any is 0.
        let values = log_one_plus_sum_exp(&negative, &exponents)?;
        let values = (values * any(&negative)?)?;
        let counts = values.ones_like()?;
        let terms = ComposedTerms { values, counts, anchors: Some(a) };
        let (loss, statistics) = reduce(&self.reduction, &[terms], &[], &masks, &scores)?;
        Ok(Evaluation { loss, statistics })
    }
}

impl Objective for Angular {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let (all, named) = (batch.relevance()?, batch.named(true)?);
        let sides = Sides::of(batch);
        // A positive that is a reference has no row of scores.
        if batch.references.is_none() && self.reduction == Reduction::Mean && sides.fused(self.kernel) {
            let form = Angles { square: self.square, all: all.as_ref() };
            return fused_counting(sides, self.space, named.as_ref(), &form);
        }
        self.compose(sides, all.as_ref(), named.as_ref())
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for AngularParams {
    const NAME: &'static str = "angular";

    fn check(&self) -> Result<()> {
        if self.alpha > 0.0 && self.alpha < 90.0 {
            return Ok(());
        }
        Err(wrong(Self::NAME, format!("alpha is {}: want degrees above 0 and below 90", self.alpha)))
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Angular {
            square: self.alpha.to_radians().tan().powi(2),
            space: Space::new(Metric::Dot, self.normalize),
            reduction: context.reduction.clone().unwrap_or(Reduction::Mean),
            kernel: context.kernel,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { alpha: 45.0, normalize: true }), ("pml", Self::default())]
    }
}
