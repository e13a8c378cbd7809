//! What is measured of one ranking.
//!
//! With `rel(i)` 1 where place i holds a relevant item, `P(i)` the share of relevant items among the first i places, and w
//! the places looked at:
//!
//! | measure | value of a query |
//! |---|---|
//! | hit rate | 1 when `rel(i) = 1` for some i ≤ w, else 0 |
//! | hits | `Σ_{i≤w} rel(i) / denominator` |
//! | average precision | `Σ_{i≤w} P(i)·rel(i) / denominator` |
//! | reciprocal rank | 1/i of the first i ≤ w with `rel(i) = 1`, else 0 |
//! | nDCG | `Σ_{i≤w} gain(i)/log₂(i+1)`, over the same of the best order |
//!
//! R is the number of relevant items in the gallery without the query. So Recall@K of the DML papers is the hit rate within
//! K, R-precision is hits within R over R, recall of information retrieval is hits within K over R, MAP@R is average
//! precision within R over R, and mAP the one within the whole ranking over R.
//! Musgrave et al., *A Metric Learning Reality Check*, 2020, §3.2 (R-precision, MAP@R); Manning et al., *Introduction to
//! Information Retrieval*, 2008, ch. 8; Järvelin & Kekäläinen, *Cumulated gain-based evaluation*, 2002 (nDCG).

use super::rankings::Ranking;
use serde::{Deserialize, Serialize};

/// What is measured of each ranking. Written and read by name, `recall@10`, `map@r`, `map@10:min`: its `FromStr` has the
/// grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Measure {
    /// Whether there is a relevant item: Recall@K of the DML papers, CMC@K, top-K accuracy.
    HitRate {
        /// Places looked at.
        within: Window,
    },
    /// How many relevant items there are: precision@K, R-precision, recall of information retrieval.
    Hits {
        /// Places looked at.
        within: Window,
        /// Divided by.
        over: Denominator,
    },
    /// Average precision: MAP@R, mAP, AP@K.
    AveragePrecision {
        /// Places looked at.
        within: Window,
        /// Divided by.
        over: Denominator,
    },
    /// Reciprocal rank of the first relevant item: MRR.
    ReciprocalRank {
        /// Places looked at.
        within: Window,
    },
    /// Normalised discounted cumulative gain.
    Ndcg {
        /// Places looked at.
        within: Window,
        /// From an item's grade to its gain.
        gain: Gain,
        /// What the best order is made of.
        ideal: Ideal,
    },
}

/// The first places of a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Window {
    /// All.
    Whole,
    /// k.
    First(usize),
    /// R.
    R,
    /// R + 1, as Roth et al. 2020 count the query's class.
    RAndQuery,
    /// min(k, R): what is left of the first R places when a search stopped at k.
    FirstOfR(usize),
}

/// What a sum over places is divided by. Where it is 0 the value is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denominator {
    /// As many as places are looked at.
    Places,
    /// R: what lies beyond the window counts as missed.
    Relevant,
    /// min(places, R): the best that the window allows is 1.
    Least,
    /// Relevant items found: what lies beyond the window is not missed.
    Hits,
    /// R + 1, the class with the query, as Roth et al. 2020 have it: a perfect ranking gets R/(R + 1).
    RelevantAndQuery,
}

/// From an item's grade g to its gain. They differ only where relevance is graded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gain {
    /// g.
    #[default]
    Linear,
    /// 2^g − 1.
    Exponential,
}

/// What the best order, by which a DCG is divided, is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ideal {
    /// All relevant items.
    #[default]
    All,
    /// Those found in the window, as TensorFlow Similarity has it: one hit at rank 1 is perfect, whatever is missed.
    Found,
}

impl Measure {
    /// R-precision: hits within R over R.
    pub const R_PRECISION: Self = Self::Hits { within: Window::R, over: Denominator::Relevant };
    /// MAP@R: average precision within R over R.
    pub const MAP_AT_R: Self = Self::AveragePrecision { within: Window::R, over: Denominator::Relevant };
    /// mAP: average precision of the whole ranking over R.
    pub const MAP: Self = Self::AveragePrecision { within: Window::Whole, over: Denominator::Relevant };
    /// MRR of the whole ranking.
    pub const MRR: Self = Self::ReciprocalRank { within: Window::Whole };

    /// Recall@K of the DML papers, a hit rate.
    pub const fn recall_at(k: usize) -> Self {
        Self::HitRate { within: Window::First(k) }
    }

    /// Precision@K over K.
    pub const fn precision_at(k: usize) -> Self {
        Self::Hits { within: Window::First(k), over: Denominator::Places }
    }

    /// Average precision within K.
    pub const fn map_at(k: usize, over: Denominator) -> Self {
        Self::AveragePrecision { within: Window::First(k), over }
    }

    /// Places looked at.
    pub const fn within(self) -> Window {
        match self {
            Self::HitRate { within }
            | Self::Hits { within, .. }
            | Self::AveragePrecision { within, .. }
            | Self::ReciprocalRank { within }
            | Self::Ndcg { within, .. } => within,
        }
    }

    /// Value of one ranking, places beyond its end counting as misses; 0 when nothing is relevant. On a ranking that is
    /// known less far than the measure looks, what is not known counts as missed: [`evaluate`](super::evaluate) refuses that.
    pub fn value(self, ranking: Ranking<'_>) -> f64 {
        self.value_within(ranking, self.within().places(ranking))
    }

    /// Value when the first `places` are looked at.
    pub(crate) fn value_within(self, ranking: Ranking<'_>, places: usize) -> f64 {
        let hits = ranking.ranks.partition_point(|&rank| rank as usize <= places);
        let found = &ranking.ranks[..hits];
        let over = |sum: f64, over: Denominator| match over.of(places, ranking.relevant, hits) {
            0 => 0.0,
            count => sum / count as f64,
        };
        match self {
            Self::HitRate { .. } => f64::from(u8::from(hits > 0)),
            Self::Hits { over: by, .. } => over(hits as f64, by),
            Self::AveragePrecision { over: by, .. } => {
                let precisions = found.iter().zip(1u32..).map(|(&rank, hit)| f64::from(hit) / f64::from(rank));
                over(precisions.sum(), by)
            }
            Self::ReciprocalRank { .. } => found.first().map_or(0.0, |&rank| 1.0 / f64::from(rank)),
            Self::Ndcg { gain, ideal, .. } => ndcg(ranking, found, places, gain, ideal),
        }
    }
}

impl Window {
    /// How many places this is of a ranking, its end not minded.
    pub const fn places(self, ranking: Ranking<'_>) -> usize {
        match self {
            Self::Whole => ranking.length,
            Self::First(k) => k,
            Self::R => ranking.relevant,
            Self::RAndQuery => ranking.relevant + 1,
            Self::FirstOfR(k) if k < ranking.relevant => k,
            Self::FirstOfR(_) => ranking.relevant,
        }
    }
}

impl Denominator {
    fn of(self, places: usize, relevant: usize, hits: usize) -> usize {
        match self {
            Self::Places => places,
            Self::Relevant => relevant,
            Self::Least => places.min(relevant),
            Self::Hits => hits,
            Self::RelevantAndQuery => relevant + 1,
        }
    }
}

fn ndcg(ranking: Ranking<'_>, found: &[u32], places: usize, gain: Gain, ideal: Ideal) -> f64 {
    let graded = !ranking.ideal.is_empty();
    let gains: Vec<f32> = if graded { ranking.gains[..found.len()].to_vec() } else { vec![1.0; found.len()] };
    let mut best: Vec<f32> = match ideal {
        Ideal::Found => gains.clone(),
        Ideal::All if graded => ranking.ideal.to_vec(),
        Ideal::All => vec![1.0; ranking.relevant],
    };
    best.sort_unstable_by(|a, b| b.total_cmp(a));
    best.truncate(places);
    // Divided by 2^top, which the quotient does not feel: powers of large grades stay finite.
    let top = best.first().copied().map_or(0.0, f64::from);
    let worth = |g: f32| match gain {
        Gain::Linear => f64::from(g),
        Gain::Exponential => (f64::from(g) - top).exp2() - (-top).exp2(),
    };
    let dcg: f64 = found.iter().zip(&gains).map(|(&rank, &g)| worth(g) / (f64::from(rank) + 1.0).log2()).sum();
    let idcg: f64 = best.iter().zip(2u32..).map(|(&g, next)| worth(g) / f64::from(next).log2()).sum();
    if idcg > 0.0 { dcg / idcg } else { 0.0 }
}
