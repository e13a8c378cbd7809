//! JPEG files.

use super::Region;
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
    pub(super) grey: bool,
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
    let header = Header::of(&mut decoder, limits, bytes)?;
    #[cfg(feature = "turbojpeg")]
    if limits.jpeg == super::JpegLibrary::LibjpegTurbo
        && let Some(image) = super::libjpeg_turbo::decode(bytes, &header, None)
    {
        return Ok((image.pixels, header.orientation));
    }
    Ok((finish(decoder, &header, header.height)?, header.orientation))
}

/// Some of an image, with all of what was asked for.
pub(super) struct Part {
    pub(super) pixels: DynamicImage,
    /// Where the image has its first pixel.
    pub(super) left: usize,
    pub(super) top: usize,
}

/// What of the image as stored is read for `region`: its pixels are those of the whole. `None` where that is all of it, and
/// where anything is odd.
pub(super) fn decode_part(limits: &Decoder, bytes: &[u8], header: &Header, region: Region) -> Option<Part> {
    #[cfg(feature = "turbojpeg")]
    if limits.jpeg == super::JpegLibrary::LibjpegTurbo {
        return super::libjpeg_turbo::decode(bytes, header, Some(region));
    }
    let Segments { frame: Some(frame), ended: true, .. } = segments(bytes) else { return None };
    // The colours of a row may be spread from the next.
    let rows = (region.top + region.height + 1).next_multiple_of(frame.block_rows);
    if rows >= header.height {
        return None;
    }
    // The library reads all that its header promises: it promises less.
    let mut less = bytes.to_vec();
    less[frame.height_at..frame.height_at + 2].copy_from_slice(&u16::try_from(rows).ok()?.to_be_bytes());
    let mut decoder = open(&less);
    Header::of(&mut decoder, limits, &less).ok()?;
    Some(Part { pixels: finish(decoder, header, rows).ok()?, left: 0, top: 0 })
}

/// The first `rows` of the image whose header has been read.
fn finish(mut decoder: JpegDecoder<ZCursor<&[u8]>>, header: &Header, rows: usize) -> Result<DynamicImage, String> {
    let out = if header.grey { ColorSpace::Luma } else { ColorSpace::RGB };
    // Half an image is none.
    decoder.set_options(options().jpeg_set_out_colorspace(out).set_strict_mode(true));
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    made_of(header.grey, [header.width, rows], pixels).ok_or_else(|| "fewer pixels than its header says".to_owned())
}

/// Pixels as an image of `[width, height]`.
pub(super) fn made_of(grey: bool, sides: [usize; 2], pixels: Vec<u8>) -> Option<DynamicImage> {
    let [width, height] = sides.map(|side| side as u32);
    match grey {
        true => GrayImage::from_raw(width, height, pixels).map(DynamicImage::from),
        false => RgbImage::from_raw(width, height, pixels).map(DynamicImage::from),
    }
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
    /// Of an image that comes in one scan, which holds all frequencies and colours.
    frame: Option<Frame>,
    /// An end marker follows the first scan. The one of a thumbnail comes before it, within a segment.
    ended: bool,
}

/// What a header says of the rows of an image.
#[derive(Clone, Copy)]
struct Frame {
    /// Where its height stands, in two bytes.
    height_at: usize,
    /// Rows that are coded together.
    block_rows: usize,
    components: u8,
}

impl Frame {
    /// Of the segment at `at`.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let components = *bytes.get(at + 9)?;
        let each = bytes.get(at + 10..at + 10 + 3 * usize::from(components))?.chunks_exact(3);
        let rows = each.map(|component| component[1] & 15).max()?.max(1);
        Some(Self { height_at: at + 5, block_rows: 8 * usize::from(rows), components })
    }
}

/// Whether the image comes in one scan: then reading less of it saves time.
pub(super) fn is_baseline(bytes: &[u8]) -> bool {
    segments(bytes).frame.is_some()
}

fn segments(bytes: &[u8]) -> Segments {
    let mut frame = None;
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            // Fill bytes may precede a marker.
            0xff => {
                at += 1;
                continue;
            }
            0xc0 | 0xc1 => frame = Frame::read(bytes, at),
            0xda => {
                frame = frame.filter(|frame: &Frame| bytes.get(at + 4) == Some(&frame.components));
                let ended = bytes[at..].windows(2).rev().any(|pair| pair == [0xff, 0xd9]);
                return Segments { frame, ended };
            }
            _ => {}
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    // Odd headers are left to the decoder.
    Segments { frame: None, ended: true }
}

#[cfg(test)]
mod tests {
    use super::{Frame, segments};

    #[test]
    fn the_end_of_a_thumbnail_is_not_the_end_of_the_image() {
        let frame = [0xff, 0xc0, 0, 11, 8, 0, 9, 0, 7, 1, 1, 0x22, 0];
        let head =
            [&[0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9, 0xff], &frame[..], &[0xff, 0xda, 0, 2, 1, 2, 3]].concat();
        let found = segments(&head);
        assert!(!found.ended);
        let Frame { height_at, block_rows, .. } = found.frame.unwrap();
        assert_eq!((&head[height_at..height_at + 2], block_rows), (&[0, 9][..], 16));
        assert!(segments(&[&head[..], &[0xff, 0xd9]].concat()).ended);
        assert!(segments(&[&head[..], &[0xff, 0xd9, 0, 0]].concat()).ended, "bytes behind the end are common");
    }
}
