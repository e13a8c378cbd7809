//! All gaps between a positive and the other columns of its row: what the composed ranking losses are made of.

use crate::Result;
use crate::composed::{ComposedTerms, Masks, any};
use candle_core::Tensor;

/// A row for each of the `q` pairs of an anchor and a positive.
pub(super) struct Gaps {
    /// `s_z − s_p` `[q, m]`.
    pub(super) gaps: Tensor,
    /// Where z is a negative, `[q, m]`.
    pub(super) negative: Tensor,
    /// Where z is another positive, `[q, m]`.
    pub(super) positive: Tensor,
    anchors: Tensor,
    /// How many pairs each anchor has, `[n]`.
    counts: Tensor,
}

impl Gaps {
    /// `None` where there is no pair. With `with_anchor` the anchor is a positive of itself, in a column of its own, if it
    /// has another one.
    pub(super) fn new(scores: &Tensor, masks: &Masks, with_anchor: bool) -> Result<Option<Self>> {
        let (mut anchors, mut columns) = masks.positive_pairs();
        if anchors.is_empty() {
            return Ok(None);
        }
        let (mut scores, mut positive, mut negative) = (scores.clone(), masks.positive.clone(), masks.negative.clone());
        if with_anchor {
            let some = any(&positive)?.unsqueeze(1)?;
            // As `own_score` has it.
            let own = scores.detach().abs()?.sum_keepdim(1)?.ne(0.0)?.to_dtype(scores.dtype())?;
            scores = Tensor::cat(&[&scores, &own], 1)?;
            negative = Tensor::cat(&[&negative, &some.zeros_like()?], 1)?;
            positive = Tensor::cat(&[&positive, &some], 1)?;
            let itself = scores.dim(1)? as u32 - 1;
            for (i, _) in masks.rows.iter().enumerate().filter(|(_, row)| !row.positives.is_empty()) {
                anchors.push(i as u32);
                columns.push(itself);
            }
        }
        let (q, m) = (anchors.len(), scores.dim(1)?);
        let mut others = vec![1f32; q * m];
        columns.iter().enumerate().for_each(|(k, &p)| others[k * m + p as usize] = 0.0);
        let others = Tensor::from_vec(others, (q, m), scores.device())?.to_dtype(scores.dtype())?;
        let anchors = Tensor::from_vec(anchors, q, scores.device())?;
        let columns = Tensor::from_vec(columns, (q, 1), scores.device())?;
        let rows = scores.index_select(&anchors, 0)?;
        let centres = rows.gather(&columns, 1)?;
        let counts = positive.sum(1)?;
        Ok(Some(Self {
            gaps: rows.broadcast_sub(&centres)?,
            negative: negative.index_select(&anchors, 0)?,
            positive: (positive.index_select(&anchors, 0)? * others)?,
            anchors,
            counts,
        }))
    }

    /// Mean over the positives of each anchor of values `[q]`: a term for each anchor that has one.
    pub(super) fn mean(&self, values: &Tensor) -> Result<Vec<ComposedTerms>> {
        let sums = self.sum(values)?;
        let some = any(&self.counts.unsqueeze(1)?)?;
        let divisor = (&self.counts + (1.0 - &some)?)?;
        Ok(vec![ComposedTerms::new((sums / divisor)?, some)])
    }

    /// Sums over the positives of each anchor of values `[q, …]`.
    pub(super) fn sum(&self, values: &Tensor) -> Result<Tensor> {
        let mut shape = values.dims().to_vec();
        shape[0] = self.counts.dim(0)?;
        Ok(Tensor::zeros(shape, values.dtype(), values.device())?.index_add(&self.anchors, values, 0)?)
    }

    /// Positives of each anchor, `[n]`.
    pub(super) fn counts(&self) -> &Tensor {
        &self.counts
    }
}
