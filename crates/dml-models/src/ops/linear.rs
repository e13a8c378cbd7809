//! `y = x·Wᵀ + b`.

use super::precision::Precision;
use super::product::{Product, View};
use super::slice;
use super::statistics::added;
use super::tape::apply3_rounding;
use super::vector::widest;
use candle_core::{CpuStorage, CustomOp3, D, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// The rows of `x` (`[…, d_in]`) times `weight` (`[d_out, d_in]`), shifted by `bias` (`[d_out]`) if there is one: `[…, d_out]`.
///
/// # Errors
/// When shapes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (d_out, d_in) = weight.dims2()?;
    let wide = x.dim(D::Minus1)?;
    if wide != d_in || bias.is_some_and(|bias| bias.dims() != [d_out]) {
        bail!("linear: a weight of {d_out}x{d_in} takes rows of {d_in} and a bias of {d_out}; rows have {wide}");
    }
    if slice::fits(&[x, weight]) {
        let bias = match bias {
            Some(bias) => bias.contiguous()?,
            // No numbers: none are added.
            None => Tensor::zeros(0, x.dtype(), x.device())?,
        };
        return apply3_rounding(Linear, [&x.contiguous()?, &weight.contiguous()?, &bias]);
    }
    let shape = with_last(x.dims(), d_out);
    let of = x.dtype();
    let y = match Precision::now() {
        Precision::F32 => x.reshape(((), d_in))?.matmul(&weight.t()?)?,
        Precision::Bf16 => {
            let [x, weight] = [x, weight].map(|of| of.to_dtype(DType::BF16));
            x?.reshape(((), d_in))?.matmul(&weight?.t()?)?.to_dtype(of)?
        }
    };
    match bias {
        Some(bias) => y.broadcast_add(bias)?.reshape(shape),
        None => y.reshape(shape),
    }
}

/// The shape of rows of another length.
fn with_last(dims: &[usize], last: usize) -> Vec<usize> {
    dims.iter().take(dims.len().saturating_sub(1)).copied().chain([last]).collect()
}

struct Linear;

/// Rows of one partial sum: a fixed number, so that the order does not depend on threads.
const ROWS: usize = 64;

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (m, k) = wl.shape().dims2()?;
        let n = xl.shape().elem_count() / k.max(1);
        let (x, w, b) = (slice::of_storage(x, xl)?, slice::of_storage(w, wl)?, slice::of_storage(b, bl)?);
        let mut y =
            Product::new(n, m, k).by_all().of(Precision::now()).made(View::rows(x, k), View::rows(w, k).transposed());
        if !b.is_empty() {
            y.par_chunks_mut(ROWS * m).for_each(|rows| {
                widest(
                    #[inline(always)]
                    || rows.chunks_exact_mut(m).for_each(|row| row.iter_mut().zip(b).for_each(|(y, b)| *y += b)),
                );
            });
        }
        Ok((CpuStorage::F32(y), Shape::from(with_last(xl.dims(), m))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (m, k) = w.dims2()?;
        let n = x.elem_count() / k.max(1);
        let dy = dy.contiguous()?;
        let (want_x, want_w, want_b) = (x.track_op(), w.track_op(), b.track_op());
        let (dx, dw, db) = slice::with3([x, w, &dy], |[x, w, dy]| {
            let d = View::rows(dy, m);
            let precision = Precision::now();
            let product =
                |rows, columns, depth, a, b| Product::new(rows, columns, depth).by_all().of(precision).made(a, b);
            let dx = want_x.then(|| product(n, k, m, d, View::rows(w, k)));
            let dw = want_w.then(|| product(m, k, n, d.transposed(), View::rows(x, k)));
            Ok((dx, dw, want_b.then(|| column_sums(dy, m))))
        })?;
        let tensor = |values: Option<Vec<f32>>, like: &Tensor| {
            values.map(|values| Tensor::from_vec(values, like.shape(), like.device())).transpose()
        };
        Ok((tensor(dx, x)?, tensor(dw, w)?, tensor(db, b)?))
    }
}

fn column_sums(rows: &[f32], m: usize) -> Vec<f32> {
    let partial = rows.par_chunks((ROWS * m).max(1)).map(|rows| {
        let mut sums = vec![0f32; m];
        widest(
            #[inline(always)]
            || rows.chunks_exact(m).for_each(|row| sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += v)),
        );
        sums.into_iter().map(f64::from).collect::<Vec<f64>>()
    });
    added(m, partial.collect()).into_iter().map(|sum| sum as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;
    use dml_testkit::{Tolerance, assert_close};

    #[test]
    fn ours_equals_candles_with_and_without_a_bias() {
        let mut drawn = Init::new(1);
        let mut var = |shape: &[usize]| drawn.normal(shape, 1.0, &Device::Cpu).unwrap();
        for with_bias in [false, true] {
            let (x, w, b) = (var(&[5, 31, 7]), var(&[9, 7]), var(&[9]));
            let upstream = var(&[5, 31, 9]).as_detached_tensor();
            let ours = linear(&x, &w, with_bias.then_some(b.as_tensor())).unwrap();
            let plain = x.broadcast_matmul(&w.t().unwrap()).unwrap();
            let plain = if with_bias { plain.broadcast_add(&b).unwrap() } else { plain };
            assert_close("linear", &ours, &plain, Tolerance::of_largest(1e-5));
            let gradients = |y: Tensor| (y * &upstream).unwrap().sum_all().unwrap().backward().unwrap();
            let (a, c) = (gradients(ours), gradients(plain));
            for var in [&x, &w] {
                assert_close("its gradient", a.get(var).unwrap(), c.get(var).unwrap(), Tolerance::of_largest(1e-5));
            }
            if with_bias {
                assert_close("its bias", a.get(&b).unwrap(), c.get(&b).unwrap(), Tolerance::of_largest(1e-5));
            }
        }
        // Of bf16 only near, both ways.
        let (x, w) = (var(&[200, 96]), var(&[70, 96]));
        let square = |precision: Precision| {
            precision.during(|| {
                let y = linear(&x, &w, None).unwrap();
                let gradient = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                [y, gradient.get(&x).unwrap().clone(), gradient.get(&w).unwrap().clone()]
            })
        };
        for (near, exact) in square(Precision::Bf16).iter().zip(&square(Precision::F32)) {
            assert_close("bf16", near, exact, Tolerance::of_largest(1e-2));
            let off = (near - exact).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(off > 1e-4, "nothing was rounded");
        }
        // A tape keeps the rows as bf16, which they are rounded to anyway.
        let of_tape = || {
            let loss = || -> Result<Tensor> { linear(&linear(&x, &w, None)?, &w.t()?, None)?.sqr()?.sum_all() };
            Precision::Bf16.during(|| {
                let (_, gradient) = crate::gradients(loss).unwrap();
                let of_candle = loss().unwrap().backward().unwrap();
                [gradient, of_candle]
                    .map(|of| [&x, &w].map(|var| of.get(var).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()))
            })
        };
        let [taped, of_candle] = of_tape();
        assert_eq!(taped, of_candle);
        assert_eq!(Precision::now(), Precision::F32);
        let (x, w) = (
            Tensor::zeros((2, 3), candle_core::DType::F32, &Device::Cpu),
            Tensor::zeros((4, 5), candle_core::DType::F32, &Device::Cpu),
        );
        assert!(linear(&x.unwrap(), &w.unwrap(), None).unwrap_err().to_string().contains("rows have 3"));
    }
}
