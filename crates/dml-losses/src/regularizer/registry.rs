//! All regularisers by name.

use super::{EMBEDDINGS, center_invariant, lp, regular_face, sparse_centers, zero_mean};
use crate::Result;
use crate::error::{of_kind, setting};
use crate::named::{self, Named};
use candle_core::Tensor;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::fmt::Debug;

/// The parameters of one regulariser.
pub trait RegularizerParams: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned + Send + Sync {
    /// Name in the registry.
    const NAME: &'static str;

    /// Refuses values without meaning.
    ///
    /// # Errors
    /// When a value is out of range.
    fn check(&self) -> Result<()>;

    /// The regulariser of rows `[n, d]`, n above 0: a differentiable scalar.
    ///
    /// # Errors
    /// When the rows do not fit.
    fn value(&self, rows: &Tensor) -> Result<Tensor>;
}

/// A regulariser of the registry.
pub struct RegularizerSpec {
    /// Name in configurations.
    pub name: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// What it is of by default.
    pub of: &'static str,
    /// Its parameters with their defaults.
    pub default_params: fn() -> Value,
    parse: fn(Value) -> Result<RegularizerKind>,
}

impl Named for RegularizerSpec {
    const KIND: &'static str = "regularizer";

    fn name(&self) -> &'static str {
        self.name
    }
}

macro_rules! regularizers {
    ($($variant:ident($params:ty), $of:expr, $summary:literal, $source:literal;)*) => {
        /// A regulariser with its own parameters.
        #[derive(Clone, Debug, PartialEq, Serialize)]
        #[serde(tag = "name", rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum RegularizerKind {
            $(#[doc = concat!($summary, " (", $source, ")")] $variant($params),)*
        }

        impl RegularizerKind {
            /// Name in the registry.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$variant(_) => <$params as RegularizerParams>::NAME,)* }
            }

            /// Refuses values without meaning.
            ///
            /// # Errors
            /// When a value is out of range.
            pub fn check(&self) -> Result<()> {
                match self { $(Self::$variant(params) => params.check(),)* }.map_err(of_kind(RegularizerSpec::KIND))
            }

            /// The regulariser of rows `[n, d]`: a differentiable scalar, 0 of no rows.
            ///
            /// # Errors
            /// When the rows do not fit.
            pub fn value(&self, rows: &Tensor) -> Result<Tensor> {
                if rows.elem_count() == 0 {
                    return crate::autograd::nothing(&[rows]);
                }
                match self { $(Self::$variant(params) => params.value(rows),)* }.map_err(of_kind(RegularizerSpec::KIND))
            }
        }

        /// All regularisers, in alphabetical order.
        pub const REGULARIZERS: &[RegularizerSpec] = &[$(RegularizerSpec {
            name: <$params as RegularizerParams>::NAME,
            summary: $summary,
            source: $source,
            of: $of,
            default_params: named::defaults::<$params>,
            parse: |given| {
                let params: $params = named::parse(<$params as RegularizerParams>::NAME, given)?;
                params.check()?;
                Ok(RegularizerKind::$variant(params))
            },
        },)*];
    };
}

/// The learned vectors of a proxy loss.
const PROXIES: &str = "proxies";

regularizers! {
    CenterInvariant(center_invariant::CenterInvariantParams), PROXIES,
        "equal norms", "Wu et al. 2017";
    Lp(lp::LpParams), EMBEDDINGS,
        "small norms", "pytorch-metric-learning";
    RegularFace(regular_face::RegularFaceParams), PROXIES,
        "each row far from its nearest", "Zhao et al. 2019";
    SparseCenters(sparse_centers::SparseCentersParams), PROXIES,
        "centres of one class near each other, so that few are used", "Qian et al. 2019";
    ZeroMean(zero_mean::ZeroMeanParams), EMBEDDINGS,
        "entries that add up to 0 in each row", "pytorch-metric-learning";
}

/// A regulariser as configurations hold it: a table with its `name`, its parameters, `of` and `weight`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegularizerConfig {
    /// Which, with its own parameters.
    #[serde(flatten)]
    pub kind: RegularizerKind,
    /// `embeddings`, or the name of a parameter of the loss such as `proxies`. Default: as the registry says.
    pub of: String,
    /// What it is multiplied by. Default 1.
    pub weight: f64,
}

impl RegularizerConfig {
    /// The regulariser `name` with `params`: a JSON object of its own parameters, `of` and `weight`; or null for all defaults.
    ///
    /// # Errors
    /// When there is no such regulariser, or a parameter is unknown or out of range.
    pub fn new(name: &str, params: &Value) -> Result<Self> {
        let spec = named::find(REGULARIZERS, name)?;
        let mut own = params.clone();
        let mut take = |key: &str| own.as_object_mut().and_then(|own| own.remove(key));
        let wrong = |problem: String| setting(format!("regularizer {name}"), problem);
        let of = match take("of") {
            None => spec.of.to_owned(),
            Some(Value::String(of)) => of,
            Some(of) => return Err(wrong(format!("of is {of}: want \"{EMBEDDINGS}\" or the name of a parameter"))),
        };
        let weight = match take("weight") {
            None => 1.0,
            Some(weight) => weight.as_f64().ok_or_else(|| wrong(format!("weight is {weight}: want a number")))?,
        };
        let kind = (spec.parse)(own).map_err(of_kind(RegularizerSpec::KIND))?;
        let config = Self { kind, of, weight };
        config.check()?;
        Ok(config)
    }

    /// Refuses values without meaning.
    ///
    /// # Errors
    /// When a value is out of range.
    pub fn check(&self) -> Result<()> {
        self.kind.check()?;
        let weight = self.weight;
        if weight >= 0.0 && weight.is_finite() {
            return Ok(());
        }
        Err(setting(format!("regularizer {}", self.kind.name()), format!("weight is {weight}: want 0 or more")))
    }
}

impl<'de> Deserialize<'de> for RegularizerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        named::deserialize(RegularizerSpec::KIND, deserializer, |name, params| Self::new(name, &params))
    }
}
