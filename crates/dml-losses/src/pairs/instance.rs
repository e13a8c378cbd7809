//! Instance loss.
//!
//! Every sample is a class of its own: `−log softmax_j(γ·s_ij)` at `j = i`, over all of the batch; mean over all rows. Labels
//! play no part. Cosines, so that `s_ii` is 1, and the loss drives all samples apart. Zheng et al., *Dual-Path
//! Convolutional Image-Text Embeddings with Instance Loss*, 2020, eq. 4, without its classifier; γ = 64 as in
//! pytorch-metric-learning, which takes the rank of the row's label for its column, and so another loss.

use crate::params::{LossParams, positive};
use crate::row_loss::{Sides, Space};
use crate::setting::Setting;
use crate::softmax::{CrossEntropy, Diagonal};
use crate::{Batch, Context, Evaluation, Objective, Result, Supervision};
use dml_core::{Metric, Reduction};
use serde::{Deserialize, Serialize};

/// Parameters of the instance loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InstanceParams {
    /// Factor γ on the cosines. Default 64.
    pub gamma: f64,
}

impl Default for InstanceParams {
    fn default() -> Self {
        Self { gamma: 64.0 }
    }
}

struct Instance {
    row: CrossEntropy,
    setting: Setting,
}

impl Objective for Instance {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(InstanceParams::NAME)?;
        batch.without_tuples(InstanceParams::NAME)?;
        let (rows, _) = batch.sizes()?;
        // Classes only weigh samples, where a reduction wants that.
        let classes = match batch.supervision {
            Supervision::Labels(_) => Some(batch.labels(InstanceParams::NAME)?),
            _ => None,
        };
        self.setting.evaluate(Sides::of(batch), &Diagonal { rows, classes }, &[], &self.row)
    }

    fn takes_reduction(&self) -> bool {
        true
    }
}

impl LossParams for InstanceParams {
    const NAME: &'static str = "instance";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "gamma", self.gamma)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let setting = Setting::new(Space::new(Metric::Cosine, true), Reduction::Mean, context);
        Ok(Box::new(Instance { row: CrossEntropy { scale: self.gamma }, setting }))
    }
}
