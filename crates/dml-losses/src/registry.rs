//! All losses by name: the table that configurations, tests, benches and the README are made from.

use crate::params::{LossParams, defaults, parse};
use crate::{Context, Error, MemoryConfig, Objective, Result, few_shot, memory, pairs, proxy, ranking};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// What a loss compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Pairs and triplets of the batch.
    Pair,
    /// Each row's whole ranking.
    Ranking,
    /// The batch with learned proxies of the classes.
    Proxy,
    /// Queries with a support, or its prototypes.
    FewShot,
    /// Two views of each row: batches have references, row by row.
    Views,
    /// Pairs of rows with a grade of their likeness.
    Graded,
}

/// A loss of the registry.
pub struct LossSpec {
    /// Name in configurations.
    pub name: &'static str,
    /// What it compares.
    pub family: Family,
    /// One line on what it does.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// Its parameters with their defaults.
    pub default_params: fn() -> Value,
    /// Names of its presets, with all their parameters.
    pub presets: fn() -> Vec<(&'static str, Value)>,
    parse: fn(Option<&str>, &Value) -> Result<LossConfig>,
}

fn presets<P: LossParams>() -> Vec<(&'static str, Value)> {
    let value = |params: P| serde_json::to_value(params).unwrap_or(Value::Null);
    P::presets().into_iter().map(|(name, params)| (name, value(params))).collect()
}

macro_rules! losses {
    ($($variant:ident($params:ty), $family:ident, $summary:literal, $source:literal;)*) => {
        /// A loss with its parameters, as configurations hold it: a table with the loss's `name` and its parameters;
        /// those left out have their defaults, unknown ones are refused.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum LossConfig {
            $(#[doc = concat!($summary, " (", $source, ")")] $variant($params),)*
        }

        impl LossConfig {
            /// Name in the registry.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$params as LossParams>::NAME,)* }
            }

            /// The loss.
            ///
            /// # Errors
            /// When a parameter is out of range, or does not go with the context.
            pub fn build(&self, context: &Context) -> Result<Box<dyn Objective>> {
                match self { $(Self::$variant(params) => { params.check()?; params.build(context) })* }
            }

            fn params(&self) -> serde_json::Result<Value> {
                match self { $(Self::$variant(params) => serde_json::to_value(params),)* }
            }
        }

        /// All losses, in alphabetical order.
        pub const LOSSES: &[LossSpec] = &[$(LossSpec {
            name: <$params as LossParams>::NAME,
            family: Family::$family,
            summary: $summary,
            source: $source,
            default_params: defaults::<$params>,
            presets: presets::<$params>,
            parse: |preset, params| Ok(LossConfig::$variant(parse(preset, params)?)),
        },)*];
    };
}

losses! {
    AdaFace(proxy::ada_face::AdaFaceParams), Proxy,
        "softmax over cosines with a margin that follows the quality an embedding's norm tells", "Kim et al. 2022";
    Angle(pairs::angle::AngleParams), Graded,
        "orders graded pairs by their difference of angles in complex space", "Li & Li 2023";
    Angular(pairs::angular::AngularParams), Pair,
        "bounds the angle at the negative of each triangle", "Wang et al. 2017";
    ArcFace(proxy::arc_face::ArcFaceParams), Proxy,
        "softmax over cosines with an additive angular margin", "Deng et al. 2019";
    CentroidTriplet(pairs::centroid_triplet::CentroidTripletParams), Pair,
        "triplets of an anchor with the means of classes", "Wieczorek et al. 2021";
    Circle(pairs::circle::CircleParams), Pair,
        "weighs each pair of a row by how far its cosine is from where it should be", "Sun et al. 2020";
    Clip(pairs::clip::ClipParams), Pair,
        "softmax of two views against each other in both directions, with a learned temperature if wanted", "Radford et al. 2021";
    Contrastive(pairs::contrastive::ContrastiveParams), Pair,
        "pulls positive pairs together, pushes negative pairs beyond a margin", "Hadsell et al. 2006";
    CosFace(proxy::cos_face::CosFaceParams), Proxy,
        "softmax over cosines with an additive margin", "Wang et al. 2018";
    Cosent(pairs::cosent::CosentParams), Graded,
        "orders graded pairs by their cosine", "Su 2022";
    DynamicSoftMargin(pairs::dynamic_soft_margin::DynamicSoftMarginParams), Pair,
        "triplets weighted by a running distribution of violations", "Zhang & Rusinkiewicz 2019";
    FastAp(ranking::fast_ap::FastApParams), Ranking,
        "average precision of a soft histogram of distances", "Cakir et al. 2019";
    GeneralizedLiftedStructure(pairs::generalized_lifted_structure::GeneralizedLiftedStructureParams), Pair,
        "hinge on the soft furthest positive and the soft nearest negative of a row", "Hermans et al. 2017";
    Histogram(ranking::histogram::HistogramParams), Ranking,
        "chance that a negative pair is closer than a positive one, by histograms", "Ustinova & Lempitsky 2016";
    Hyperbolic(pairs::hyperbolic::HyperbolicParams), Pair,
        "cross-entropy of pairs of views over distances in the Poincaré ball", "Ermolov et al. 2022";
    Instance(pairs::instance::InstanceParams), Pair,
        "every sample a class of its own", "Zheng et al. 2020";
    IntraPairVariance(pairs::intra_pair_variance::IntraPairVarianceParams), Pair,
        "keeps positive, and negative, similarities near their means", "Yu & Tao 2019";
    LargeMarginSoftmax(proxy::large_margin_softmax::LargeMarginSoftmaxParams), Proxy,
        "softmax over products with a factor on the angle", "Liu et al. 2016";
    LiftedStructure(pairs::lifted_structure::LiftedStructureParams), Pair,
        "each positive pair against the negatives of both its ends", "Oh Song et al. 2016";
    Manifold(pairs::manifold::ManifoldParams), Pair,
        "similarity by random walks over the batch and learned proxies", "Aziere & Todorovic 2019";
    Margin(pairs::margin::MarginParams), Pair,
        "positives and negatives on their sides of a boundary, fixed or learned", "Wu et al. 2017";
    Matching(few_shot::matching::MatchingParams), FewShot,
        "share of its class in a query's attention to the samples of a support", "Vinyals et al. 2016";
    MegaBatchMargin(pairs::mega_batch_margin::MegaBatchMarginParams), Pair,
        "margins on one pair per class and its hardest negative", "Wieting & Gimpel 2018";
    MultiSimilarity(pairs::multi_similarity::MultiSimilarityParams), Pair,
        "soft weighting of all pairs of a row, with its miner", "Wang et al. 2019";
    NPairs(pairs::n_pairs::NPairsParams), Pair,
        "softmax of one pair per class against the positives of the others", "Sohn 2016";
    Nca(pairs::nca::NcaParams), Pair,
        "log-probability that a soft nearest neighbour is a positive", "Goldberger et al. 2004";
    NormalizedSoftmax(proxy::normalized_softmax::NormalizedSoftmaxParams), Proxy,
        "softmax over cosines with a temperature", "Zhai & Wu 2019";
    NtXent(pairs::nt_xent::NtXentParams), Pair,
        "softmax of each positive pair against the negatives of its anchor (InfoNCE)", "Chen et al. 2020";
    P2sGrad(proxy::p2s_grad::P2sGradParams), Proxy,
        "squared error of cosines against one-hot labels", "Zhang et al. 2019";
    Pnp(ranking::pnp::PnpParams), Ranking,
        "penalises soft counts of negatives before positives", "Li et al. 2022";
    Prototypical(few_shot::prototypical::PrototypicalParams), FewShot,
        "softmax over squared distances to the mean of each class's support", "Snell et al. 2017";
    ProxyAnchor(proxy::proxy_anchor::ProxyAnchorParams), Proxy,
        "each proxy as the anchor of the whole batch", "Kim et al. 2020";
    ProxyNca(proxy::proxy_nca::ProxyNcaParams), Proxy,
        "softmax over squared distances to proxies", "Movshovitz-Attias et al. 2017";
    Quadruplet(pairs::quadruplet::QuadrupletParams), Pair,
        "hardest triplets, and positives against the nearest pair of other classes", "Chen et al. 2017";
    RankedList(ranking::ranked_list::RankedListParams), Ranking,
        "weighted lists of too far positives and too near negatives", "Wang et al. 2019";
    RecallAtK(ranking::recall_at_k::RecallAtKParams), Ranking,
        "recall at several k by soft ranks", "Patel et al. 2022";
    Roadmap(ranking::roadmap::RoadmapParams), Ranking,
        "an upper bound of 1 − AP, and calibrated similarities", "Ramzi et al. 2021";
    SmoothAp(ranking::smooth_ap::SmoothApParams), Ranking,
        "average precision by sigmoids of similarity gaps", "Brown et al. 2020";
    SnrContrastive(pairs::snr_contrastive::SnrContrastiveParams), Pair,
        "contrastive loss of signal-to-noise distances", "Yuan et al. 2019";
    SoftNn(pairs::soft_nn::SoftNnParams), Pair,
        "share of the positives in a soft neighbourhood, with a temperature", "Frosst et al. 2019";
    SoftTriple(proxy::soft_triple::SoftTripleParams), Proxy,
        "softmax over soft maxima of similarities to several centres per class", "Qian et al. 2019";
    SphereFace(proxy::sphere_face::SphereFaceParams), Proxy,
        "softmax over cosines times the embedding's norm with a factor on the angle", "Liu et al. 2017";
    SubCenterArcFace(proxy::sub_center_arc_face::SubCenterArcFaceParams), Proxy,
        "ArcFace against the nearest of several centres per class", "Deng et al. 2020";
    SupCon(pairs::sup_con::SupConParams), Pair,
        "softmax over positives and negatives, averaged over the positives of a row", "Khosla et al. 2020";
    ThresholdConsistentMargin(pairs::threshold_consistent_margin::ThresholdConsistentMarginParams), Pair,
        "only the hard pairs beyond one threshold of similarity", "Zhang et al. 2024";
    Triplet(pairs::triplet::TripletParams), Pair,
        "a margin between the distances to a positive and a negative", "Schroff et al. 2015";
    TupletMargin(pairs::tuplet_margin::TupletMarginParams), Pair,
        "softmax of each positive pair against the negatives, with an angular margin", "Yu & Tao 2019";
    VicReg(pairs::vic_reg::VicRegParams), Views,
        "two views alike, each dimension spread and uncorrelated", "Bardes et al. 2022";
}

impl LossSpec {
    /// The configuration of this loss with `params` (a JSON object, or null for all defaults) over those of a preset.
    ///
    /// # Errors
    /// When there is no such preset, or a parameter is unknown or out of range.
    pub fn config(&self, preset: Option<&str>, params: &Value) -> Result<LossConfig> {
        (self.parse)(preset, params)
    }
}

/// By way of a table of keys: a derived form would be compiled anew for each loss and format.
impl Serialize for LossConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut table = self.params().map_err(S::Error::custom)?;
        if let Some(keys) = table.as_object_mut() {
            // An option that is off is left out: not every format has a null.
            keys.retain(|_, value| !value.is_null());
            keys.insert("name".to_owned(), self.name().into());
        }
        table.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LossConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let mut keys = serde_json::Map::deserialize(deserializer)?;
        let name = match keys.remove("name") {
            Some(Value::String(name)) => name,
            _ => return Err(D::Error::custom("a loss has no name: want name = \"...\"")),
        };
        find(&name).and_then(|spec| spec.config(None, &Value::Object(keys))).map_err(D::Error::custom)
    }
}

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
    find(name)?.config(None, params)?.build(context)
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
    let base = build(name, params, context)?;
    Ok(Box::new(memory::CrossBatchMemory::new(base, memory.clone(), context)?))
}
