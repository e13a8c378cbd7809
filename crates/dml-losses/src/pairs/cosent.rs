//! CoSENT loss.
//!
//! `log(1 + Σ e^{scale (s_j − s_i)})` over all pairs i, j of which i has the higher grade, s the cosine of rows 2i and
//! 2i + 1 ([`Supervision::PairGrades`](crate::Supervision::PairGrades)). One number, which no reduction changes; 0 where no grades
//! differ. Su, *CoSENT: A more efficient sentence vector scheme than Sentence-BERT*, 2022; as sentence-transformers,
//! whose `scale` is 20 too.

use super::graded::{Graded, Likeness};
use crate::params::{LossParams, positive};
use crate::{Context, Objective, Result};
use candle_core::{D, Tensor};
use dml_core::{Real, vector};
use serde::{Deserialize, Serialize};

/// Parameters of the CoSENT loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosentParams {
    /// Factor on the differences of cosines. Default 20.
    pub scale: f64,
}

impl Default for CosentParams {
    fn default() -> Self {
        Self { scale: 20.0 }
    }
}

struct Cosine;

impl Likeness for Cosine {
    const NAME: &'static str = CosentParams::NAME;

    fn score<T: Real>(x: &[T], y: &[T]) -> f64 {
        vector::dot(x, y)
    }

    fn pull<T: Real>(x: &[T], y: &[T], slope: f64, dx: &mut [T], dy: &mut [T]) {
        let slope = T::of(slope);
        dx.iter_mut().zip(y).for_each(|(d, &v)| *d = slope * v);
        dy.iter_mut().zip(x).for_each(|(d, &v)| *d = slope * v);
    }

    fn compose(x: &Tensor, y: &Tensor) -> Result<Tensor> {
        Ok((x * y)?.sum(D::Minus1)?)
    }
}

impl LossParams for CosentParams {
    const NAME: &'static str = "cosent";

    fn check(&self) -> Result<()> {
        positive(Self::NAME, "scale", self.scale)
    }

    fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
        Ok(Box::new(Graded::<Cosine>::new(self.scale, context)))
    }
}
