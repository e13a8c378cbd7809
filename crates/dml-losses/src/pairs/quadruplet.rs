//! Quadruplet loss with the hardest rows.
//!
//! `mean [gap(d_ap, d_an) + m]+ + mean [gap(d_ap, d_lk) + m₂]+`: p is the furthest positive of anchor a, n its nearest negative, and
//! `(l, k)` the nearest pair of two other classes; `gap(u, v)` is `u − v` for distances, `v − u` for similarities. The first
//! mean is over the anchors that have p and n, the second over those that have p and (l, k); of equals the first counts.
//! Chen et al., *Beyond Triplet Loss: a Deep Quadruplet Network for Person Re-identification*, 2017, eq. 9, which learns the
//! metric and sets the margins from the batch; fixed ones (1 and 0.5) are as usual in implementations. Distances are squared.
//!
//! The nearest pair of two classes is searched once, and again only for the two classes that it is of.

use super::triplet::pick;
use crate::composed::{ComposedTerms, hinge, no_terms};
use crate::params::{LossParams, finite, metric};
use crate::row_loss::Space;
use crate::tabular::{Counting, Tabular};
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::{DType, Tensor};
use dml_core::relevance::Labels;
use dml_core::rowwise::Statistics;
use dml_core::table::Table;
use dml_core::{Real, Reduction, Row, vector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Parameters of the quadruplet loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuadrupletParams {
    /// Margin m against the anchor's own negative. Default 1.
    pub margin: f64,
    /// Margin m₂ against the nearest pair of two other classes. Default 0.5.
    pub margin2: f64,
    /// Any metric. Default `squared_euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for QuadrupletParams {
    fn default() -> Self {
        Self { margin: 1.0, margin2: 0.5, metric: "squared_euclidean".to_owned(), normalize: true }
    }
}

/// The terms of both groups: entries of the score matrix, `(a, p)` against another pair.
struct Picks {
    near: Vec<[u32; 4]>,
    strangers: Vec<[u32; 4]>,
    /// An entry is not a number; the picks pass over it.
    lost: bool,
}

struct Form<'a> {
    labels: &'a [u64],
    margins: [f64; 2],
    /// +1 for distances, −1 for similarities.
    sign: f64,
}

/// A pair of rows and how far apart they are.
type Pair<T> = (T, usize, usize);

/// The nearer of two; the first of equals.
fn nearer<T: Real>(x: Pair<T>, y: Pair<T>) -> Pair<T> {
    if y.0 < x.0 { y } else { x }
}

impl Form<'_> {
    /// The nearest of the row's negatives that are not of the class `without`; the first of equals.
    fn nearest<T: Real>(&self, row: &Row<'_, T>, without: u64) -> Option<Pair<T>> {
        let others = row.negatives().filter(|&k| self.labels[k] != without);
        let far = others.map(|k| (T::of(self.sign) * row.scores[k], row.anchor, k)).filter(|pair| !pair.0.is_nan());
        far.reduce(nearer)
    }

    /// The nearest negative and furthest positive of a row, and whether any of it is not a number.
    #[inline(always)]
    fn hardest<T: Real>(&self, row: &Row<'_, T>) -> (Option<Pair<T>>, Option<usize>, bool) {
        let sign = T::of(self.sign);
        let negative = row.nearest_negative(self.sign).filter(|&n| !row.scores[n].is_nan());
        let further = |p: usize, q: usize| if sign * row.scores[q] > sign * row.scores[p] { q } else { p };
        let positive = row.positives().reduce(further);
        (negative.map(|n| (sign * row.scores[n], row.anchor, n)), positive, vector::sum(row.scores).is_nan())
    }

    fn picks<T: Real>(&self, table: &Table<'_, T>) -> Picks {
        let rows = (0..table.n).into_par_iter().map(|a| {
            table.with_row(
                a,
                #[inline(always)]
                |row| self.hardest(row),
            )
        });
        let hardest: Vec<(Option<Pair<T>>, Option<usize>, bool)> = rows.collect();
        let without = |class: u64| {
            let rows = (0..table.n).into_par_iter().filter(|&l| self.labels[l] != class);
            let best = rows.filter_map(|l| match hardest[l].0 {
                Some((_, _, k)) if self.labels[k] == class => table.with_row(l, |row| self.nearest(row, class)),
                pair => pair,
            });
            best.collect::<Vec<_>>().into_iter().reduce(nearer)
        };
        let overall = hardest.iter().filter_map(|row| row.0).reduce(nearer);
        let classes = overall.map(|(_, l, k)| [self.labels[l], self.labels[k]]);
        let instead = classes.map(|classes| classes.map(without));
        let (mut near, mut strangers) = (Vec::new(), Vec::new());
        for (a, &(negative, positive, _)) in hardest.iter().enumerate() {
            let Some(p) = positive else { continue };
            let with = |l: usize, k: usize| [a, p, l, k].map(|row| row as u32);
            near.extend(negative.map(|(_, a, n)| with(a, n)));
            let stranger = match (classes, instead) {
                (Some([first, _]), Some([pair, _])) if self.labels[a] == first => pair,
                (Some([_, second]), Some([_, pair])) if self.labels[a] == second => pair,
                _ => overall,
            };
            strangers.extend(stranger.map(|(_, l, k)| with(l, k)));
        }
        Picks { near, strangers, lost: hardest.iter().any(|row| row.2) }
    }

    fn compose(&self, scores: &Tensor, relevance: &Labels<'_>) -> Result<Vec<ComposedTerms>> {
        let (n, m) = scores.dims2()?;
        let host: Vec<f64> = scores.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        let picks = self.picks(&Table { scores: &host, n, m, relevance });
        let lost = if picks.lost { f64::NAN } else { 0.0 };
        let mut groups = Vec::new();
        for (list, margin) in [picks.near, picks.strangers].iter().zip(self.margins) {
            if list.is_empty() {
                groups.extend(no_terms(scores)?);
                continue;
            }
            let column = |k: usize| list.iter().map(|quadruplet| quadruplet[k]).collect::<Vec<u32>>();
            let (ap, lk) = (pick(scores, &column(0), &column(1))?, pick(scores, &column(2), &column(3))?);
            let values = hinge(&((((ap - lk)? * self.sign)? + margin)? + lost)?)?;
            let counts = values.ones_like()?;
            groups.push(ComposedTerms { values, counts, anchors: Some(column(0)) });
        }
        Ok(groups)
    }
}

impl Counting for Form<'_> {
    fn count<T: Real>(&self, table: &Table<'_, T>, gradient: &mut [T], seen: &mut Statistics) -> Result<f64> {
        let Self { margins, sign, .. } = *self;
        let picks = self.picks(table);
        let mut value = 0.0;
        for (group, (list, margin)) in [&picks.near, &picks.strangers].into_iter().zip(margins).enumerate() {
            seen.terms[group] = list.len() as f64;
            let weight = 1.0 / list.len().max(1) as f64;
            let step = T::of(sign * weight);
            for &[a, p, l, k] in list {
                let (ap, lk) = (a as usize * table.m + p as usize, l as usize * table.m + k as usize);
                let violation = T::of(sign) * (table.scores[ap] - table.scores[lk]) + T::of(margin);
                if violation > T::zero() {
                    seen.active[group] += 1.0;
                    value += weight * violation.wide();
                    gradient[ap] += step;
                    gradient[lk] -= step;
                }
            }
        }
        if picks.lost {
            gradient.fill(T::nan());
            value = f64::NAN;
        }
        Ok(value)
    }
}

struct Quadruplet {
    margins: [f64; 2],
    sign: f64,
    tabular: Tabular,
}

impl Objective for Quadruplet {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(QuadrupletParams::NAME)?;
        batch.without_tuples(QuadrupletParams::NAME)?;
        let labels = batch.labels(QuadrupletParams::NAME)?;
        let form = Form { labels, margins: self.margins, sign: self.sign };
        self.tabular.evaluate(batch, &form, |scores, _| form.compose(scores, &Labels::within(labels)))
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for QuadrupletParams {
    const NAME: &'static str = "quadruplet";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "margin", self.margin)?;
        finite(Self::NAME, "margin2", self.margin2)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let tabular = Tabular::new(Space::new(metric, self.normalize), Reduction::Mean, context);
        Ok(Box::new(Quadruplet { margins: [self.margin, self.margin2], sign: metric.sign(), tabular }))
    }
}
