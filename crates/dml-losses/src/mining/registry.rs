//! All miners by name.

use super::{Miner, angular, batch_easy_hard, batch_hard, distance_weighted, hdc, multi_similarity, n_hard};
use super::{packaged_triplets, pair_margin, rho_distance, triplet_margin, uniform_histogram};
use crate::error::of_kind;
use crate::named::{self, Named};
use crate::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt::Debug;

/// The parameters of one miner.
pub trait MinerParams: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync {
    /// Name in the registry.
    const NAME: &'static str;

    /// Refuses values without meaning.
    ///
    /// # Errors
    /// When a value is out of range.
    fn check(&self) -> Result<()>;

    /// The miner; the context has the seed of what is drawn.
    ///
    /// # Errors
    /// When parameters and context do not go together.
    fn build(&self, context: &Context) -> Result<Box<dyn Miner>>;
}

/// A miner of the registry.
pub struct MinerSpec {
    /// Name in configurations.
    pub name: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Whether it draws.
    pub random: bool,
    /// Its parameters with their defaults.
    pub default_params: fn() -> Value,
    parse: fn(Value) -> Result<MinerConfig>,
}

impl Named for MinerSpec {
    const KIND: &'static str = "miner";

    fn name(&self) -> &'static str {
        self.name
    }
}

macro_rules! miners {
    ($($variant:ident($params:ty), $random:literal, $summary:literal, $source:literal;)*) => {
        /// A miner with its parameters, as configurations hold it: a table with the miner's `name` and its parameters;
        /// those left out have their defaults, unknown ones are refused.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum MinerConfig {
            $(#[doc = concat!($summary, " (", $source, ")")] $variant($params),)*
        }

        impl MinerConfig {
            /// Name in the registry.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$params as MinerParams>::NAME,)* }
            }

            /// The miner.
            ///
            /// # Errors
            /// When a parameter is out of range, or does not go with the context.
            pub fn build(&self, context: &Context) -> Result<Box<dyn Miner>> {
                match self {
                    $(Self::$variant(params) => params.check().and_then(|()| params.build(context)),)*
                }
                .map_err(of_kind(MinerSpec::KIND))
            }
        }

        /// All miners, in alphabetical order.
        pub const MINERS: &[MinerSpec] = &[$(MinerSpec {
            name: <$params as MinerParams>::NAME,
            summary: $summary,
            source: $source,
            random: $random,
            default_params: named::defaults::<$params>,
            parse: |given| {
                let params: $params = named::parse(<$params as MinerParams>::NAME, given)?;
                params.check()?;
                Ok(MinerConfig::$variant(params))
            },
        },)*];
    };
}

miners! {
    Angular(angular::AngularMinerParams), false,
        "triplets whose angle at the negative is wide", "Wang et al. 2017";
    BatchEasyHard(batch_easy_hard::BatchEasyHardParams), false,
        "one easy, semi-hard or hard pair of each kind of each anchor", "Xuan et al. 2020";
    BatchHard(batch_hard::BatchHardParams), false,
        "furthest positive and nearest negative of each anchor", "Hermans et al. 2017";
    DistanceWeighted(distance_weighted::DistanceWeightedParams), true,
        "negatives drawn evenly over distances", "Wu et al. 2017";
    Hdc(hdc::HdcParams), false,
        "the hardest share of all pairs of the batch", "Yuan et al. 2017";
    MultiSimilarity(multi_similarity::MultiSimilarityMinerParams), false,
        "pairs harder than the hardest of the other kind in their row", "Wang et al. 2019";
    NHard(n_hard::NHardParams), false,
        "pairs of some ranks of hardness of each anchor", "Open Metric Learning";
    PackagedTriplets(packaged_triplets::PackagedTripletsParams), false,
        "rows that come as triplets", "pytorch-metric-learning";
    PairMargin(pair_margin::PairMarginParams), false,
        "positives beyond a margin, negatives within one", "pytorch-metric-learning";
    RhoDistance(rho_distance::RhoDistanceParams), true,
        "distance-weighted, with some positives for negatives", "Roth et al. 2020";
    TripletMargin(triplet_margin::TripletMarginParams), false,
        "triplets by how far the negative is beyond the positive", "Schroff et al. 2015";
    UniformHistogram(uniform_histogram::UniformHistogramParams), true,
        "pairs drawn evenly over their scores", "pytorch-metric-learning";
}

impl MinerConfig {
    /// The miner `name` with `params` (a JSON object, or null for all defaults).
    ///
    /// # Errors
    /// When there is no such miner, or a parameter is unknown or out of range.
    pub fn new(name: &str, params: &Value) -> Result<Self> {
        let spec = named::find(MINERS, name)?;
        (spec.parse)(params.clone()).map_err(of_kind(MinerSpec::KIND))
    }
}

impl<'de> Deserialize<'de> for MinerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        named::deserialize(MinerSpec::KIND, deserializer, |name, params| Self::new(name, &params))
    }
}
