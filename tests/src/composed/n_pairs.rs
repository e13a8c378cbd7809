//! N-pair loss: cross-entropy of anchors × positives.

use super::cross_entropy::cross_entropy;
use super::{nothing, rows_of_classes};
use candle_core::Tensor;
use dml_core::{Metric, l2_normalize, pairwise};
use dml_losses::pairs::n_pairs::NPairsParams;
use dml_losses::{Objective, Result};

pub(super) struct NPairs(pub(super) NPairsParams);

impl Objective for NPairs {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        // First and second row of every class that has two.
        let classes = rows_of_classes(labels);
        let (anchors, positives): (Vec<u32>, Vec<u32>) =
            classes.values().filter_map(|rows| Some((*rows.first()?, *rows.get(1)?))).unzip();
        let count = anchors.len();
        if count == 0 {
            return nothing(embeddings);
        }
        let take = |rows: Vec<u32>| embeddings.index_select(&Tensor::new(rows, embeddings.device())?, 0);
        let (a, p) = (take(anchors)?, take(positives)?);
        let squares = ((a.sqr()?.sum_all()? + p.sqr()?.sum_all()?)? / (2 * count) as f64)?;
        let scores = if self.0.normalize {
            pairwise(Metric::Dot, &l2_normalize(&a)?, &l2_normalize(&p)?)?
        } else {
            pairwise(Metric::Dot, &a, &p)?
        };
        let diagonal: Vec<u32> = (0..count as u32).collect();
        let scores = (scores * f64::from(self.0.scale))?;
        Ok((cross_entropy(&scores, &diagonal)? + (squares * self.0.l2)?)?)
    }
}
