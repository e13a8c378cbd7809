//! Large JPEG files at a quarter or an eighth of their sides, read off their frequencies.

use super::decoder::Decoder;
use super::jpeg;
use super::resize::{Scaling, resample_part};
use crate::{Image, Result};
use jpeg_decoder::PixelFormat;

/// The decoded part is at least so many times as wide and high as the result: then both ways agree within about one
/// level on average, most where edges are sharp, and the choice of a kernel still counts.
const MARGIN: f64 = 1.4;

/// Fractions that are made sooner than the whole. Halves are not: the decoder for whole images is faster.
const FACTORS: [usize; 2] = [8, 4];

/// The result of `scaling` for the upright JPEG file in `bytes`, if it shrinks enough to be read in reduced size.
///
/// `None` when it does not, or when anything is odd: the usual way then gives the image or says what is wrong.
pub(super) fn scale_jpeg(decoder: &Decoder, bytes: &[u8], scaling: &Scaling) -> Option<Result<Image>> {
    let factor = FACTORS.into_iter().find(|&factor| {
        let enough = |length: usize, side: usize| length as f64 >= MARGIN * (factor * side) as f64;
        enough(scaling.region.height, scaling.sides[0]) && enough(scaling.region.width, scaling.sides[1])
    })?;
    let image = decode(decoder, bytes, factor)?;
    let region = scaling.region;
    let part = [region.left, region.top, region.width, region.height].map(|side| side as f64 / factor as f64);
    Some(resample_part(&image, part, scaling.sides, scaling.filter))
}

/// The image at `1/factor` of its sides, rounded up.
fn decode(decoder: &Decoder, bytes: &[u8], factor: usize) -> Option<Image> {
    let header = jpeg::Header::read(decoder, bytes).ok()?;
    let mut reduced = jpeg_decoder::Decoder::new(bytes);
    reduced.set_max_decoding_buffer_size(usize::try_from(decoder.max_pixels).ok()?.saturating_mul(4));
    let [width, height] = [header.width, header.height].map(|side| side.div_ceil(factor));
    // Asked for one pixel less it would take a smaller fraction if there were one.
    let got = reduced.scale(u16::try_from(width).ok()?, u16::try_from(height).ok()?).ok()?;
    if (usize::from(got.0), usize::from(got.1)) != (width, height) {
        return None;
    }
    let pixels = reduced.decode().ok()?;
    let image = match reduced.info()?.pixel_format {
        PixelFormat::L8 => image::GrayImage::from_raw(width as u32, height as u32, pixels)?.into(),
        PixelFormat::RGB24 => image::RgbImage::from_raw(width as u32, height as u32, pixels)?.into(),
        PixelFormat::L16 | PixelFormat::CMYK32 => return None,
    };
    decoder.convert(image).ok()
}
