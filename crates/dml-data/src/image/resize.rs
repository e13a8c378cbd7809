//! Antialiased scaling.

use super::Region;
use super::transform::{Transform, above_zero};
use crate::{Error, Image, Result};
use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Kernel of a resampling. All but `Nearest` grow with the factor when shrinking (antialiased), as in Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The nearest pixel.
    Nearest,
    /// A triangle of radius 1.
    #[default]
    Bilinear,
    /// Keys' cubic with a = −0.5, of radius 2.
    Bicubic,
    /// Windowed sinc of three lobes.
    Lanczos,
}

impl Filter {
    fn kernel(self) -> Option<FilterType> {
        match self {
            Self::Nearest => None,
            Self::Bilinear => Some(FilterType::Bilinear),
            Self::Bicubic => Some(FilterType::CatmullRom),
            Self::Lanczos => Some(FilterType::Lanczos3),
        }
    }
}

/// What an image is scaled to: `256` or `[256, 128]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "the shorter side in pixels or [height, width]")]
pub enum Size {
    /// The shorter side becomes so long, and the longer one follows, cut to whole pixels.
    Shorter(usize),
    /// `[height, width]`, whatever the image's own ratio.
    Exact([usize; 2]),
}

impl Size {
    /// `[height, width]` of the scaled image (torchvision's rule).
    fn of(self, [height, width]: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Exact(sides) => sides,
            Self::Shorter(side) if width <= height => [(side * height / width.max(1)).max(1), side],
            Self::Shorter(side) => [side, (side * width / height.max(1)).max(1)],
        }
    }
}

/// Scales an image: torchvision's `Resize` on Pillow images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Of the result.
    pub size: Size,
    /// Bilinear by default.
    #[serde(default)]
    pub filter: Filter,
}

impl From<Size> for Resize {
    fn from(size: Size) -> Self {
        Self { size, filter: Filter::default() }
    }
}

/// A part of an image and what it is scaled to.
pub(super) struct Scaling {
    pub(super) region: Region,
    /// `[height, width]`.
    pub(super) sides: [usize; 2],
    pub(super) filter: Filter,
}

impl Transform for Resize {
    fn check(&self) -> Result<(), String> {
        match self.size {
            Size::Shorter(side) => above_zero("size", &[side]),
            Size::Exact(sides) => above_zero("size", &sides),
        }
    }

    fn sides(&self, before: Option<[usize; 2]>) -> Option<[usize; 2]> {
        match self.size {
            Size::Exact(sides) => Some(sides),
            Size::Shorter(_) => before.map(|before| self.size.of(before)),
        }
    }

    fn scaling(&self, [height, width]: [usize; 2], _: &mut ChaCha8Rng) -> Option<Scaling> {
        let (region, sides) = (Region { left: 0, top: 0, width, height }, self.size.of([height, width]));
        Some(Scaling { region, sides, filter: self.filter })
    }

    fn apply(&self, image: Image, _: &mut ChaCha8Rng) -> Result<Image> {
        let sides = self.size.of([image.height, image.width]);
        if sides == [image.height, image.width] { Ok(image) } else { resample(&image, sides, self.filter) }
    }
}

/// Scales `image` to `[height, width]`; as Pillow's `resize`: nearest to the bit, the others within 0.35 of 255 levels
/// on average.
///
/// # Errors
/// When a side is 0 or above 16,384, or the image has neither 1 nor 3 channels.
pub fn resample(image: &Image, sides: [usize; 2], filter: Filter) -> Result<Image> {
    resample_region(image, Region::whole(image), sides, filter)
}

/// Scales `region` of `image` to `[height, width]`. Pixels outside of it have no part in the result,
/// as if it had been cropped first.
///
/// # Errors
/// As [`resample`], and when the region is empty or not within the image.
pub fn resample_region(image: &Image, region: Region, sides: [usize; 2], filter: Filter) -> Result<Image> {
    region.check(image)?;
    let part = [region.left, region.top, region.width, region.height].map(|side| side as f64);
    resample_part(image, part, sides, filter)
}

/// As [`resample_region`] for a part whose left, top, width and height are no whole pixels.
pub(super) fn resample_part(image: &Image, part: [f64; 4], sides: [usize; 2], filter: Filter) -> Result<Image> {
    above_zero("size", &sides).map_err(Error::Invalid)?;
    let [height, width] = sides;
    let Some(kernel) = filter.kernel() else {
        return Ok(nearest(image, part, sides));
    };
    let mut pixels = vec![0; height * width * image.channels];
    match image.channels {
        1 => convolve::<U8>(image, part, &mut pixels, sides, kernel),
        3 => convolve::<U8x3>(image, part, &mut pixels, sides, kernel),
        channels => return Err(Error::Invalid(format!("cannot resize an image of {channels} channels: give 1 or 3"))),
    }?;
    Image::new(width, height, image.channels, pixels)
}

/// Adds up steps as Pillow does, so that places on the border of two pixels fall on the same side.
fn nearest(image: &Image, [left, top, wide, high]: [f64; 4], [height, width]: [usize; 2]) -> Image {
    let places = |start: f64, length: f64, count: usize, side: usize| -> Vec<usize> {
        let step = length / count as f64;
        let first = start.fract() + step * 0.5;
        let place = |at: f64| (start as usize + at as usize).min(side - 1);
        std::iter::successors(Some(first), |at| Some(at + step)).take(count).map(place).collect()
    };
    let columns = places(left, wide, width, image.width);
    let mut pixels = Vec::with_capacity(height * width * image.channels);
    for y in places(top, high, height, image.height) {
        for x in &columns {
            let at = (y * image.width + x) * image.channels;
            pixels.extend_from_slice(&image.pixels[at..at + image.channels]);
        }
    }
    Image { width, height, channels: image.channels, pixels }
}

fn convolve<P: PixelTrait + InnerPixel>(
    image: &Image,
    [left, top, wide, high]: [f64; 4],
    out: &mut [u8],
    [height, width]: [usize; 2],
    kernel: FilterType,
) -> Result<()> {
    let problem = |error: &dyn std::fmt::Display| Error::Invalid(format!("cannot resize an image: {error}"));
    let whole = TypedImageRef::<P>::from_buffer(image.width as u32, image.height as u32, &image.pixels)
        .map_err(|error| problem(&error))?;
    // The pixels that the part touches; beyond them the kernel sees nothing.
    let touched = |start: f64, length: f64, side: usize| {
        let first = start.floor() as u32;
        (first, ((start + length).ceil() as u32).min(side as u32).saturating_sub(first))
    };
    let ((first_x, columns), (first_y, rows)) = (touched(left, wide, image.width), touched(top, high, image.height));
    let source =
        TypedCroppedImage::from_ref(&whole, first_x, first_y, columns, rows).map_err(|error| problem(&error))?;
    let mut target = TypedImage::<P>::from_buffer(width as u32, height as u32, out).map_err(|error| problem(&error))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(kernel)).use_alpha(false);
    let options = options.crop(left - f64::from(first_x), top - f64::from(first_y), wide, high);
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(|error| problem(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_side_follows_and_is_cut() {
        assert_eq!(Size::Shorter(256).of([375, 500]), [256, 341]);
        assert_eq!(Size::Shorter(256).of([500, 375]), [341, 256]);
        assert_eq!(Size::Shorter(7).of([5, 5]), [7, 7]);
        assert_eq!(Size::Exact([3, 4]).of([5, 50]), [3, 4]);
    }
}
