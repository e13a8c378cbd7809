//! All losses by name: the table that recipes, tests, benches and the README are made from.

use crate::params::{defaults, wrong};
use crate::row_loss::PairObjective;
use crate::{Context, CrossBatchMemory, Error, MemoryConfig, Objective, Result, few_shot, pairs, proxy};
use serde_json::Value;

/// What a loss compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Pairs and triplets of the batch.
    Pair,
    /// The batch with one learned proxy per class.
    Proxy,
    /// Queries with prototypes of a support.
    FewShot,
}

enum Build {
    /// References may be any set: a memory can be put around it.
    Pair(fn(&Value, &Context) -> Result<Box<dyn PairObjective>>),
    Other(fn(&Value, &Context) -> Result<Box<dyn Objective>>),
}

/// A loss of the registry.
pub struct LossSpec {
    /// Name in recipes.
    pub name: &'static str,
    /// What it compares.
    pub family: Family,
    /// One line on what it does.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Its parameters with their defaults.
    pub default_params: fn() -> Value,
    build: Build,
}

/// All losses, in alphabetical order.
pub const LOSSES: &[LossSpec] = &[
    LossSpec {
        name: "arc_face",
        family: Family::Proxy,
        summary: "softmax over cosines with an additive angular margin",
        source: "Deng et al. 2019",
        default_params: defaults::<proxy::arc_face::ArcFaceParams>,
        build: Build::Other(proxy::arc_face::build),
    },
    LossSpec {
        name: "contrastive",
        family: Family::Pair,
        summary: "pulls positive pairs together, pushes negative pairs beyond a margin",
        source: "Hadsell et al. 2006",
        default_params: defaults::<pairs::contrastive::ContrastiveParams>,
        build: Build::Pair(pairs::contrastive::build),
    },
    LossSpec {
        name: "multi_similarity",
        family: Family::Pair,
        summary: "soft weighting of all pairs of a row, with its miner",
        source: "Wang et al. 2019",
        default_params: defaults::<pairs::multi_similarity::MultiSimilarityParams>,
        build: Build::Pair(pairs::multi_similarity::build),
    },
    LossSpec {
        name: "n_pairs",
        family: Family::Pair,
        summary: "softmax of one pair per class against the positives of the others",
        source: "Sohn 2016",
        default_params: defaults::<pairs::n_pairs::NPairsParams>,
        build: Build::Other(pairs::n_pairs::build),
    },
    LossSpec {
        name: "normalized_softmax",
        family: Family::Proxy,
        summary: "softmax over cosines with a temperature",
        source: "Zhai & Wu 2019",
        default_params: defaults::<proxy::normalized_softmax::NormalizedSoftmaxParams>,
        build: Build::Other(proxy::normalized_softmax::build),
    },
    LossSpec {
        name: "prototypical",
        family: Family::FewShot,
        summary: "softmax over squared distances to the mean of each class's support",
        source: "Snell et al. 2017",
        default_params: defaults::<few_shot::prototypical::PrototypicalParams>,
        build: Build::Other(few_shot::prototypical::build),
    },
    LossSpec {
        name: "proxy_anchor",
        family: Family::Proxy,
        summary: "each proxy as the anchor of the whole batch",
        source: "Kim et al. 2020",
        default_params: defaults::<proxy::proxy_anchor::ProxyAnchorParams>,
        build: Build::Other(proxy::proxy_anchor::build),
    },
    LossSpec {
        name: "proxy_nca",
        family: Family::Proxy,
        summary: "softmax over squared distances to proxies",
        source: "Movshovitz-Attias et al. 2017",
        default_params: defaults::<proxy::proxy_nca::ProxyNcaParams>,
        build: Build::Other(proxy::proxy_nca::build),
    },
    LossSpec {
        name: "triplet",
        family: Family::Pair,
        summary: "nearer to a positive than to a negative, by a margin; all, semi-hard or batch-hard",
        source: "Schroff et al. 2015, Hermans et al. 2017",
        default_params: defaults::<pairs::triplet::TripletParams>,
        build: Build::Pair(pairs::triplet::build),
    },
];

/// The entry of the loss `name`.
///
/// # Errors
/// When there is none; the message lists those there are.
pub fn find(name: &str) -> Result<&'static LossSpec> {
    LOSSES.iter().find(|l| l.name == name).ok_or_else(|| Error::UnknownLoss {
        name: name.to_owned(),
        known: LOSSES.iter().map(|l| l.name).collect::<Vec<_>>().join(", "),
    })
}

/// The loss `name` with `params` (a JSON object, or null for all defaults).
///
/// # Errors
/// When there is no such loss, or a parameter is unknown or out of range.
pub fn build(name: &str, params: &Value, context: &Context) -> Result<Box<dyn Objective>> {
    match find(name)?.build {
        Build::Pair(build) => Ok(build(params, context)?),
        Build::Other(build) => build(params, context),
    }
}

/// As [`build`], with a cross-batch memory around the loss.
///
/// # Errors
/// As [`build`], and when the loss cannot be taken against a memory.
pub fn build_with_memory(
    name: &str,
    params: &Value,
    memory: &MemoryConfig,
    context: &Context,
) -> Result<Box<dyn Objective>> {
    match find(name)?.build {
        Build::Pair(build) => Ok(Box::new(CrossBatchMemory::new(build(params, context)?, memory.clone(), context)?)),
        Build::Other(_) => {
            Err(wrong(name, "a memory goes around contrastive, multi_similarity or triplet only".to_owned()))
        }
    }
}
