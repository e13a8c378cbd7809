//! Proxy-NCA.
//!
//! `mean_i −log softmax(−scale·‖x̂_i − ŵ‖²)_{y_i}` over all proxies, the positive one included, as in nearly all code; the
//! paper leaves it out of the denominator. Movshovitz-Attias et al., *No Fuss Distance Metric Learning using Proxies*, 2017, eq. 4.

use super::proxies::{Proxies, ProxyLoss};
use crate::params::{parse, positive};
use crate::softmax::CrossEntropy;
use crate::{Context, Objective, Result};
use dml_core::Metric;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Parameters of Proxy-NCA.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyNcaParams {
    /// Factor on the squared distance. Default 1; Proxy-NCA++ uses 9.
    pub softmax_scale: f32,
}

impl Default for ProxyNcaParams {
    fn default() -> Self {
        Self { softmax_scale: 1.0 }
    }
}

pub(crate) fn build(params: &Value, context: &Context) -> Result<Box<dyn Objective>> {
    const NAME: &str = "proxy_nca";
    let p: ProxyNcaParams = parse(NAME, params)?;
    positive(NAME, "softmax_scale", p.softmax_scale)?;
    let proxies = Proxies::normal(NAME, 1.0, context)?;
    Ok(Box::new(ProxyLoss { proxies, row: CrossEntropy { scale: -p.softmax_scale }, metric: Metric::SquaredEuclidean }))
}
