//! Batch normalisation with what follows it, in one pass each way.
//!
//! `x̂ = (x − μ_c)/√(σ²_c + ε)`, `y = act(γ_c·x̂ + β_c + r)` with the residual `r` if there is one. Ioffe & Szegedy, *Batch
//! Normalization*, 2015, eq. 1–4. Separate operations would read and write the largest activations of a network three times as
//! often.

use super::activation::{Activation, Curve, with_curve};
use super::slice;
use super::statistics::{ChannelStatistics, added, planes};
use super::tape::{apply2, apply3};
use super::vector::{sum_over, widest};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, InplaceOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;
use std::ops::Range;

/// How a batch is normalised, and what follows.
#[derive(Clone, Debug)]
pub struct Normalization {
    /// Of every channel.
    pub statistics: ChannelStatistics,
    /// Whether they are those of this very batch; the gradient then flows through them.
    pub of_batch: bool,
    /// Added to the variance. PyTorch's default is 1e-5.
    pub epsilon: f64,
    /// Of the sum of all.
    pub activation: Activation,
}

/// Normalises `x` (`[n, c, h, w]` or `[n, c]`), scales by `gamma`, shifts by `beta` (`[c]`), adds `residual` (of the shape of `x`)
/// and applies the activation.
///
/// # Errors
/// When shapes do not fit.
pub fn batch_norm(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    residual: Option<&Tensor>,
    how: Normalization,
) -> Result<Tensor> {
    checked(x, gamma, beta, residual, &how)?;
    if !slice::fits(&[x, gamma, beta]) {
        return composed(x, gamma, beta, residual, &how);
    }
    let x = x.contiguous()?;
    // Two small rows in one tensor, so that an operation of three arguments has room for the residual.
    let affine = Tensor::stack(&[gamma, beta], 0)?;
    let op = BatchNorm::new(how);
    match residual {
        Some(residual) => apply3(op, [&x, &affine, &residual.contiguous()?]),
        None => apply2(op, &x, &affine),
    }
}

/// As [`batch_norm`] of an `x` that nobody else has: where nothing has a gradient, the result takes its memory.
pub(crate) fn batch_norm_within(
    x: Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    residual: Option<&Tensor>,
    how: Normalization,
) -> Result<Tensor> {
    checked(&x, gamma, beta, residual, &how)?;
    let all: Vec<&Tensor> = [&x, gamma, beta].into_iter().chain(residual).collect();
    if !slice::fits(&all) || all.iter().any(|of| of.track_op()) {
        return batch_norm(&x, gamma, beta, residual, how);
    }
    let (_, _, hw) = planes(&x)?;
    let (x, affine) = (x.contiguous()?, Tensor::stack(&[gamma, beta], 0)?);
    let norm = BatchNorm::new(how);
    slice::with(&affine, |affine| match residual {
        Some(residual) => slice::with(&residual.contiguous()?, |r| {
            x.inplace_op1(&Within { norm: &norm, affine, residual: Some(r), hw })
        }),
        None => x.inplace_op1(&Within { norm: &norm, affine, residual: None, hw }),
    })?;
    Ok(x)
}

fn checked(x: &Tensor, gamma: &Tensor, beta: &Tensor, residual: Option<&Tensor>, how: &Normalization) -> Result<()> {
    let (_, c, _) = planes(x)?;
    if gamma.dims() != [c] || beta.dims() != [c] || how.statistics.mean.len() != c {
        bail!("batch_norm: input {:?} wants gamma, beta and statistics of length {c}", x.dims());
    }
    if residual.is_some_and(|residual| residual.dims() != x.dims()) {
        bail!("batch_norm: the residual has another shape than the input {:?}", x.dims());
    }
    Ok(())
}

/// The same from candle's operations: used off the CPU, and the oracle of the fused form.
pub(crate) fn composed(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    residual: Option<&Tensor>,
    how: &Normalization,
) -> Result<Tensor> {
    let (n, c, hw) = planes(x)?;
    let rows = x.reshape((n, c, hw))?;
    let (mean, variance) = if how.of_batch {
        let mean = rows.mean_keepdim((0, 2))?;
        let variance = rows.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2))?;
        (mean, variance)
    } else {
        let of = |values: &[f32]| Tensor::from_slice(values, (1, c, 1), x.device())?.to_dtype(x.dtype());
        (of(&how.statistics.mean)?, of(&how.statistics.variance)?)
    };
    let normed = rows.broadcast_sub(&mean)?.broadcast_div(&(variance + how.epsilon)?.sqrt()?)?;
    let scaled = normed.broadcast_mul(&gamma.reshape((1, c, 1))?)?.broadcast_add(&beta.reshape((1, c, 1))?)?;
    let y = scaled.reshape(x.shape())?;
    how.activation.composed(&match residual {
        Some(residual) => (y + residual)?,
        None => y,
    })
}

struct BatchNorm {
    mean: Vec<f32>,
    inverse: Vec<f32>,
    of_batch: bool,
    activation: Activation,
}

/// Images of one partial sum: a fixed number, so that the order does not depend on threads.
const IMAGES: usize = 4;

/// What a pass reads.
#[derive(Clone, Copy)]
struct Operands<'a> {
    x: &'a [f32],
    affine: &'a [f32],
    residual: Option<&'a [f32]>,
    hw: usize,
}

impl BatchNorm {
    fn new(how: Normalization) -> Self {
        let inverse =
            how.statistics.variance.iter().map(|&v| (1.0 / (f64::from(v) + how.epsilon).sqrt()) as f32).collect();
        Self { mean: how.statistics.mean, inverse, of_batch: how.of_batch, activation: how.activation }
    }

    fn channels(&self) -> usize {
        self.mean.len()
    }

    /// `z = scale·x + shift` of a channel.
    #[inline(always)]
    fn line(&self, affine: &[f32], c: usize) -> (f32, f32) {
        let scale = affine[c] * self.inverse[c];
        (scale, affine[self.channels() + c] - scale * self.mean[c])
    }

    fn forward(&self, t: Operands<'_>) -> Vec<f32> {
        let image = self.channels() * t.hw;
        with_curve!(self.activation, curve => {
            slice::in_chunks(t.x.len(), image, || (), |(), start, y| {
                let residual = t.residual.map(|r| &r[start..][..image]);
                self.image(t.affine, residual, t.hw, curve, y, #[inline(always)] |plane, y| y.copy_from_slice(&t.x[start..][plane]));
            })
        })
    }

    /// One image of results, from what `fill` brings into each of its planes.
    #[inline(always)]
    fn image(
        &self,
        affine: &[f32],
        residual: Option<&[f32]>,
        hw: usize,
        curve: impl Curve,
        y: &mut [f32],
        fill: impl Fn(Range<usize>, &mut [f32]),
    ) {
        widest(
            #[inline(always)]
            || {
                for (channel, y) in y.chunks_exact_mut(hw).enumerate() {
                    let (scale, shift) = self.line(affine, channel);
                    let plane = channel * hw..(channel + 1) * hw;
                    fill(plane.clone(), y);
                    match residual {
                        Some(r) => {
                            y.iter_mut().zip(&r[plane]).for_each(|(y, r)| *y = curve.value(scale * *y + shift + r))
                        }
                        None => y.iter_mut().for_each(|y| *y = curve.value(scale * *y + shift)),
                    }
                }
            },
        );
    }

    /// Gradients of input, `[gamma, beta]` and residual (empty if there is none).
    fn backward(&self, t: Operands<'_>, dy: &[f32]) -> [Vec<f32>; 3] {
        with_curve!(self.activation, curve => {
            let sums = self.sums(t, dy, curve);
            let (dx, residual) = self.inputs(t, dy, &sums, curve);
            [dx, sums.iter().map(|&sum| sum as f32).collect(), residual]
        })
    }

    /// `Σ dz·x̂` and then `Σ dz` of each channel.
    fn sums(&self, t: Operands<'_>, dy: &[f32], curve: impl Curve) -> Vec<f64> {
        let (c, hw) = (self.channels(), t.hw);
        let partial = dy.par_chunks(IMAGES * c * hw).enumerate().map(|(part, dy)| {
            let mut sums = vec![0f64; 2 * c];
            let start = part * IMAGES * c * hw;
            widest(
                #[inline(always)]
                || {
                    for at in (0..dy.len()).step_by(hw) {
                        let channel = at / hw % c;
                        let (scale, shift) = self.line(t.affine, channel);
                        let (mean, inverse) = (self.mean[channel], self.inverse[channel]);
                        let (x, dy) = (&t.x[start + at..][..hw], &dy[at..][..hw]);
                        let residual = t.residual.map(|r| &r[start + at..][..hw]);
                        let [of_gamma, of_beta] = match residual {
                            Some(r) => two_sums(hw, |i| {
                                let dz = dy[i] * curve.slope(scale * x[i] + shift + r[i]);
                                [dz * ((x[i] - mean) * inverse), dz]
                            }),
                            None => two_sums(hw, |i| {
                                let dz = dy[i] * curve.slope(scale * x[i] + shift);
                                [dz * ((x[i] - mean) * inverse), dz]
                            }),
                        };
                        sums[channel] += of_gamma;
                        sums[c + channel] += of_beta;
                    }
                },
            );
            sums
        });
        added(2 * c, partial.collect())
    }

    fn inputs(&self, t: Operands<'_>, dy: &[f32], sums: &[f64], curve: impl Curve) -> (Vec<f32>, Vec<f32>) {
        let (c, hw) = (self.channels(), t.hw);
        let count = (t.x.len() / c) as f64;
        let mut dx = slice::zeros(t.x.len());
        // dz is the residual's gradient; without a residual it is not kept.
        let mut dr = slice::zeros(if t.residual.is_some() { t.x.len() } else { 0 });
        let kept = slice::chunks_or_none(&mut dr, c * hw, t.x.len() / (c * hw));
        dx.par_chunks_mut(c * hw).zip(kept).enumerate().for_each(|(image, (dx, dr))| {
            let start = image * c * hw;
            widest(
                #[inline(always)]
                || {
                    for channel in 0..c {
                        let (scale, shift) = self.line(t.affine, channel);
                        // dx = scale·(dz − mean(dz) − x̂·mean(dz·x̂)), as slope·x + level beside dz.
                        let (slope, level) = match self.of_batch {
                            true => {
                                let slope = -scale * self.inverse[channel] * (sums[channel] / count) as f32;
                                (slope, -scale * (sums[c + channel] / count) as f32 - slope * self.mean[channel])
                            }
                            false => (0.0, 0.0),
                        };
                        let plane = start + channel * hw;
                        let (x, dy) = (&t.x[plane..][..hw], &dy[plane..][..hw]);
                        let dx = &mut dx[channel * hw..][..hw];
                        match t.residual.map(|r| &r[plane..][..hw]) {
                            Some(r) => {
                                let dr = &mut dr[channel * hw..][..hw];
                                for i in 0..hw {
                                    dr[i] = dy[i] * curve.slope(scale * x[i] + shift + r[i]);
                                    dx[i] = scale * dr[i] + slope * x[i] + level;
                                }
                            }
                            None => {
                                for i in 0..hw {
                                    let dz = dy[i] * curve.slope(scale * x[i] + shift);
                                    dx[i] = scale * dz + slope * x[i] + level;
                                }
                            }
                        }
                    }
                },
            );
        });
        (dx, dr)
    }

    fn gradients(&self, inputs: [&Tensor; 2], residual: Option<&Tensor>, dy: &Tensor) -> Result<[Option<Tensor>; 3]> {
        let [x, affine] = inputs;
        let (_, c, hw) = planes(x)?;
        let dy = dy.contiguous()?;
        let [dx, d_affine, dr] = slice::with3([x, affine, &dy], |[values, affine, dy]| match residual {
            Some(residual) => {
                slice::with(residual, |r| Ok(self.backward(Operands { x: values, affine, residual: Some(r), hw }, dy)))
            }
            None => Ok(self.backward(Operands { x: values, affine, residual: None, hw }, dy)),
        })?;
        Ok([
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(d_affine, (2, c), x.device())?),
            residual.map(|r| Tensor::from_vec(dr, r.shape(), r.device())).transpose()?,
        ])
    }
}

/// [`sum_over`] of two numbers at once.
#[inline(always)]
fn two_sums(n: usize, f: impl Fn(usize) -> [f32; 2]) -> [f64; 2] {
    if n >= 16 {
        // Computed twice, which costs less than a second set of registers.
        return [sum_over(n, |i| f(i)[0]), sum_over(n, |i| f(i)[1])];
    }
    (0..n).map(f).fold([0.0, 0.0], |[a, b], [x, y]| [a + f64::from(x), b + f64::from(y)])
}

/// A [`BatchNorm`] whose result takes the memory of its input.
struct Within<'a> {
    norm: &'a BatchNorm,
    affine: &'a [f32],
    residual: Option<&'a [f32]>,
    hw: usize,
}

impl InplaceOp1 for Within<'_> {
    fn name(&self) -> &'static str {
        "batch-norm-within"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Self { norm, affine, residual, hw } = *self;
        let (CpuStorage::F32(x), Some((start, end))) = (x, layout.contiguous_offsets()) else {
            bail!("batch-norm-within wants contiguous f32");
        };
        let image = norm.channels() * hw;
        with_curve!(norm.activation, curve => {
            x[start..end].par_chunks_mut(image).enumerate().for_each(|(i, y)| {
                norm.image(affine, residual.map(|r| &r[i * image..][..image]), hw, curve, y, #[inline(always)] |_, _| ());
            });
        });
        Ok(())
    }
}

fn pixels(layout: &Layout) -> usize {
    layout.dims()[2..].iter().product()
}

impl CustomOp2 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, a: &CpuStorage, al: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, affine) = (slice::of_storage(x, xl)?, slice::of_storage(a, al)?);
        let y = self.forward(Operands { x, affine, residual: None, hw: pixels(xl) });
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, affine: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, d_affine, _] = self.gradients([x, affine], None, dy)?;
        Ok((dx, d_affine))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm-residual"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        a: &CpuStorage,
        al: &Layout,
        r: &CpuStorage,
        rl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, affine) = (slice::of_storage(x, xl)?, slice::of_storage(a, al)?);
        let y = self.forward(Operands { x, affine, residual: Some(slice::of_storage(r, rl)?), hw: pixels(xl) });
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        residual: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, d_affine, dr] = self.gradients([x, affine], Some(residual), dy)?;
        Ok((dx, d_affine, dr))
    }
}

#[cfg(test)]
mod tests;
