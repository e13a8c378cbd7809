//! The inverse of a symmetric positive definite matrix, as an operation of the graph and as a product of matrices.

use crate::Result;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Shape, Tensor};

/// Matrices of at most this many rows are inverted on the spot, larger ones by halves.
const SMALL: usize = 48;

/// `A⁻¹` of a symmetric positive definite `A` in `f64`, on the CPU.
pub(super) struct Inverse;

impl CustomOp1 for Inverse {
    fn name(&self) -> &'static str {
        "symmetric-inverse"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Shape)> {
        let (CpuStorage::F64(values), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("symmetric-inverse wants contiguous f64")
        };
        let a = Tensor::from_slice(&values[start..end], layout.shape(), &Device::Cpu)?;
        Ok((CpuStorage::F64(inverse(&a)?.flatten_all()?.to_vec1()?), layout.shape().clone()))
    }

    /// `d(A⁻¹) = −A⁻¹ dA A⁻¹`.
    fn bwd(&self, _: &Tensor, inverse: &Tensor, upstream: &Tensor) -> candle_core::Result<Option<Tensor>> {
        Ok(Some(inverse.matmul(&upstream.contiguous()?)?.matmul(inverse)?.neg()?))
    }
}

/// By halves: with `A = [P Q; Qᵀ R]`, `W = P⁻¹Q` and the Schur complement `S = R − QᵀW`, the inverse is
/// `[P⁻¹ + W S⁻¹ Wᵀ, −W S⁻¹; −S⁻¹ Wᵀ, S⁻¹]`. Nearly all of it is products of matrices.
fn inverse(a: &Tensor) -> candle_core::Result<Tensor> {
    let n = a.dim(0)?;
    if n <= SMALL {
        return Tensor::from_vec(by_elimination(a.flatten_all()?.to_vec1()?, n), (n, n), a.device());
    }
    let half = n / 2;
    let block = |row: usize, rows: usize, column: usize, columns: usize| {
        a.narrow(0, row, rows)?.narrow(1, column, columns)?.contiguous()
    };
    let first = inverse(&block(0, half, 0, half)?)?;
    let across = block(0, half, half, n - half)?;
    let w = first.matmul(&across)?;
    let schur = (block(half, n - half, half, n - half)? - across.t()?.contiguous()?.matmul(&w)?)?;
    let last = inverse(&schur)?;
    let mixed = w.matmul(&last)?;
    let first = (first + mixed.matmul(&w.t()?.contiguous()?)?)?;
    let mixed = mixed.neg()?;
    let top = Tensor::cat(&[&first, &mixed], 1)?;
    Tensor::cat(&[&top, &Tensor::cat(&[&mixed.t()?.contiguous()?, &last], 1)?], 0)
}

/// Gauss–Jordan in place, without pivots, which a positive definite matrix does not need.
fn by_elimination(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    for k in 0..n {
        let pivot = 1.0 / a[k * n + k];
        a[k * n + k] = 1.0;
        a[k * n..][..n].iter_mut().for_each(|v| *v *= pivot);
        let row = a[k * n..][..n].to_vec();
        for (_, other) in a.chunks_exact_mut(n).enumerate().filter(|&(i, _)| i != k) {
            let factor = std::mem::take(&mut other[k]);
            other.iter_mut().zip(&row).for_each(|(v, r)| *v -= factor * r);
        }
    }
    a
}

/// `(I − M)⁻¹ = (I + M)(I + M²)(I + M⁴)…` of a matrix whose powers are below `bound^k`, `bound` < 1: products only, on
/// every device, differentiable.
pub(super) fn neumann(m: &Tensor, bound: f64) -> Result<Tensor> {
    let one = Tensor::eye(m.dim(0)?, m.dtype(), m.device())?;
    let mut sum = (&one + m)?;
    let (mut power, mut left) = (m.clone(), bound * bound);
    // What is left out is `bound^{2^k}` of it.
    while left > 1e-17 {
        power = power.matmul(&power)?;
        sum = sum.matmul(&(&one + &power)?)?;
        left *= left;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverses_times_their_matrices_are_one() {
        for n in [1, 5, 48, 49, 131] {
            let root = Tensor::from_vec(
                (0..n * n).map(|i| ((i * i + 3 * i) % 17) as f64 / 17.0).collect(),
                (n, n),
                &Device::Cpu,
            );
            let root = root.unwrap();
            let one = Tensor::eye(n, candle_core::DType::F64, &Device::Cpu).unwrap();
            let square =
                (root.matmul(&root.t().unwrap().contiguous().unwrap()).unwrap() * (0.3 / (n * n) as f64)).unwrap();
            let a = (&one - &square).unwrap();
            for inverse in [a.apply_op1(Inverse).unwrap(), neumann(&square, 0.5).unwrap()] {
                let off = (a.matmul(&inverse).unwrap() - &one).unwrap().abs().unwrap().max_all().unwrap();
                assert!(off.to_scalar::<f64>().unwrap() < 1e-12, "{n}");
            }
        }
    }
}
