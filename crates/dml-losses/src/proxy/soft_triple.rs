//! SoftTriple, k centres for each class.
//!
//! `S_c = Σ_k softmax_k(s_{ck}/γ)·s_{ck}` with `s_{ck} = cos(x, w_{ck})`, then `mean_i −log softmax(λ(S − δ·1_{y}))_{y_i}`; with τ > 0
//! also `τ Σ_{c, j<k} √(2 − 2 w_{cj}·w_{ck}) / (C·K(K−1))`, the distances of a class's centres, which draws needless ones
//! together. Qian et al., *SoftTriple Loss: Deep Metric Learning Without Triplet Sampling*, 2019, eq. 6-9. λ = 20, γ = 0.1, δ = 0.01,
//! K = 10; τ is 0 as in pytorch-metric-learning, which keeps the regulariser apart, and 0.2 in the paper. Equal centres have
//! no gradient through their distance. Under [`Reduction::None`] each sample carries the regulariser,
//! so that the mean of them is the loss.

use super::margin_softmax::against_others;
use super::proxies::{Proxies, ProxyColumns};
use crate::composed::{ComposedTerms, Masks};
use crate::params::{LossParams, not_negative, positive, within};
use crate::row_loss::{Beside, Fused, RowForm, Sides, Space, composed, fused_beside};
use crate::setting::Setting;
use crate::softmax::cross_entropy_at;
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::rowwise::{RowObjective, RowwiseOutput};
use dml_core::{Matrix, Metric, Projection, Real, Reduction, Row, Terms, vector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Parameters of SoftTriple.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftTripleParams {
    /// Centres of each class K. Default 10.
    pub centers_per_class: usize,
    /// Scale λ of the similarities to classes. Default 20.
    pub la: f64,
    /// Temperature γ of the softmax over the centres of a class. Default 0.1.
    pub gamma: f64,
    /// Margin δ. Default 0.01.
    pub margin: f64,
    /// Weight τ of the distances of a class's centres; 0: none. Default 0; the paper has 0.2.
    pub tau: f64,
}

impl Default for SoftTripleParams {
    fn default() -> Self {
        Self { centers_per_class: 10, la: 20.0, gamma: 0.1, margin: 0.01, tau: 0.0 }
    }
}

impl<T: Real> RowObjective<T> for SoftTripleParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let k = self.centers_per_class;
        let Some(target) = row.positives().next().map(|first| first / k) else { return };
        let sharp = T::of(1.0 / self.gamma);
        // Against the largest of each class: a sharp softmax must not lose whole classes.
        for (e, s) in gradient.chunks_exact_mut(k).zip(row.scores.chunks_exact(k)) {
            let top = s.iter().fold(T::neg_infinity(), |top, &s| if s > top { s } else { top });
            e.iter_mut().zip(s).for_each(|(e, &s)| *e = (s - top) * sharp);
        }
        gradient.iter_mut().for_each(|e| *e = e.fast_exp());
        let classes = gradient.chunks_exact_mut(k).zip(row.scores.chunks_exact(k));
        let similarities: Vec<T> = classes
            .map(|(e, s)| {
                let (sum, dot) =
                    e.iter().zip(s).fold((T::zero(), T::zero()), |(sum, dot), (&e, &s)| (sum + e, dot + e * s));
                let over = sum.recip();
                e.iter_mut().for_each(|e| *e *= over);
                dot * over
            })
            .collect();
        let mut shares = similarities.clone();
        let edited = similarities[target].wide() - self.margin;
        let (value, share) = against_others(&mut shares, self.la, target, edited);
        let step = terms.add(0, value) * share * self.la;
        vector::scale(&mut shares, T::of(step));
        shares[target] = T::of(-step);
        let classes = gradient.chunks_exact_mut(k).zip(row.scores.chunks_exact(k));
        for ((g, s), (&similarity, &share)) in classes.zip(similarities.iter().zip(&shares)) {
            g.iter_mut().zip(s).for_each(|(g, &s)| *g *= share * (T::one() + (s - similarity) * sharp));
        }
    }
}

impl RowForm for SoftTripleParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let (n, m) = scores.dims2()?;
        let by_class = |x: &Tensor| x.reshape((n, m / self.centers_per_class, self.centers_per_class));
        let (scores, positive) = (by_class(scores)?, by_class(&masks.positive)?.max(2)?);
        let top = scores.max_keepdim(2)?.detach();
        let e = (scores.broadcast_sub(&top)? / self.gamma)?.exp()?;
        let similarities = ((&e * &scores)?.sum(2)? / e.sum(2)?)?;
        let logits = ((similarities - (&positive * self.margin)?)? * self.la)?;
        cross_entropy_at(&logits, &positive)
    }
}

/// The distances of the centres of each class.
struct Spread {
    per_class: usize,
    /// τ over the number of pairs, counted twice; 0: nothing to do.
    weight: f64,
}

impl Spread {
    /// The regulariser as candle operations.
    fn compose(&self, proxies: &Tensor) -> Result<Tensor> {
        let (rows, d, k) = (proxies.dim(0)?, proxies.dim(1)?, self.per_class);
        let w = Projection::Unit.compose(proxies)?.reshape((rows / k, k, d))?;
        let square = w.matmul(&w.transpose(1, 2)?.contiguous()?)?.affine(-2.0, 2.0)?;
        let pairs: Vec<u8> = (0..k * k).map(|at| u8::from(at % k > at / k)).collect();
        let pairs = Tensor::from_vec(pairs, (1, k, k), w.device())?.broadcast_as(square.shape())?;
        let apart = (square.gt(0.0)? * pairs)?;
        let root = apart.where_cond(&square, &square.ones_like()?)?.sqrt()?;
        Ok((apart.where_cond(&root, &root.zeros_like()?)?.sum_all()? * self.weight)?)
    }
}

impl Beside for Spread {
    fn add<T: Real>(&self, _: Matrix<'_, T>, proxies: Option<Matrix<'_, T>>, output: &mut RowwiseOutput<T>) {
        let Some(proxies) = proxies.filter(|_| self.weight > 0.0) else { return };
        let (k, d) = (self.per_class, proxies.cols());
        let class = |class: usize, out: &mut [T]| {
            let mut step = vec![T::zero(); d];
            let mut total = 0f64;
            for (a, b) in (0..k).flat_map(|a| (a + 1..k).map(move |b| (a, b))) {
                let (x, y) = (proxies.row(class * k + a), proxies.row(class * k + b));
                step.iter_mut().zip(x.iter().zip(y)).for_each(|(step, (&x, &y))| *step = x - y);
                // ‖x − y‖² of unit vectors, which keeps its digits; a row of zeros is at √2 from all.
                let blank = |x: &[T]| f64::from(u8::from(x.iter().all(|&x| x == T::zero())));
                let distance = (vector::dot(&step, &step) + blank(x) + blank(y)).sqrt();
                total += distance;
                if !out.is_empty() && distance != 0.0 {
                    let by = T::of(self.weight / distance);
                    let (before, after) = out.split_at_mut(b * d);
                    let (x, y) = (&mut before[a * d..][..d], &mut after[..d]);
                    x.iter_mut().zip(y).zip(&step).for_each(|((x, y), &s)| {
                        *x += by * s;
                        *y -= by * s;
                    });
                }
            }
            total
        };
        let classes = proxies.rows() / k;
        // In this order, whatever the number of threads.
        let totals: Vec<f64> = if d > 0 && output.d_references.len() == proxies.data().len() {
            output.d_references.par_chunks_mut(k * d).enumerate().map(|(c, out)| class(c, out)).collect()
        } else {
            (0..classes).into_par_iter().map(|c| class(c, &mut [])).collect()
        };
        output.value += self.weight * totals.iter().sum::<f64>();
    }
}

struct SoftTriple {
    proxies: Proxies,
    params: SoftTripleParams,
    spread: Spread,
    setting: Setting,
}

impl Objective for SoftTriple {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let (labels, weights) = self.proxies.admit(batch)?;
        let vectors = self.proxies.like(batch.embeddings)?;
        let (per_class, classes) = (self.proxies.per_class, self.proxies.classes);
        let columns = ProxyColumns { labels, per_class, classes, places: None };
        let run = self.setting.run(&columns, &weights);
        let sides = Sides { anchors: batch.embeddings, references: Some(&vectors) };
        if self.setting.fused(sides) {
            let Fused { loss, statistics, .. } = fused_beside(sides, &run, &self.params, &self.spread)?;
            return Ok(Evaluation { loss, statistics });
        }
        let Evaluation { mut loss, statistics } =
            composed(sides, &run, |scores, masks| self.params.compose(scores, masks))?;
        if self.spread.weight > 0.0 {
            loss = loss.broadcast_add(&self.spread.compose(&vectors)?)?;
        }
        Ok(Evaluation { loss, statistics })
    }

    fn takes_tuples(&self) -> bool {
        true
    }

    fn learns_classes(&self) -> bool {
        true
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for SoftTripleParams {
    const NAME: &'static str = "soft_triple";

    fn check(&self) -> Result<()> {
        within(Self::NAME, "centers_per_class", self.centers_per_class, 1, 1000)?;
        positive(Self::NAME, "la", self.la)?;
        positive(Self::NAME, "gamma", self.gamma)?;
        not_negative(Self::NAME, "margin", self.margin)?;
        not_negative(Self::NAME, "tau", self.tau)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let k = self.centers_per_class;
        // Kaiming uniform with a = √5, as the authors draw a matrix [d, C·K].
        let bound = 1.0 / ((context.classes * k).max(1) as f64).sqrt();
        // A centre alone is at no distance from others.
        let pairs = (context.classes * k * (k - 1)) as f64;
        let weight = if pairs > 0.0 { self.tau / pairs } else { 0.0 };
        Ok(Box::new(SoftTriple {
            proxies: Proxies::uniform(Self::NAME, bound, k, context)?,
            params: self.clone(),
            spread: Spread { per_class: k, weight },
            setting: Setting::new(Space::new(Metric::Cosine, true), Reduction::Mean, context),
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("paper", Self { tau: 0.2, ..Self::default() }), ("pml", Self::default())]
    }
}
