//! What the gallery keeps of an identity.

use crate::Result;
use crate::pair_distance::pair_distance;
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};

/// What the gallery keeps of an identity's enrolled images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Templates {
    /// All of them. An identity scores as its best image does, so this is the "max" rule, too.
    #[default]
    PerImage,
    /// Their mean: of vectors of unit length for cosine, of the embeddings as they are for all other metrics.
    Mean,
    /// The image that is closest to the others by the sum of its scores, the first of equals.
    Medoid,
}

impl Templates {
    /// What is kept of an identity that enrolled `rows`, one or more, of `x` (`[n, d]`): `[kept, d]`, row by row.
    pub fn of_rows(self, metric: Metric, x: Matrix<'_>, rows: &[usize]) -> Vec<f32> {
        match self {
            Self::PerImage => rows.iter().flat_map(|&row| x.row(row)).copied().collect(),
            Self::Mean => mean(metric, x, rows),
            Self::Medoid => x.row(medoid(metric, x, rows)).to_vec(),
        }
    }
}

/// Rows that probes are compared with, identity by identity.
pub(super) struct Gallery {
    values: Vec<f32>,
    cols: usize,
    /// Identity of each row.
    pub(super) owners: Vec<u32>,
    /// The most rows that an identity has.
    pub(super) most: usize,
}

impl Gallery {
    /// Of the rows of `x` that each identity enrolled.
    pub(super) fn new(metric: Metric, x: Matrix<'_>, identities: &[Vec<usize>], templates: Templates) -> Self {
        let mut gallery = Self { values: Vec::new(), cols: x.cols(), owners: Vec::new(), most: 1 };
        for (rows, owner) in identities.iter().zip(0u32..) {
            let values = templates.of_rows(metric, x, rows);
            let kept = values.len() / x.cols().max(1);
            gallery.values.extend(values);
            gallery.owners.extend(std::iter::repeat_n(owner, kept));
            gallery.most = gallery.most.max(kept);
        }
        gallery
    }

    pub(super) fn matrix(&self) -> Result<Matrix<'_>> {
        Ok(Matrix::new(&self.values, self.owners.len(), self.cols)?)
    }
}

/// Summed in f64, so that the mean does not hang on the number of images.
fn mean(metric: Metric, x: Matrix<'_>, rows: &[usize]) -> Vec<f32> {
    let mut sum = vec![0f64; x.cols()];
    for &row in rows {
        let values = x.row(row);
        let norm = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let scale = if metric == Metric::Cosine && norm > 0.0 { norm } else { 1.0 };
        sum.iter_mut().zip(values).for_each(|(s, &v)| *s += f64::from(v) / scale);
    }
    sum.into_iter().map(|s| (s / rows.len() as f64) as f32).collect()
}

fn medoid(metric: Metric, x: Matrix<'_>, rows: &[usize]) -> usize {
    // The candidate comes second, as gallery rows do: SNR is not symmetric.
    let far = |&row: &usize| -> f64 {
        let others = rows.iter().filter(|&&other| other != row);
        others.map(|&other| pair_distance(metric, x.row(other), x.row(row))).sum()
    };
    let sums: Vec<f64> = rows.iter().map(far).collect();
    rows[(1..rows.len()).fold(0, |best, i| if sums[i] < sums[best] { i } else { best })]
}
