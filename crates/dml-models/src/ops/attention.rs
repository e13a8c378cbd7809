//! Attention of all heads, without a score matrix that outlives its head.
//!
//! `softmax(Q·Kᵀ/√d_h + mask)·V` (Vaswani et al., *Attention Is All You Need*, 2017, eq. 1). The backward pass computes the weights
//! again, which costs one small product and saves `n·heads·t²` numbers.

use super::product::{Product, View};
use super::slice;
use super::tape::apply1;
use super::vector::{exp, largest, replace, sum_over, widest};
use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Tensor, bail};

/// Which tokens a token looks at.
#[derive(Clone, Debug, Default)]
pub struct Attended {
    /// `[n, t]`, 0 where there is no token; all, if there is none.
    pub mask: Option<Tensor>,
    /// Whether tokens look at themselves and what is before them only.
    pub causal: bool,
}

/// Attention among the tokens of `qkv` (`[n, t, 3·d]`: queries, keys, values, each of `heads` parts): `[n, t, d]`. A token that may
/// look at nothing gets zeros.
///
/// # Errors
/// When shapes do not fit.
pub fn attention(qkv: &Tensor, heads: usize, attended: &Attended) -> Result<Tensor> {
    let (n, t, wide) = qkv.dims3()?;
    if heads == 0 || !wide.is_multiple_of(3 * heads) || wide == 0 {
        bail!("attention: {wide} numbers a token are no queries, keys and values of {heads} heads");
    }
    if attended.mask.as_ref().is_some_and(|mask| mask.dims() != [n, t]) {
        bail!("attention: the mask of {n} x {t} tokens has another shape");
    }
    if !slice::fits(&[qkv]) {
        return composed(qkv, heads, attended);
    }
    let keep = match &attended.mask {
        Some(mask) => {
            mask.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|v| v != 0.0).collect()
        }
        None => vec![true; n * t],
    };
    apply1(Attention { heads, keep, causal: attended.causal }, &qkv.contiguous()?)
}

/// The same from candle's operations.
pub(crate) fn composed(qkv: &Tensor, heads: usize, attended: &Attended) -> Result<Tensor> {
    let (n, t, wide) = qkv.dims3()?;
    let each = wide / 3 / heads;
    let parts = qkv.reshape((n, t, 3, heads, each))?.permute((2, 0, 3, 1, 4))?.contiguous()?;
    let [q, k, v] = [parts.get(0)?, parts.get(1)?, parts.get(2)?];
    let scores = (q.matmul(&k.t()?.contiguous()?)? * (each as f64).sqrt().recip())?;
    // Zeros and ones, `[n or 1, 1, t or 1, t]`.
    let mut keep = Tensor::ones((1, 1, t, t), scores.dtype(), scores.device())?;
    if attended.causal {
        keep = Tensor::tril2(t, scores.dtype(), scores.device())?.reshape((1, 1, t, t))?;
    }
    if let Some(mask) = &attended.mask {
        keep = keep
            .broadcast_mul(&mask.to_dtype(scores.dtype())?.ne(0.0)?.to_dtype(scores.dtype())?.reshape((n, 1, 1, t))?)?;
    }
    let scores = scores.broadcast_add(&((&keep - 1.0)? * 1e9)?)?;
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?.broadcast_mul(&keep)?;
    let total = shifted.sum_keepdim(D::Minus1)?;
    // A token that looks at nothing divides zeros by one.
    let total = (&total + total.detach().eq(0.0)?.to_dtype(total.dtype())?)?;
    let y = shifted.broadcast_div(&total)?.matmul(&v)?;
    y.transpose(1, 2)?.contiguous()?.reshape((n, t, wide / 3))
}

struct Attention {
    heads: usize,
    keep: Vec<bool>,
    causal: bool,
}

#[derive(Clone, Copy)]
struct Sizes {
    t: usize,
    d: usize,
    each: usize,
    scale: f32,
}

impl Attention {
    fn sizes(&self, shape: &Shape) -> Result<Sizes> {
        let (_, t, wide) = shape.dims3()?;
        let each = wide / 3 / self.heads;
        Ok(Sizes { t, d: wide / 3, each, scale: (1.0 / (each as f64).sqrt()) as f32 })
    }

    /// The weights `[t, t]` of a head; `tokens` is `[t, 3·d]`.
    fn weights(&self, s: Sizes, tokens: &[f32], head: usize, keep: &[bool], out: &mut [f32]) {
        let (q, k) =
            (View::rows(&tokens[head * s.each..], 3 * s.d), View::rows(&tokens[s.d + head * s.each..], 3 * s.d));
        Product::new(s.t, s.t, s.each).scaled(s.scale).into(q, k.transposed(), out);
        let whole = keep.iter().all(|&keep| keep);
        widest(
            #[inline(always)]
            || {
                for (i, row) in out.chunks_exact_mut(s.t).enumerate() {
                    let row = if self.causal {
                        let (row, rest) = row.split_at_mut(i + 1);
                        rest.fill(0.0);
                        row
                    } else {
                        row
                    };
                    if !whole {
                        row.iter_mut().zip(keep).for_each(|(v, &keep)| *v = if keep { *v } else { f32::NEG_INFINITY });
                    }
                    let largest = largest(row);
                    if largest == f32::NEG_INFINITY && !row.iter().any(|v| v.is_nan()) {
                        row.fill(0.0);
                        continue;
                    }
                    replace(row, |v| exp(v - largest));
                    let inverse = (1.0 / sum_over(row.len(), |i| row[i])) as f32;
                    for v in row {
                        *v *= inverse;
                    }
                }
            },
        );
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, t, wide) = layout.shape().dims3()?;
        let s = self.sizes(layout.shape())?;
        let qkv = slice::of_storage(qkv, layout)?;
        let y = slice::in_chunks(
            n * t * s.d,
            t * s.d,
            || vec![0f32; t * t],
            |weights, start, y| {
                let i = start / (t * s.d);
                let (tokens, keep) = (&qkv[i * t * wide..][..t * wide], &self.keep[i * t..][..t]);
                for head in 0..self.heads {
                    self.weights(s, tokens, head, keep, weights);
                    let v = View::rows(&tokens[2 * s.d + head * s.each..], wide);
                    Product::new(t, s.each, t).strided(s.d).into(View::rows(weights, t), v, &mut y[head * s.each..]);
                }
            },
        );
        Ok((CpuStorage::F32(y), Shape::from((n, t, s.d))))
    }

    fn bwd(&self, qkv: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, t, wide) = qkv.dims3()?;
        let s = self.sizes(qkv.shape())?;
        let dy = dy.contiguous()?;
        let d_qkv = slice::with2([qkv, &dy], |[qkv, dy]| {
            let d_qkv = slice::in_chunks(
                qkv.len(),
                t * wide,
                || [vec![0f32; t * t], vec![0f32; t * t]],
                |[weights, slopes], start, d_tokens| {
                    let i = start / (t * wide);
                    let (tokens, dy) = (&qkv[start..][..t * wide], &dy[i * t * s.d..][..t * s.d]);
                    let keep = &self.keep[i * t..][..t];
                    for head in 0..self.heads {
                        let at = head * s.each;
                        self.weights(s, tokens, head, keep, weights);
                        let [q, k, v] = [0, 1, 2].map(|part| View::rows(&tokens[part * s.d + at..], wide));
                        let d_out = View::rows(&dy[at..], s.d);
                        let p = View::rows(weights, t);
                        let product = |k| Product::new(t, s.each, k).strided(wide);
                        product(t).into(p.transposed(), d_out, &mut d_tokens[2 * s.d + at..]);
                        Product::new(t, t, s.each).into(d_out, v.transposed(), slopes);
                        widest(
                            #[inline(always)]
                            || {
                                for (slopes, weights) in slopes.chunks_exact_mut(t).zip(weights.chunks_exact(t)) {
                                    let mean = sum_over(t, |i| slopes[i] * weights[i]) as f32;
                                    slopes
                                        .iter_mut()
                                        .zip(weights)
                                        .for_each(|(slope, weight)| *slope = weight * (*slope - mean));
                                }
                            },
                        );
                        let ds = View::rows(slopes, t);
                        product(t).scaled(s.scale).into(ds, k, &mut d_tokens[at..]);
                        product(t).scaled(s.scale).into(ds.transposed(), q, &mut d_tokens[s.d + at..]);
                    }
                },
            );
            Ok(d_qkv)
        })?;
        Ok(Some(Tensor::from_vec(d_qkv, qkv.shape(), qkv.device())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use candle_core::Device;
    use dml_testkit::{Tolerance, assert_close};

    #[test]
    fn fused_equals_composed() {
        let mut drawn = Init::new(1);
        let mut var = |shape: &[usize]| drawn.normal(shape, 1.0, &Device::Cpu).unwrap();
        let mask = Tensor::new(&[[1u32, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 1, 0, 1]], &Device::Cpu).unwrap();
        for (mask, causal) in [(None, false), (Some(mask.clone()), false), (None, true), (Some(mask), true)] {
            let attended = Attended { mask, causal };
            let qkv = var(&[3, 5, 3 * 2 * 4]);
            let upstream = var(&[3, 5, 8]).as_detached_tensor();
            let (ours, plain) = (attention(&qkv, 2, &attended).unwrap(), composed(&qkv, 2, &attended).unwrap());
            assert_close("attention", &ours, &plain, Tolerance::of_largest(1e-5));
            let gradient =
                |y: Tensor| (y * &upstream).unwrap().sum_all().unwrap().backward().unwrap().get(&qkv).unwrap().clone();
            assert_close("its gradient", &gradient(ours), &gradient(plain), Tolerance::of_largest(1e-4));
        }
        let odd = Tensor::zeros((1, 2, 8), DType::F32, &Device::Cpu).unwrap();
        assert!(attention(&odd, 2, &Attended::default()).unwrap_err().to_string().contains("2 heads"));
    }
}
