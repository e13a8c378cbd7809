//! A block of tokens: what a text network eats.

use super::padding::{Filler, Side};
use std::borrow::Borrow;

/// The tokens of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) ids: Vec<u32>,
    pub(super) type_ids: Vec<u32>,
}

impl Row {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }
}

/// Texts as rows of tokens of one length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    /// `[n, length]`.
    pub shape: [usize; 2],
    /// Token ids in that order, row by row.
    pub ids: Vec<u32>,
    /// 1 where a token stands, 0 where padding does.
    pub mask: Vec<u32>,
    /// The segment of each token, as BERT calls it; 0 for most tokenizers.
    pub type_ids: Vec<u32>,
}

/// [`Tokens`] on a device, each `[n, length]` of `u32`.
#[cfg(feature = "candle")]
#[derive(Debug, Clone)]
pub struct TokenTensors {
    /// Token ids.
    pub ids: candle_core::Tensor,
    /// 1 where a token stands, 0 where padding does.
    pub mask: candle_core::Tensor,
    /// The segment of each token.
    pub type_ids: candle_core::Tensor,
}

impl Tokens {
    /// Rows filled up to `length`; none may be longer.
    pub(super) fn padded<R: Borrow<Row>>(rows: &[R], length: usize, filler: Filler) -> Self {
        let size = rows.len() * length;
        let (mut ids, mut mask, mut type_ids) = (vec![filler.id; size], vec![0; size], vec![filler.type_id; size]);
        for (number, row) in rows.iter().enumerate() {
            let row: &Row = row.borrow();
            let before = if filler.side == Side::Left { length - row.len() } else { 0 };
            let start = number * length + before;
            let place = start..start + row.len();
            ids[place.clone()].copy_from_slice(&row.ids);
            mask[place.clone()].fill(1);
            type_ids[place].copy_from_slice(&row.type_ids);
        }
        Self { shape: [rows.len(), length], ids, mask, type_ids }
    }

    /// The same as tensors.
    ///
    /// # Errors
    /// When the device has no room.
    #[cfg(feature = "candle")]
    pub fn to_tensors(&self, device: &candle_core::Device) -> crate::Result<TokenTensors> {
        let tensor = |values: &[u32]| candle_core::Tensor::from_slice(values, (self.shape[0], self.shape[1]), device);
        Ok(TokenTensors { ids: tensor(&self.ids)?, mask: tensor(&self.mask)?, type_ids: tensor(&self.type_ids)? })
    }
}
