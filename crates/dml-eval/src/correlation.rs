//! How the scores of pairs follow what people found: correlations, as the STS benchmark reports them.

use crate::pair_distance::pair_distance;
use crate::{Error, Result, finite};
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};

/// Correlations of the scores of pairs with what people found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correlation {
    /// Number of pairs.
    pub pairs: usize,
    /// Spearman's ρ: Pearson's r of the ranks, where equal values share the mean of theirs. Only the order counts: the measure
    /// of sentence encoders (Reimers et al., *Task-Oriented Intrinsic Evaluation of Semantic Textual Similarity*, 2016).
    pub spearman: f64,
    /// Pearson's r.
    pub pearson: f64,
}

/// Correlates how close the rows of `left` and `right` are, pair by pair, with `found` `[n]`, the more the closer. Distances
/// count with their sign turned.
///
/// # Errors
/// When the numbers of rows differ, a value is not finite, or all pairs have one score or are as close ([`Error::Collapsed`]): then
/// there is no correlation.
pub fn correlation(metric: Metric, left: Matrix<'_>, right: Matrix<'_>, found: &[f32]) -> Result<Correlation> {
    let n = found.len();
    if left.rows() != n || right.rows() != n {
        let (a, b) = (left.rows(), right.rows());
        return Err(Error::Input(format!("{a} and {b} rows for {n} scores: pass a row each for each score")));
    }
    finite::check_finite("left embedding", left, 0)?;
    finite::check_finite("right embedding", right, 0)?;
    if let Some(place) = found.iter().position(|score| !score.is_finite()) {
        return Err(Error::Input(format!("score {place} is {}: leave its pair out", found[place])));
    }
    let close: Vec<f64> = (0..n).map(|i| -pair_distance(metric, left.row(i), right.row(i))).collect();
    let found: Vec<f64> = found.iter().map(|&score| score.into()).collect();
    let (spearman, pearson) = (pearson(&ranks(&close), &ranks(&found)), pearson(&close, &found));
    let defined = |value: f64| {
        value.is_finite().then_some(value).ok_or_else(|| match found.windows(2).all(|pair| pair[0] == pair[1]) {
            true => Error::Input(format!("{n} pairs have all the same score: there is nothing to correlate")),
            false => Error::Collapsed(format!("{n} pairs are all as close: their embeddings tell nothing apart")),
        })
    };
    Ok(Correlation { pairs: n, spearman: defined(spearman)?, pearson: defined(pearson)? })
}

/// Pearson's r; not a number where one side does not vary.
fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (a_mean, b_mean) = (mean(a), mean(b));
    let sum = |x: &[f64], x_mean: f64, y: &[f64], y_mean: f64| {
        x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>()
    };
    sum(a, a_mean, b, b_mean) / (sum(a, a_mean, a, a_mean) * sum(b, b_mean, b, b_mean)).sqrt()
}

/// The rank of each value, from 0; equal ones share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for equal in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = start as f64 + (equal.len() as f64 - 1.0) / 2.0;
        equal.iter().for_each(|&i| ranks[i] = rank);
        start += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: [f32; 16] = [1., 0., 2., 1., -1., 3., 0.5, 0.5, 1., 1., 0., 2., 3., -1., 1., 2.];
    const RIGHT: [f32; 16] = [1., 1., 2., 0., 1., 3., -0.5, 1., 2., 2., 0., 1., 1., 3., -2., -4.];

    fn of(metric: Metric, found: &[f32]) -> Result<Correlation> {
        let n = found.len();
        correlation(metric, Matrix::new(&LEFT[..2 * n], n, 2)?, Matrix::new(&RIGHT[..2 * n], n, 2)?, found)
    }

    #[test]
    fn what_has_no_correlation_is_refused() {
        for (found, part) in
            [(&[1f32, 1.0, 1.0][..], "the same score"), (&[1.0], "the same score"), (&[], "the same score")]
        {
            let message = of(Metric::Cosine, found).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let (alike, scores) = (Matrix::new(&[0.5f32; 6], 3, 2).unwrap(), [1.0, 2.0, 3.0]);
        let error = correlation(Metric::Cosine, alike, alike, &scores).unwrap_err();
        assert!(matches!(&error, Error::Collapsed(what) if what.contains("3 pairs are all as close")), "{error}");
        let message = of(Metric::Cosine, &[1.0, f32::NAN]).unwrap_err().to_string();
        assert!(message.contains("score 1 is NaN"), "{message}");
        let (two, three) = (Matrix::new(&LEFT[..4], 2, 2).unwrap(), Matrix::new(&LEFT[..6], 3, 2).unwrap());
        let message = correlation(Metric::Dot, two, three, &[1.0, 2.0]).unwrap_err().to_string();
        assert!(message.contains("2 and 3 rows for 2 scores"), "{message}");
    }
}
