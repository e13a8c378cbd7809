//! Scored pairs of texts, to choose by and to report.

use crate::Result;
use crate::evaluation::embedded;
use crate::examples::{TEXTS, input_of};
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
    /// When a text or the encoder refuses, or there is nothing to correlate.
    pub fn correlation(&self, encoder: &dyn Encoder, metric: Metric, device: &Device) -> Result<Correlation> {
        let n = self.pairs.len();
        // All first texts, then all second ones.
        let texts: Vec<&str> = (0..2 * n).map(|i| self.pairs.pair(i % n)[i / n]).collect();
        let dim = encoder.dim();
        let mut values = vec![0.0; texts.len() * dim];
        for (indices, tokens) in self.tokenizer.encode_within(&texts, TEXTS)? {
            let rows = embedded(encoder, &input_of(&tokens, device)?)?;
            for (index, row) in indices.into_iter().zip(rows.chunks_exact(dim)) {
                values[index * dim..][..dim].copy_from_slice(row);
            }
        }
        let (left, right) = values.split_at(n * dim);
        let [left, right] = [Matrix::new(left, n, dim)?, Matrix::new(right, n, dim)?];
        Ok(dml_eval::correlation(metric, left, right, self.pairs.scores())?)
    }
}
