//! The composed form of losses: candle's operations on a score matrix, on every device, differentiated by autograd.

use crate::Result;
use crate::autograd::nothing;
use candle_core::{D, DType, Device, Tensor};
use dml_core::Reduction;
use dml_core::relevance::{Relevance, Sets};
use dml_core::rowwise::Statistics;

/// Stands for an entry that no maximum and no exponential may see. Finite, because `∞ − ∞` is not a number.
const FAR: f64 = 1e30;

/// Who is a positive and who a negative of whom, as matrices.
pub struct Masks {
    /// `[n, m]`: how often a column is a positive of an anchor (0 or 1, or more where a miner repeats itself).
    pub positive: Tensor,
    /// `[n, m]`: the same of negatives.
    pub negative: Tensor,
    /// The same by rows, on the host.
    pub rows: Vec<Sets>,
    /// The class of each anchor, where it has one.
    pub classes: Vec<Option<u64>>,
}

impl Masks {
    /// The matrices of a relevance, on a device in a float type.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn new(relevance: &dyn Relevance, dtype: DType, device: &Device) -> Result<Self> {
        let (n, m) = (relevance.anchors(), relevance.references());
        let (mut positive, mut negative) = (vec![0f32; n * m], vec![0f32; n * m]);
        let mut rows = Vec::with_capacity(n);
        for i in 0..n {
            let mut sets = Sets::default();
            relevance.row(i, &mut sets);
            let (p, q) = (&mut positive[i * m..][..m], &mut negative[i * m..][..m]);
            match &sets.negatives {
                Some(listed) => listed.iter().for_each(|&j| q[j as usize] += 1.0),
                None => {
                    q.fill(1.0);
                    sets.positives.iter().chain(&sets.ignored).for_each(|&j| q[j as usize] = 0.0);
                }
            }
            sets.positives.iter().for_each(|&j| p[j as usize] += 1.0);
            rows.push(sets);
        }
        let matrix = |values| Tensor::from_vec(values, (n, m), device)?.to_dtype(dtype);
        let classes = (0..n).map(|i| relevance.class(i)).collect();
        Ok(Self { positive: matrix(positive)?, negative: matrix(negative)?, rows, classes })
    }

    /// Anchors and columns of all positive pairs, row by row.
    pub fn positive_pairs(&self) -> (Vec<u32>, Vec<u32>) {
        let pairs = self.rows.iter().enumerate().flat_map(|(i, row)| row.positives.iter().map(move |&j| (i as u32, j)));
        pairs.unzip()
    }

    /// How relevant each column is, `[n, m]`; `None` where nobody says.
    ///
    /// # Errors
    /// When a tensor cannot be made.
    pub fn grades(&self) -> Result<Option<Tensor>> {
        let m = self.positive.dim(1)?;
        if self.rows.is_empty() || self.rows.iter().any(|row| row.grades.len() != m) {
            return Ok(None);
        }
        let grades: Vec<f32> = self.rows.iter().flat_map(|row| row.grades.iter().copied()).collect();
        Ok(Some(
            Tensor::from_vec(grades, self.positive.shape(), self.positive.device())?.to_dtype(self.positive.dtype())?,
        ))
    }
}

/// Terms of one group.
pub struct ComposedTerms {
    /// `[rows, …]`.
    pub values: Tensor,
    /// How often each counts, same shape: 0 of an entry that is no term.
    pub counts: Tensor,
    /// The anchor of each row; `None`: row `i` is of anchor `i`.
    pub anchors: Option<Vec<u32>>,
}

impl ComposedTerms {
    /// Terms of which row `i` belongs to anchor `i`.
    pub fn new(values: Tensor, counts: Tensor) -> Self {
        Self { values, counts, anchors: None }
    }
}

/// Terms of which none counts.
///
/// # Errors
/// When a tensor operation fails.
pub fn no_terms(scores: &Tensor) -> Result<Vec<ComposedTerms>> {
    Ok(vec![ComposedTerms::new(scores.clone(), scores.zeros_like()?)])
}

/// `x` where `mask` is above 0, else `other`.
///
/// # Errors
/// When shapes do not fit.
pub fn fill(mask: &Tensor, x: &Tensor, other: f64) -> Result<Tensor> {
    let other = Tensor::new(other, x.device())?.to_dtype(x.dtype())?.broadcast_as(x.shape())?;
    Ok(mask.gt(0.0)?.where_cond(x, &other)?)
}

/// 1 where the row of a mask `[n, m]` has an entry, else 0, `[n]`.
///
/// # Errors
/// When a tensor operation fails.
pub fn any(mask: &Tensor) -> Result<Tensor> {
    Ok(mask.sum(D::Minus1)?.gt(0.0)?.to_dtype(mask.dtype())?)
}

/// Largest entry of each row that the mask picks, `[n]`; far below all where it picks none.
///
/// # Errors
/// When shapes do not fit.
pub fn largest(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(fill(mask, x, -FAR)?.max(D::Minus1)?)
}

/// Smallest entry of each row that the mask picks, `[n]`; far above all where it picks none.
///
/// # Errors
/// When shapes do not fit.
pub fn smallest(mask: &Tensor, x: &Tensor) -> Result<Tensor> {
    Ok(fill(mask, x, FAR)?.min(D::Minus1)?)
}

/// `log Σ counts·e^x` of each row, `[n]`; 0 where the mask picks none.
///
/// # Errors
/// When shapes do not fit.
pub fn log_sum_exp(counts: &Tensor, x: &Tensor) -> Result<Tensor> {
    let some = any(counts)?;
    let top = largest(counts, x)?.detach();
    let top = (top * &some)?;
    let inner = fill(counts, &x.broadcast_sub(&top.unsqueeze(D::Minus1)?)?, -FAR)?.exp()?;
    let sum = (inner * counts)?.sum(D::Minus1)?;
    // log 1 = 0 where there is nothing.
    let sum = (sum + (1.0 - &some)?)?;
    Ok((sum.log()? + top)?)
}

/// `log(1 + Σ counts·e^x)` of each row, `[n]`; 0 where the mask picks none.
///
/// # Errors
/// When shapes do not fit.
pub fn log_one_plus_sum_exp(counts: &Tensor, x: &Tensor) -> Result<Tensor> {
    softplus(&fill(&any(counts)?, &log_sum_exp(counts, x)?, -FAR)?)
}

/// `[x]+`, with slope 0 at 0. candle's `relu` has slope 1 there, and makes 0 of what is not a number.
///
/// # Errors
/// When a tensor operation fails.
pub fn hinge(x: &Tensor) -> Result<Tensor> {
    Ok(x.le(0.0)?.where_cond(&x.zeros_like()?, x)?)
}

/// `log(1 + e^x)` without overflow, and with its digits where it is all but 0: some reductions ask whether it is above.
///
/// # Errors
/// When a tensor operation fails.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    let tail = x.abs()?.neg()?.exp()?;
    let sum = (&tail + 1.0)?;
    // The digits of a small tail that the sum has lost.
    let lost = ((&tail - (&sum - 1.0)?)? / &sum)?.detach();
    Ok((x.relu()? + (sum.log()? + lost)?)?)
}

/// `1/(1 + e^{−x})`, exponents kept within ±`clamp`, where the slope is 0.
///
/// # Errors
/// When a tensor operation fails.
pub fn sigmoid(x: &Tensor, clamp: f64) -> Result<Tensor> {
    Ok((x.clamp(-clamp, clamp)?.neg()?.exp()? + 1.0)?.recip()?)
}

/// The terms of all groups as one number, or `[n]` numbers under [`Reduction::None`]; with what was seen.
///
/// # Errors
/// When shapes do not fit.
pub fn reduce(
    reduction: &Reduction,
    groups: &[ComposedTerms],
    weights: &[f64],
    masks: &Masks,
    scores: &Tensor,
) -> Result<(Tensor, Statistics)> {
    let n = masks.rows.len();
    let mut statistics = seen(masks, scores)?;
    let mut total: Option<Tensor> = None;
    for (g, group) in groups.iter().enumerate() {
        let one = reduce_group(reduction, group, weights, masks, n, &mut statistics, g)?;
        total = Some(total.map_or(Ok(one.clone()), |sum| sum + one)?);
    }
    // A batch of no rows has no graph to hang on to.
    let total = match total {
        Some(total) => total,
        None => nothing(&[scores])?,
    };
    Ok((total, statistics))
}

fn reduce_group(
    reduction: &Reduction,
    group: &ComposedTerms,
    weights: &[f64],
    masks: &Masks,
    n: usize,
    statistics: &mut Statistics,
    g: usize,
) -> Result<Tensor> {
    let ComposedTerms { values, counts, anchors } = group;
    if values.elem_count() == 0 {
        return match reduction {
            Reduction::None => Ok(Tensor::zeros(n, values.dtype(), values.device())?),
            _ => nothing(&[values]),
        };
    }
    let rows = values.dim(0)?;
    let flat = |x: &Tensor| x.reshape((rows, values.elem_count() / rows));
    let (mut values, mut counts) = (flat(values)?, flat(counts)?);
    let of_row: Vec<usize> = match anchors {
        Some(anchors) => anchors.iter().map(|&a| a as usize).collect(),
        None => (0..rows).collect(),
    };
    let (dtype, device) = (values.dtype(), values.device().clone());
    let per_row = |f: &dyn Fn(usize) -> f64| -> Result<Tensor> {
        let numbers: Vec<f64> = of_row.iter().map(|&a| f(a)).collect();
        Ok(Tensor::from_vec(numbers, (rows, 1), &device)?.to_dtype(dtype)?)
    };
    if !weights.is_empty() {
        values = values.broadcast_mul(&per_row(&|a| weights[a])?)?;
    }
    if let Reduction::ClassWeighted(of_class) = reduction {
        let weight = |a: usize| {
            let class = masks.classes[a].and_then(|class| usize::try_from(class).ok());
            class.and_then(|class| of_class.get(class)).copied().unwrap_or(f64::NAN)
        };
        values = values.broadcast_mul(&per_row(&weight)?)?;
    }
    let kept = match reduction {
        Reduction::MeanNonZero => Some(values.le(0.0)?),
        Reduction::Threshold { low, high } => Some((values.le(*low)? + values.ge(*high)?)?),
        _ => None,
    };
    if let Some(dropped) = kept {
        // What is not a number is neither at or below nor above: it stays, and shows.
        counts = dropped.gt(0u8)?.where_cond(&counts.zeros_like()?, &counts)?;
    }
    let number = |x: Tensor| -> Result<f64> { Ok(x.to_dtype(DType::F64)?.to_scalar()?) };
    let count = number(counts.sum_all()?)?;
    statistics.terms[g] = count;
    statistics.active[g] = number((values.gt(0.0)?.to_dtype(counts.dtype())? * &counts)?.sum_all()?)?;
    let values = (fill(&counts, &values, 0.0)? * &counts)?;
    let by_anchor = |x: Tensor| -> Result<Tensor> {
        let index = Tensor::from_vec(of_row.iter().map(|&a| a as u32).collect(), rows, x.device())?;
        Ok(Tensor::zeros(n, x.dtype(), x.device())?.index_add(&index, &x.sum(1)?, 0)?)
    };
    Ok(match reduction {
        Reduction::None => by_anchor(values)?,
        Reduction::PerAnchor => {
            let of_anchor = by_anchor(counts)?;
            let of_anchor = (&of_anchor + of_anchor.le(0.0)?.to_dtype(of_anchor.dtype())?)?;
            (by_anchor(values)? / of_anchor)?.mean_all()?
        }
        Reduction::Sum => values.sum_all()?,
        Reduction::Divisor(by) => (values.sum_all()? / *by)?,
        _ => (values.sum_all()? / if count > 0.0 { count } else { 1.0 })?,
    })
}

fn seen(masks: &Masks, scores: &Tensor) -> Result<Statistics> {
    let number = |x: Tensor| -> Result<f64> { Ok(x.to_dtype(DType::F64)?.to_scalar()?) };
    let scores = scores.detach();
    let (positive_pairs, negative_pairs) = (number(masks.positive.sum_all()?)?, number(masks.negative.sum_all()?)?);
    let mean = |mask: &Tensor, pairs: f64| -> Result<f64> {
        Ok(if pairs > 0.0 { number((fill(mask, &scores, 0.0)? * mask)?.sum_all()?)? / pairs } else { 0.0 })
    };
    let (mean_positive, mean_negative) =
        (mean(&masks.positive, positive_pairs)?, mean(&masks.negative, negative_pairs)?);
    Ok(Statistics { positive_pairs, mean_positive, negative_pairs, mean_negative, ..Statistics::default() })
}
