//! Files of any size and make to images of 8 bits: upright, bounded, whole.

use super::enhance::luma;
use super::jpeg;
use crate::{Error, Image, Result};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, imageops};
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::path::Path;

/// Widest and tallest image that is decoded.
pub(super) const LARGEST_SIDE: u32 = 16_384;

/// How image files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decoder {
    /// 1 (grey, ITU-R BT.601) or 3 (RGB, the default).
    pub channels: usize,
    /// Turns the image as its EXIF says, by default. torchvision does not.
    ///
    /// A sample's box is cut from the image that this gives: upright, as viewers and annotation tools show it, or with
    /// `false` as it is stored, which is what lists made with Pillow, torchvision or MATLAB count in.
    pub orient: bool,
    /// Reads a large JPEG file at a quarter or an eighth of its sides when a [`Pipeline`](super::Pipeline) shrinks it
    /// by more than 5.6 anyway. Off by default: the image is off by about one level of 255 on average, and the papers
    /// do without.
    pub reduce: bool,
    /// What decodes JPEG files.
    pub jpeg: JpegLibrary,
    /// Most pixels of an image; more is a mistake or an attack. 100 million by default.
    pub max_pixels: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { channels: 3, orient: true, reduce: false, jpeg: JpegLibrary::default(), max_pixels: 100_000_000 }
    }
}

/// A library for JPEG files. They differ in how colours of half the sides are spread, by 0.5 of 255 levels on average and 8 at most,
/// and in rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JpegLibrary {
    /// zune-jpeg, which is Rust and always there.
    #[default]
    Zune,
    /// libjpeg-turbo, Pillow's: the same pixels to the bit. It is sooner, above all where a
    /// [crop](super::RandomResizedCrop) comes first, of which it makes no other pixels. Wants feature `turbojpeg`, whose build
    /// wants CMake and NASM.
    ///
    /// Files that it has a warning about, and those of CMYK, are left to zune-jpeg.
    LibjpegTurbo,
}

impl Decoder {
    /// Refuses settings that cannot be.
    ///
    /// # Errors
    /// When there are neither 1 nor 3 channels, or the library is not built in.
    pub fn check(&self) -> Result<()> {
        if !matches!(self.channels, 1 | 3) {
            return Err(Error::Invalid(format!("channels = {}: give 1 (grey) or 3 (RGB)", self.channels)));
        }
        if self.jpeg == JpegLibrary::LibjpegTurbo && !cfg!(feature = "turbojpeg") {
            return Err(Error::Invalid(
                "decoder.jpeg = \"libjpeg_turbo\" is not in this program: build it with feature turbojpeg, or use \"zune\""
                    .into(),
            ));
        }
        Ok(())
    }

    /// Decodes a JPEG, PNG, WebP, BMP or PNM file held in `bytes`. `path` is for messages.
    ///
    /// 16 bits are rounded to 8, CMYK becomes RGB, transparent parts are laid on white.
    ///
    /// # Errors
    /// [`Error::Format`] when the bytes are no such image, are cut off, or make more pixels than allowed.
    pub fn decode(&self, path: &Path, bytes: &[u8]) -> Result<Image> {
        self.check()?;
        let unreadable =
            |problem: String| Error::format(path, format!("not a readable image ({problem}): replace or remove it"));
        let decoded = match image::guess_format(bytes) {
            Ok(ImageFormat::Jpeg) => jpeg::decode(self, bytes),
            Ok(format) => self.decode_other(bytes, format),
            Err(error) => Err(error.to_string()),
        };
        let (mut decoded, orientation) = decoded.map_err(unreadable)?;
        if self.orient {
            decoded.apply_orientation(orientation);
        }
        self.convert(decoded)
    }

    fn decode_other(&self, bytes: &[u8], format: ImageFormat) -> Result<(DynamicImage, Orientation), String> {
        let said = |error: image::ImageError| error.to_string();
        let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(said)?;
        let (width, height) = decoder.dimensions();
        if width.max(height) > LARGEST_SIDE || u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(self.too_large(width, height));
        }
        let mut limits = Limits::default();
        // 16 bits of four channels.
        limits.max_alloc = Some(self.max_pixels.saturating_mul(8).max(1 << 20));
        decoder.set_limits(limits).map_err(said)?;
        let orientation = decoder.orientation().map_err(said)?;
        Ok((DynamicImage::from_decoder(decoder).map_err(said)?, orientation))
    }

    /// Says that an image is too large.
    pub(super) fn too_large(&self, width: u32, height: u32) -> String {
        format!("{width}x{height} is more than {LARGEST_SIDE} a side or {} pixels", self.max_pixels)
    }

    pub(super) fn convert(&self, decoded: DynamicImage) -> Result<Image> {
        let (width, height) = (decoded.width() as usize, decoded.height() as usize);
        let decoded = if decoded.color().has_alpha() { on_white(&decoded) } else { decoded };
        let grey = !decoded.color().has_color();
        let pixels = match self.channels {
            1 if grey => decoded.into_luma8().into_raw(),
            1 => decoded.into_rgb8().into_raw().as_chunks::<3>().0.iter().map(|&pixel| luma(pixel)).collect(),
            _ => decoded.into_rgb8().into_raw(),
        };
        Image::new(width, height, self.channels, pixels)
    }
}

fn on_white(image: &DynamicImage) -> DynamicImage {
    let mut white = image::RgbaImage::from_pixel(image.width(), image.height(), image::Rgba([255; 4]));
    imageops::overlay(&mut white, &image.to_rgba8(), 0, 0);
    // Without alpha: nothing shows through any more.
    DynamicImage::from(white).into_rgb8().into()
}

/// What happens to a data set when one of its files cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// The error is passed on.
    #[default]
    Fail,
    /// The image is left out and its error kept for a report.
    Skip,
}

impl Unreadable {
    /// The value; or under [`Unreadable::Skip`] `None`, when the file could not be opened or read, with its error put
    /// to `skipped`.
    ///
    /// # Errors
    /// What `read` holds otherwise.
    pub fn settle<T>(self, read: Result<T>, skipped: &mut Vec<Error>) -> Result<Option<T>> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Format { .. } | Error::Io { .. })) if self == Self::Skip => {
                skipped.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
