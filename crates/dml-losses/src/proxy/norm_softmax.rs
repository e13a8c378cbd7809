//! Softmax over logits that keep the norms of their vectors: large-margin softmax and SphereFace.

use super::margin_softmax::against_others;
use super::multiplicative_margin::{Psi, norms};
use super::proxies::{Proxies, ProxyColumns};
use crate::autograd::attach;
use crate::composed::Masks;
use crate::row_loss::{Beside, Fused, Sides, Space, composed, fused_beside, wide};
use crate::setting::Setting;
use crate::softmax::cross_entropy;
use crate::{Batch, Context, Evaluation, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::rowwise::{RowObjective, RowwiseOutput};
use dml_core::{Matrix, Metric, Projection, Real, Reduction, Row, Terms, to_host, vector};

/// `−log softmax(s·‖x‖‖w_c‖·cos θ_c)` at the target, whose cosine becomes ψ; without `‖w_c‖` unless `proxy_norms`.
pub(crate) struct NormSoftmax {
    proxies: Proxies,
    psi: Psi,
    scale: f64,
    proxy_norms: bool,
    setting: Setting,
}

impl NormSoftmax {
    pub(crate) fn new(proxies: Proxies, margin: usize, scale: f64, proxy_norms: bool, context: &Context) -> Self {
        // Products as they are hold both norms already: no proxy needs to be normalised. Without the proxies' norms
        // scores are cosines and the anchor's norm is a factor.
        let space = if proxy_norms {
            Space { metric: Metric::Dot, projection: Projection::None }
        } else {
            Space::new(Metric::Cosine, true)
        };
        Self { proxies, psi: Psi(margin), scale, proxy_norms, setting: Setting::new(space, Reduction::Mean, context) }
    }

    fn compose(&self, x: &Tensor, w: &Tensor, scores: &Tensor, masks: &Masks) -> Result<Tensor> {
        let x = norms(x)?;
        let own = |edited: &Tensor| masks.positive.gt(0.0)?.where_cond(edited, scores);
        let logits = if self.proxy_norms {
            let products = x.matmul(&norms(w)?.t()?)?;
            let zero = products.le(0.0)?;
            let cosines = (scores / zero.where_cond(&products.ones_like()?, &products)?)?;
            own(&(products * self.psi.compose(&cosines)?)?)?
        } else {
            own(&self.psi.compose(scores)?)?.broadcast_mul(&x)?
        };
        Ok((logits * self.scale)?)
    }
}

/// A row, with the norms of all anchors and of the proxies of their classes (empty: scores are cosines).
struct NormRow<'a> {
    psi: Psi,
    scale: f64,
    anchors: &'a [f64],
    own: &'a [f64],
}

impl<T: Real> RowObjective<T> for NormRow<'_> {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(target) = row.positives().next() else { return };
        let (a, score) = (self.anchors[row.anchor], row.scores[target].wide());
        let own = self.own.get(row.anchor).copied();
        // What cosines are multiplied by to be scores, and scores to be logits.
        let (length, scale) = own.map_or((1.0, self.scale * a), |own| (a * own, self.scale));
        // No direction where a norm is 0: neither a cosine nor a slope.
        let flat = length == 0.0;
        let cosine = if flat { 0.0 } else { score / length };
        let (psi, slope) = self.psi.at(cosine);
        let edited = length * psi;
        gradient.copy_from_slice(row.scores);
        let (value, share) = against_others(gradient, scale, target, edited);
        let step = terms.add(0, value) * share;
        let by_norm = match own {
            Some(own) => own * (cosine * slope - psi),
            None => vector::dot(gradient, row.scores) - psi,
        };
        terms.add_slope(step * self.scale * by_norm);
        vector::scale(gradient, T::of(step * scale));
        gradient[target] = T::of(if flat { 0.0 } else { -step * scale * slope });
    }
}

/// The slope by a product of norms, at the proxies.
struct AtProxies<'a> {
    labels: &'a [u64],
    anchors: &'a [f64],
    own: &'a [f64],
}

impl Beside for AtProxies<'_> {
    fn add<T: Real>(&self, _: Matrix<'_, T>, proxies: Option<Matrix<'_, T>>, output: &mut RowwiseOutput<T>) {
        let Some(proxies) = proxies.filter(|w| w.data().len() == output.d_references.len()) else { return };
        let d = proxies.cols();
        let norms = self.anchors.iter().zip(self.own);
        for ((&slope, (a, own)), &label) in output.slopes.iter().zip(norms).zip(self.labels) {
            if *own > 0.0 {
                // The slope by ‖x‖ is ‖w‖ times that by ‖x‖‖w‖, and that by ‖w‖ is ‖x‖ times it.
                let step = slope * T::of(a / own / own);
                let row = label as usize;
                let out = &mut output.d_references[row * d..][..d];
                out.iter_mut().zip(proxies.row(row)).for_each(|(g, &w)| *g += step * w);
            }
        }
    }
}

/// Norms of rows on the host.
fn host_norms(x: &Tensor) -> Result<Vec<f64>> {
    let (values, n, d) = to_host::<f64>(x)?;
    Ok(if d == 0 { vec![0.0; n] } else { values.chunks_exact(d).map(|x| vector::dot(x, x).sqrt()).collect() })
}

impl Objective for NormSoftmax {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        let (labels, weights) = self.proxies.admit(batch)?;
        let vectors = self.proxies.like(batch.embeddings)?;
        let columns = ProxyColumns { labels, per_class: 1, classes: self.proxies.classes, places: None };
        let run = self.setting.run(&columns, &weights);
        let sides = Sides { anchors: batch.embeddings, references: Some(&vectors) };
        if !self.setting.fused(sides) {
            let x = wide(batch.embeddings)?;
            return composed(sides, &run, |scores, masks| {
                cross_entropy(&self.compose(&x, &vectors, scores, masks)?, masks)
            });
        }
        let anchors = host_norms(batch.embeddings)?;
        let mut own = Vec::new();
        if self.proxy_norms {
            let rows: Vec<u32> = labels.iter().map(|&label| label as u32).collect();
            own = host_norms(&vectors.detach().index_select(&Tensor::new(rows, vectors.device())?, 0)?)?;
        }
        let row = NormRow { psi: self.psi, scale: self.scale, anchors: &anchors, own: &own };
        let beside = AtProxies { labels, anchors: &anchors, own: &own };
        let Fused { loss, slopes, statistics } = fused_beside(sides, &run, &row, &beside)?;
        let (mut radial, _, d) = to_host::<f64>(batch.embeddings)?;
        for ((x, slope), norm) in radial.chunks_exact_mut(d.max(1)).zip(slopes).zip(&anchors) {
            let step = if *norm == 0.0 { 0.0 } else { slope / norm };
            x.iter_mut().for_each(|x| *x *= step);
        }
        let loss = (&loss + attach(0.0, vec![(batch.embeddings, radial)])?.to_dtype(loss.dtype())?)?;
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
