//! Proxy-Anchor.
//!
//! `(1/|P⁺|) Σ_{p∈P⁺} log(1 + Σ_{x∈X⁺_p} e^{−α(s−δ)}) + (1/|P|) Σ_p log(1 + Σ_{x∈X⁻_p} e^{α(s+δ)})`: here the proxies are the anchors and the
//! batch the references; `P⁺` are the proxies with a sample in the batch. Kim et al., *Proxy Anchor Loss for Deep Metric Learning*, 2020, eq. 4.

use super::proxies::Proxies;
use crate::params::{parse, positive, wrong};
use crate::row_loss::{Space, between};
use crate::softmax::log_sum_exp;
use crate::{Context, Objective, Result};
use candle_core::{Tensor, Var};
use dml_core::Metric;
use dml_core::rowwise::{Row, RowObjective};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of Proxy-Anchor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyAnchorParams {
    /// Margin δ. Default 0.1.
    pub margin: f32,
    /// Sharpness α. Default 32.
    pub alpha: f32,
}

impl Default for ProxyAnchorParams {
    fn default() -> Self {
        Self { margin: 0.1, alpha: 32.0 }
    }
}

/// `log(1 + Σ e^{a·s + shift})` over some columns; adds `weight` times its derivative to the gradient.
fn side(row: &Row<'_>, columns: &[usize], a: f32, shift: f32, weight: f32, gradient: &mut [f32]) -> f64 {
    if columns.is_empty() {
        return 0.0;
    }
    let mut exponents: Vec<f32> = columns.iter().map(|&j| a * row.scores[j] + shift).chain([0.0]).collect();
    let value = log_sum_exp(&mut exponents);
    for (&j, share) in columns.iter().zip(&exponents) {
        gradient[j] += weight * a * share;
    }
    f64::from(weight) * value
}

impl RowObjective for ProxyAnchorParams {
    fn count(&self, row: &Row<'_>) -> [f64; 2] {
        [f64::from(u8::from(row.positives().next().is_some())), 1.0]
    }

    fn row(&self, row: &Row<'_>, weight: [f32; 2], gradient: &mut [f32]) -> f64 {
        let (positives, negatives): (Vec<_>, Vec<_>) = (row.positives().collect(), row.negatives().collect());
        let shift = self.alpha * self.margin;
        side(row, &positives, -self.alpha, shift, weight[0], gradient)
            + side(row, &negatives, self.alpha, shift, weight[1], gradient)
    }
}

struct ProxyAnchor {
    proxies: Proxies,
    row: ProxyAnchorParams,
}

impl Objective for ProxyAnchor {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        self.proxies.check(labels)?;
        let space = Space { metric: Metric::Cosine, normalize: true };
        let proxies = (self.proxies.vectors.as_tensor(), &self.proxies.labels[..]);
        between(proxies, (embeddings, labels), space, &self.row)
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        vec![("proxies".to_owned(), self.proxies.vectors.clone())]
    }
}

pub(crate) fn build(params: &Value, context: &Context) -> Result<Box<dyn Objective>> {
    const NAME: &str = "proxy_anchor";
    let row: ProxyAnchorParams = parse(NAME, params)?;
    positive(NAME, "alpha", row.alpha)?;
    if !row.margin.is_finite() {
        return Err(wrong(NAME, "margin must be finite".to_owned()));
    }
    // Kaiming normal over fan-out, as the authors draw them: std = √(2/C).
    let std = (2.0 / context.classes.max(1) as f64).sqrt();
    Ok(Box::new(ProxyAnchor { proxies: Proxies::normal(NAME, std, context)?, row }))
}
