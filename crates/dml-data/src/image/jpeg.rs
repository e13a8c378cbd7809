//! JPEG files.

use super::decoder::{Decoder, LARGEST_SIDE};
use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// What a file says of its image before the pixels come.
pub(super) struct Header {
    pub(super) width: usize,
    pub(super) height: usize,
    /// How the stored image is to be turned.
    pub(super) orientation: Orientation,
    grey: bool,
}

impl Header {
    /// The header of the file in `bytes`, of which the end must be there, too.
    pub(super) fn read(limits: &Decoder, bytes: &[u8]) -> Result<Self, String> {
        Self::of(&mut open(bytes), limits, bytes)
    }

    fn of(decoder: &mut JpegDecoder<ZCursor<&[u8]>>, limits: &Decoder, bytes: &[u8]) -> Result<Self, String> {
        decoder.decode_headers().map_err(|error| error.to_string())?;
        let (width, height) = decoder.dimensions().ok_or("no size")?;
        if (width * height) as u64 > limits.max_pixels {
            return Err(limits.too_large(width as u32, height as u32));
        }
        if !segments(bytes).ended {
            return Err("cut off: there is no end marker".into());
        }
        let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
        let orientation = orientation.unwrap_or(Orientation::NoTransforms);
        Ok(Self { width, height, orientation, grey: decoder.input_colorspace() == Some(ColorSpace::Luma) })
    }
}

/// The image as stored and how it is to be turned.
pub(super) fn decode(limits: &Decoder, bytes: &[u8]) -> Result<(DynamicImage, Orientation), String> {
    let mut decoder = open(bytes);
    let Header { width, height, orientation, grey } = Header::of(&mut decoder, limits, bytes)?;
    let out = if grey { ColorSpace::Luma } else { ColorSpace::RGB };
    // Half an image is none.
    decoder.set_options(options().jpeg_set_out_colorspace(out).set_strict_mode(true));
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    let (width, height) = (width as u32, height as u32);
    let image = match grey {
        true => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    };
    Ok((image.ok_or("fewer pixels than its header says")?, orientation))
}

fn open(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    JpegDecoder::new_with_options(ZCursor::new(bytes), options())
}

/// Forgiving: cameras write strange headers that all programs accept.
fn options() -> DecoderOptions {
    let side = LARGEST_SIDE as usize;
    DecoderOptions::default().set_strict_mode(false).set_max_width(side).set_max_height(side)
}

struct Segments {
    /// One scan holds all frequencies.
    baseline: bool,
    /// An end marker follows the first scan. The one of a thumbnail comes before it, within a segment.
    ended: bool,
}

/// Whether the image comes in one scan: then reading it in reduced size saves time.
pub(super) fn is_baseline(bytes: &[u8]) -> bool {
    segments(bytes).baseline
}

fn segments(bytes: &[u8]) -> Segments {
    let mut baseline = false;
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            // Fill bytes may precede a marker.
            0xff => {
                at += 1;
                continue;
            }
            0xc0 | 0xc1 => baseline = true,
            0xda => {
                let ended = bytes[at..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
                return Segments { baseline, ended };
            }
            _ => {}
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    // Odd headers are left to the decoder.
    Segments { baseline: false, ended: true }
}

#[cfg(test)]
mod tests {
    use super::segments;

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_image() {
        let head = [0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9, 0xff, 0xff, 0xc0, 0, 2, 0xff, 0xda, 0, 2, 1, 2, 3];
        assert!(!segments(&head).ended && segments(&head).baseline);
        assert!(segments(&[&head[..], &[0xff, 0xd9]].concat()).ended);
        assert!(segments(&[&head[..], &[0xff, 0xd9, 0, 0]].concat()).ended, "bytes behind the end are common");
    }
}
