//! One step of one tensor.

use super::{Kind, OptimizerConfig};
use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, Var, bail};
use dml_core::vector::widest;
use rayon::prelude::*;
use std::sync::Mutex;

/// All numbers of a step but those of the tensor.
#[derive(Clone, Copy)]
pub(super) struct Step {
    kind: Kind,
    nesterov: bool,
    /// What the gradient is clipped to, and then multiplied by.
    clip: f64,
    pub(super) scale: f64,
    lr: f64,
    decay: f64,
    momentum: f64,
    beta1: f64,
    beta2: f64,
    alpha: f64,
    eps: f64,
    /// 1 − β₁ⁿ and √(1 − β₂ⁿ) of step n.
    corrections: [f64; 2],
}

impl Step {
    /// Step `n`, from 1.
    pub(super) fn new(config: &OptimizerConfig, n: u64) -> Self {
        let c = config;
        Self {
            kind: c.kind,
            nesterov: c.nesterov,
            scale: 1.0,
            clip: c.clip(),
            lr: c.lr,
            decay: c.weight_decay,
            momentum: c.momentum(),
            beta1: c.beta1,
            beta2: c.beta2,
            alpha: c.alpha,
            eps: c.eps,
            corrections: [1.0 - c.beta1.powf(n as f64), (1.0 - c.beta2.powf(n as f64)).sqrt()],
        }
    }

    /// For a tensor that learns at `lr` and decays or not.
    pub(super) fn of(self, lr: f64, decays: bool) -> Self {
        Self { lr, decay: if decays { self.decay } else { 0.0 }, ..self }
    }
}

/// What a rule remembers of a tensor.
pub(super) enum Memory {
    /// On the CPU: mean or velocity, and square mean; zeros where the rule has none.
    Host([Vec<f32>; 2]),
    /// On other devices.
    Device([Tensor; 2]),
}

impl Memory {
    pub(super) fn new(var: &Var) -> Result<Self> {
        if var.device().is_cpu() && var.dtype() == candle_core::DType::F32 && var.is_contiguous() {
            let zeros = || vec![0f32; var.elem_count()];
            return Ok(Self::Host([zeros(), zeros()]));
        }
        Ok(Self::Device([var.zeros_like()?, var.zeros_like()?]))
    }

    /// Moves `var` against `gradient`.
    pub(super) fn step(&mut self, var: &Var, gradient: &Tensor, step: Step) -> Result<()> {
        match self {
            Self::Host(memory) => {
                var.inplace_op2(&gradient.contiguous()?, &HostStep { memory: Mutex::new(memory), step })
            }
            Self::Device(memory) => on_device(memory, var, gradient, step),
        }
    }

    /// Both as tensors like `var`.
    pub(super) fn tensors(&self, var: &Var) -> Result<[Tensor; 2]> {
        match self {
            Self::Host([first, second]) => {
                let tensor = |values: &Vec<f32>| Tensor::from_slice(values, var.shape(), var.device());
                Ok([tensor(first)?, tensor(second)?])
            }
            Self::Device(tensors) => Ok(tensors.clone()),
        }
    }

    pub(super) fn set(&mut self, tensors: [Tensor; 2], var: &Var) -> Result<()> {
        let [first, second] = tensors;
        match self {
            Self::Host(memory) => *memory = [first.flatten_all()?.to_vec1()?, second.flatten_all()?.to_vec1()?],
            Self::Device(memory) => *memory = [first.to_device(var.device())?, second.to_device(var.device())?],
        }
        Ok(())
    }
}

/// Numbers that one thread works on.
const PIECE: usize = 1 << 15;

struct HostStep<'a> {
    memory: Mutex<&'a mut [Vec<f32>; 2]>,
    step: Step,
}

impl InplaceOp2 for HostStep<'_> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(&self, w: &mut CpuStorage, wl: &Layout, g: &CpuStorage, gl: &Layout) -> Result<()> {
        let (Some((w_start, w_end)), Some((g_start, g_end))) = (wl.contiguous_offsets(), gl.contiguous_offsets())
        else {
            bail!("optimizer step wants contiguous tensors");
        };
        let (CpuStorage::F32(w), g) = (w, g.as_slice::<f32>()?) else { bail!("optimizer step wants f32") };
        let (w, g) = (&mut w[w_start..w_end], &g[g_start..g_end]);
        let mut memory = self.memory.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let [first, second] = &mut **memory;
        let pieces = w.par_chunks_mut(PIECE).zip(g.par_chunks(PIECE));
        pieces.zip(first.par_chunks_mut(PIECE)).zip(second.par_chunks_mut(PIECE)).for_each(
            |(((w, g), first), second)| {
                widest(
                    #[inline(always)]
                    || piece(self.step, w, g, first, second),
                );
            },
        );
        Ok(())
    }
}

/// `g` within ±`clip`. NaN passes a comparison: it must show.
#[inline(always)]
pub(super) fn clipped(g: f32, clip: f32) -> f32 {
    let g = if g > clip { clip } else { g };
    if g < -clip { -clip } else { g }
}

#[inline(always)]
fn piece(step: Step, w: &mut [f32], g: &[f32], first: &mut [f32], second: &mut [f32]) {
    let n = w.len();
    let (g, first, second) = (&g[..n], &mut first[..n], &mut second[..n]);
    let (scale, clip, lr) = (step.scale as f32, step.clip as f32, step.lr as f32);
    let (decay, eps) = (step.decay as f32, step.eps as f32);
    let clipped = |g: f32| clipped(g, clip) * scale;
    match step.kind {
        Kind::Sgd => {
            let momentum = step.momentum as f32;
            for i in 0..n {
                let g = clipped(g[i]) + decay * w[i];
                first[i] = momentum * first[i] + g;
                w[i] -= lr * if step.nesterov { g + momentum * first[i] } else { first[i] };
            }
        }
        Kind::Adam | Kind::AdamW => {
            let (beta1, beta2) = (step.beta1 as f32, step.beta2 as f32);
            let (rest1, rest2) = ((1.0 - step.beta1) as f32, (1.0 - step.beta2) as f32);
            let rate = (step.lr / step.corrections[0]) as f32;
            let root = (1.0 / step.corrections[1]) as f32;
            let (added, kept) = match step.kind {
                Kind::Adam => (decay, 1.0),
                _ => (0.0, (1.0 - step.lr * step.decay) as f32),
            };
            for i in 0..n {
                let g = clipped(g[i]) + added * w[i];
                first[i] = beta1 * first[i] + rest1 * g;
                second[i] = beta2 * second[i] + rest2 * (g * g);
                w[i] = w[i] * kept - rate * first[i] / (second[i].sqrt() * root + eps);
            }
        }
        Kind::RmsProp => {
            let (alpha, rest) = (step.alpha as f32, (1.0 - step.alpha) as f32);
            let momentum = step.momentum as f32;
            for i in 0..n {
                let g = clipped(g[i]) + decay * w[i];
                second[i] = alpha * second[i] + rest * (g * g);
                // The order of operations is PyTorch's of either case.
                if momentum > 0.0 {
                    first[i] = momentum * first[i] + g / (second[i].sqrt() + eps);
                    w[i] -= lr * first[i];
                } else {
                    w[i] -= lr * g / (second[i].sqrt() + eps);
                }
            }
        }
    }
}

/// The same from candle's operations.
fn on_device(memory: &mut [Tensor; 2], var: &Var, gradient: &Tensor, s: Step) -> Result<()> {
    let w = var.as_tensor();
    let mut g = if s.clip.is_finite() { gradient.clamp(-s.clip, s.clip)? } else { gradient.clone() };
    g = (g * s.scale)?;
    if s.kind != Kind::AdamW && s.decay > 0.0 {
        g = (g + (w * s.decay)?)?;
    }
    let blend = |old: &Tensor, new: &Tensor, share: f64| -> Result<Tensor> {
        Ok(((old * share)? + (new * (1.0 - share))?)?.detach())
    };
    let update = match s.kind {
        Kind::Sgd => {
            memory[0] = ((&memory[0] * s.momentum)? + &g)?.detach();
            let ahead = if s.nesterov { (&g + (&memory[0] * s.momentum)?)? } else { memory[0].clone() };
            (ahead * s.lr)?
        }
        Kind::Adam | Kind::AdamW => {
            memory[0] = blend(&memory[0], &g, s.beta1)?;
            memory[1] = blend(&memory[1], &g.sqr()?, s.beta2)?;
            let root = ((memory[1].sqrt()? / s.corrections[1])? + s.eps)?;
            ((&memory[0] / root)? * (s.lr / s.corrections[0]))?
        }
        Kind::RmsProp => {
            memory[1] = blend(&memory[1], &g.sqr()?, s.alpha)?;
            memory[0] = ((&memory[0] * s.momentum)? + (g / (memory[1].sqrt()? + s.eps)?)?)?.detach();
            (&memory[0] * s.lr)?
        }
    };
    let kept = if s.kind == Kind::AdamW { (w * (1.0 - s.lr * s.decay))? } else { w.clone() };
    var.set(&(kept - update)?.detach())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand_ten::rngs::ChaCha8Rng;
    use rand_ten::{RngExt, SeedableRng};

    #[test]
    fn both_ways_walk_alike() {
        let mut drawn = ChaCha8Rng::seed_from_u64(1);
        let mut numbers = || {
            let values: Vec<f32> = (0..35).map(|_| drawn.random_range(-2.0..2.0)).collect();
            Tensor::from_vec(values, (5, 7), &Device::Cpu).unwrap()
        };
        for kind in [Kind::Sgd, Kind::Adam, Kind::AdamW, Kind::RmsProp] {
            for (nesterov, momentum) in [(false, None), (true, None), (false, Some(0.7))] {
                let config = OptimizerConfig {
                    kind,
                    nesterov,
                    momentum,
                    weight_decay: 0.1,
                    lr: 0.05,
                    clip_value: 1.0,
                    ..Default::default()
                };
                let start = numbers();
                let (host, device) =
                    (Var::from_tensor(&start).unwrap(), Var::from_tensor(&start.copy().unwrap()).unwrap());
                let mut memory = Memory::new(&host).unwrap();
                assert!(matches!(memory, Memory::Host(_)));
                let mut tensors = [device.zeros_like().unwrap(), device.zeros_like().unwrap()];
                for n in 1..6 {
                    let g = numbers();
                    let step = Step { scale: 0.7, ..Step::new(&config, n) };
                    memory.step(&host, &g, step).unwrap();
                    on_device(&mut tensors, &device, &g, step).unwrap();
                }
                let off = (host.as_tensor() - device.as_tensor()).unwrap().abs().unwrap().max_all().unwrap();
                assert!(off.to_scalar::<f32>().unwrap() < 1e-5, "{kind:?}");
            }
        }
    }
}
