//! Losses of graded pairs: a pair of a higher grade shall have a higher score. What [`cosent`](super::cosent) and
//! [`angle`](super::angle) share.
//!
//! `log(1 + Σ_{g_i > g_j} e^{scale (s_j − s_i)})`. The sum over pairs of pairs is one over the sorted grades: the part of a
//! pair is `e^{−scale·s_i}` times a running sum of `e^{scale·s_j}` over all lower grades, O(P log P) in all, exactly.

use crate::composed::log_one_plus_sum_exp;
use crate::row_loss::{Sides, on_host, wide};
use crate::{Batch, Context, Evaluation, Kernel, Objective, Result};
use candle_core::{D, DType, Tensor, WithDType};
use dml_core::{Matrix, Projection, Real, l2_normalize};

/// The score of two rows of length 1.
pub(crate) trait Likeness: Send {
    /// Name of the loss.
    const NAME: &'static str;

    /// Refuses rows that have no score.
    fn check(_dim: usize) -> Result<()> {
        Ok(())
    }

    /// The score of two rows.
    fn score<T: Real>(x: &[T], y: &[T]) -> f64;

    /// Writes the derivatives of the score by both rows, times `slope`.
    fn pull<T: Real>(x: &[T], y: &[T], slope: f64, dx: &mut [T], dy: &mut [T]);

    /// The scores `[p]` of rows `[p, d]`.
    fn compose(x: &Tensor, y: &Tensor) -> Result<Tensor>;
}

/// The loss of graded pairs.
pub(crate) struct Graded<L> {
    scale: f64,
    kernel: Kernel,
    likeness: std::marker::PhantomData<L>,
}

impl<L: Likeness> Graded<L> {
    pub(crate) fn new(scale: f64, context: &Context) -> Self {
        Self { scale, kernel: context.kernel, likeness: std::marker::PhantomData }
    }

    fn fused<T: Real + WithDType>(&self, sides: Sides<'_>, grades: &[f32]) -> Result<Tensor> {
        let kernel = |x: Matrix<'_, T>, _: Option<Matrix<'_, T>>| {
            let pair = |i: usize| (x.row(2 * i), x.row(2 * i + 1));
            let scores: Vec<f64> = (0..grades.len()).map(|i| L::score(pair(i).0, pair(i).1)).collect();
            let (value, slopes) = ordered(&scores, grades, self.scale);
            let d = x.cols();
            let mut gradient = vec![T::zero(); x.rows() * d];
            for (i, (rows, slope)) in gradient.chunks_exact_mut(2 * d.max(1)).zip(slopes).enumerate() {
                let (dx, dy) = rows.split_at_mut(d);
                L::pull(pair(i).0, pair(i).1, slope, dx, dy);
            }
            Ok((value, gradient, Vec::new(), ()))
        };
        Ok(on_host::<T, ()>(sides, Projection::Unit, kernel)?.0)
    }

    fn composed(&self, embeddings: &Tensor, grades: &[f32]) -> Result<Tensor> {
        let x = l2_normalize(&wide(embeddings)?)?;
        let (pairs, d) = (grades.len(), x.dim(1)?);
        let x = x.reshape((pairs, 2, d))?;
        let end = |k: usize| x.narrow(1, k, 1)?.squeeze(1)?.contiguous();
        let scores = (L::compose(&end(0)?, &end(1)?)? * self.scale)?;
        let above = grades.iter().flat_map(|g| grades.iter().map(move |h| f32::from(u8::from(g > h))));
        let above = Tensor::from_vec(above.collect(), (1, pairs * pairs), x.device())?.to_dtype(x.dtype())?;
        let gaps = scores.unsqueeze(0)?.broadcast_sub(&scores.unsqueeze(D::Minus1)?)?;
        Ok(log_one_plus_sum_exp(&above, &gaps.reshape((1, pairs * pairs))?)?.squeeze(0)?)
    }
}

impl<L: Likeness> Objective for Graded<L> {
    fn evaluate(&mut self, batch: &Batch<'_>) -> Result<Evaluation> {
        batch.without_references(L::NAME)?;
        batch.without_tuples(L::NAME)?;
        let (n, _) = batch.sizes()?;
        let grades = batch.supervision.pair_grades(n, L::NAME)?;
        L::check(batch.embeddings.dim(1)?)?;
        if grades.is_empty() {
            return Ok(crate::autograd::nothing(&[batch.embeddings])?.into());
        }
        let sides = Sides::of(batch);
        let loss = match (sides.fused(self.kernel), batch.embeddings.dtype()) {
            (true, DType::F64) => self.fused::<f64>(sides, grades)?,
            (true, _) => self.fused::<f32>(sides, grades)?,
            (false, _) => self.composed(batch.embeddings, grades)?,
        };
        Ok(loss.into())
    }
}

/// `log Σ e^x` of numbers as they come.
struct Running {
    top: f64,
    sum: f64,
}

impl Running {
    fn new() -> Self {
        Self { top: f64::NEG_INFINITY, sum: 0.0 }
    }

    fn add(&mut self, x: f64) {
        if x > self.top {
            self.sum = self.sum * (self.top - x).exp() + 1.0;
            self.top = x;
        } else if x != f64::NEG_INFINITY {
            self.sum += (x - self.top).exp();
        }
    }

    fn log(&self) -> f64 {
        self.top + self.sum.ln()
    }
}

/// The loss of scores and grades, and its derivative by each score.
fn ordered(scores: &[f64], grades: &[f32], scale: f64) -> (f64, Vec<f64>) {
    // A grade that is no number is comparable with none.
    let mut order: Vec<usize> = (0..scores.len()).filter(|&i| !grades[i].is_nan()).collect();
    order.sort_by(|&i, &j| grades[i].total_cmp(&grades[j]));
    let groups: Vec<&[usize]> = order.chunk_by(|&i, &j| grades[i] == grades[j]).collect();
    let nothing = f64::NEG_INFINITY;
    let (mut as_higher, mut as_lower) = (vec![nothing; scores.len()], vec![nothing; scores.len()]);
    let (mut lower, mut higher, mut all) = (Running::new(), Running::new(), Running::new());
    for (k, group) in groups.iter().enumerate() {
        for &i in group.iter().filter(|_| k > 0) {
            as_higher[i] = lower.log() - scale * scores[i];
            all.add(as_higher[i]);
        }
        group.iter().for_each(|&i| lower.add(scale * scores[i]));
    }
    for (k, group) in groups.iter().rev().enumerate() {
        for &j in group.iter().filter(|_| k > 0) {
            as_lower[j] = higher.log() + scale * scores[j];
        }
        group.iter().for_each(|&j| higher.add(-scale * scores[j]));
    }
    all.add(0.0);
    let value = all.log();
    let slope = |(high, low): (&f64, &f64)| scale * ((low - value).exp() - (high - value).exp());
    (value, as_higher.iter().zip(&as_lower).map(slope).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_sums_equal_the_double_loop() {
        let scores = [0.3, -0.9, 0.8, 0.1, 0.8, -0.2, 0.5];
        let grades = [1.0, 0.0, 0.5, 0.5, f32::NAN, 2.0, -0.0];
        let scale = 20.0;
        let (mut sum, mut slopes) = (1.0, [0.0; 7]);
        for (i, j) in (0..7).flat_map(|i| (0..7).map(move |j| (i, j))).filter(|&(i, j)| grades[i] > grades[j]) {
            let e: f64 = f64::exp(scale * (scores[j] - scores[i]));
            sum += e;
            slopes[j] += scale * e;
            slopes[i] -= scale * e;
        }
        let (value, got) = ordered(&scores, &grades, scale);
        assert!((value - sum.ln()).abs() < 1e-12);
        assert!(got.iter().zip(slopes).all(|(got, want)| (got - want / sum).abs() < 1e-12));
        assert_eq!(ordered(&[0.1, 0.7], &[0.5, 0.5], scale), (0.0, vec![0.0; 2]));
    }
}
