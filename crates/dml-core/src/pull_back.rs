//! From `dL/dscores` to the gradients of both sides.
//!
//! Every metric but Lp is a function of `a·b`, `‖a‖²` and `‖b‖²`. So a row of `dL/dscores` becomes one of `dL/d(a·b)`, which
//! is pulled back by matrix products, and a coefficient for the anchor itself; the references' coefficients are sums over
//! columns.

use crate::device::cpu::{Strided, add_transposed, parallel_product};
use crate::scores::{CANCELLED, Side};
use crate::{Metric, Real};
use rayon::prelude::*;

/// Numbers summed side by side, so that a loop becomes vector instructions.
const LANES: usize = 8;

/// What a row leaves beside its `dL/d(a·b)`.
pub(crate) struct RowPull<T> {
    /// `dL/d‖a‖²`.
    coefficient: T,
    /// Columns at so small a distance that `Σg·a − G·B` would be the difference of two nearly equal numbers, with
    /// `dL/d‖a−b‖²`: pulled back by subtraction.
    near: Vec<(u32, T)>,
}

/// Two sides and the gradients that gather at them.
pub(crate) struct Puller<'a, T: Real> {
    metric: Metric,
    anchors: &'a Side<'a, T>,
    /// `None`: the anchors are the references.
    references: Option<&'a Side<'a, T>>,
    d: usize,
    m: usize,
    pub(crate) d_anchors: Vec<T>,
    pub(crate) d_references: Vec<T>,
    column_coefficients: Vec<T>,
    /// Whether the references want a gradient.
    at_references: bool,
}

impl<'a, T: Real> Puller<'a, T> {
    pub(crate) fn new(
        metric: Metric,
        (anchors, n): (&'a Side<'a, T>, usize),
        (references, m): (Option<&'a Side<'a, T>>, usize),
        d: usize,
        at_references: bool,
    ) -> Self {
        let at_references = at_references || references.is_none();
        // The anchors' own where they are the references.
        let own = at_references && references.is_some();
        let (d_anchors, d_references) = (vec![T::zero(); n * d], vec![T::zero(); if own { m * d } else { 0 }]);
        let column_coefficients = vec![T::zero(); m];
        Self { metric, anchors, references, d, m, d_anchors, d_references, column_coefficients, at_references }
    }

    /// The gradient at the references.
    fn d_columns(&mut self) -> &mut [T] {
        if self.references.is_some() { &mut self.d_references } else { &mut self.d_anchors }
    }

    fn columns(&self) -> &'a Side<'a, T> {
        self.references.unwrap_or(self.anchors)
    }

    /// Turns row `i` of `dL/dscores` into `dL/d(a·b)`.
    pub(crate) fn to_products(&self, i: usize, scores: &[T], gradient: &mut [T]) -> RowPull<T> {
        let mut pull = RowPull { coefficient: T::zero(), near: Vec::new() };
        if self.metric.is_similarity() || matches!(self.metric, Metric::Lp(_)) {
            return pull;
        }
        let (aa, squares) = (self.anchors.squares[i], &self.columns().squares[..]);
        let (two, cancelled) = (T::of(2.0), T::of(CANCELLED));
        if let Metric::Hyperbolic(c) = self.metric {
            for (j, (g, &score)) in gradient.iter().zip(scores).enumerate() {
                if *g != T::zero() && hyperbolic_near(score, aa, squares[j]) {
                    let by_square = Hyperbolic::new(c, score.wide(), aa.wide(), squares[j].wide()).by_square;
                    pull.near.push((j as u32, T::of(g.wide() * by_square)));
                }
            }
            let c = T::of(c);
            let mut lanes = [T::zero(); LANES];
            for begin in (0..gradient.len()).step_by(LANES) {
                let end = gradient.len().min(begin + LANES);
                for (lane, j) in lanes.iter_mut().zip(begin..end) {
                    let (g, parts) = (gradient[j], Hyperbolic::new(c, scores[j], aa, squares[j]));
                    let none = g == T::zero();
                    *lane += if none { T::zero() } else { g * parts.by_aa };
                    gradient[j] = if none { T::zero() } else { g * parts.by_dot };
                }
            }
            pull.coefficient = lanes.into_iter().sum();
            return pull;
        }
        if self.metric == Metric::Snr {
            let by = if aa > T::zero() { aa.recip() } else { T::zero() };
            for (g, &score) in gradient.iter_mut().zip(scores) {
                let slope = *g * by;
                pull.coefficient -= slope * (score - T::one());
                *g = -two * slope;
            }
            return pull;
        }
        let euclidean = self.metric == Metric::Euclidean;
        for (j, (g, &score)) in gradient.iter_mut().zip(scores).enumerate() {
            let square = if euclidean { score * score } else { score };
            if *g != T::zero() && square < cancelled * (aa + squares[j]) {
                // d‖a−b‖ = d‖a−b‖² / (2‖a−b‖), and 0 at distance 0.
                let by_square = if !euclidean {
                    *g
                } else if score > T::zero() {
                    *g / (two * score)
                } else if score == T::zero() {
                    T::zero()
                } else {
                    T::nan()
                };
                pull.near.push((j as u32, by_square));
                *g = T::zero();
            }
        }
        if euclidean {
            for (g, &score) in gradient.iter_mut().zip(scores) {
                let h = *g / score;
                *g = if *g == T::zero() { T::zero() } else { -h };
            }
        } else {
            gradient.iter_mut().for_each(|g| *g = -two * *g);
        }
        pull.coefficient = T::of(-0.5 * crate::vector::sum(gradient));
        pull
    }

    /// Adds the rows that begin at `first`: their scores, `dL/d(a·b)` and the rest.
    pub(crate) fn add_rows(&mut self, first: usize, table: &[T], gradient: &mut [T], pulls: &[RowPull<T>]) {
        let (count, m, d) = (pulls.len(), self.m, self.d);
        if count == 0 || m == 0 || d == 0 {
            return;
        }
        if let Metric::Lp(p) = self.metric {
            return self.add_lp(p, first, table, gradient, count);
        }
        let (a, b) = (&self.anchors.values[first * d..][..count * d], &self.columns().values[..]);
        if self.at_references {
            self.add_column_coefficients(first, table, gradient);
        }
        if self.references.is_none() && count == m {
            // (G + Gᵀ)·X: one product instead of two.
            add_transposed(m, gradient);
            parallel_product((m, d, m), Strided::rows(gradient, m), Strided::rows(b, d), &mut self.d_anchors, false);
        } else {
            let (g, out) = (Strided::rows(gradient, m), &mut self.d_anchors[first * d..]);
            let shared = self.references.is_none();
            parallel_product((count, d, m), g, Strided::rows(b, d), out, shared);
            if self.at_references {
                // The first rows need not read the zeros that are there.
                let add = shared || first > 0;
                parallel_product((m, d, count), g.transposed(), Strided::rows(a, d), self.d_columns(), add);
            }
        }
        let two = T::of(2.0);
        for (i, pull) in pulls.iter().enumerate() {
            let (a, row) = (&a[i * d..][..d], (first + i) * d);
            for (g, &v) in self.d_anchors[row..][..d].iter_mut().zip(a) {
                *g += two * pull.coefficient * v;
            }
            for &(j, by_square) in &pull.near {
                let column = j as usize * d;
                for k in 0..d {
                    let step = two * by_square * (a[k] - b[column + k]);
                    self.d_anchors[row + k] += step;
                    if self.at_references {
                        self.d_columns()[column + k] -= step;
                    }
                }
            }
        }
    }

    fn add_column_coefficients(&mut self, first: usize, table: &[T], gradient: &[T]) {
        /// Columns summed together.
        const WIDTH: usize = 256;
        if self.metric.is_similarity() {
            return;
        }
        let (m, metric, aa) = (self.m, self.metric, &self.anchors.squares[first..]);
        let squares = &self.columns().squares;
        self.column_coefficients.par_chunks_mut(WIDTH).enumerate().for_each(|(chunk, sums)| {
            let begin = chunk * WIDTH;
            for (i, row) in gradient.chunks_exact(m).enumerate() {
                let row = &row[begin..][..sums.len()];
                if let Metric::Hyperbolic(c) = metric {
                    let (c, one, aa) = (T::of(c), T::one(), aa[i]);
                    let scores = &table[i * m + begin..][..sums.len()];
                    let squares = &squares[begin..][..sums.len()];
                    for (((sum, &g), &score), &bb) in sums.iter_mut().zip(row).zip(scores).zip(squares) {
                        // dL/d‖b‖² over dL/d(a·b).
                        let u = Hyperbolic::gyro(c, score);
                        let far = -(one - c * c * aa * u) / (T::of(2.0) * (one - c * u));
                        let near = T::of(-0.5) * c * aa;
                        *sum += g * if hyperbolic_near(score, aa, bb) { near } else { far };
                    }
                } else {
                    let half = T::of(-0.5);
                    sums.iter_mut().zip(row).for_each(|(sum, &g)| *sum += half * g);
                }
            }
        });
    }

    /// `(Σ|a−b|^p)^{1/p}`: no products to lean on.
    fn add_lp(&mut self, p: f64, first: usize, table: &[T], gradient: &[T], count: usize) {
        let (m, d) = (self.m, self.d);
        let (anchors, columns) = (self.anchors, self.columns());
        let by = |i: usize, j: usize, out: &mut [T], sign: T| {
            let (g, score) = (gradient[i * m + j], table[i * m + j]);
            if g == T::zero() || score == T::zero() {
                return;
            }
            let slope = sign * g * score.powf(T::of(1.0 - p));
            for ((o, &x), &y) in out.iter_mut().zip(anchors.row(first + i)).zip(columns.row(j)) {
                let delta = x - y;
                if delta != T::zero() {
                    *o += slope * delta.abs().powf(T::of(p - 1.0)) * delta.signum();
                }
            }
        };
        let rows = self.d_anchors[first * d..][..count * d].par_chunks_mut(d).enumerate();
        rows.for_each(|(i, out)| (0..m).for_each(|j| by(i, j, out, T::one())));
        // None where they want no gradient.
        let out = if self.references.is_some() { &mut self.d_references } else { &mut self.d_anchors };
        let rows = out.par_chunks_mut(d).enumerate();
        rows.for_each(|(j, out)| (0..count).for_each(|i| by(i, j, out, -T::one())));
    }

    /// The gradients `[n, d]` and `[m, d]`; where the anchors are the references, all is in the first.
    pub(crate) fn finish(mut self) -> (Vec<T>, Vec<T>) {
        let columns = self.columns();
        if self.at_references && !self.metric.is_similarity() && !matches!(self.metric, Metric::Lp(_)) && self.d > 0 {
            let (two, d) = (T::of(2.0), self.d);
            let coefficients = std::mem::take(&mut self.column_coefficients);
            for (j, (out, coefficient)) in self.d_columns().chunks_exact_mut(d).zip(coefficients).enumerate() {
                out.iter_mut().zip(columns.row(j)).for_each(|(o, &v)| *o += two * coefficient * v);
            }
        }
        if self.metric == Metric::Snr {
            for row in self.d_anchors.chunks_exact_mut(self.d).chain(self.d_references.chunks_exact_mut(self.d)) {
                let mean = row.iter().copied().sum::<T>() / T::of(self.d as f64);
                row.iter_mut().for_each(|g| *g -= mean);
            }
        }
        (self.d_anchors, self.d_references)
    }
}

/// Whether a pair in the ball is so near that it is pulled back by subtraction. `score ≥ 2‖a−b‖`, so it is near indeed.
#[inline(always)]
fn hyperbolic_near<T: Real>(score: T, aa: T, bb: T) -> bool {
    score * score < T::of(4.0 * CANCELLED) * (aa + bb)
}

/// Derivatives of the distance in the ball by `‖a−b‖²`, and by `a·b` and `‖a‖²`; of a near pair, the latter without their
/// share in `‖a−b‖²`.
struct Hyperbolic<T> {
    by_square: T,
    by_dot: T,
    by_aa: T,
}

impl<T: Real> Hyperbolic<T> {
    /// `u = ‖−a⊕b‖² = tanh²(√c·s/2)/c`.
    #[inline(always)]
    fn gyro(c: T, score: T) -> T {
        let e = (c.sqrt() * score).fast_exp();
        let t = (e - T::one()) / (e + T::one());
        t * t / c
    }

    /// From the distance: `u = q/D` with `q = ‖a−b‖²`, `D = 1 − 2c·a·b + c²‖a‖²‖b‖²`. All 0 at distance 0.
    #[inline(always)]
    fn new(c: T, score: T, aa: T, bb: T) -> Self {
        let (one, two) = (T::one(), T::of(2.0));
        let u = Self::gyro(c, score);
        let dot = (aa + bb - u * (one + c * c * aa * bb)) / (two * (one - c * u));
        let denominator = one - two * c * dot + c * c * aa * bb;
        let by_square = one / ((one - c * u) * u.sqrt() * denominator);
        let by_square = if u == T::zero() { T::zero() } else { by_square };
        let by_denominator = -by_square * u;
        let square = if hyperbolic_near(score, aa, bb) { T::zero() } else { by_square };
        Self {
            by_square,
            by_dot: -two * square - two * c * by_denominator,
            by_aa: square + c * c * bb * by_denominator,
        }
    }
}
