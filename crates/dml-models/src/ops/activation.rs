//! Functions of one number, with their slopes.

use super::slice;
use super::tape::apply_light1;
use super::vector::{erf, exp, sigmoid};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use serde::{Deserialize, Serialize};

/// What follows a layer, number by number. On other devices than the CPU from candle's operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `z`.
    #[default]
    Identity,
    /// `max(z, 0)`.
    Relu,
    /// `min(max(z, 0), 6)`.
    Relu6,
    /// `z·min(max(z + 3, 0), 6)/6` (Howard et al., *Searching for MobileNetV3*, 2019, §5.2).
    HardSwish,
    /// `min(max(z + 3, 0), 6)/6`.
    HardSigmoid,
    /// `1/(1 + e⁻ᶻ)`.
    Sigmoid,
    /// `z/(1 + e⁻ᶻ)`.
    Silu,
    /// `z·Φ(z)`, exactly (Hendrycks & Gimpel, *Gaussian Error Linear Units*, 2016).
    Gelu,
    /// `z/(1 + e^(−1.702 z))`, as CLIP has it.
    QuickGelu,
}

/// A function of one number, and its slope.
pub(crate) trait Curve: Copy + Send + Sync {
    fn value(self, z: f32) -> f32;
    fn slope(self, z: f32) -> f32;
}

macro_rules! curves {
    ($($name:ident: |$z:ident| $value:expr, $slope:expr;)*) => {$(
        #[derive(Clone, Copy)]
        pub(crate) struct $name;

        impl Curve for $name {
            #[inline(always)]
            fn value(self, $z: f32) -> f32 { $value }
            #[inline(always)]
            fn slope(self, $z: f32) -> f32 { $slope }
        }
    )*};
}

// Comparisons are such that NaN stays NaN: a broken run must show.
curves! {
    Identity: |z| z, { _ = z; 1.0 };
    Relu: |z| if z < 0.0 { 0.0 } else { z }, if z > 0.0 { 1.0 } else { 0.0 };
    Relu6: |z| clamp6(z), if z > 0.0 && z < 6.0 { 1.0 } else { 0.0 };
    HardSwish: |z| z * clamp6(z + 3.0) / 6.0, {
        let middle = z / 3.0 + 0.5;
        let middle = if z < -3.0 { 0.0 } else { middle };
        if z > 3.0 { 1.0 } else { middle }
    };
    HardSigmoid: |z| clamp6(z + 3.0) / 6.0, if z > -3.0 && z < 3.0 { 1.0 / 6.0 } else { 0.0 };
    Sigmoid: |z| sigmoid(z), { let s = sigmoid(z); s * (1.0 - s) };
    Silu: |z| z * sigmoid(z), { let s = sigmoid(z); s * (1.0 + z * (1.0 - s)) };
    Gelu: |z| z * normal_cdf(z), normal_cdf(z) + z * (0.398_942_3 * exp(-0.5 * z * z));
    QuickGelu: |z| z * sigmoid(1.702 * z), { let s = sigmoid(1.702 * z); s + 1.702 * z * s * (1.0 - s) };
}

#[inline(always)]
fn clamp6(z: f32) -> f32 {
    let z = if z < 0.0 { 0.0 } else { z };
    if z > 6.0 { 6.0 } else { z }
}

#[inline(always)]
fn normal_cdf(z: f32) -> f32 {
    0.5 * (1.0 + erf(z * std::f32::consts::FRAC_1_SQRT_2))
}

/// `$body` with `$curve` bound to what `$activation` is, compiled for each.
macro_rules! with_curve {
    ($activation:expr, $curve:ident => $body:expr) => {{
        use $crate::ops::activation as of;
        match $activation {
            of::Activation::Identity => {
                let $curve = of::Identity;
                $body
            }
            of::Activation::Relu => {
                let $curve = of::Relu;
                $body
            }
            of::Activation::Relu6 => {
                let $curve = of::Relu6;
                $body
            }
            of::Activation::HardSwish => {
                let $curve = of::HardSwish;
                $body
            }
            of::Activation::HardSigmoid => {
                let $curve = of::HardSigmoid;
                $body
            }
            of::Activation::Sigmoid => {
                let $curve = of::Sigmoid;
                $body
            }
            of::Activation::Silu => {
                let $curve = of::Silu;
                $body
            }
            of::Activation::Gelu => {
                let $curve = of::Gelu;
                $body
            }
            of::Activation::QuickGelu => {
                let $curve = of::QuickGelu;
                $body
            }
        }
    }};
}
pub(crate) use with_curve;

impl Activation {
    /// The function of every number of `x`.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            _ if slice::fits(&[x]) => apply_light1(Elementwise(self), &x.contiguous()?),
            _ => self.composed(x),
        }
    }

    /// The same from candle's operations.
    pub(crate) fn composed(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(x.clone()),
            Self::Relu => x.relu(),
            Self::Relu6 => composed_relu6(x),
            Self::HardSwish => x * (composed_relu6(&(x + 3.0)?)? / 6.0)?,
            Self::HardSigmoid => composed_relu6(&(x + 3.0)?)? / 6.0,
            Self::Sigmoid => composed_sigmoid(x, 1.0),
            Self::Silu => x * composed_sigmoid(x, 1.0)?,
            Self::Gelu => x.gelu_erf(),
            Self::QuickGelu => x * composed_sigmoid(x, 1.702)?,
        }
    }
}

/// `max(z, 0) − max(z − 6, 0)`: candle's `clamp` has no gradient at the top.
fn composed_relu6(x: &Tensor) -> Result<Tensor> {
    x.relu()? - (x - 6.0)?.relu()?
}

fn composed_sigmoid(x: &Tensor, slope: f64) -> Result<Tensor> {
    ((x * -slope)?.exp()? + 1.0)?.recip()
}

struct Elementwise(Activation);

impl CustomOp1 for Elementwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice::of_storage(x, layout)?;
        let y = with_curve!(self.0, curve => slice::mapped(x, |x| curve.value(x)));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let dy = dy.contiguous()?;
        let dx = slice::with2([x, &dy], |of| {
            Ok(with_curve!(self.0, curve => slice::mapped2(of, |x, dy| dy * curve.slope(x))))
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}

#[cfg(test)]
pub(crate) const ALL: [Activation; 9] = [
    Activation::Identity,
    Activation::Relu,
    Activation::Relu6,
    Activation::HardSwish,
    Activation::HardSigmoid,
    Activation::Sigmoid,
    Activation::Silu,
    Activation::Gelu,
    Activation::QuickGelu,
];

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use dml_testkit::{Tolerance, assert_close};

    #[test]
    fn ours_are_the_composed_ones_and_what_is_not_a_number_stays_so() {
        let values: Vec<f32> = (-900..900).map(|i| i as f32 * 0.01 + 0.003).collect();
        for activation in ALL {
            let x = Var::from_tensor(&Tensor::new(&values[..], &Device::Cpu).unwrap()).unwrap();
            let (ours, composed) = (activation.apply(&x).unwrap(), activation.composed(&x).unwrap());
            let what = format!("{activation:?}");
            assert_close(&what, &ours, &composed, Tolerance::of_largest(2e-6));
            let gradient = |y: Tensor| y.sqr().unwrap().sum_all().unwrap().backward().unwrap().get(&x).unwrap().clone();
            assert_close(&what, &gradient(ours), &gradient(composed), Tolerance::of_largest(1e-5));
            let broken = activation.apply(&Tensor::new(&[f32::NAN], &Device::Cpu).unwrap()).unwrap();
            assert!(broken.to_vec1::<f32>().unwrap()[0].is_nan(), "{what}");
        }
    }
}
