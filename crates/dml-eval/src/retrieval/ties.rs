//! Which of two equally close items stands first.

use serde::{Deserialize, Serialize};

/// Which of two items with exactly the same score stands first in a ranking.
///
/// | peer | rule |
/// |---|---|
/// | sentence-transformers | [`ById`](Self::ById), by its corpus ids as strings |
/// | pytorch-metric-learning, OML, TensorFlow Similarity, Roth 2020, torchmetrics | whatever the search or sort returns |
/// | In-Shop as Proxy-Anchor's code measures it | [`Optimistic`](Self::Optimistic): a hit when fewer than K negatives score strictly above the best positive |
/// | scikit-learn's average precision | a group of ties at once, which none of these is |
///
/// A model that maps all images to one point gets 1 from the optimistic rule: look at both where ties are many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// The smaller gallery index first: deterministic, and blind to who is relevant.
    #[default]
    ById,
    /// Relevant items first, those of higher gain before others.
    Optimistic,
    /// Relevant items last, those of higher gain after others.
    Pessimistic,
}

impl From<Ties> for dml_core::Ties {
    fn from(ties: Ties) -> Self {
        match ties {
            Ties::ById => Self::ById,
            Ties::Optimistic => Self::Optimistic,
            Ties::Pessimistic => Self::Pessimistic,
        }
    }
}
