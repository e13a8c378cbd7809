//! FastAP.
//!
//! Squared distances `d²` of a query are put into a histogram on [0, 4] with triangular bins at `4k/K`, k = 0 … K; `h⁺` counts
//! positives, `H⁺` and `H` accumulate positives and all: `AP = (1/|P|) Σ_k h⁺_k H⁺_k/H_k`, and the loss is `mean_q (1 − AP_q)` over the
//! queries that have a positive. K = 10, embeddings of length 1. Cakir et al., *Deep Metric Learning to Rank*, 2019, §3.
//! Without normalisation what lies more than a bin beyond 4 falls in no bin. Mined tuples weigh the queries, as in
//! pytorch-metric-learning. References that are the query itself are left out.

use crate::composed::{ComposedTerms, Masks, any};
use crate::params::{LossParams, within};
use crate::row_loss::{RowForm, RowLoss, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Reduction, Row, Terms};
use serde::{Deserialize, Serialize};

/// Parameters of FastAP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FastApParams {
    /// Intervals K of the histogram. Default 10.
    pub num_bins: usize,
    /// Whether embeddings are brought to length 1 first. Default true.
    pub normalize: bool,
}

impl Default for FastApParams {
    fn default() -> Self {
        Self { num_bins: 10, normalize: true }
    }
}

/// Largest squared distance of unit vectors.
const WIDEST: f64 = 4.0;

/// Triangular bins.
struct Bins<T> {
    /// `1/Δ`.
    scale: T,
    /// First bin that is not there.
    end: usize,
}

impl<T: Real> Bins<T> {
    /// The bin at or below a distance, and how far the distance is on its way to the next one, 0 to 1.
    #[inline(always)]
    fn place(&self, distance: T) -> (usize, T) {
        let place = distance * self.scale;
        // Distances are not negative; what is not a number goes to the first bin, and shows in all sums.
        let bin = (place.wide() as usize).min(self.end);
        (bin, place - T::of(bin as f64))
    }

    /// Adds a distance to a histogram, whose last entry is for what falls in no bin.
    #[inline(always)]
    fn count(&self, distance: T, histogram: &mut [f64]) {
        let (bin, share) = self.place(distance);
        let share = if bin < self.end { share.wide() } else { 0.0 };
        histogram[bin] += 1.0 - share;
        histogram[(bin + 1).min(self.end)] += share;
    }

    /// Derivative by the distance of `Σ by_bin·histogram`.
    #[inline(always)]
    fn slope(&self, distance: T, steps: &[T]) -> T {
        let (bin, share) = self.place(distance);
        // On a node the triangles have their corners, and the slope is taken as 0.
        if share == T::zero() { T::zero() } else { steps[bin] }
    }

    /// From derivatives by bin to those by a distance that lies in each interval, times a factor.
    fn steps(&self, by_bin: &[f64], factor: T) -> Vec<T> {
        let steps = by_bin.windows(2).map(|two| T::of(two[1] - two[0]) * self.scale * factor);
        steps.chain([T::zero()]).collect()
    }
}

/// `1 − AP` of histograms of positives and negatives, with the derivatives by both.
///
/// Written as `(1/|P|) (Σ_k h⁺_k H⁻_k/H_k + positives in no bin)`, which has no difference of nearly equal numbers.
fn of_histograms(positive: &[f64], negative: &[f64], positives: f64) -> (f64, Vec<f64>, Vec<f64>) {
    let n = positive.len();
    let (mut by_positive, mut by_negative) = (vec![0.0; n], vec![0.0; n]);
    let (mut right, mut wrong, mut value) = (0.0, 0.0, positive[n - 1] / positives);
    by_positive[n - 1] = 1.0 / positives;
    // h⁺/(|P| H), H⁺/H and H⁻/H of each bin.
    let mut fractions = vec![(0.0, 0.0, 0.0); n - 1];
    for k in 0..n - 1 {
        right += positive[k];
        wrong += negative[k];
        let all = right + wrong;
        // Not unless `> 0`, which would leave out what is not a number.
        if all <= 0.0 {
            continue;
        }
        fractions[k] = (positive[k] / all / positives, right / all, wrong / all);
        value += positive[k] / positives * fractions[k].2;
    }
    // Of every bin at or beyond this one, as one of those that accumulate it.
    let (mut through_right, mut through_wrong) = (0.0, 0.0);
    for (k, &(share, right, wrong)) in fractions.iter().enumerate().rev() {
        through_right -= share * wrong;
        through_wrong += share * right;
        by_positive[k] = through_right + wrong / positives;
        by_negative[k] = through_wrong;
    }
    (value, by_positive, by_negative)
}

impl FastApParams {
    fn bins<T: Real>(&self) -> Bins<T> {
        Bins { scale: T::of(self.num_bins as f64 / WIDEST), end: self.num_bins + 1 }
    }
}

impl<T: Real> RowObjective<T> for FastApParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        if row.positives.is_empty() {
            return;
        }
        let bins = self.bins::<T>();
        let (mut positive, mut negative) = (vec![0.0; bins.end + 1], vec![0.0; bins.end + 1]);
        row.positives().for_each(|j| bins.count(row.scores[j], &mut positive));
        for range in row.negative_ranges() {
            row.scores[range].iter().for_each(|&d| bins.count(d, &mut negative));
        }
        let (value, by_positive, by_negative) = of_histograms(&positive, &negative, row.positives.len() as f64);
        let weight: T = terms.add(0, T::of(value));
        let steps = bins.steps(&by_negative, weight);
        for range in row.negative_ranges() {
            let scores = &row.scores[range.clone()];
            gradient[range].iter_mut().zip(scores).for_each(|(g, &d)| *g = bins.slope(d, &steps));
        }
        let steps = bins.steps(&by_positive, weight);
        row.positives().for_each(|j| gradient[j] = bins.slope(row.scores[j], &steps));
    }
}

impl RowForm for FastApParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let some = any(&masks.positive)?;
        let scale = self.num_bins as f64 / WIDEST;
        let positives = (masks.positive.sum(1)? + (1.0 - &some)?)?;
        // As `of_histograms` has it.
        let beyond = ((scores * scale)? - self.num_bins as f64)?;
        let beyond = (beyond.relu()? - (beyond - 1.0)?.relu()?)?;
        let mut sum = (beyond * &masks.positive)?.sum(1)?;
        let (mut right, mut wrong) = (sum.zeros_like()?, sum.zeros_like()?);
        for k in 0..=self.num_bins {
            let place = ((scores * scale)? - k as f64)?;
            // |place|, with slope 0 at 0.
            let away = (place.relu()? + place.neg()?.relu()?)?;
            let share = (1.0 - away)?.relu()?;
            let here = (&share * &masks.positive)?.sum(1)?;
            right = (right + &here)?;
            wrong = (wrong + (share * &masks.negative)?.sum(1)?)?;
            let all = (&right + &wrong)?;
            let all = (&all + all.le(0.0)?.to_dtype(all.dtype())?)?;
            sum = (sum + ((here * &wrong)? / all)?)?;
        }
        Ok(vec![ComposedTerms::new((sum / positives)?, some)])
    }

    fn tuples_are_weights(&self) -> bool {
        true
    }
}

impl LossParams for FastApParams {
    const NAME: &'static str = "fast_ap";

    fn check(&self) -> Result<()> {
        within(Self::NAME, "num_bins", self.num_bins, 1, 10_000)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let space = Space::new(Metric::SquaredEuclidean, self.normalize);
        Ok(Box::new(RowLoss::new(self.clone(), space, Reduction::Mean, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
