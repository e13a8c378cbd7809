//! From `dL/dscores` to the gradients of both sides.
//!
//! Every metric but Lp is a function of `a·b`, `‖a‖²` and `‖b‖²`. So a row of `dL/dscores` becomes one of `dL/d(a·b)`, which
//! is pulled back by matrix products, and a coefficient for the anchor itself; the references' coefficients are sums over
//! columns.

use crate::device::cpu::{Strided, add_transposed, parallel_product};
use crate::hyperbolic::{self, Slopes};
use crate::scores::{CANCELLED, Side};
use crate::vector::{sum, widest};
use crate::{Metric, Real};
use rayon::prelude::*;

/// Columns gone through together.
const COLUMNS: usize = 256;

/// What a block of rows leaves beside their `dL/d(a·b)`.
pub(crate) struct BlockPull<T> {
    /// `dL/d‖a‖²` of each row.
    coefficients: Vec<T>,
    /// `dL/d‖b‖²` of each column, from these rows; empty where it is not wanted.
    columns: Vec<T>,
    /// Row, column and `dL/d‖a−b‖²` of pairs at so small a distance that `Σg·a − G·B` would be the difference of two nearly
    /// equal numbers: pulled back by subtraction.
    near: Vec<(usize, usize, T)>,
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

    /// Whether norms have a part in the scores.
    fn of_norms(&self) -> bool {
        !self.metric.is_similarity() && !matches!(self.metric, Metric::Lp(_))
    }

    /// What a block of rows begins with.
    pub(crate) fn block(&self) -> BlockPull<T> {
        let columns = vec![T::zero(); if self.of_norms() && self.at_references { self.m } else { 0 }];
        BlockPull { coefficients: Vec::new(), columns, near: Vec::new() }
    }

    /// Turns row `i` of `dL/dscores` into `dL/d(a·b)`.
    pub(crate) fn to_products(&self, i: usize, scores: &[T], gradient: &mut [T], pull: &mut BlockPull<T>) {
        if !self.of_norms() {
            return;
        }
        let aa = self.anchors.squares[i];
        let coefficient = widest(
            #[inline(always)]
            || match self.metric {
                Metric::Hyperbolic(c) => self.hyperbolic(c, (i, aa), scores, gradient, pull),
                Metric::Snr => snr(aa, scores, gradient, &mut pull.columns),
                _ => self.euclidean((i, aa), scores, gradient, pull),
            },
        );
        pull.coefficients.push(coefficient);
    }

    /// A row of distances in the ball; returns the anchor's coefficient.
    #[inline(always)]
    fn hyperbolic(&self, c: f64, (i, aa): (usize, T), scores: &[T], gradient: &mut [T], pull: &mut BlockPull<T>) -> T {
        let squares = &self.columns().squares[..];
        for begin in (0..scores.len()).step_by(COLUMNS) {
            let end = scores.len().min(begin + COLUMNS);
            let is_near = |j: usize| (gradient[j] != T::zero()) & hyperbolic::near(scores[j], aa, squares[j]);
            if (begin..end).fold(false, |any, j| any | is_near(j)) {
                for j in (begin..end).filter(|&j| is_near(j)) {
                    let by_square = Slopes::new(c, scores[j].wide(), aa.wide(), squares[j].wide()).by_square;
                    pull.near.push((i, j, T::of(gradient[j].wide() * by_square)));
                }
            }
        }
        let c = T::of(c);
        let (mut coefficient, mut by_aa, mut by_bb) = (0.0, [T::zero(); COLUMNS], [T::zero(); COLUMNS]);
        for (block, (g, scores)) in gradient.chunks_mut(COLUMNS).zip(scores.chunks(COLUMNS)).enumerate() {
            let begin = block * COLUMNS;
            let places = by_aa.iter_mut().zip(&mut by_bb).zip(&squares[begin..]);
            for ((g, &score), ((by_aa, by_bb), &bb)) in g.iter_mut().zip(scores).zip(places) {
                let slopes = Slopes::new(c, score, aa, bb);
                let some = *g != T::zero();
                *by_aa = if some { *g * slopes.by_aa } else { T::zero() };
                *by_bb = if some { *g * slopes.by_bb } else { T::zero() };
                *g = if some { *g * slopes.by_dot } else { T::zero() };
            }
            coefficient += sum(&by_aa[..g.len()]);
            // None where nobody wants them.
            let columns = pull.columns.get_mut(begin..).unwrap_or_default();
            for (sum, &v) in columns.iter_mut().zip(&by_bb[..g.len()]) {
                *sum += v;
            }
        }
        T::of(coefficient)
    }

    /// A row of Euclidean distances or their squares; returns the anchor's coefficient.
    #[inline(always)]
    fn euclidean(&self, (i, aa): (usize, T), scores: &[T], gradient: &mut [T], pull: &mut BlockPull<T>) -> T {
        let (squared, two, cancelled) = (self.metric == Metric::SquaredEuclidean, T::of(2.0), T::of(CANCELLED));
        let squares = &self.columns().squares[..];
        let is_near = |g: T, score: T, bb: T| {
            let square = if squared { score } else { score * score };
            // Two zeros are near too: 0 is not below a share of 0.
            (g != T::zero()) & (square <= cancelled * (aa + bb))
        };
        let chunks = gradient.chunks_mut(COLUMNS).zip(scores.chunks(COLUMNS)).zip(squares.chunks(COLUMNS));
        for (block, ((gradient, scores), squares)) in chunks.enumerate() {
            let pairs = gradient.iter().zip(scores).zip(squares);
            if !pairs.fold(false, |any, ((&g, &score), &bb)| any | is_near(g, score, bb)) {
                continue;
            }
            for (j, ((g, &score), &bb)) in gradient.iter_mut().zip(scores).zip(squares).enumerate() {
                if is_near(*g, score, bb) {
                    // d‖a−b‖ = d‖a−b‖² / (2‖a−b‖), and 0 at distance 0.
                    let by_square = if squared {
                        *g
                    } else if score == T::zero() {
                        T::zero()
                    } else {
                        *g / (two * score)
                    };
                    pull.near.push((i, block * COLUMNS + j, by_square));
                    *g = T::zero();
                }
            }
        }
        if squared {
            for g in gradient.iter_mut() {
                *g = -two * *g;
            }
        } else {
            for (g, &score) in gradient.iter_mut().zip(scores) {
                let h = *g / score;
                *g = if *g == T::zero() { T::zero() } else { -h };
            }
        }
        half_from(gradient, &mut pull.columns)
    }

    /// Adds the rows that begin at `first`: their scores, `dL/d(a·b)` and the rest.
    pub(crate) fn add_rows(&mut self, first: usize, table: &[T], gradient: &mut [T], pulls: Vec<BlockPull<T>>) {
        let (m, d) = (self.m, self.d);
        if gradient.is_empty() || d == 0 {
            return;
        }
        let count = gradient.len() / m;
        if let Metric::Lp(p) = self.metric {
            return self.add_lp(p, first, table, gradient, count);
        }
        let (a, b) = (&self.anchors.values[first * d..][..count * d], &self.columns().values[..]);
        if self.references.is_none() && count == m {
            // (G + Gᵀ)·X: one product instead of two.
            add_transposed(m, gradient);
            parallel_product(
                (m, d, m),
                Strided::rows(gradient, m),
                Strided::rows(b, d),
                &mut self.d_anchors,
                (d, false),
            );
        } else {
            let (g, out) = (Strided::rows(gradient, m), &mut self.d_anchors[first * d..]);
            let shared = self.references.is_none();
            parallel_product((count, d, m), g, Strided::rows(b, d), out, (d, shared));
            if self.at_references {
                // The first rows need not read the zeros that are there.
                let add = shared || first > 0;
                parallel_product((m, d, count), g.transposed(), Strided::rows(a, d), self.d_columns(), (d, add));
            }
        }
        let coefficients: Vec<T> = pulls.iter().flat_map(|pull| &pull.coefficients).copied().collect();
        add_multiples(d, &coefficients, a, &mut self.d_anchors[first * d..]);
        for pull in pulls {
            self.column_coefficients.iter_mut().zip(&pull.columns).for_each(|(sum, &v)| *sum += v);
            pull.near.into_iter().for_each(|pair| self.subtract(pair));
        }
    }

    /// Pulls a near pair back.
    fn subtract(&mut self, (i, j, by_square): (usize, usize, T)) {
        let (d, twice) = (self.d, T::of(2.0) * by_square);
        let (a, b) = (self.anchors.row(i), self.columns().row(j));
        for (k, (&x, &y)) in a.iter().zip(b).enumerate() {
            let step = twice * (x - y);
            self.d_anchors[i * d + k] += step;
            if self.at_references {
                self.d_columns()[j * d + k] -= step;
            }
        }
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
        if self.at_references && self.of_norms() && self.d > 0 {
            let (coefficients, d) = (std::mem::take(&mut self.column_coefficients), self.d);
            add_multiples(d, &coefficients, &columns.values, self.d_columns());
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

/// `out ← out + 2·coefficient·row` of each row.
fn add_multiples<T: Real>(d: usize, coefficients: &[T], rows: &[T], out: &mut [T]) {
    let places = out.par_chunks_mut(d).zip(rows.par_chunks(d)).zip(coefficients).with_min_len(16);
    places.for_each(|((out, row), &coefficient)| {
        let twice = T::of(2.0) * coefficient;
        out.iter_mut().zip(row).for_each(|(o, &v)| *o += twice * v);
    });
}

/// Of a row `dL/d(a·b)`, all of which comes through `‖a−b‖²`: minus half of it goes to either norm.
#[inline(always)]
fn half_from<T: Real>(gradient: &[T], columns: &mut [T]) -> T {
    let half = T::of(-0.5);
    for (sum, &g) in columns.iter_mut().zip(gradient) {
        *sum += half * g;
    }
    T::of(-0.5 * sum(gradient))
}

/// A row of signal-to-noise ratios; returns the anchor's coefficient.
#[inline(always)]
fn snr<T: Real>(aa: T, scores: &[T], gradient: &mut [T], columns: &mut [T]) -> T {
    // s = ‖a−b‖²/‖a‖²: by ‖a‖² it is (1 − s)/‖a‖².
    let by = if aa > T::zero() { aa.recip() } else { T::zero() };
    let own = T::of(-crate::vector::dot(gradient, scores)) * by;
    for g in gradient.iter_mut() {
        *g = T::of(-2.0) * (*g * by);
    }
    own + half_from(gradient, columns)
}
