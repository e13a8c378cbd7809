//! Triplet loss.
//!
//! `[gap(d_ap, d_an) + m]+` over triplets of an anchor, a positive and a negative, averaged where it is not 0; `gap(u, v)` is
//! `u − v` for distances and `v − u` for similarities. `soft` is `log(1 + e^{gap + m})` instead, averaged over all.
//!
//! | mining | triplets, with `g = −gap(d_ap, d_an)`: how much further the negative is |
//! |---|---|
//! | `all` | every one |
//! | `semi_hard` | `0 < g ≤ m` (Schroff et al., *FaceNet*, 2015, §3.2; here every such negative, not one) |
//! | `hard` | `g ≤ min(0, m)` |
//! | `easy` | `g > m`: nothing to a hinge |
//! | `batch_hard` | of each anchor the furthest positive with the nearest negative, the first of equals (Hermans et al., *In Defense of the Triplet Loss*, 2017, eq. 5) |
//!
//! `swap` puts the positive in the anchor's place where it is closer to the negative (Balntas et al., *Learning Local Feature
//! Descriptors with Triplets*, 2016, §3.3), after mining; with references both are references, which pytorch-metric-learning
//! looks up in the wrong matrix. Triplets that a miner has named are taken as they are, and of its pairs every positive with
//! every negative of the same anchor; neither is mined again.
//!
//! Defaults are pytorch-metric-learning's: m = 0.05, distances not squared, all triplets. FaceNet squares them and has
//! m = 0.2; Hermans et al. do not normalise and use the soft form without a margin.

mod rows;
mod swap;

use crate::composed::{ComposedTerms, Masks, any, fill, hinge, no_terms, softplus};
use crate::params::{LossParams, finite, metric};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::{Real, Reduction, vector};
use serde::{Deserialize, Serialize};

/// Which triplets are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TripletMining {
    /// Every triplet.
    All,
    /// Negatives no further than the positive.
    Hard,
    /// Negatives further than the positive, but within the margin.
    SemiHard,
    /// Negatives beyond the margin.
    Easy,
    /// Furthest positive, nearest negative.
    BatchHard,
}

/// Parameters of the triplet loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TripletParams {
    /// Margin m, of the loss and of the mining. Default 0.05.
    pub margin: f64,
    /// Which triplets. Default all.
    pub mining: TripletMining,
    /// Softplus instead of the hinge. Default false.
    pub soft: bool,
    /// Whether the positive may stand in for the anchor. Default false.
    pub swap: bool,
    /// Any metric. Default `euclidean`.
    pub metric: String,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for TripletParams {
    fn default() -> Self {
        let (mining, metric) = (TripletMining::All, "euclidean".to_owned());
        Self { margin: 0.05, mining, soft: false, swap: false, metric, normalize: true }
    }
}

/// A triplet's term, and which triplets have one.
#[derive(Clone, Copy)]
struct Triplet {
    margin: f64,
    mining: TripletMining,
    soft: bool,
    /// +1 for distances, −1 for similarities: `sign · score` grows with distance.
    sign: f64,
}

/// Stands for an entry that no maximum may see. Finite, because `∞ − ∞` is not a number.
const FAR: f64 = 1e30;

impl Triplet {
    /// The term of a violation, and its derivative.
    #[inline(always)]
    fn term<T: Real>(&self, violation: T) -> (T, T) {
        if self.soft { vector::softplus(violation) } else { vector::hinge(violation) }
    }

    /// The same of tensors.
    fn terms(&self, violation: &Tensor) -> Result<Tensor> {
        if self.soft { softplus(violation) } else { hinge(violation) }
    }

    /// `gap(d_ap, d_an) + m`, with `between` = d_pn where swapping is allowed.
    fn violation(&self, ap: &Tensor, an: &Tensor, between: Option<&Tensor>) -> Result<Tensor> {
        let an = match between {
            Some(pn) if self.sign > 0.0 => an.minimum(pn)?,
            Some(pn) => an.maximum(pn)?,
            None => an.clone(),
        };
        Ok(((ap.broadcast_sub(&an)? * self.sign)? + self.margin)?)
    }

    /// The terms from scores `[n, m]`; `between` are those of the references with each other `[m, m]`, for swapping.
    fn composed(&self, scores: &Tensor, between: Option<&Tensor>, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let named = masks.rows.iter().any(|row| row.triplets.is_some());
        let mined = named || masks.rows.iter().any(|row| row.negatives.is_some());
        if named {
            let lists = masks.rows.iter().map(|row| row.triplets.as_deref().unwrap_or_default());
            let all = lists.enumerate().flat_map(|(a, list)| list.iter().map(move |&(p, q)| (a as u32, p, q)));
            return self.of_triplets(scores, between, all.collect());
        }
        if self.mining == TripletMining::BatchHard && !mined {
            return self.hardest(scores, between, masks);
        }
        let (anchors, positives) = masks.positive_pairs();
        if anchors.is_empty() {
            return no_terms(scores);
        }
        let rows = Tensor::new(&anchors[..], scores.device())?;
        let an = scores.index_select(&rows, 0)?;
        let ap = pick(scores, &anchors, &positives)?.unsqueeze(1)?;
        let pn = between.map(|b| b.index_select(&Tensor::new(&positives[..], b.device())?, 0)).transpose()?;
        let mut counts = masks.negative.index_select(&rows, 0)?;
        // What is left out, so that what is not a number is left in.
        let g = (an.detach().broadcast_sub(&ap.detach())? * self.sign)?;
        let dropped = match self.mining {
            _ if mined => None,
            TripletMining::SemiHard => Some((g.le(0.0)? + g.gt(self.margin)?)?),
            TripletMining::Hard => Some(g.gt(self.margin.min(0.0))?),
            TripletMining::Easy => Some(g.le(self.margin)?),
            TripletMining::All | TripletMining::BatchHard => None,
        };
        if let Some(dropped) = dropped {
            counts = dropped.gt(0u8)?.where_cond(&counts.zeros_like()?, &counts)?;
        }
        let values = self.terms(&self.violation(&ap, &an, pn.as_ref())?)?;
        Ok(vec![ComposedTerms { values, counts, anchors: Some(anchors) }])
    }

    fn of_triplets(
        &self,
        scores: &Tensor,
        between: Option<&Tensor>,
        triplets: Vec<(u32, u32, u32)>,
    ) -> Result<Vec<ComposedTerms>> {
        if triplets.is_empty() {
            return no_terms(scores);
        }
        let anchors: Vec<u32> = triplets.iter().map(|t| t.0).collect();
        let positives: Vec<u32> = triplets.iter().map(|t| t.1).collect();
        let negatives: Vec<u32> = triplets.iter().map(|t| t.2).collect();
        let (ap, an) = (pick(scores, &anchors, &positives)?, pick(scores, &anchors, &negatives)?);
        let pn = between.map(|b| pick(b, &positives, &negatives)).transpose()?;
        let values = self.terms(&self.violation(&ap, &an, pn.as_ref())?)?;
        let counts = values.ones_like()?;
        Ok(vec![ComposedTerms { values, counts, anchors: Some(anchors) }])
    }

    /// Furthest positives with nearest negatives. Picked by index: the gradient of candle's maximum goes to all of equals.
    fn hardest(&self, scores: &Tensor, between: Option<&Tensor>, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        if scores.elem_count() == 0 {
            return no_terms(scores);
        }
        let far = (scores.detach() * self.sign)?;
        let p = fill(&masks.positive, &far, -FAR)?.argmax_keepdim(1)?;
        let q = fill(&masks.negative, &far, FAR)?.argmin_keepdim(1)?;
        let pn = between.map(|b| b.index_select(&p.flatten_all()?, 0)?.gather(&q, 1)).transpose()?;
        let violation = self.violation(&scores.gather(&p, 1)?, &scores.gather(&q, 1)?, pn.as_ref())?;
        // An entry that is not a number is never picked, but shows.
        let lost = (far.sum_keepdim(1)? * 0.0)?;
        let counts = (any(&masks.positive)? * any(&masks.negative)?)?.unsqueeze(1)?;
        Ok(vec![ComposedTerms::new(self.terms(&(violation + lost)?)?, counts)])
    }
}

/// Entries of a matrix by row and column.
pub(super) fn pick(matrix: &Tensor, rows: &[u32], columns: &[u32]) -> Result<Tensor> {
    let m = matrix.dim(1)? as i64;
    let index: Vec<i64> = rows.iter().zip(columns).map(|(&i, &j)| i64::from(i) * m + i64::from(j)).collect();
    Ok(matrix.flatten_all()?.index_select(&Tensor::new(index, matrix.device())?, 0)?)
}

impl RowForm for Triplet {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        self.composed(scores, None, masks)
    }

    fn repeats(&self) -> bool {
        true
    }
}

impl LossParams for TripletParams {
    const NAME: &'static str = "triplet";

    fn check(&self) -> Result<()> {
        metric(Self::NAME, &self.metric)?;
        finite(Self::NAME, "margin", self.margin)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let metric = metric(Self::NAME, &self.metric)?;
        let row = Triplet { margin: self.margin, mining: self.mining, soft: self.soft, sign: metric.sign() };
        let inner = RowLoss::new(row, Space::new(metric, self.normalize), Reduction::MeanNonZero, context);
        Ok(if self.swap { Box::new(swap::SwapLoss(inner)) } else { Box::new(inner) })
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        let facenet = Self {
            margin: 0.2,
            mining: TripletMining::SemiHard,
            metric: "squared_euclidean".to_owned(),
            ..pml.clone()
        };
        let hermans =
            Self { margin: 0.0, mining: TripletMining::BatchHard, soft: true, normalize: false, ..pml.clone() };
        vec![("facenet", facenet), ("hermans", hermans), ("pml", pml)]
    }
}

#[cfg(test)]
mod tests {
    use crate::{Context, Kernel, Reduction, build};
    use candle_core::{Device, Tensor, Var};
    use serde_json::json;

    /// The sorted form, for anchors with many positives, against the composed one.
    #[test]
    fn large_classes_are_summed_alike() {
        let values: Vec<f64> = (0..120 * 3).map(|i| f64::from((i * i * 37 + 11 * i) % 997) / 600.0 - 0.8).collect();
        let labels: Vec<u64> = (0..120).map(|i| u64::from(i % 7 == 0 || i % 2 == 1)).collect();
        for reduction in [Reduction::MeanNonZero, Reduction::Mean, Reduction::PerAnchor] {
            for (mining, margin) in [("all", 0.3), ("semi_hard", 0.3), ("hard", 0.3), ("hard", -0.1), ("easy", 0.1)] {
                let run = |kernel: Kernel| {
                    let context = Context { kernel, reduction: Some(reduction.clone()), ..Context::new(3, 2) };
                    let x = Tensor::from_vec(values.clone(), (120, 3), &Device::Cpu).unwrap();
                    let x = Var::from_tensor(&x).unwrap();
                    let params = json!({"mining": mining, "margin": margin});
                    let loss = build("triplet", &params, &context).unwrap().loss(&x, &labels).unwrap();
                    let gradient = loss.backward().unwrap().get(&x).unwrap().flatten_all().unwrap();
                    (loss.to_scalar::<f64>().unwrap(), gradient.to_vec1::<f64>().unwrap())
                };
                let ((fused, got), (composed, want)) = (run(Kernel::Auto), run(Kernel::Composed));
                assert!((fused - composed).abs() < 1e-12, "{mining} {reduction:?}: {fused} for {composed}");
                assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-9), "{mining} {reduction:?}");
            }
        }
    }
}
