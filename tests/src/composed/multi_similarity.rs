//! Multi-Similarity loss and its miner over two masks.

use super::masks::Masks;
use super::terms::{largest, log_one_plus_sum_exp, smallest};
use candle_core::Tensor;
use dml_core::{Metric, pairwise};
use dml_losses::pairs::multi_similarity::MultiSimilarityParams;
use dml_losses::{Objective, Result};

pub(super) struct MultiSimilarity(pub(super) MultiSimilarityParams);

impl MultiSimilarity {
    /// Keeps positives with `s < max_N s + ε` and negatives with `s > min_P s − ε`.
    fn mine(scores: &Tensor, all: &Masks, epsilon: f64) -> Result<Masks> {
        let strongest = (largest(&all.negative, scores)? + epsilon)?.unsqueeze(1)?;
        let weakest = (smallest(&all.positive, scores)? - epsilon)?.unsqueeze(1)?;
        let positive = (&all.positive * scores.broadcast_lt(&strongest)?)?;
        let negative = (&all.negative * scores.broadcast_gt(&weakest)?)?;
        Ok(Masks { positive, negative })
    }
}

impl Objective for MultiSimilarity {
    fn loss(&mut self, embeddings: &Tensor, labels: &[u32]) -> Result<Tensor> {
        let params = &self.0;
        let scores = pairwise(Metric::Cosine, embeddings, embeddings)?;
        let mut masks = Masks::within(labels, embeddings.device())?;
        if let Some(epsilon) = params.epsilon {
            masks = Self::mine(&scores.detach(), &masks, f64::from(epsilon))?;
        }
        let (alpha, beta) = (f64::from(params.alpha), f64::from(params.beta));
        let scores = (scores - f64::from(params.base))?;
        let pull = (log_one_plus_sum_exp(&masks.positive, &(&scores * -alpha)?)? / alpha)?;
        let push = (log_one_plus_sum_exp(&masks.negative, &(&scores * beta)?)? / beta)?;
        Ok((pull + push)?.mean_all()?)
    }
}
