//! Measures in words, for reports.

use super::measure::{Denominator, Gain, Ideal, Measure, Window};

impl Measure {
    /// Short title, such as `MAP@R`.
    pub fn title(self) -> String {
        let at = self.within().title();
        match self {
            Self::HitRate { .. } => format!("Recall{at}"),
            Self::R_PRECISION => "R-precision".to_owned(),
            Self::Hits { over: Denominator::Relevant, .. } => format!("IR recall{at}"),
            Self::Hits { over: Denominator::Places, .. } => format!("Precision{at}"),
            Self::Hits { within, over } => format!("Precision{at} over {}", over.words(within)),
            Self::MAP => "mAP".to_owned(),
            Self::MAP_AT_R => "MAP@R".to_owned(),
            Self::AveragePrecision { within, over } => format!("MAP{at} over {}", over.words(within)),
            Self::ReciprocalRank { .. } => format!("MRR{at}"),
            Self::Ndcg { gain, ideal, .. } => {
                let gain = if gain == Gain::Exponential { ", gain 2^g − 1" } else { "" };
                let ideal = if ideal == Ideal::Found { ", ideal of what was found" } else { "" };
                format!("nDCG{at}{gain}{ideal}")
            }
        }
    }

    /// What it is, in one line. R is the number of relevant items.
    pub fn definition(self) -> String {
        let places = self.within().words();
        match self {
            Self::HitRate { .. } => format!(
                "share of queries with a relevant item within {places} (a hit rate, as the DML papers define Recall@K; CMC@K)"
            ),
            Self::Hits { within, over } => {
                format!("relevant items within {places} / {}, mean over queries", over.words(within))
            }
            Self::AveragePrecision { within, over } => {
                let by = over.words(within);
                format!("sum of the precision at each relevant item within {places} / {by}, mean over queries")
            }
            Self::ReciprocalRank { .. } => {
                format!("1 / rank of the first relevant item within {places}, 0 without one, mean over queries")
            }
            Self::Ndcg { gain, ideal, .. } => {
                let gain = if gain == Gain::Exponential { "2^grade − 1" } else { "grade" };
                let best = if ideal == Ideal::Found { "the relevant items found" } else { "all relevant items" };
                format!(
                    "sum of ({gain}) / log2(rank + 1) within {places} / that of the best order of {best}, mean over queries"
                )
            }
        }
    }
}

impl Window {
    fn title(self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::First(k) => format!("@{k}"),
            Self::R => "@R".to_owned(),
            Self::RAndQuery => "@(R+1)".to_owned(),
            Self::FirstOfR(k) => format!("@min({k}, R)"),
        }
    }

    fn words(self) -> String {
        match self {
            Self::Whole => "the whole ranking".to_owned(),
            Self::First(k) => format!("rank {k}"),
            Self::R => "rank R".to_owned(),
            Self::RAndQuery => "rank R + 1".to_owned(),
            Self::FirstOfR(k) => format!("rank min({k}, R)"),
        }
    }
}

impl Denominator {
    fn words(self, within: Window) -> String {
        let places = match within {
            Window::Whole => "the ranking's length".to_owned(),
            Window::First(k) => k.to_string(),
            Window::R => "R".to_owned(),
            Window::RAndQuery => "(R + 1)".to_owned(),
            Window::FirstOfR(k) => format!("min({k}, R)"),
        };
        match self {
            Self::Places => places,
            Self::Relevant => "R".to_owned(),
            Self::Least => match within {
                Window::First(k) | Window::FirstOfR(k) => format!("min({k}, R)"),
                Window::Whole | Window::R | Window::RAndQuery => "R".to_owned(),
            },
            Self::Hits => "how many they are".to_owned(),
            Self::RelevantAndQuery => "(R + 1)".to_owned(),
        }
    }
}
