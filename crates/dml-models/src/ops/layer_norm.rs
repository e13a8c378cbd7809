//! Layer normalisation in one pass each way.
//!
//! `y = (x − mean(x))/√(var(x) + ε)·γ + β` of each row (Ba et al., *Layer Normalization*, 2016).

use super::slice;
use super::statistics::added;
use super::tape::apply_light3;
use super::vector::{sum_over, widest};
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

/// Normalises the rows of `x` (`[…, d]`), scales by `gamma` and shifts by `beta` (`[d]`).
///
/// # Errors
/// When shapes do not fit.
pub fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    let d = x.dim(D::Minus1)?;
    if gamma.dims() != [d] || beta.dims() != [d] || d == 0 {
        bail!(
            "layer_norm: rows of {d} want gamma and beta of length {d}, not {:?} and {:?}",
            gamma.dims(),
            beta.dims()
        );
    }
    if !slice::fits(&[x, gamma, beta]) {
        return composed(x, gamma, beta, epsilon);
    }
    apply_light3(LayerNorm { epsilon }, [&x.contiguous()?, &gamma.contiguous()?, &beta.contiguous()?])
}

/// The same from candle's operations.
pub(crate) fn composed(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(gamma)?.broadcast_add(beta)
}

struct LayerNorm {
    epsilon: f64,
}

/// Rows of one partial sum: a fixed number, so that the order does not depend on threads.
const ROWS: usize = 64;

/// Mean and 1/deviation of a row.
#[inline(always)]
fn moments(x: &[f32], epsilon: f64) -> (f32, f32) {
    let n = x.len() as f64;
    let mean = (sum_over(x.len(), |i| x[i]) / n) as f32;
    let variance = sum_over(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / n;
    (mean, (1.0 / (variance + epsilon).sqrt()) as f32)
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
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
        let (x, gamma, beta) = (slice::of_storage(x, xl)?, slice::of_storage(gamma, gl)?, slice::of_storage(beta, bl)?);
        let d = gamma.len();
        let y = slice::in_chunks(
            x.len(),
            ROWS * d,
            || (),
            |(), start, y| {
                let x = &x[start..][..y.len()];
                widest(
                    #[inline(always)]
                    || {
                        for (y, x) in y.chunks_exact_mut(d).zip(x.chunks_exact(d)) {
                            let (mean, inverse) = moments(x, self.epsilon);
                            for i in 0..d {
                                y[i] = (x[i] - mean) * inverse * gamma[i] + beta[i];
                            }
                        }
                    },
                );
            },
        );
        Ok((CpuStorage::F32(y), xl.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        _beta: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let (dx, sums) = slice::with3([x, gamma, &dy], |[x, gamma, dy]| {
            let d = gamma.len();
            let rows = ROWS * d;
            let (dx, partial) = slice::in_chunks_and(
                x.len(),
                rows,
                || (),
                |(), start, dx| {
                    let (x, dy) = (&x[start..][..dx.len()], &dy[start..][..dx.len()]);
                    let mut part = vec![0f32; 2 * d];
                    widest(
                        #[inline(always)]
                        || {
                            let (of_gamma, of_beta) = part.split_at_mut(d);
                            for ((dx, x), dy) in dx.chunks_exact_mut(d).zip(x.chunks_exact(d)).zip(dy.chunks_exact(d)) {
                                let (mean, inverse) = moments(x, self.epsilon);
                                let level = (sum_over(d, |i| dy[i] * gamma[i]) / d as f64) as f32;
                                let slope =
                                    (sum_over(d, |i| dy[i] * gamma[i] * ((x[i] - mean) * inverse)) / d as f64) as f32;
                                for i in 0..d {
                                    let normed = (x[i] - mean) * inverse;
                                    dx[i] = inverse * (dy[i] * gamma[i] - level - normed * slope);
                                    of_gamma[i] += dy[i] * normed;
                                    of_beta[i] += dy[i];
                                }
                            }
                        },
                    );
                    part.into_iter().map(f64::from).collect::<Vec<f64>>()
                },
            );
            let sums = added(2 * d, partial);
            Ok((dx, sums))
        })?;
        let d = gamma.elem_count();
        let of = |sums: &[f64]| Tensor::from_vec(sums.iter().map(|&sum| sum as f32).collect(), d, x.device());
        Ok((Some(Tensor::from_vec(dx, x.shape(), x.device())?), Some(of(&sums[..d])?), Some(of(&sums[d..])?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::{Device, Var};
    use dml_testkit::{Tolerance, assert_close};

    #[test]
    fn fused_equals_composed() {
        let mut drawn = Init::new(1);
        for shape in [vec![3, 5], vec![2, 70, 33], vec![1, 1, 1, 200]] {
            let d = *shape.last().unwrap();
            let mut normal = |shape: &[usize], std| drawn.normal(shape, std, &Device::Cpu).unwrap();
            let mut var = |shape: &[usize]| Var::from_tensor(&normal(shape, 1.5).affine(1.0, 0.3).unwrap()).unwrap();
            let (x, gamma, beta) = (var(&shape), var(&[d]), var(&[d]));
            let upstream = normal(&shape, 1.0).as_detached_tensor();
            let (ours, plain) =
                (layer_norm(&x, &gamma, &beta, 1e-6).unwrap(), composed(&x, &gamma, &beta, 1e-6).unwrap());
            assert_close("layer norm", &ours, &plain, Tolerance::of_largest(1e-5));
            let gradients = |y: Tensor| (y * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
            let (a, b) = (gradients(ours), gradients(plain));
            for var in [&x, &gamma, &beta] {
                assert_close("its gradient", a.get(var).unwrap(), b.get(var).unwrap(), Tolerance::of_largest(1e-4));
            }
        }
    }
}
