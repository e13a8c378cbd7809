//! How two vectors are compared.

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// How two vectors `a` and `b` are compared. None but [`Cosine`](Self::Cosine) normalises: that is a step of its own
/// ([`Projection`](crate::Projection)).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Metric {
    /// `a·b / (‖a‖‖b‖)`, larger is closer; 0 when one of them is 0.
    Cosine,
    /// `a·b`, larger is closer.
    Dot,
    /// `‖a − b‖`, smaller is closer; its gradient at distance 0 is taken as 0.
    Euclidean,
    /// `‖a − b‖²`, smaller is closer.
    SquaredEuclidean,
    /// `(Σ |a − b|^p)^{1/p}` with p ≥ 1, smaller is closer; its gradient at distance 0 is taken as 0. Written `lp:P`.
    Lp(f64),
    /// Signal-to-noise ratio `var(a − b) / var(a)`, smaller is closer, not symmetric: the anchor `a` is the signal.
    /// 0 when `a` is constant. Yuan et al., *Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning*, 2019, eq. 3.
    Snr,
    /// Distance in the Poincaré ball of curvature `−c`, c > 0, of points within it (`c‖x‖² < 1`):
    /// `(2/√c) artanh(√c ‖−a ⊕_c b‖)`, smaller is closer; its gradient at distance 0 is taken as 0. Written `hyperbolic:C`.
    /// Ermolov et al., *Hyperbolic Vision Transformers*, 2022, eq. 2; points come by [`Projection::Ball`](crate::Projection::Ball).
    Hyperbolic(f64),
}

impl Metric {
    /// One of each kind.
    pub const ALL: [Self; 7] = [
        Self::Cosine,
        Self::Dot,
        Self::Euclidean,
        Self::SquaredEuclidean,
        Self::Lp(3.0),
        Self::Snr,
        Self::Hyperbolic(0.01),
    ];

    /// Whether larger means closer.
    pub fn is_similarity(self) -> bool {
        matches!(self, Self::Cosine | Self::Dot)
    }

    /// +1 where larger means further, −1 where larger means closer: `sign · score` grows with distance.
    pub fn sign(self) -> f64 {
        if self.is_similarity() { -1.0 } else { 1.0 }
    }

    /// Whether score `a` is closer than score `b`.
    pub fn closer(self, a: f32, b: f32) -> bool {
        if self.is_similarity() { a > b } else { a < b }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cosine => f.write_str("cosine"),
            Self::Dot => f.write_str("dot"),
            Self::Euclidean => f.write_str("euclidean"),
            Self::SquaredEuclidean => f.write_str("squared_euclidean"),
            Self::Lp(p) => write!(f, "lp:{p}"),
            Self::Snr => f.write_str("snr"),
            Self::Hyperbolic(c) => write!(f, "hyperbolic:{c}"),
        }
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let unknown = || Error::UnknownMetric(name.to_owned());
        let number = |text: &str| text.parse::<f64>().ok().filter(|x| x.is_finite());
        Ok(match name.split_once(':') {
            Some(("lp", p)) => Self::Lp(number(p).filter(|&p| p >= 1.0).ok_or_else(unknown)?),
            Some(("hyperbolic", c)) => Self::Hyperbolic(number(c).filter(|&c| c > 0.0).ok_or_else(unknown)?),
            Some(_) => return Err(unknown()),
            None => {
                let plain = [Self::Cosine, Self::Dot, Self::Euclidean, Self::SquaredEuclidean, Self::Snr];
                plain.into_iter().find(|m| m.to_string() == name).ok_or_else(unknown)?
            }
        })
    }
}
