//! Sub-center ArcFace.
//!
//! ArcFace with k centres for each class, of which the nearest counts: `cos θ_c = max_k cos(x, w_{c,k})`. Deng et al., *Sub-center
//! ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces*, 2020, eq. 3-4. Margin 28.6°, scale 64, k = 3. After training,
//! [`SubCenterArcFaceParams::outliers`] finds the centre of most of a class's samples and the samples far from it (§3.4),
//! which are dropped before plain ArcFace is trained. Equal maxima share nothing: the first has the gradient.

use super::arc_face::AngularMargin;
use super::margin_softmax::{TargetLogit, against_others};
use super::proxies::{Proxies, ProxyLoss};
use crate::composed::{ComposedTerms, Masks};
use crate::params::{LossParams, positive, within, wrong};
use crate::row_loss::{RowForm, Space, wide};
use crate::softmax::cross_entropy_at;
use crate::{Context, Error, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Matrix, Metric, Real, Row, Terms, scores, to_host, vector};
use serde::{Deserialize, Serialize};

/// Parameters of sub-center ArcFace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubCenterArcFaceParams {
    /// Margin m, degrees. Default 28.6 (0.5 rad).
    pub margin: f64,
    /// Scale s. Default 64.
    pub scale: f64,
    /// Centres of each class k. Default 3.
    pub sub_centers: usize,
}

impl Default for SubCenterArcFaceParams {
    fn default() -> Self {
        Self { margin: 28.6, scale: 64.0, sub_centers: 3 }
    }
}

struct SubCenters {
    scale: f64,
    per_class: usize,
    target: AngularMargin,
}

/// First largest of a few numbers; the first that is no number, if there is one.
fn nearest<T: Real>(cosines: &[T]) -> usize {
    let mut best = 0;
    for (k, &c) in cosines.iter().enumerate() {
        if c > cosines[best] || (c.is_nan() && !cosines[best].is_nan()) {
            best = k;
        }
    }
    best
}

impl<T: Real> RowObjective<T> for SubCenters {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(first) = row.positives().next() else { return };
        let (k, target) = (self.per_class, first / self.per_class);
        // Classes take the first places of the gradient for a while.
        let classes = row.scores.len() / k;
        for (g, cosines) in gradient.iter_mut().zip(row.scores.chunks_exact(k)) {
            // Without a branch: NaN stays once it is there.
            *g = cosines.iter().fold(T::neg_infinity(), |best, &c| if c > best || c.is_nan() { c } else { best });
        }
        let (edited, slope) = self.target.target(gradient[target].wide());
        let logits = &mut gradient[..classes];
        let (value, share) = against_others(logits, self.scale, target, edited);
        let step = terms.add(0, value) * share * self.scale;
        vector::scale(logits, T::of(step));
        logits[target] = T::of(-step * slope);
        // From the last class to the first, so that none is overwritten before it is read.
        for class in (0..classes).rev() {
            let share = gradient[class];
            let places = class * k..(class + 1) * k;
            let best = nearest(&row.scores[places.clone()]);
            gradient[places.clone()].fill(T::zero());
            gradient[places][best] = share;
        }
    }
}

impl RowForm for SubCenters {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let (n, m) = scores.dims2()?;
        let by_class = |x: &Tensor| x.reshape((n, m / self.per_class, self.per_class));
        let cosines = by_class(scores)?.max(2)?;
        let positive = by_class(&masks.positive)?.max(2)?;
        let edited = positive.gt(0.0)?.where_cond(&self.target.compose(&cosines)?, &cosines)?;
        cross_entropy_at(&(edited * self.scale)?, &positive)
    }
}

/// What a trained sub-center ArcFace says of the samples.
#[derive(Clone, Debug)]
pub struct Outliers {
    /// Samples beyond the angle from the dominant centre of their class, ascending.
    pub samples: Vec<usize>,
    /// Which sub-centre of each class is nearest to most of its samples (the first such); `None` of a class without a sample.
    pub dominant: Vec<Option<usize>>,
    /// These centres `[classes, d]`, to go on with as proxies of plain ArcFace; the first one of a class without a sample.
    pub centers: Tensor,
}

impl SubCenterArcFaceParams {
    /// Angle in degrees at which the paper and pytorch-metric-learning call a sample an outlier.
    pub const OUTLIER_ANGLE: f64 = 75.0;

    /// Which of the samples (embeddings `[n, d]` of the whole training set, a label each) are further than `degrees` from the
    /// dominant centre of their class. `proxies` `[classes·k, d]` is the loss's parameter of that name.
    ///
    /// # Errors
    /// When shapes do not fit, or a label has no proxy.
    pub fn outliers(&self, proxies: &Tensor, embeddings: &Tensor, labels: &[u64], degrees: f64) -> Result<Outliers> {
        let k = self.sub_centers;
        let ((w, centers, d), (x, n, _)) = (to_host::<f32>(proxies)?, to_host::<f32>(embeddings)?);
        if k == 0 || centers % k != 0 {
            return Err(wrong(Self::NAME, format!("{centers} proxies are no {k} for each class: give all proxies")));
        }
        let classes = centers / k;
        if labels.len() != n || labels.iter().any(|&l| l >= classes as u64) {
            let message = format!("outliers want one label below {classes} for each of the {n} embeddings");
            return Err(Error::Labels(message));
        }
        let mut members = vec![Vec::new(); classes];
        labels.iter().enumerate().for_each(|(i, &label)| members[label as usize].push(i));
        let limit = degrees.to_radians().cos();
        let (mut samples, mut dominant) = (Vec::new(), Vec::with_capacity(classes));
        for (class, members) in members.iter().enumerate() {
            let rows: Vec<f32> = members.iter().flat_map(|&i| x[i * (x.len() / n)..][..x.len() / n].to_vec()).collect();
            let mut cosines = vec![0f32; members.len() * k];
            let own = Matrix::new(&w[class * k * d..][..k * d], k, d)?;
            let width = if members.is_empty() { d } else { rows.len() / members.len() };
            scores(Metric::Cosine, Matrix::new(&rows, members.len(), width)?, own, &mut cosines)?;
            let mut counts = vec![0usize; k];
            cosines.chunks_exact(k).for_each(|cosines| counts[nearest(cosines)] += 1);
            let most = counts.iter().copied().max().unwrap_or(0);
            let best = counts.iter().position(|&count| count == most).filter(|_| !members.is_empty());
            if let Some(best) = best {
                let far = |&(_, cosines): &(&usize, &[f32])| f64::from(cosines[best]) < limit;
                samples.extend(members.iter().zip(cosines.chunks_exact(k)).filter(far).map(|(&i, _)| i));
            }
            dominant.push(best);
        }
        samples.sort_unstable();
        let rows: Vec<u32> = dominant.iter().enumerate().map(|(c, best)| (c * k + best.unwrap_or(0)) as u32).collect();
        let centers = wide(proxies)?.detach().index_select(&Tensor::new(rows, proxies.device())?, 0)?;
        Ok(Outliers { samples, dominant, centers })
    }
}

impl LossParams for SubCenterArcFaceParams {
    const NAME: &'static str = "sub_center_arc_face";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)?;
        within(Self::NAME, "margin", self.margin, 0.0, 90.0)?;
        within(Self::NAME, "sub_centers", self.sub_centers, 1, 1000)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let target = AngularMargin(self.margin.to_radians());
        let row = SubCenters { scale: self.scale, per_class: self.sub_centers, target };
        let proxies = Proxies::normal(Self::NAME, 1.0, self.sub_centers, context)?;
        Ok(Box::new(ProxyLoss::new(proxies, row, Space::new(Metric::Cosine, true), 1.0, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let half_radian = Self { margin: 0.5f64.to_degrees(), ..Self::default() };
        vec![("insightface", half_radian.clone()), ("paper", half_radian)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn outliers_are_far_from_the_dominant_centre() {
        // Class 0: two of three samples at its second centre; class 1 has none; class 2: a tie goes to the first.
        let w = [[0f32, 1.0], [1.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [0.0, 3.0], [5.0, 0.0]];
        let x = [[2f32, 0.1], [0.1, 2.0], [0.0, 1.0], [1.0, 0.2], [1.0, 0.3], [0.0, 0.0]];
        let params = SubCenterArcFaceParams { sub_centers: 2, ..Default::default() };
        let (w, x) = (Tensor::new(&w, &Device::Cpu).unwrap(), Tensor::new(&x, &Device::Cpu).unwrap());
        let found = params.outliers(&w, &x, &[0, 0, 2, 0, 2, 0], SubCenterArcFaceParams::OUTLIER_ANGLE).unwrap();
        // The row of zeros counts for the first centre of its class: two against two, the first wins.
        assert_eq!(found.dominant, [Some(0), None, Some(0)]);
        assert_eq!(found.samples, [0, 3, 5]);
        let found = params.outliers(&w, &x, &[0, 0, 2, 0, 2, 2], SubCenterArcFaceParams::OUTLIER_ANGLE).unwrap();
        assert_eq!((found.dominant, found.samples), (vec![Some(1), None, Some(0)], vec![1, 5]));
        assert_eq!(found.centers.to_vec2::<f32>().unwrap(), [[1.0, 0.0], [1.0, 1.0], [0.0, 3.0]]);
        assert!(params.outliers(&w, &x, &[3; 6], 75.0).is_err());
    }
}
