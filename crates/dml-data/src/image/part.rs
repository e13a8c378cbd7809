//! JPEG files of which a part is wanted: no more of them is read than it takes, and no value is another.

use super::Region;
use super::decoder::Decoder;
use super::jpeg::{self, Header};
use super::resize::{Scaling, resample_region};
use crate::{Image, Result};

/// The result of `scaling` for the upright JPEG file in `bytes`, if it needs but a part of it.
///
/// `None` when it does not, or when anything is odd: the usual way then gives the image or says what is wrong.
pub(super) fn scale_jpeg(decoder: &Decoder, bytes: &[u8], header: &Header, scaling: &Scaling) -> Option<Result<Image>> {
    let part = jpeg::decode_part(decoder, bytes, header, scaling.region)?;
    let image = decoder.convert(part.pixels).ok()?;
    let Region { left, top, .. } = scaling.region;
    let region = Region { left: left - part.left, top: top - part.top, ..scaling.region };
    Some(resample_region(&image, region, scaling.sides, scaling.filter))
}
