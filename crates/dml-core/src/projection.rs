//! What is done to rows before they are compared, and its gradient.

use crate::device::cpu::dot;
use crate::{Matrix, Real, Result};
use candle_core::{D, Tensor};
use rayon::prelude::*;

/// Norms below this count as 0: the row stays 0 and gets no gradient.
const SMALLEST: f64 = 1e-12;
/// Numbers that are copied together.
const CHUNK: usize = 1 << 16;

/// What is done to every row before it is compared with others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Projection {
    /// Nothing.
    None,
    /// `x̂ = x/‖x‖`; rows of zeros stay zeros, with gradient 0.
    Unit,
    /// Into the Poincaré ball of curvature `−c`: the norm is clipped to `r` and the exponential map at 0 is taken,
    /// `tanh(√c‖x‖) x/(√c‖x‖)`. Ermolov et al., *Hyperbolic Vision Transformers*, 2022, eq. 3 and §2.4 (c = 0.1, r = 2.3).
    Ball {
        /// c, above 0.
        curvature: f64,
        /// r, above 0; infinite clips nothing.
        clip: f64,
    },
}

/// Rows after a projection, with what its gradient needs.
#[derive(Clone, Debug)]
pub struct Projected<T> {
    /// The rows `[n, d]`.
    pub values: Vec<T>,
    projection: Projection,
    norms: Vec<T>,
    d: usize,
}

impl Projection {
    /// Length of the image of a vector of length `norm`, over `norm`.
    fn factor(self, norm: f64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Unit => 1.0 / norm,
            Self::Ball { curvature, clip } => {
                let root = curvature.sqrt();
                (root * norm.min(clip)).tanh() / (root * norm)
            }
        }
    }

    /// Derivative of the image's length by `norm`.
    fn slope(self, norm: f64) -> f64 {
        match self {
            Self::None => 1.0,
            Self::Unit => 0.0,
            Self::Ball { clip, .. } if norm > clip => 0.0,
            Self::Ball { curvature, .. } => 1.0 - (curvature.sqrt() * norm).tanh().powi(2),
        }
    }

    /// Projects each row of `x` `[n, d]`.
    pub fn apply<T: Real>(self, x: Matrix<'_, T>) -> Projected<T> {
        // Copied by those who project, a few rows at a time while they are in the cache.
        let d = x.cols();
        let mut values = vec![T::zero(); x.data().len()];
        if self == Self::None || d == 0 {
            let chunks = values.par_chunks_mut(CHUNK).zip(x.data().par_chunks(CHUNK));
            chunks.for_each(|(to, from)| to.copy_from_slice(from));
            return Projected { values, projection: Self::None, norms: Vec::new(), d };
        }
        let rows = values.par_chunks_mut(d).with_min_len(16).zip(x.data().par_chunks(d));
        let norms = rows.map(|(to, from)| {
            to.copy_from_slice(from);
            self.project_row(to)
        });
        let norms = norms.collect();
        Projected { values, projection: self, norms, d }
    }

    /// Projects a row in place; returns the norm that it had.
    fn project_row<T: Real>(self, row: &mut [T]) -> T {
        let norm = dot(row, row).sqrt();
        if norm.wide() < SMALLEST {
            if self == Self::Unit {
                row.fill(T::zero());
            }
        } else if self == Self::Unit {
            row.iter_mut().for_each(|v| *v /= norm);
        } else {
            let factor = T::of(self.factor(norm.wide()));
            row.iter_mut().for_each(|v| *v *= factor);
        }
        norm
    }

    /// The same as candle operations, differentiable on every device.
    ///
    /// # Errors
    /// When a tensor operation fails.
    pub fn compose(self, x: &Tensor) -> Result<Tensor> {
        if self == Self::None {
            return Ok(x.clone());
        }
        let square = x.sqr()?.sum_keepdim(D::Minus1)?;
        let zero = square.le(SMALLEST * SMALLEST)?;
        // The root of a constant where the norm is 0: no division by 0 in either direction.
        let norm = zero.where_cond(&square.ones_like()?, &square)?.sqrt()?;
        let image = match self {
            Self::None | Self::Unit => x.broadcast_div(&norm)?,
            Self::Ball { curvature, clip } => {
                let root = curvature.sqrt();
                let length = ((norm.minimum(clip)? * root)?.tanh()? / root)?;
                x.broadcast_mul(&(length / norm)?)?
            }
        };
        // A ball's map is the identity at 0.
        let at_zero = if self == Self::Unit { x.zeros_like()? } else { x.clone() };
        Ok(zero.broadcast_as(x.shape())?.where_cond(&at_zero, &image)?)
    }
}

impl<T: Real> Projected<T> {
    /// The rows as a matrix.
    pub fn matrix(&self) -> Matrix<'_, T> {
        Matrix::from_parts(&self.values, self.values.len().checked_div(self.d).unwrap_or(0), self.d)
    }

    /// Turns a gradient with respect to the image into one with respect to the rows before, in place. With `u = x/‖x‖`:
    /// `f·(g − (g·u)u) + f'·(g·u)u`, where `f` is the factor and `f'` the slope of the length.
    pub fn pull_back(&self, gradient: &mut [T]) {
        if self.projection == Projection::None || self.d == 0 {
            return;
        }
        let rows = gradient.par_chunks_mut(self.d).with_min_len(16).zip(self.values.par_chunks(self.d));
        rows.zip(&self.norms).for_each(|((g, image), norm)| {
            let norm = norm.wide();
            if norm < SMALLEST {
                if self.projection == Projection::Unit {
                    g.fill(T::zero());
                }
                return;
            }
            let factor = self.projection.factor(norm);
            let length = factor * norm;
            // image = length · u.
            let along = dot(g, image).wide() / length;
            let (f, shift) = (T::of(factor), T::of((self.projection.slope(norm) - factor) * along / length));
            for (g, &v) in g.iter_mut().zip(image) {
                *g = f * *g + shift * v;
            }
        });
    }
}
