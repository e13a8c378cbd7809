//! Image files to [`Image`]s, and resizing.

use super::Decoder;
use crate::{Error, Image, Result};
use image::imageops::{self, FilterType};
use std::path::Path;

/// Decodes an image file held in `bytes` to grey (`channels` = 1) or RGB (3), as [`Decoder`] does by default: upright and whole.
///
/// # Errors
/// As [`Decoder::decode`]. `path` is for the message.
pub fn decode(path: &Path, bytes: &[u8], channels: usize) -> Result<Image> {
    Decoder { channels, ..Decoder::default() }.decode(path, bytes)
}

/// Scales `image` to `width` × `height` with Lanczos' kernel of three lobes, widened when shrinking (antialiased).
///
/// # Errors
/// When a side is 0 or the image has neither 1 nor 3 channels.
pub fn resize(image: &Image, width: usize, height: usize) -> Result<Image> {
    if width == 0 || height == 0 || image.width == 0 || image.height == 0 {
        let (from_width, from_height) = (image.width, image.height);
        return Err(Error::Invalid(format!(
            "cannot resize {from_width}x{from_height} to {width}x{height}: sides must be above 0"
        )));
    }
    let (from, to) = ((image.width as u32, image.height as u32), (width as u32, height as u32));
    let pixels = match image.channels {
        1 => {
            let buffer = image::GrayImage::from_raw(from.0, from.1, image.pixels.clone()).expect("checked by Image");
            imageops::resize(&buffer, to.0, to.1, FilterType::Lanczos3).into_raw()
        }
        3 => {
            let buffer = image::RgbImage::from_raw(from.0, from.1, image.pixels.clone()).expect("checked by Image");
            imageops::resize(&buffer, to.0, to.1, FilterType::Lanczos3).into_raw()
        }
        channels => return Err(Error::Invalid(format!("cannot resize an image of {channels} channels: give 1 or 3"))),
    };
    Image::new(width, height, image.channels, pixels)
}

/// The largest centred square of `image`, scaled to `size` × `size`.
///
/// # Errors
/// As [`resize`].
pub fn fit_square(image: &Image, size: usize) -> Result<Image> {
    let side = image.width.min(image.height);
    let (left, top) = ((image.width - side) / 2, (image.height - side) / 2);
    let row = |y: usize| {
        let start = (y * image.width + left) * image.channels;
        &image.pixels[start..start + side * image.channels]
    };
    let pixels = (top..top + side).flat_map(row).copied().collect();
    resize(&Image::new(side, side, image.channels, pixels)?, size, size)
}
