//! VICReg.
//!
//! `λ·mean (x − r)² + μ·[v(x) + v(r)] + ν·[c(x) + c(r)]` of two views x and r, row by row: `v = ½ mean_k [1 − √(var_k + ε)]+`
//! keeps each dimension spread, `c = Σ_{k≠l} cov_kl² / d` keeps two dimensions from saying the same. Variances and
//! covariances are unbiased, rows are taken as they are, labels are not looked at. Bardes et al., *VICReg:
//! Variance-Invariance-Covariance Regularization for Self-Supervised Learning*, 2022, eq. 1–6, with the mean of both
//! variance terms, as the authors' code and pytorch-metric-learning. One number, which no reduction changes. Of a single
//! row there is no variance: its terms are left out.

use crate::autograd::{attach, nothing};
use crate::composed::hinge;
use crate::params::{LossParams, not_negative, positive};
use crate::row_loss::{Sides, wide};
use crate::{Batch, Context, Error, Evaluation, Kernel, Objective, Result, Supervision};
use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};

/// Parameters of VICReg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VicRegParams {
    /// Weight λ of the squared differences of the views. Default 25.
    pub invariance: f64,
    /// Weight μ of the hinge on standard deviations. Default 25.
    pub variance: f64,
    /// Weight ν of the squared covariances. Default 1.
    pub covariance: f64,
    /// Added to variances before the root. Default 1e-4.
    pub eps: f64,
}

impl Default for VicRegParams {
    fn default() -> Self {
        Self { invariance: 25.0, variance: 25.0, covariance: 1.0, eps: 1e-4 }
    }
}

/// A view's variance and covariance.
struct View {
    centred: Tensor,
    /// √(var + ε) `[1, d]`.
    deviations: Tensor,
    /// Covariances, 0 on the diagonal, `[d, d]`.
    mixed: Tensor,
}

impl VicRegParams {
    fn view(&self, x: &Tensor) -> Result<View> {
        let (n, d) = x.dims2()?;
        let centred = x.broadcast_sub(&x.mean_keepdim(0)?)?;
        let others = n as f64 - 1.0;
        let deviations = ((centred.sqr()?.sum_keepdim(0)? / others)? + self.eps)?.sqrt()?;
        let covariances = (centred.t()?.contiguous()?.matmul(&centred)? / others)?;
        let apart = (1.0 - Tensor::eye(d, x.dtype(), x.device())?)?;
        Ok(View { centred, deviations, mixed: (covariances * apart)? })
    }

    /// The terms of a view, weighted.
    fn spread(&self, view: &View) -> Result<Tensor> {
        let d = view.mixed.dim(0)? as f64;
        let variance = (hinge(&(1.0 - &view.deviations)?)?.sum_all()? * (self.variance * 0.5 / d))?;
        Ok((variance + (view.mixed.sqr()?.sum_all()? * (self.covariance / d))?)?)
    }

    /// Their derivative by the view's rows. Centring adds nothing to it: its columns sum to 0 as those of `centred` do.
    fn spread_slope(&self, view: &View) -> Result<Tensor> {
        let (n, d) = view.centred.dims2()?;
        let scale = 1.0 / (d as f64 * (n as f64 - 1.0));
        let short = view.deviations.ge(1.0)?.where_cond(&view.deviations.zeros_like()?, &view.deviations.recip()?)?;
        let variance = view.centred.broadcast_mul(&(short * (-0.5 * self.variance * scale))?)?;
        Ok((variance + (view.centred.matmul(&view.mixed)? * (4.0 * self.covariance * scale))?)?)
    }

    fn composed(&self, x: &Tensor, r: &Tensor) -> Result<Tensor> {
        // A factor of 0 cuts candle's graph; the views stay part of it.
        let value = (((x - r)?.sqr()?.mean_all()? * self.invariance)? + nothing(&[x, r])?)?;
        if x.dim(0)? < 2 {
            return Ok(value);
        }
        Ok(((value + self.spread(&self.view(x)?)?)? + self.spread(&self.view(r)?)?)?)
    }

    fn fused<T: candle_core::WithDType>(&self, sides: (&Tensor, &Tensor), x: &Tensor, r: &Tensor) -> Result<Tensor> {
        let (x, r) = (x.detach(), r.detach());
        let difference = (&x - &r)?;
        let count = difference.elem_count() as f64;
        let mut value = (difference.sqr()?.sum_all()? * (self.invariance / count))?;
        let pull = (difference * (2.0 * self.invariance / count))?;
        let (mut dx, mut dr) = (pull.clone(), pull.neg()?);
        if x.dim(0)? > 1 {
            let (a, b) = (self.view(&x)?, self.view(&r)?);
            value = ((value + self.spread(&a)?)? + self.spread(&b)?)?;
            (dx, dr) = ((dx + self.spread_slope(&a)?)?, (dr + self.spread_slope(&b)?)?);
        }
        let value: f64 = value.to_dtype(DType::F64)?.to_scalar()?;
        let host = |gradient: Tensor| -> Result<Vec<T>> { Ok(gradient.flatten_all()?.to_vec1()?) };
        let mut gradients = vec![(sides.0, host(dx)?)];
        if sides.1.track_op() {
            gradients.push((sides.1, host(dr)?));
        }
        attach(value, gradients)
    }
}

struct VicReg {
    params: VicRegParams,
    kernel: Kernel,
}

impl Objective for VicReg {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_tuples(VicRegParams::NAME)?;
        let wanted = "give the second view of the same samples, row by row, as references";
        let Some(references) = batch.references else {
            return Err(Error::Labels(format!("vic_reg compares two views of each sample: {wanted}")));
        };
        if let Supervision::Labels(_) = batch.supervision {
            batch.labels(VicRegParams::NAME)?;
        }
        let (n, m) = batch.sizes()?;
        let (d, e) = (batch.embeddings.dim(1)?, references.embeddings.dim(1)?);
        if (n, d) != (m, e) {
            let message = format!("vic_reg was given views of shapes [{n}, {d}] and [{m}, {e}]: {wanted}");
            return Err(Error::Labels(message));
        }
        let views = (batch.embeddings, references.embeddings);
        if n * d == 0 {
            return Ok(nothing(&[views.0, views.1])?.into());
        }
        let x = wide(views.0)?;
        let r = wide(views.1)?.to_dtype(x.dtype())?;
        let loss = match (Sides::of(batch).fused(self.kernel), x.dtype()) {
            (true, DType::F64) => self.params.fused::<f64>(views, &x, &r)?,
            (true, _) => self.params.fused::<f32>(views, &x, &r)?,
            (false, _) => self.params.composed(&x, &r)?,
        };
        Ok(loss.into())
    }

    fn takes_references(&self) -> bool {
        true
    }

    fn needs_references(&self) -> bool {
        true
    }
}

impl LossParams for VicRegParams {
    const NAME: &'static str = "vic_reg";

    fn check(&self) -> Result<()> {
        not_negative(Self::NAME, "invariance", self.invariance)?;
        not_negative(Self::NAME, "variance", self.variance)?;
        not_negative(Self::NAME, "covariance", self.covariance)?;
        positive(Self::NAME, "eps", self.eps)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        Ok(Box::new(VicReg { params: self.clone(), kernel: context.kernel }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
