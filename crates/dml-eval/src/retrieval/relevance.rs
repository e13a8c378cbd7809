//! Who is a right answer to a query.

/// Which gallery items are relevant to a query, and how much each is worth (its gain; 1 where there are no grades).
#[derive(Clone, Copy, Debug)]
pub enum Relevance<'a> {
    /// Items of the query's label. Labels are only compared, so any `u32` will do.
    Labels {
        /// `[queries]`.
        queries: &'a [u32],
        /// `[gallery]`.
        gallery: &'a [u32],
    },
    /// Items that share a label with the query.
    LabelSets {
        /// `[queries]` sets.
        queries: &'a [Vec<u32>],
        /// `[gallery]` sets.
        gallery: &'a [Vec<u32>],
        /// What sharing is worth.
        gain: SharedGain,
    },
    /// Relevant gallery rows and their gains, listed per query, as in TREC's qrels. A gain of 0 says not relevant.
    Lists(&'a [Vec<(u32, f32)>]),
}

/// The gain of an item that shares labels with the query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SharedGain {
    /// 1.
    #[default]
    One,
    /// How many labels the two share.
    Count,
    /// `|A ∩ B| / |A ∪ B|`, Jaccard's index.
    Jaccard,
}

impl<'a> Relevance<'a> {
    /// Same label within one set, where every item queries all.
    pub fn within(labels: &'a [u32]) -> Self {
        Self::Labels { queries: labels, gallery: labels }
    }

    /// Whether gains differ.
    pub(crate) fn is_graded(&self) -> bool {
        match self {
            Self::Labels { .. } => false,
            Self::LabelSets { gain, .. } => *gain != SharedGain::One,
            Self::Lists(_) => true,
        }
    }
}
