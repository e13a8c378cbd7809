//! The batches of an epoch, held without a vector for each.

/// The batches of an epoch: all indices one after another, and where each batch ends.
///
/// Takes 4 bytes an index and 8 a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    indices: Vec<u32>,
    ends: Vec<usize>,
}

impl Plan {
    /// An empty plan with room for `batches` of `indices` indices in all.
    pub fn with_capacity(batches: usize, indices: usize) -> Self {
        Self { indices: Vec::with_capacity(indices), ends: Vec::with_capacity(batches) }
    }

    /// `indices` cut into batches of `batch` (at least 1; 0 counts as 1); the last holds the rest.
    pub fn in_batches_of(batch: usize, indices: Vec<u32>) -> Self {
        let batch = batch.max(1);
        let ends = (1..=indices.len().div_ceil(batch)).map(|number| (number * batch).min(indices.len())).collect();
        Self { indices, ends }
    }

    /// Adds a batch of these indices.
    pub fn push(&mut self, batch: impl IntoIterator<Item = u32>) {
        self.indices.extend(batch);
        self.end_batch();
    }

    /// Number of batches.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Batch number `batch`; `None` past the end.
    pub fn get(&self, batch: usize) -> Option<&[u32]> {
        let end = *self.ends.get(batch)?;
        let start = batch.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.indices[start..end])
    }

    /// The batches in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.len()).map(|batch| self.get(batch).unwrap_or_default())
    }

    /// The indices of all batches, one batch after another.
    pub fn indices(&self) -> &[u32] {
        &self.indices
    }

    /// Bytes this plan takes.
    pub fn bytes(&self) -> usize {
        self.indices.capacity() * size_of::<u32>() + self.ends.capacity() * size_of::<usize>()
    }

    /// Where the indices of the batch that is being written go; [`Plan::end_batch`] closes it.
    pub(super) fn open(&mut self) -> &mut Vec<u32> {
        &mut self.indices
    }

    /// Ends the batch that is being written.
    pub(super) fn end_batch(&mut self) {
        self.ends.push(self.indices.len());
    }
}
