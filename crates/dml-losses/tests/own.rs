//! A user's own loss, both ways: as a row and as candle operations, which must agree with each other and with plain ones.

use candle_core::{DType, Device, Tensor, Var};
use dml_losses::own::{
    ComposedTerms, Masks, Metric, Real, Reduction, Row, RowObjective, Space, Terms, of_batch, of_rows, of_scores,
};
use dml_losses::{Objective, Result};

const LABELS: [u64; 8] = [0, 0, 1, 1, 2, 2, 0, 3];

/// `s²` of negatives and `(1 − s)²` of positives.
struct Squares;

impl<T: Real> RowObjective<T> for Squares {
    fn groups(&self) -> usize {
        2
    }

    fn row(&self, row: &Row<'_, T>, terms: &mut Terms<'_>, gradient: &mut [T]) {
        let two = T::of(2.0);
        for j in row.positives() {
            let gap = T::one() - row.scores[j];
            gradient[j] -= two * gap * terms.add(0, gap * gap);
        }
        for j in row.negatives() {
            gradient[j] += two * row.scores[j] * terms.add(1, row.scores[j] * row.scores[j]);
        }
    }
}

fn squares(scores: &Tensor, masks: &Masks) -> Result<Vec<ComposedTerms>> {
    let pull = (1.0 - scores)?.sqr()?;
    Ok(vec![
        ComposedTerms::new(pull, masks.positive.clone()),
        ComposedTerms::new(scores.sqr()?, masks.negative.clone()),
    ])
}

/// Value and gradient.
fn run(mut loss: Box<dyn Objective>) -> (f64, Vec<f64>) {
    let values: Vec<f64> = (0..40).map(|i| f64::from((i * i * 37 + 11 * i) % 97) / 60.0 - 0.8).collect();
    let x = Var::from_vec(values, (8, 5), &Device::Cpu).unwrap();
    let value = loss.loss(&x, &LABELS).unwrap();
    let gradient = value.backward().unwrap().get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (value.to_dtype(DType::F64).unwrap().to_scalar().unwrap(), gradient)
}

#[test]
fn rows_scores_and_batches_agree() {
    let space = Space::new(Metric::Cosine, true);
    let rows = run(of_rows(Squares, space, Reduction::Mean));
    let scores = run(of_scores(squares, space, Reduction::Mean));
    let batch = run(of_batch(|batch| {
        let x = dml_core::l2_normalize(batch.embeddings)?;
        let s = x.matmul(&x.t()?)?;
        let labels = batch.supervision.labels("own")?;
        let mask = |f: &dyn Fn(usize, usize) -> bool| -> Result<Tensor> {
            let entries = (0..64).map(|k| f64::from(u8::from(f(k / 8, k % 8)))).collect::<Vec<f64>>();
            Ok(Tensor::from_vec(entries, (8, 8), &Device::Cpu)?)
        };
        let positive = mask(&|i, j| i != j && labels[i] == labels[j])?;
        let negative = mask(&|i, j| labels[i] != labels[j])?;
        let mean = |x: Tensor, mask: &Tensor| (x * mask)?.sum_all()? / mask.sum_all()?;
        Ok((mean((1.0 - &s)?.sqr()?, &positive)? + mean(s.sqr()?, &negative)?)?)
    }));
    assert!(rows.0 > 0.1);
    for other in [scores, batch] {
        assert!((rows.0 - other.0).abs() < 1e-12, "{} {}", rows.0, other.0);
        assert!(rows.1.iter().zip(&other.1).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
