//! Proxy-NCA.
//!
//! `mean_i −log softmax(−scale·‖x̂_i − ŵ‖²)_{y_i}` over all proxies, the positive one included, as in nearly all code; the
//! paper leaves it out of the denominator (`positive_in_denominator = false`). Movshovitz-Attias et al., *No Fuss Distance
//! Metric Learning using Proxies*, 2017, eq. 4. Proxy-NCA++ (Teh et al. 2020) is a factor of 9 on the squared distance.

use super::proxies::{Proxies, ProxyLoss};
use crate::composed::{ComposedTerms, Masks, any, log_sum_exp};
use crate::params::{LossParams, positive};
use crate::row_loss::{RowForm, Space};
use crate::softmax::cross_entropy;
use crate::{Context, Objective, Result};
use candle_core::Tensor;
use dml_core::rowwise::RowObjective;
use dml_core::{Metric, Real, Row, Terms, vector};
use serde::{Deserialize, Serialize};

/// Parameters of Proxy-NCA.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyNcaParams {
    /// Factor on the squared distance. Default 1; Proxy-NCA++ uses 9.
    pub softmax_scale: f64,
    /// Whether the sample's own proxy stands in the denominator too. Default true.
    pub positive_in_denominator: bool,
}

impl Default for ProxyNcaParams {
    fn default() -> Self {
        Self { softmax_scale: 1.0, positive_in_denominator: true }
    }
}

impl<T: Real> RowObjective<T> for ProxyNcaParams {
    #[inline(always)]
    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let Some(target) = row.positives().next() else { return };
        gradient.copy_from_slice(row.scores);
        let scale = T::of(-self.softmax_scale);
        if !self.positive_in_denominator {
            // e^{−scale·∞} = 0.
            gradient[target] = T::infinity();
        }
        let total = vector::log_sum_exp(gradient, scale, T::zero());
        if total == f64::NEG_INFINITY {
            // A single proxy, and not in its own denominator.
            return terms.add_zeros(0, 1);
        }
        let weight = terms.add(0, T::of(total + self.softmax_scale * row.scores[target].wide()));
        gradient[target] -= T::one();
        vector::scale(gradient, weight * scale);
    }
}

impl RowForm for ProxyNcaParams {
    fn compose(&self, scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
        let logits = (scores * -self.softmax_scale)?;
        if self.positive_in_denominator {
            return cross_entropy(&logits, masks);
        }
        let at_target = (&logits * &masks.positive)?.sum(1)?;
        let value = ((log_sum_exp(&masks.negative, &logits)? - at_target)? * any(&masks.negative)?)?;
        Ok(vec![ComposedTerms::new(value, any(&masks.positive)?)])
    }
}

impl LossParams for ProxyNcaParams {
    const NAME: &'static str = "proxy_nca";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "softmax_scale", self.softmax_scale)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let proxies = Proxies::normal(Self::NAME, 1.0, 1, context)?;
        let space = Space::new(Metric::SquaredEuclidean, true);
        Ok(Box::new(ProxyLoss::new(proxies, self.clone(), space, 1.0, context)))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        let pml = Self::default();
        vec![
            ("paper", Self { positive_in_denominator: false, ..pml.clone() }),
            ("plus_plus", Self { softmax_scale: 9.0, ..pml.clone() }),
            ("pml", pml),
        ]
    }
}
