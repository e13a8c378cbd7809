//! Whose number it is: the measures of other libraries and of papers, under their names and with their rules.

use super::evaluate::{Beyond, Lone, Policy};
use super::measure::{Denominator, Gain, Ideal, Measure, Window};
use super::ties::Ties;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Whose measures. All of them are means over queries; `avg_of_avgs` of pytorch-metric-learning and `average="macro"` of
/// TensorFlow Similarity are [`Measured::macro_mean`](super::Measured::macro_mean).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Recall@K of the DML papers on CUB, Cars and SOP, R-precision and MAP@R of Musgrave et al. 2020.
    DmlPapers,
    /// Recall@K on In-Shop as Proxy-Anchor's code counts it: ties favour the query.
    InShop,
    /// pytorch-metric-learning's `AccuracyCalculator` with `k=None`. With `k=K` what it calls MAP and MRR is `map@K:r` and
    /// `mrr@K`, and where K < R its R-precision and MAP@R are `precision@min(K,r)` and `map@min(K,r):r`.
    Pml,
    /// open-metric-learning.
    Oml,
    /// TensorFlow Similarity, with queries that are not in the index. Where `drop_closest_lookup` is on, its precision and
    /// map look at k − 1 neighbours: ask for k − 1.
    Tfs,
    /// Roth et al., *Revisiting Training Strategies and Generalization Performance in Deep Metric Learning*, 2020, their code.
    Roth,
    /// sentence-transformers' `InformationRetrievalEvaluator`.
    SentenceTransformers,
    /// torchmetrics' `retrieval` classes, as they are by default.
    Torchmetrics,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::DmlPapers,
        Self::InShop,
        Self::Pml,
        Self::Oml,
        Self::Tfs,
        Self::Roth,
        Self::SentenceTransformers,
        Self::Torchmetrics,
    ];

    /// Its name, as [`FromStr`] reads it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DmlPapers => "dml_papers",
            Self::InShop => "in_shop",
            Self::Pml => "pml",
            Self::Oml => "oml",
            Self::Tfs => "tfs",
            Self::Roth => "roth",
            Self::SentenceTransformers => "sentence_transformers",
            Self::Torchmetrics => "torchmetrics",
        }
    }

    /// The measures, each with the name that the library gives it, at each of `ks` where it takes a k.
    pub fn measures(self, ks: &[usize]) -> Vec<(String, Measure)> {
        let at = |name: &str, measure: fn(usize) -> Measure| -> Vec<(String, Measure)> {
            ks.iter().map(|&k| (format!("{name}@{k}"), measure(k))).collect()
        };
        let one = |name: &str, measure: Measure| vec![(name.to_owned(), measure)];
        let recall = Measure::recall_at;
        let precision = Measure::precision_at;
        let ir_recall = |k| Measure::Hits { within: Window::First(k), over: Denominator::Relevant };
        let mrr_at = |k| Measure::ReciprocalRank { within: Window::First(k) };
        let ndcg = |k| Measure::Ndcg { within: Window::First(k), gain: Gain::Linear, ideal: Ideal::All };
        let roth = |within| Measure::AveragePrecision { within, over: Denominator::RelevantAndQuery };
        match self {
            Self::DmlPapers => {
                [at("R", recall), one("RP", Measure::R_PRECISION), one("MAP@R", Measure::MAP_AT_R)].concat()
            }
            Self::InShop => at("R", recall),
            Self::Pml => [
                one("precision_at_1", precision(1)),
                one("r_precision", Measure::R_PRECISION),
                one("mean_average_precision_at_r", Measure::MAP_AT_R),
                one("mean_average_precision", Measure::MAP),
                one("mean_reciprocal_rank", Measure::MRR),
            ]
            .concat(),
            Self::Oml => [
                at("cmc", recall),
                at("precision", |k| Measure::Hits { within: Window::First(k), over: Denominator::Least }),
                at("map", |k| Measure::map_at(k, Denominator::Hits)),
            ]
            .concat(),
            Self::Tfs => [
                at("recall", recall),
                at("precision", precision),
                at("map", |k| Measure::map_at(k, Denominator::Relevant)),
                at("ndcg", |k| Measure::Ndcg { within: Window::First(k), gain: Gain::Linear, ideal: Ideal::Found }),
                one("precision with clip_at_r", Measure::R_PRECISION),
                one("map with clip_at_r", Measure::MAP_AT_R),
            ]
            .concat(),
            Self::Roth => [
                at("e_recall", recall),
                one("mAP_1000", roth(Window::First(1000))),
                one("mAP_lim", roth(Window::First(1023))),
                one("mAP_c", roth(Window::RAndQuery)),
            ]
            .concat(),
            Self::SentenceTransformers => [
                at("accuracy", recall),
                at("precision", precision),
                at("recall", ir_recall),
                at("mrr", mrr_at),
                at("ndcg", ndcg),
                at("map", |k| Measure::map_at(k, Denominator::Least)),
            ]
            .concat(),
            Self::Torchmetrics => [
                at("hit_rate", recall),
                at("precision", precision),
                at("recall", ir_recall),
                at("map", |k| Measure::map_at(k, Denominator::Hits)),
                at("mrr", mrr_at),
                at("normalized_dcg", ndcg),
                one("r_precision", Measure::R_PRECISION),
                one("map", Measure::MAP),
                one("mrr", Measure::MRR),
            ]
            .concat(),
        }
    }

    /// What it does with lone queries and short galleries. OML's precision of a lone query is not a number; here it is 0.
    pub fn policy(self) -> Policy {
        let (lone, beyond) = match self {
            Self::Pml => (Lone::Drop, Beyond::Refuse),
            Self::DmlPapers | Self::InShop => (Lone::Zero, Beyond::Refuse),
            Self::Oml => (Lone::Zero, Beyond::Clip),
            Self::Tfs => (Lone::Zero, Beyond::Miss),
            Self::Roth => (Lone::Zero, Beyond::Clip),
            Self::SentenceTransformers => (Lone::Drop, Beyond::Miss),
            Self::Torchmetrics => (Lone::Zero, Beyond::Miss),
        };
        Policy { lone, beyond, ..Policy::default() }
    }

    /// How it breaks ties. Where a library leaves that to its search, [`Ties::ById`] is one of the outcomes.
    pub const fn ties(self) -> Ties {
        match self {
            Self::InShop => Ties::Optimistic,
            _ => Ties::ById,
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
            Error::Input(format!("there is no preset `{name}`: there are {}", names.join(", ")))
        })
    }
}
