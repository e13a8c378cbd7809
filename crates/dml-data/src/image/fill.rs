//! The colour of what no source pixel covers.

use super::enhance::luma;
use serde::{Deserialize, Serialize};

/// A colour, as one value for all channels or as red, green and blue; black by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a value in 0..=255 or three of them, red, green and blue")]
pub enum Fill {
    /// All channels alike.
    Grey(u8),
    /// Red, green and blue; a grey image takes its luma.
    Rgb([u8; 3]),
}

impl Default for Fill {
    fn default() -> Self {
        Self::Grey(0)
    }
}

impl Fill {
    /// A pixel of the colour.
    pub(super) fn pixel(self, channels: usize) -> Vec<u8> {
        match self {
            Self::Grey(value) => vec![value; channels],
            Self::Rgb(rgb) if channels == 3 => rgb.to_vec(),
            Self::Rgb(rgb) => vec![luma(rgb); channels],
        }
    }
}
