//! P2SGrad as a squared error of cosines.
//!
//! `mean_{i,c} (cos(x_i, w_c) − 1_{c = y_i})²` over all samples and classes. Zhang et al., *P2SGrad: Refined Gradients for Optimizing
//! Deep Face Models*, 2019, eq. 11, whose gradient it is; the loss is written down by Wang & Yamagishi, *A Comparative Study on
//! Recent Neural Spoofing Countermeasures*, 2021, eq. 4. No parameters. Proxies have a gradient through their norm, where
//! pytorch-metric-learning puts them back on the sphere before each step. Cosines are not clipped: only rounding takes them
//! past ±1. No mined tuples.

use super::proxies::{Proxies, ProxyLoss};
use crate::composed::{ComposedTerms, Masks};
use crate::params::LossParams;
use crate::row_loss::{RowForm, Space};
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of P2SGrad: none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct P2sGradParams {}

/// A squared error for each class.
struct SquaredErrors;

impl<T: Real> RowObjective<T> for SquaredErrors {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        gradient.copy_from_slice(row.scores);
        row.positives().for_each(|j| gradient[j] -= T::one());
        let two = T::of(2.0);
        if terms.wants_single_terms() {
            gradient.iter_mut().for_each(|g| *g *= two * terms.add(0, *g * *g));
            return;
        }
        let exact = gradient.iter().filter(|g| **g == T::zero()).count();
        let sum = vector::sum_of(gradient, |g| g * g);
        let weight: T = terms.add_many(0, gradient.len() - exact, sum);
        terms.add_zeros(0, exact);
        vector::scale(gradient, two * weight);
    }
}

impl RowForm for SquaredErrors {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        Ok(vec![ComposedTerms::new((scores - &masks.positive)?.sqr()?, scores.ones_like()?)])
    }
}

impl LossParams for P2sGradParams {
    const NAME: &'static str = "p2s_grad";

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let proxies = Proxies::on_sphere(Self::NAME, context)?;
        let loss = ProxyLoss::new(proxies, SquaredErrors, Space::new(Metric::Cosine, true), 1.0, context);
        Ok(Box::new(loss.without_tuples()))
    }
}
