//! Maps: embeddings in the plane, for the eye.
//!
//! | what | file |
//! |---|---|
//! | the two directions of most variance | `pca.rs` |
//! | neighbours kept together (t-SNE) | `tsne.rs` |
//! | which rows of a large set are drawn | `sample.rs` |
//! | how many neighbours a map keeps | `kept.rs` |
//!
//! A map is a picture, not a measure: no plane holds the distances of a space of many dimensions. [`neighbours_kept`] says how
//! much of it is there.

mod kept;
mod pca;
mod sample;
mod tsne;

pub use kept::neighbours_kept;
pub use pca::{PcaMap, pca_map};
pub use sample::map_rows;
pub use tsne::{TsneMap, TsneOptions, tsne_map, tsne_map_from};

use crate::Error;
use dml_core::{Matrix, Metric, Projection};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A way to the plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MapKind {
    /// [`pca_map`].
    Pca,
    /// [`tsne_map`].
    Tsne,
}

impl MapKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pca, Self::Tsne];

    /// What readers call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pca => "PCA",
            Self::Tsne => "t-SNE",
        }
    }
}

impl fmt::Display for MapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pca => "pca",
            Self::Tsne => "tsne",
        })
    }
}

impl FromStr for MapKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let of_name = |kind: &Self| kind.to_string() == name;
        Self::ALL
            .into_iter()
            .find(of_name)
            .ok_or_else(|| Error::Input(format!("there is no map {name}: use pca or tsne")))
    }
}

/// Rows as a map takes them, and the distance between them: cosine goes by rows of length 1; dot products and signal-to-noise
/// ratios are no distances, so that the rows' own Euclidean distance stands for them.
fn as_drawn(metric: Metric, x: Matrix<'_>) -> (Cow<'_, [f32]>, Metric) {
    match metric {
        Metric::Cosine => (Projection::Unit.apply(x).values.into(), Metric::Euclidean),
        Metric::Lp(_) | Metric::Hyperbolic(_) => (x.data().into(), metric),
        _ => (x.data().into(), Metric::Euclidean),
    }
}
