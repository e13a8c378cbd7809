//! Batch normalisation, ReLU and 2×2 max-pooling in one pass each way.
//!
//! `x̂ = (x − μ_c)/√(σ²_c + ε)`, `y = max over 2×2 of max(γ_c·x̂ + β_c, 0)`. Separate operations read and write the
//! largest activations of the network seven times; this reads them twice. Ioffe & Szegedy, *Batch Normalization*, 2015, eq. 1–4.

use super::slice;
use super::statistics::ChannelStatistics;
use super::tape::apply3;
use super::vector::{sum_over, widest};
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Added to the variance, as PyTorch does.
const EPSILON: f64 = 1e-5;

/// Normalises `x` (`[n, c, h, w]`) with `statistics`, scales by `gamma`, shifts by `beta` (`[c]`), applies ReLU and
/// 2×2 max-pooling: `[n, c, ⌊h/2⌋, ⌊w/2⌋]`.
///
/// `of_batch` says that `statistics` were computed from this very `x`; the gradient then flows through them.
///
/// # Errors
/// When shapes do not fit or an image is smaller than 2×2.
pub fn norm_relu_pool(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    statistics: ChannelStatistics,
    of_batch: bool,
) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    if gamma.dims() != [c] || beta.dims() != [c] || statistics.mean.len() != c || h < 2 || w < 2 {
        bail!(
            "norm_relu_pool: input {:?} wants gamma, beta and statistics of length {c} and images of 2x2 or more",
            x.dims()
        );
    }
    if !x.device().is_cpu() {
        return composed(x, gamma, beta, &statistics, of_batch);
    }
    let inverse_std = statistics.variance.iter().map(|&v| (1.0 / (f64::from(v) + EPSILON).sqrt()) as f32).collect();
    let op = NormReluPool { mean: statistics.mean, inverse_std, of_batch };
    apply3(op, [&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?])
}

/// The same from candle's operations: used off the CPU, and the oracle of the fused form.
pub(crate) fn composed(
    x: &Tensor,
    gamma: &Tensor,
    beta: &Tensor,
    statistics: &ChannelStatistics,
    of_batch: bool,
) -> Result<Tensor> {
    let c = x.dim(1)?;
    let (mean, variance) = if of_batch {
        let mean = x.mean_keepdim((0, 2, 3))?;
        let variance = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
        (mean, variance)
    } else {
        let shape = (1, c, 1, 1);
        (
            Tensor::from_slice(&statistics.mean, shape, x.device())?,
            Tensor::from_slice(&statistics.variance, shape, x.device())?,
        )
    };
    let normed = x.broadcast_sub(&mean)?.broadcast_div(&(variance + EPSILON)?.sqrt()?)?;
    let scaled = normed.broadcast_mul(&gamma.reshape((1, c, 1, 1))?)?.broadcast_add(&beta.reshape((1, c, 1, 1))?)?;
    let (h, w) = (scaled.dim(D::Minus2)?, scaled.dim(D::Minus1)?);
    // Not `max_pool2d`: candle's gradient of it is scaled by the share of the window that is largest.
    let windows = scaled.narrow(2, 0, h / 2 * 2)?.narrow(3, 0, w / 2 * 2)?.contiguous()?;
    let windows = windows.reshape(((), h / 2, 2, w / 2, 2))?;
    windows.max(4)?.max(2)?.reshape((scaled.dim(0)?, c, h / 2, w / 2))?.relu()
}

struct NormReluPool {
    mean: Vec<f32>,
    inverse_std: Vec<f32>,
    of_batch: bool,
}

/// What the backward pass needs of one channel: `Σ dz` and `Σ dz·x̂`.
#[derive(Clone, Copy)]
struct ChannelGradient {
    beta: f32,
    gamma: f32,
}

/// Windows of a plane, corner by corner: what lies side by side is vectors' work.
struct Windows {
    /// `[pooled]` each: upper left, upper right, lower left, lower right.
    corners: [Vec<f32>; 4],
    /// `Σ` of these two, over windows, is what a channel wants.
    dz: Vec<f32>,
    dz_normed: Vec<f32>,
}

impl Windows {
    fn new(pooled: usize) -> Self {
        let room = || vec![0f32; pooled];
        Self { corners: [room(), room(), room(), room()], dz: room(), dz_normed: room() }
    }

    /// Takes the numbers of `plane`, whose lines are `w` long.
    #[inline(always)]
    fn take(&mut self, plane: &[f32], w: usize) {
        let [a, b, c, d] = &mut self.corners;
        let ow = w / 2;
        let lines = plane.chunks_exact(2 * w).map(|lines| lines.split_at(w));
        for (o, (top, bottom)) in lines.enumerate() {
            parted(top, &mut a[o * ow..][..ow], &mut b[o * ow..][..ow]);
            parted(bottom, &mut c[o * ow..][..ow], &mut d[o * ow..][..ow]);
        }
    }

    /// `dz` of each window by that of its pixel, and times what it has of `(x − mean)/deviation`.
    #[inline(always)]
    fn slopes(&mut self, dy: &[f32], [a, b]: [f32; 2], [mean, inverse_std]: [f32; 2]) {
        let [p, q, r, s] = &self.corners;
        let n = dy.len();
        let (p, q, r, s) = (&p[..n], &q[..n], &r[..n], &s[..n]);
        let (dz, dz_normed) = (&mut self.dz[..n], &mut self.dz_normed[..n]);
        for o in 0..n {
            let (_, x, z) = largest([p[o], q[o], r[o], s[o]], a, b);
            dz[o] = if z > 0.0 { dy[o] } else { 0.0 };
            dz_normed[o] = dz[o] * (x - mean) * inverse_std;
        }
    }

    /// The corners become `a·dz` where they are largest, zeros elsewhere.
    #[inline(always)]
    fn give(&mut self, dy: &[f32], [a, b]: [f32; 2]) {
        let [p, q, r, s] = &mut self.corners;
        let n = dy.len();
        let (p, q, r, s) = (&mut p[..n], &mut q[..n], &mut r[..n], &mut s[..n]);
        for o in 0..n {
            let (best, _, z) = largest([p[o], q[o], r[o], s[o]], a, b);
            let dz = if z > 0.0 { a * dy[o] } else { 0.0 };
            p[o] = if best == 0 { dz } else { 0.0 };
            q[o] = if best == 1 { dz } else { 0.0 };
            r[o] = if best == 2 { dz } else { 0.0 };
            s[o] = if best == 3 { dz } else { 0.0 };
        }
    }

    /// Adds the corners to `plane`.
    #[inline(always)]
    fn add_to(&self, plane: &mut [f32], w: usize) {
        let [a, b, c, d] = &self.corners;
        let ow = w / 2;
        for (o, lines) in plane.chunks_exact_mut(2 * w).enumerate() {
            let (top, bottom) = lines.split_at_mut(w);
            joined(top, &a[o * ow..][..ow], &b[o * ow..][..ow]);
            joined(bottom, &c[o * ow..][..ow], &d[o * ow..][..ow]);
        }
    }
}

/// Every other number of a line, and the others.
#[inline(always)]
fn parted(line: &[f32], even: &mut [f32], odd: &mut [f32]) {
    for ((pair, even), odd) in line.as_chunks::<2>().0.iter().zip(even).zip(odd) {
        (*even, *odd) = (pair[0], pair[1]);
    }
}

/// Adds to every other number of a line, and to the others.
#[inline(always)]
fn joined(line: &mut [f32], even: &[f32], odd: &[f32]) {
    for ((pair, even), odd) in line.as_chunks_mut::<2>().0.iter_mut().zip(even).zip(odd) {
        pair[0] += even;
        pair[1] += odd;
    }
}

/// Which of four numbers has the largest `a·x + b`, the first of equal ones; it; and that. Without a branch.
#[inline(always)]
fn largest(x: [f32; 4], a: f32, b: f32) -> (u32, f32, f32) {
    let mut best = (0, x[0], a * x[0] + b);
    for (k, x) in (1..).zip([x[1], x[2], x[3]]) {
        let z = a * x + b;
        let is_larger = z > best.2;
        best.0 = if is_larger { k } else { best.0 };
        best.1 = if is_larger { x } else { best.1 };
        best.2 = if is_larger { z } else { best.2 };
    }
    best
}

impl NormReluPool {
    fn affine(&self, c: usize, gamma: &[f32], beta: &[f32]) -> [f32; 2] {
        let a = gamma[c] * self.inverse_std[c];
        [a, beta[c] - a * self.mean[c]]
    }

    fn forward(&self, x: &[f32], gamma: &[f32], beta: &[f32], hw: usize, w: usize) -> Vec<f32> {
        let c = gamma.len();
        let (ow, pooled) = (w / 2, (hw / w / 2) * (w / 2));
        slice::in_chunks(
            x.len() / hw * pooled,
            c * pooled,
            || (),
            |(), start, y| {
                let image = &x[start / pooled * hw..][..c * hw];
                widest(
                    #[inline(always)]
                    || {
                        for (channel, (plane, out)) in
                            image.chunks_exact(hw).zip(y.chunks_exact_mut(pooled)).enumerate()
                        {
                            let [a, b] = self.affine(channel, gamma, beta);
                            // A monotone map commutes with max; branch-free, so that it vectorises.
                            for (row, lines) in out.chunks_exact_mut(ow).zip(plane.chunks_exact(2 * w)) {
                                let (first, second) = lines.split_at(w);
                                for ((o, p), q) in row.iter_mut().zip(first.chunks_exact(2)).zip(second.chunks_exact(2))
                                {
                                    let z = (a * p[0] + b).max(a * p[1] + b).max(a * q[0] + b).max(a * q[1] + b);
                                    // Not `max`: it would turn NaN into 0, and a broken run into a smooth one.
                                    *o = if z < 0.0 { 0.0 } else { z };
                                }
                            }
                        }
                    },
                );
            },
        )
    }

    fn channel_gradients(&self, t: &Saved<'_>) -> Vec<ChannelGradient> {
        let c = t.gamma.len();
        let of_channel = |windows: &mut Windows, channel: usize| {
            let (affine, normal) =
                (self.affine(channel, t.gamma, t.beta), [self.mean[channel], self.inverse_std[channel]]);
            let (mut beta, mut gamma) = (0f64, 0f64);
            widest(
                #[inline(always)]
                || {
                    for i in 0..t.x.len() / (c * t.hw) {
                        let plane = i * c + channel;
                        windows.take(&t.x[plane * t.hw..][..t.hw], t.w);
                        windows.slopes(&t.dy[plane * t.pooled..][..t.pooled], affine, normal);
                        let (dz, dz_normed) = (&windows.dz[..t.pooled], &windows.dz_normed[..t.pooled]);
                        beta += sum_over(t.pooled, |o| dz[o]);
                        gamma += sum_over(t.pooled, |o| dz_normed[o]);
                    }
                },
            );
            ChannelGradient { beta: beta as f32, gamma: gamma as f32 }
        };
        (0..c).into_par_iter().map_init(|| Windows::new(t.pooled), of_channel).collect()
    }

    fn input_gradient(&self, t: &Saved<'_>, sums: &[ChannelGradient]) -> Vec<f32> {
        let c = t.gamma.len();
        let count = (t.x.len() / c) as f32;
        slice::in_chunks(
            t.x.len(),
            c * t.hw,
            || Windows::new(t.pooled),
            |windows, start, dx| {
                let image = start / t.hw;
                widest(
                    #[inline(always)]
                    || {
                        for (channel, (sums, dx)) in sums.iter().zip(dx.chunks_exact_mut(t.hw)).enumerate() {
                            let affine = self.affine(channel, t.gamma, t.beta);
                            let plane = &t.x[(image + channel) * t.hw..][..t.hw];
                            if self.of_batch {
                                // dx = a·(dz − mean(dz) − x̂·mean(dz·x̂)); the part without dz first.
                                let slope = -affine[0] * self.inverse_std[channel] * sums.gamma / count;
                                let level = -affine[0] * sums.beta / count - slope * self.mean[channel];
                                for (d, &v) in dx.iter_mut().zip(plane) {
                                    *d = slope * v + level;
                                }
                            }
                            windows.take(plane, t.w);
                            windows.give(&t.dy[(image + channel) * t.pooled..][..t.pooled], affine);
                            windows.add_to(dx, t.w);
                        }
                    },
                );
            },
        )
    }
}

/// Operands of the backward pass.
struct Saved<'a> {
    x: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
    dy: &'a [f32],
    hw: usize,
    w: usize,
    pooled: usize,
}

impl CustomOp3 for NormReluPool {
    fn name(&self) -> &'static str {
        "norm-relu-pool"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        gamma: &CpuStorage,
        gl: &Layout,
        beta: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = xl.shape().dims4()?;
        let (gamma, beta) = (slice::of_storage(gamma, gl)?, slice::of_storage(beta, bl)?);
        let y = self.forward(slice::of_storage(x, xl)?, gamma, beta, h * w, w);
        Ok((CpuStorage::F32(y), Shape::from((n, c, h / 2, w / 2))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (_, c, h, w) = x.dims4()?;
        let dy = dy.contiguous()?;
        let (dx, sums) = slice::with(x, |x| {
            slice::with(gamma, |gamma| {
                slice::with(beta, |beta| {
                    slice::with(&dy, |dy| {
                        let saved = Saved { x, gamma, beta, dy, hw: h * w, w, pooled: (h / 2) * (w / 2) };
                        let sums = self.channel_gradients(&saved);
                        Ok((self.input_gradient(&saved, &sums), sums))
                    })
                })
            })
        })?;
        let d_gamma: Vec<f32> = sums.iter().map(|s| s.gamma).collect();
        let d_beta: Vec<f32> = sums.iter().map(|s| s.beta).collect();
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), x.device())?),
            Some(Tensor::from_vec(d_gamma, c, x.device())?),
            Some(Tensor::from_vec(d_beta, c, x.device())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::{DType, Device, Var};

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn fused_equals_composed_with_batch_and_running_statistics() {
        let mut drawn = Init::new(1);
        for (h, w, of_batch) in [(8, 8, true), (7, 5, true), (7, 7, false)] {
            let mut normal = |shape: &[usize], std| drawn.normal(shape, std, &Device::Cpu).unwrap();
            let x = Var::from_tensor(&normal(&[5, 3, h, w], 1.5).affine(1.0, 0.3).unwrap()).unwrap();
            let (gamma, beta) = (normal(&[3], 1.0), normal(&[3], 1.0));
            let statistics = ChannelStatistics::of_batch(&x).unwrap();
            let upstream = normal(&[5, 3, h / 2, w / 2], 1.0).as_detached_tensor();
            let fused = norm_relu_pool(&x, &gamma, &beta, statistics.clone(), of_batch).unwrap();
            let plain = composed(&x, &gamma, &beta, &statistics, of_batch).unwrap();
            assert_eq!(fused.dtype(), DType::F32);
            assert!(largest_difference(&fused, &plain) < 1e-5);
            let a = (fused * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
            let b = (plain * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
            for var in [&x, &gamma, &beta] {
                assert!(largest_difference(a.get(var).unwrap(), b.get(var).unwrap()) < 2e-4);
            }
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        let x = Tensor::full(f32::NAN, (1, 1, 2, 2), &Device::Cpu).unwrap();
        let (gamma, beta) = (Tensor::ones(1, DType::F32, &Device::Cpu), Tensor::zeros(1, DType::F32, &Device::Cpu));
        let statistics = ChannelStatistics { mean: vec![0.0], variance: vec![1.0] };
        let y = norm_relu_pool(&x, &gamma.unwrap(), &beta.unwrap(), statistics, false).unwrap();
        assert!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap()[0].is_nan());
    }
}
