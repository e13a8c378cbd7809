//! Scored pairs of texts, to choose by and to report.

use crate::Result;
use crate::embedding::embed_texts;
use candle_core::Device;
use dml_core::{Matrix, Metric};
use dml_data::TextPairs;
use dml_data::text::TextTokenizer;
pub use dml_eval::Correlation;
use dml_models::Encoder;
use std::sync::Arc;

/// Pairs of texts, and how alike people found them.
pub struct ScoredPairs {
    /// The pairs.
    pub pairs: TextPairs,
    /// What makes tokens of them.
    pub tokenizer: Arc<TextTokenizer>,
}

impl ScoredPairs {
    /// How the scores of `encoder` follow what people found.
    ///
    /// # Errors
    /// When a text or the encoder refuses, there is nothing to correlate, or all pairs are as close.
    pub fn correlation(&self, encoder: &dyn Encoder, metric: Metric, device: &Device) -> Result<Correlation> {
        let n = self.pairs.len();
        // All first texts, then all second ones.
        let texts: Vec<&str> = (0..2 * n).map(|i| self.pairs.pair(i % n)[i / n]).collect();
        let dim = encoder.dim();
        let values = embed_texts(encoder, &self.tokenizer, &texts, device)?;
        let (left, right) = values.split_at(n * dim);
        let [left, right] = [Matrix::new(left, n, dim)?, Matrix::new(right, n, dim)?];
        Ok(dml_eval::correlation(metric, left, right, self.pairs.scores())?)
    }
}
