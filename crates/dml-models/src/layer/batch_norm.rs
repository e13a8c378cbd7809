//! A batch norm with its weights and running statistics.

use super::{Scope, Start};
use crate::ops::norm_pool::norm_relu_pool;
use crate::ops::{Activation, ChannelStatistics, Normalization, batch_norm, batch_norm_within};
use crate::weights::Parameter;
use crate::{Mode, Result};
use candle_core::{Tensor, Var};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct BatchNorm {
    gamma: Parameter,
    beta: Parameter,
    mean: Var,
    variance: Var,
    epsilon: f64,
    momentum: f64,
    frozen: Arc<AtomicBool>,
}

impl BatchNorm {
    /// PyTorch's defaults: ε = 1e-5, and a new batch counts for a tenth of the running statistics.
    pub(crate) fn new(scope: &Scope<'_>, channels: usize) -> Result<Self> {
        let gamma = scope.parameter("weight", &[channels], Start::Ones)?;
        Self::scaled_by(gamma, scope, channels)
    }

    /// With a scale that is 1 and stays so.
    pub(crate) fn unscaled(scope: &Scope<'_>, channels: usize) -> Result<Self> {
        let gamma = Parameter::still(scope.buffer("weight", &[channels], Start::Ones)?);
        Self::scaled_by(gamma, scope, channels)
    }

    fn scaled_by(gamma: Parameter, scope: &Scope<'_>, channels: usize) -> Result<Self> {
        Ok(Self {
            gamma,
            beta: scope.parameter("bias", &[channels], Start::Zeros)?,
            mean: scope.buffer("running_mean", &[channels], Start::Zeros)?,
            variance: scope.buffer("running_var", &[channels], Start::Ones)?,
            epsilon: 1e-5,
            momentum: 0.1,
            frozen: scope.frozen_norms(),
        })
    }

    pub(crate) fn with(self, epsilon: f64, momentum: f64) -> Self {
        Self { epsilon, momentum, ..self }
    }

    pub(crate) fn forward(&self, x: &Tensor, mode: Mode, activation: Activation) -> Result<Tensor> {
        let [gamma, beta] = self.affine();
        Ok(batch_norm(x, &gamma, &beta, None, self.how(x, mode, activation)?)?)
    }

    /// `activation(norm(x) + residual)` of an `x` that nobody else has: in its memory, where nothing has a gradient.
    pub(crate) fn within(
        &self,
        x: Tensor,
        residual: Option<&Tensor>,
        mode: Mode,
        activation: Activation,
    ) -> Result<Tensor> {
        let [gamma, beta] = self.affine();
        let how = self.how(&x, mode, activation)?;
        Ok(batch_norm_within(x, &gamma, &beta, residual, how)?)
    }

    fn how(&self, x: &Tensor, mode: Mode, activation: Activation) -> Result<Normalization> {
        let (statistics, of_batch) = self.statistics(x, mode)?;
        Ok(Normalization { statistics, of_batch, epsilon: self.epsilon, activation })
    }

    /// `max-pool 2×2 (relu(norm(x)))`, in one pass.
    pub(crate) fn relu_pool(&self, x: &Tensor, mode: Mode) -> Result<Tensor> {
        let (statistics, of_batch) = self.statistics(x, mode)?;
        let [gamma, beta] = self.affine();
        Ok(norm_relu_pool(x, &gamma, &beta, statistics, of_batch)?)
    }

    /// What `x` is normalised with, and whether it is of this very batch.
    fn statistics(&self, x: &Tensor, mode: Mode) -> Result<(ChannelStatistics, bool)> {
        if mode == Mode::Train && !self.frozen.load(Ordering::Relaxed) {
            let batch = ChannelStatistics::of_batch(x)?;
            self.update(&batch, x.elem_count() / self.mean.elem_count())?;
            return Ok((batch, true));
        }
        Ok((ChannelStatistics { mean: self.mean.to_vec1()?, variance: self.variance.to_vec1()? }, false))
    }

    /// Scale and shift.
    fn affine(&self) -> [Tensor; 2] {
        let frozen = self.frozen.load(Ordering::Relaxed);
        [&self.gamma, &self.beta].map(|of| if frozen { of.tensor().detach() } else { of.tensor() })
    }

    fn update(&self, batch: &ChannelStatistics, count: usize) -> Result<()> {
        // The running variance is the unbiased one, as in PyTorch.
        let unbiased = count as f64 / (count.max(2) - 1) as f64;
        blend(&self.mean, &batch.mean, 1.0, self.momentum)?;
        blend(&self.variance, &batch.variance, unbiased, self.momentum)
    }
}

/// Moves running statistics towards those of a batch.
fn blend(running: &Var, batch: &[f32], scale: f64, momentum: f64) -> Result<()> {
    let old: Vec<f32> = running.to_vec1()?;
    let both = old.iter().zip(batch);
    let new = both.map(|(&old, &new)| (f64::from(old) * (1.0 - momentum) + f64::from(new) * scale * momentum) as f32);
    Ok(running.set(&Tensor::from_vec(new.collect(), old.len(), running.device())?)?)
}
