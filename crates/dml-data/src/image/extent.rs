//! Sides of a result.

use serde::{Deserialize, Serialize};

/// `224` for a square, or `[height, width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a side in pixels or [height, width]")]
pub enum Extent {
    /// Height and width alike.
    Square(usize),
    /// `[height, width]`.
    Sides([usize; 2]),
}

impl Extent {
    /// `[height, width]`.
    pub fn sides(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Sides(sides) => sides,
        }
    }
}
