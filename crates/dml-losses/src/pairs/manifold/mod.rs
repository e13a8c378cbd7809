//! Manifold similarity loss.
//!
//! Similarity is that of random walks over the batch and K learned proxies. With `S = e^{2 max(cos, 0)}` between all of
//! them, 0 on the diagonal, `S̄ = D^{−½} S D^{−½}` and `F = (1 − α)(I − α S̄)⁻¹`, the intrinsic part is `mean_i log(1 + Σ e^u)` over
//! the other proxies k with `u = F_{i,k} − F_{i,own} + margin ≥ 0`; the context part has the cosines of the rows of F instead
//! of its entries, and comes in with `lambda`. Aziere & Todorovic, *Ensemble Deep Manifold Similarity Learning using Hard
//! Proxies*, 2019, eq. 1–9, for one member of the ensemble. As pytorch-metric-learning, which inverts in `f32`; here all is
//! `f64` on the CPU, and the gradient goes through F.
//!
//! Labels are not looked at: every batch, the rows draw their proxies anew, each proxy at least once where there are rows
//! enough (`meta classes`). A saved state with `meta_classes` `[n]` fixes them instead, for all batches to come. One number, which
//! no reduction changes.

mod inverse;

use crate::autograd::nothing;
use crate::composed::hinge;
use crate::params::{LossParams, finite, not_negative, wrong};
use crate::proxy::proxies::Proxies;
use crate::row_loss::{Sides, wide};
use crate::{Batch, Context, Error, Evaluation, Kernel, Objective, Result, Supervision};
use candle_core::{D, DType, Tensor, Var};
use dml_core::l2_normalize;
use inverse::{Inverse, neumann};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Parameters of the manifold similarity loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManifoldParams {
    /// Number K of proxies. Default 50.
    pub proxies: usize,
    /// Weight of the context part; 0 leaves it out. Default 1.
    pub lambda: f64,
    /// Chance that a walk goes on, α. Default 0.8.
    pub alpha: f64,
    /// Margin. Default 5e-4.
    pub margin: f64,
}

impl Default for ManifoldParams {
    fn default() -> Self {
        Self { proxies: 50, lambda: 1.0, alpha: 0.8, margin: 5e-4 }
    }
}

/// Streams of random numbers above those of the proxies.
const STREAM: u64 = 1 << 32;

struct Manifold {
    params: ManifoldParams,
    proxies: Proxies,
    /// The proxy of each row, where a saved state has fixed them.
    fixed: Option<Vec<u32>>,
    seed: u64,
    step: u64,
    kernel: Kernel,
}

impl Manifold {
    /// The proxy of each of `n` rows.
    fn meta_classes(&mut self, n: usize) -> Result<Vec<u32>> {
        let proxies = self.params.proxies as u32;
        if let Some(fixed) = &self.fixed {
            if fixed.len() == n {
                return Ok(fixed.clone());
            }
            let given = fixed.len();
            return Err(Error::State(format!(
                "meta_classes has length {given} but there are {n} rows: fix one per row"
            )));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(STREAM + self.step);
        self.step += 1;
        let mut classes: Vec<u32> = (0..proxies).collect();
        if n < classes.len() {
            classes.shuffle(&mut rng);
            classes.truncate(n);
            return Ok(classes);
        }
        classes.extend((proxies as usize..n).map(|_| rng.random_range(0..proxies)));
        classes.shuffle(&mut rng);
        Ok(classes)
    }

    fn value(&self, x: &Tensor, proxies: &Tensor, own: Vec<u32>, fused: bool) -> Result<Tensor> {
        let (n, k) = (x.dim(0)?, proxies.dim(0)?);
        let (alpha, nodes) = (self.params.alpha, n + k);
        let unit = l2_normalize(&Tensor::cat(&[x, proxies], 0)?)?;
        let near = (hinge(&unit.matmul(&unit.t()?.contiguous()?)?)? * 2.0)?.exp()?;
        let one = Tensor::eye(nodes, x.dtype(), x.device())?;
        let near = (near * (1.0 - &one)?)?;
        let root = near.sum_keepdim(1)?.sqrt()?.recip()?;
        let walk = (near.broadcast_mul(&root)?.broadcast_mul(&root.t()?)? * alpha)?;
        let reach = if fused { (one - walk)?.contiguous()?.apply_op1(Inverse)? } else { neumann(&walk, alpha)? };
        let reach = (reach * (1.0 - alpha))?;
        let at = Tensor::from_vec(own, (n, 1), x.device())?;
        let columns = Tensor::arange(0, k as u32, x.device())?.unsqueeze(0)?;
        let own = columns.broadcast_eq(&at)?;
        let block = reach.narrow(0, 0, n)?.narrow(1, n, k)?.contiguous()?;
        let intrinsic = self.part(&block, &own)?;
        if self.params.lambda == 0.0 {
            return Ok(intrinsic);
        }
        let rows = l2_normalize(&reach)?;
        let near = rows.narrow(0, 0, n)?.matmul(&rows.narrow(0, n, k)?.t()?.contiguous()?)?;
        Ok((intrinsic + (self.part(&near, &own)? * self.params.lambda)?)?)
    }

    /// `mean_i log(1 + Σ_k e^u)` over the proxies that are not `own` and not left behind by the margin.
    fn part(&self, scores: &Tensor, own: &Tensor) -> Result<Tensor> {
        let at_own = (scores * own.to_dtype(scores.dtype())?)?.sum_keepdim(D::Minus1)?;
        let gaps = (scores.broadcast_sub(&at_own)? + self.params.margin)?;
        let out = (gaps.lt(0.0)? + own)?.gt(0u8)?;
        let powers = out.where_cond(&gaps.zeros_like()?, &gaps.exp()?)?;
        Ok((powers.sum(D::Minus1)? + 1.0)?.log()?.mean_all()?)
    }
}

impl Objective for Manifold {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(ManifoldParams::NAME)?;
        batch.without_tuples(ManifoldParams::NAME)?;
        if let Supervision::Labels(_) = batch.supervision {
            batch.labels(ManifoldParams::NAME)?;
        }
        let (n, _) = batch.sizes()?;
        let given = wide(batch.embeddings)?;
        let proxies = self.proxies.like(batch.embeddings)?;
        if n == 0 {
            return Ok(nothing(&[&given, &proxies])?.into());
        }
        let own = self.meta_classes(n)?;
        let fused = Sides::of(batch).fused(self.kernel);
        let dtype = if fused { DType::F64 } else { given.dtype() };
        let loss = self.value(&given.to_dtype(dtype)?, &proxies.to_dtype(dtype)?, own, fused)?;
        Ok(loss.to_dtype(given.dtype())?.into())
    }

    fn parameters(&self) -> Vec<(String, Var)> {
        self.proxies.parameters()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let device = self.proxies.vectors.device();
        let mut state = vec![("meta_classes.step".to_owned(), Tensor::new(&[self.step as i64], device)?)];
        if let Some(fixed) = &self.fixed {
            state.push(("meta_classes".to_owned(), Tensor::new(fixed.as_slice(), device)?));
        }
        Ok(state)
    }

    fn load_state(&mut self, state: &HashMap<String, Tensor>) -> Result<()> {
        let numbers = |name: &str| -> Result<Option<Vec<i64>>> {
            let tensor = state.get(name).map(|tensor| tensor.to_dtype(DType::I64)?.flatten_all()?.to_vec1());
            Ok(tensor.transpose()?)
        };
        let (step, fixed) = (numbers("meta_classes.step")?, numbers("meta_classes")?);
        let Some(step) = step.map_or_else(|| fixed.is_some().then_some(0), |step| step.first().copied()) else {
            return Err(Error::State("meta_classes.step is missing".to_owned()));
        };
        let proxies = self.params.proxies;
        if let Some(class) = fixed.iter().flatten().find(|&&class| class < 0 || class >= proxies as i64) {
            return Err(Error::State(format!("meta_classes has {class} but there are {proxies} proxies")));
        }
        self.step = step as u64;
        self.fixed = fixed.map(|fixed| fixed.into_iter().map(|class| class as u32).collect());
        Ok(())
    }
}

impl LossParams for ManifoldParams {
    const NAME: &'static str = "manifold";

    fn check(&self) -> Result<()> {
        crate::params::within(Self::NAME, "proxies", self.proxies, 1, 1 << 20)?;
        not_negative(Self::NAME, "lambda", self.lambda)?;
        finite(Self::NAME, "margin", self.margin)?;
        if self.alpha > 0.0 && self.alpha < 1.0 {
            return Ok(());
        }
        Err(wrong(Self::NAME, format!("alpha is {}: want a number above 0 and below 1", self.alpha)))
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        let of_proxies = Context { classes: self.proxies, ..context.clone() };
        Ok(Box::new(Manifold {
            params: self.clone(),
            proxies: Proxies::normal(Self::NAME, 1.0, 1, &of_proxies)?,
            fixed: None,
            seed: context.seed,
            step: 0,
            kernel: context.kernel,
        }))
    }

    fn presets() -> Vec<(&'static str, Self)> {
        vec![("pml", Self::default())]
    }
}
