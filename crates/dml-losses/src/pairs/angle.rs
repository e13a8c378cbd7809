//! AnglE loss.
//!
//! `log(1 + Σ e^{scale (s_j − s_i)})` over all pairs i, j of which i has the higher grade, as [`cosent`](super::cosent), with
//! another score: the halves of a row are the real and the imaginary part of a complex vector, and with `[a, b]` and
//! `[c, d]` the rows 2i and 2i + 1, normalised, `s = |Σ_k (a c + b d) + (b c − a d)|`, of the quotient of both. Differences
//! of angle do not saturate where cosines do. Li & Li, *AnglE-optimized Text Embeddings*, 2023, eq. 7; as
//! sentence-transformers. One number, which no reduction changes; rows of even length only.

use super::graded::{Graded, Likeness};
use crate::params::{LossParams, positive};
use crate::{Context, Error, Objective, Result};
use candle_core::{D, Tensor};
use dml_core::Real;
use serde::{Deserialize, Serialize};

/// Parameters of the AnglE loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AngleParams {
    /// Factor on the differences of scores. Default 20.
    pub scale: f64,
}

impl Default for AngleParams {
    fn default() -> Self {
        Self { scale: 20.0 }
    }
}

struct Quotient;

/// The score before its sign is dropped.
fn signed<T: Real>(x: &[T], y: &[T]) -> f64 {
    let ((a, b), (c, d)) = (x.split_at(x.len() / 2), y.split_at(y.len() / 2));
    let terms = a.iter().zip(b).zip(c.iter().zip(d));
    // ac + bd + bc − ad.
    terms.map(|((&a, &b), (&c, &d))| (a * (c - d) + b * (c + d)).wide()).sum()
}

impl Likeness for Quotient {
    const NAME: &'static str = AngleParams::NAME;

    fn check(dim: usize) -> Result<()> {
        if dim.is_multiple_of(2) {
            return Ok(());
        }
        let message = format!("angle takes rows for complex numbers, but they have length {dim}: want an even one");
        Err(Error::Labels(message))
    }

    fn score<T: Real>(x: &[T], y: &[T]) -> f64 {
        signed(x, y).abs()
    }

    fn pull<T: Real>(x: &[T], y: &[T], slope: f64, dx: &mut [T], dy: &mut [T]) {
        let score = signed(x, y);
        let slope = T::of(if score == 0.0 { 0.0 } else { slope * score.signum() });
        let half = x.len() / 2;
        for k in 0..half {
            let (a, b, c, d) = (x[k], x[half + k], y[k], y[half + k]);
            (dx[k], dx[half + k]) = (slope * (c - d), slope * (c + d));
            (dy[k], dy[half + k]) = (slope * (a + b), slope * (b - a));
        }
    }

    fn compose(x: &Tensor, y: &Tensor) -> Result<Tensor> {
        let half = x.dim(1)? / 2;
        let (a, b) = (x.narrow(1, 0, half)?, x.narrow(1, half, half)?);
        let (c, d) = (y.narrow(1, 0, half)?, y.narrow(1, half, half)?);
        let terms = ((a * (&c - &d)?)? + (b * (&c + &d)?)?)?;
        Ok(terms.sum(D::Minus1)?.abs()?)
    }
}

impl LossParams for AngleParams {
    const NAME: &'static str = "angle";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Graded::<Quotient>::new(self.scale, context)))
    }
}
