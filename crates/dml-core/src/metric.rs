//! How two vectors are compared.

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// How two vectors `a` and `b` are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// `a·b / (‖a‖‖b‖)`, larger is closer; 0 when one of them is 0.
    Cosine,
    /// `a·b`, larger is closer.
    Dot,
    /// `‖a − b‖`, smaller is closer; its gradient at distance 0 is taken as 0.
    Euclidean,
    /// `‖a − b‖²`, smaller is closer.
    SquaredEuclidean,
}

impl Metric {
    /// All metrics.
    pub const ALL: [Self; 4] = [Self::Cosine, Self::Dot, Self::Euclidean, Self::SquaredEuclidean];

    /// Whether larger means closer.
    pub fn is_similarity(self) -> bool {
        matches!(self, Self::Cosine | Self::Dot)
    }

    /// Whether score `a` is closer than score `b`.
    pub fn closer(self, a: f32, b: f32) -> bool {
        if self.is_similarity() { a > b } else { a < b }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::Euclidean => "euclidean",
            Self::SquaredEuclidean => "squared_euclidean",
        })
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|m| m.to_string() == name);
        found.ok_or_else(|| Error::UnknownMetric(name.to_owned()))
    }
}
