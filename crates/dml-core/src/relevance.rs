//! Who is a positive and who a negative of whom.

use std::collections::HashMap;

/// Columns of one anchor, as a [`Relevance`] fills them in.
#[derive(Clone, Debug, Default)]
pub struct Sets {
    /// Columns that belong with the anchor. Ascending and without doubles, but where they come from a miner's list.
    pub positives: Vec<u32>,
    /// Columns that are neither positive nor negative, ascending: the anchor itself, pairs that nobody knows of.
    pub ignored: Vec<u32>,
    /// The negatives, where a miner names them; `None`: all other columns.
    pub negatives: Option<Vec<u32>>,
    /// (positive, negative) columns of triplets, where a miner names them; empty otherwise.
    pub triplets: Option<Vec<(u32, u32)>>,
    /// How relevant each column is, where that is known by degree, `[m]`; empty otherwise.
    pub grades: Vec<f32>,
}

impl Sets {
    /// Empties all sets, keeping their memory.
    pub fn clear(&mut self) {
        self.positives.clear();
        self.ignored.clear();
        self.grades.clear();
        self.negatives = None;
        self.triplets = None;
    }
}

/// Who is a positive and who a negative of whom: equal labels ([`Labels`]), or anything else.
pub trait Relevance: Sync {
    /// Number of anchors.
    fn anchors(&self) -> usize;

    /// Number of references.
    fn references(&self) -> usize;

    /// Fills in the sets of an anchor; they come cleared.
    fn row(&self, anchor: usize, sets: &mut Sets);

    /// The one class of the anchor, where it has one.
    fn class(&self, _anchor: usize) -> Option<u64> {
        None
    }
}

/// Equal labels are positives. Labels are integers that are compared and nothing else.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    anchors: &'a [u64],
    references: usize,
    columns: HashMap<u64, Vec<u32>>,
    self_offset: Option<usize>,
}

impl<'a> Labels<'a> {
    /// Of anchors and references; reference `self_offset + i` is anchor `i` itself, `None` when they are other samples.
    pub fn new(anchors: &'a [u64], references: &[u64], self_offset: Option<usize>) -> Self {
        let mut columns: HashMap<u64, Vec<u32>> = HashMap::new();
        for (j, &label) in references.iter().enumerate() {
            columns.entry(label).or_default().push(j as u32);
        }
        Self { anchors, references: references.len(), columns, self_offset }
    }

    /// Of a batch against itself.
    pub fn within(labels: &'a [u64]) -> Self {
        Self::new(labels, labels, Some(0))
    }
}

impl Relevance for Labels<'_> {
    fn anchors(&self) -> usize {
        self.anchors.len()
    }

    fn references(&self) -> usize {
        self.references
    }

    fn row(&self, anchor: usize, sets: &mut Sets) {
        let itself = self.self_offset.map(|offset| (offset + anchor) as u32);
        let columns = self.columns.get(&self.anchors[anchor]).map_or(&[][..], Vec::as_slice);
        sets.positives.extend(columns.iter().copied().filter(|&j| Some(j) != itself));
        sets.ignored.extend(itself);
    }

    fn class(&self, anchor: usize) -> Option<u64> {
        Some(self.anchors[anchor])
    }
}
