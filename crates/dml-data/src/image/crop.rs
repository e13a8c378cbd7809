//! Cutting a rectangle out.

use super::transform::{Transform, above_zero, rule};
use super::{Extent, Fill};
use crate::{Error, Image, Result};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A rectangle of pixels, e.g. a bounding box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Region {
    /// All of `image`.
    pub fn whole(image: &Image) -> Self {
        Self { left: 0, top: 0, width: image.width, height: image.height }
    }

    /// Refuses a region that is empty or not within `image`.
    ///
    /// # Errors
    /// As said.
    pub fn check(&self, image: &Image) -> Result<()> {
        let end = |start: usize, length: usize| start.checked_add(length).filter(|_| length > 0);
        let fits = |end: Option<usize>, side| end.is_some_and(|end| end <= side);
        if fits(end(self.left, self.width), image.width) && fits(end(self.top, self.height), image.height) {
            return Ok(());
        }
        let (width, height) = (image.width, image.height);
        Err(Error::Invalid(format!("{self:?} is no part of an image of {width}x{height}: give a rectangle within it")))
    }
}

/// The pixels of `image` in `region`.
///
/// # Errors
/// When the region is empty or not within the image.
pub fn crop(image: &Image, region: Region) -> Result<Image> {
    region.check(image)?;
    let sides = [region.height, region.width];
    Ok(window(image, [region.left as i64, region.top as i64], sides, Fill::default()))
}

/// The pixels of `[height, width]` from `[left, top]` on; what lies outside of `image` is `fill`.
fn window(image: &Image, [left, top]: [i64; 2], [height, width]: [usize; 2], fill: Fill) -> Image {
    let channels = image.channels;
    let fill = fill.pixel(channels);
    let inside = |start: i64, length: usize, side: usize| {
        let from = start.clamp(0, side as i64);
        let to = (start + length as i64).clamp(from, side as i64);
        (from, to)
    };
    let (from, to) = inside(left, width, image.width);
    let mut pixels = Vec::with_capacity(height * width * channels);
    for y in top..top + height as i64 {
        if y < 0 || y >= image.height as i64 || from == to {
            pixels.extend(fill.iter().cycle().take(width * channels));
            continue;
        }
        let pad = |pixels: &mut Vec<u8>, count: i64| pixels.extend(fill.iter().cycle().take(count as usize * channels));
        let at = |x: i64| (y as usize * image.width + x as usize) * channels;
        pad(&mut pixels, from - left);
        pixels.extend_from_slice(&image.pixels[at(from)..at(to)]);
        pad(&mut pixels, left + width as i64 - to);
    }
    Image { width, height, channels, pixels }
}

/// The middle of an image: torchvision's `CenterCrop`. A smaller image is padded evenly; an odd pixel goes right or
/// below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CenterCrop {
    /// Of the result.
    pub size: Extent,
    /// Around a smaller image.
    #[serde(default)]
    pub fill: Fill,
}

impl From<Extent> for CenterCrop {
    fn from(size: Extent) -> Self {
        Self { size, fill: Fill::default() }
    }
}

impl Transform for CenterCrop {
    fn check(&self) -> Result<(), String> {
        above_zero("size", &self.size.sides())
    }

    fn sides(&self, _: Option<[usize; 2]>) -> Option<[usize; 2]> {
        Some(self.size.sides())
    }

    fn apply(&self, image: Image, _: &mut ChaCha8Rng) -> Result<Image> {
        let sides @ [height, width] = self.size.sides();
        let start = |side: usize, wanted: usize| match side.checked_sub(wanted) {
            // Python rounds halves to even.
            Some(rest) => (rest as f64 / 2.0).round_ties_even() as i64,
            None => -(((wanted - side) / 2) as i64),
        };
        Ok(window(&image, [start(image.width, width), start(image.height, height)], sides, self.fill))
    }
}

/// A crop from anywhere: torchvision's `RandomCrop`, with `pad_if_needed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// Of the result.
    pub size: Extent,
    /// Pixels of `fill` around the image first, on each side.
    #[serde(default)]
    pub padding: usize,
    /// Of the padding. A side that is still too short is padded by what it lacks, at both ends.
    #[serde(default)]
    pub fill: Fill,
}

impl From<Extent> for RandomCrop {
    fn from(size: Extent) -> Self {
        Self { size, padding: 0, fill: Fill::default() }
    }
}

impl Transform for RandomCrop {
    fn check(&self) -> Result<(), String> {
        above_zero("size", &self.size.sides())?;
        rule(self.padding <= 16_384, "padding", self.padding, "at most 16384 pixels")
    }

    fn sides(&self, _: Option<[usize; 2]>) -> Option<[usize; 2]> {
        Some(self.size.sides())
    }

    fn apply(&self, image: Image, rng: &mut ChaCha8Rng) -> Result<Image> {
        let sides @ [height, width] = self.size.sides();
        let mut start = |side: usize, wanted: usize| {
            let padding = self.padding + wanted.saturating_sub(side + 2 * self.padding);
            rng.random_range(0..=(side + 2 * padding - wanted) as u64) as i64 - padding as i64
        };
        let top = start(image.height, height);
        let left = start(image.width, width);
        Ok(window(&image, [left, top], sides, self.fill))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_may_lie_outside_on_every_side() {
        let image = Image::new(2, 2, 1, vec![1, 2, 3, 4]).unwrap();
        let cut = |at, sides| window(&image, at, sides, Fill::Grey(9)).pixels;
        assert_eq!(cut([-1, -1], [4, 4]), [9, 9, 9, 9, 9, 1, 2, 9, 9, 3, 4, 9, 9, 9, 9, 9]);
        assert_eq!(cut([1, 0], [1, 2]), [2, 9]);
        assert_eq!(cut([-5, 0], [1, 2]), [9, 9]);
        assert_eq!(cut([5, 0], [1, 2]), [9, 9]);
        assert_eq!(cut([0, 7], [1, 2]), [9, 9]);
    }

    #[test]
    fn a_region_outside_is_refused() {
        let image = Image::new(2, 2, 1, vec![1, 2, 3, 4]).unwrap();
        let region = Region { left: 1, top: 0, width: 1, height: 2 };
        assert_eq!(crop(&image, region).unwrap().pixels, [2, 4]);
        for (left, width) in [(1, 2), (0, 0), (2, 1), (usize::MAX, 2)] {
            let error = crop(&image, Region { left, width, ..region }).unwrap_err().to_string();
            assert!(error.contains("is no part of an image of 2x2"), "{error}");
        }
    }
}
