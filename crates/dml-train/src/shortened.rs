//! What the beginnings of embeddings are good for, where a recipe has trained them to be (Matryoshka).

use crate::Result;
use crate::embedding::Embeddings;
use crate::evaluation::Embedded;
use dml_core::{Matrix, Metric};
use dml_eval::Retrieval;
use serde::{Deserialize, Serialize};

/// Retrieval by the first `dim` numbers of each embedding, every one a query among all others.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shortened {
    /// Numbers of an embedding that are used.
    pub dim: usize,
    /// On the validation classes, where there are any.
    pub validation: Option<Retrieval>,
    /// On the test classes, where there are any.
    pub test: Option<Retrieval>,
}

impl Embedded {
    /// Retrieval by the first numbers alone, for each of `dims`.
    ///
    /// # Errors
    /// When a length is more than there is.
    pub(crate) fn shortened(&self, metric: Metric, dims: &[usize]) -> Result<Vec<Shortened>> {
        let of = |set: Option<&Embeddings>, dim: usize| {
            set.filter(|set| set.can_be_measured()).map(|set| retrieval(metric, set, dim)).transpose()
        };
        let at = |&dim: &usize| {
            let (validation, test) = (of(self.validation.as_ref(), dim)?, of(self.test.as_ref(), dim)?);
            Ok(Shortened { dim, validation, test })
        };
        dims.iter().map(at).collect()
    }
}

fn retrieval(metric: Metric, set: &Embeddings, dim: usize) -> Result<Retrieval> {
    let values: Vec<f32> =
        set.values.chunks_exact(set.dim.max(1)).flat_map(|row| &row[..dim.min(row.len())]).copied().collect();
    Ok(dml_eval::retrieval(metric, Matrix::new(&values, set.labels.len(), dim)?, &set.labels, &[1])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_numbers_count() {
        // The first number tells the classes apart, the second mixes them up.
        let values = vec![1.0, 9.0, 1.1, -9.0, 5.0, 9.1, 5.1, -9.1];
        let set = Embeddings { values, dim: 2, labels: vec![0, 0, 1, 1] };
        let embedded = Embedded { validation: None, test: Some(set), one_shot: vec![], captions: [None, None] };
        let found = embedded.shortened(Metric::Euclidean, &[2, 1]).unwrap();
        let recall = |at: usize| found[at].test.as_ref().unwrap().recall_at[0].1;
        assert_eq!((found[0].dim, recall(0), found[1].dim, recall(1)), (2, 0.0, 1, 1.0));
        assert!(embedded.shortened(Metric::Euclidean, &[3]).is_err() && found[0].validation.is_none());
    }
}
