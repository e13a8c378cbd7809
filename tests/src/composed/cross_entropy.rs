//! Cross-entropy of logits.

use candle_core::Tensor;
use dml_losses::Result;

/// Mean over rows of `−log softmax(logits)` at the row's target; logits `[n, m]`.
pub(super) fn cross_entropy(logits: &Tensor, targets: &[u32]) -> Result<Tensor> {
    let targets = Tensor::new(targets, logits.device())?.unsqueeze(1)?;
    let at_target = logits.gather(&targets, 1)?.squeeze(1)?;
    Ok((logits.log_sum_exp(1)? - at_target)?.mean_all()?)
}
