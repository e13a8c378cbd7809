//! Who is a positive and who a negative of whom.

use candle_core::{Device, Tensor};
use dml_losses::Result;

/// Masks `[n, m]` of 0 and 1 over anchors × references.
pub(super) struct Masks {
    pub(super) positive: Tensor,
    pub(super) negative: Tensor,
}

impl Masks {
    /// Of a batch against itself: a row is neither positive nor negative of itself.
    pub(super) fn within(labels: &[u32], device: &Device) -> Result<Self> {
        let Self { positive, negative } = Self::between(labels, labels, device)?;
        let rows = Tensor::arange(0u32, labels.len() as u32, device)?;
        let others = rows.unsqueeze(1)?.broadcast_ne(&rows.unsqueeze(0)?)?;
        Ok(Self { positive: (positive * others)?, negative })
    }

    /// Of anchors against other references.
    pub(super) fn between(anchors: &[u32], references: &[u32], device: &Device) -> Result<Self> {
        let anchors = Tensor::new(anchors, device)?.unsqueeze(1)?;
        let references = Tensor::new(references, device)?.unsqueeze(0)?;
        Ok(Self { positive: anchors.broadcast_eq(&references)?, negative: anchors.broadcast_ne(&references)? })
    }
}

/// Whether each row of a mask `[n, m]` has an entry: `[n]` of 0 and 1.
pub(super) fn any(mask: &Tensor) -> Result<Tensor> {
    Ok(mask.max(1)?)
}
