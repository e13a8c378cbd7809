//! The multiplicative angular margin ψ, what large-margin softmax and SphereFace share.

use crate::Result;
use candle_core::Tensor;

/// `ψ(θ) = (−1)^k cos(mθ) − 2k` on `[kπ/m, (k+1)π/m]`: falls all the way from 1 to 1 − 2m.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Psi(pub(crate) usize);

impl Psi {
    /// Cosines at which the next piece begins.
    fn edges(self) -> impl Iterator<Item = f64> {
        (1..self.0).map(move |k| (k as f64 * std::f64::consts::PI / self.0 as f64).cos())
    }

    /// ψ and its derivative by the cosine. `cos(mθ) = T_m(c)` and `dT_m/dc = m·U_{m−1}(c)` (Chebyshev): no angle is needed,
    /// and no slope without bound appears at ±1.
    pub(crate) fn at(self, cosine: f64) -> (f64, f64) {
        let c = cosine.clamp(-1.0, 1.0);
        let (mut t, mut next_t, mut u, mut next_u) = (1.0, c, 0.0, 1.0);
        for _ in 0..self.0 {
            (t, next_t) = (next_t, 2.0 * c * next_t - t);
            (u, next_u) = (next_u, 2.0 * c * next_u - u);
        }
        let k = self.edges().filter(|&edge| c <= edge).count();
        let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
        (sign * t - 2.0 * k as f64, sign * self.0 as f64 * u)
    }

    /// The same of every entry of a tensor.
    pub(crate) fn compose(self, cosine: &Tensor) -> Result<Tensor> {
        let c = cosine.clamp(-1.0, 1.0)?;
        let (mut t, mut next) = (c.ones_like()?, c.clone());
        for _ in 0..self.0 {
            let after = (((&c * &next)? * 2.0)? - &t)?;
            (t, next) = (next, after);
        }
        let mut sign = c.ones_like()?;
        let mut twice = c.zeros_like()?;
        for edge in self.edges() {
            let beyond = (c.le(edge)?.to_dtype(c.dtype())? * 2.0)?;
            sign = (sign * (1.0 - &beyond)?)?;
            twice = (twice + beyond)?;
        }
        Ok(((t * sign)? - twice)?)
    }
}

/// Euclidean norms of rows `[n, d]` as `[n, 1]`, with gradient 0 at a row of zeros.
pub(crate) fn norms(x: &Tensor) -> Result<Tensor> {
    let square = x.sqr()?.sum_keepdim(1)?;
    let zero = square.le(0.0)?;
    let root = zero.where_cond(&square.ones_like()?, &square)?.sqrt()?;
    Ok(zero.where_cond(&square.zeros_like()?, &root)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn psi_is_its_definition_and_falls() {
        for m in 1..=6 {
            let cosines: Vec<f64> = (0..=200).map(|i| 1.0 - f64::from(i) / 100.0).collect();
            let c = Var::new(cosines.as_slice(), &Device::Cpu).unwrap();
            let composed = Psi(m).compose(&c).unwrap();
            let slopes = composed.sum_all().unwrap().backward().unwrap();
            let slopes: Vec<f64> = slopes.get(&c).unwrap().to_vec1().unwrap();
            let mut before = f64::INFINITY;
            for ((&c, composed), by_autograd) in cosines.iter().zip(composed.to_vec1::<f64>().unwrap()).zip(slopes) {
                let (value, slope) = Psi(m).at(c);
                let angle = c.acos();
                let k = (angle * m as f64 / std::f64::consts::PI).floor();
                let want = (-1f64).powf(k) * (m as f64 * angle).cos() - 2.0 * k;
                assert!((value - want).abs() < 1e-9 && (composed - want).abs() < 1e-9, "{m} {c}");
                assert!(value <= before + 1e-12, "{m} {c}");
                // At ±1 candle halves the slope of its clamp.
                assert!(c.abs() == 1.0 || (slope - by_autograd).abs() < 1e-9, "{m} {c}: {slope} {by_autograd}");
                before = value;
            }
            assert_eq!((Psi(m).at(1.0).1, Psi(m).at(-1.0)), ((m * m) as f64, (1.0 - 2.0 * m as f64, (m * m) as f64)));
        }
    }
}
