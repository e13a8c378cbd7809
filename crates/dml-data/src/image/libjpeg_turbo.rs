//! JPEG files by libjpeg-turbo, which Pillow reads them with: its pixels to the bit, and a part of an image for less.

use super::Region;
use super::jpeg::{Header, Part, made_of};
use std::ffi::c_int;
use turbojpeg_sys as tj;

/// Columns beside a part that its colours are spread from.
const BESIDE: usize = 2;

/// Scans of a progressive image, of which each takes the time of a whole one; more is an attack.
const MOST_SCANS: c_int = 500;

struct Decompressor(tj::tjhandle);

impl Decompressor {
    fn new() -> Option<Self> {
        // SAFETY: it takes a number, and gives null where it fails.
        let handle = unsafe { tj::tj3Init(tj::TJINIT_TJINIT_DECOMPRESS as c_int) };
        (!handle.is_null()).then_some(Self(handle))
    }

    fn set(&self, parameter: tj::TJPARAM, value: c_int) -> Option<()> {
        // SAFETY: the handle lives; parameters and values are checked there.
        done(unsafe { tj::tj3Set(self.0, parameter as c_int, value) })
    }

    fn get(&self, parameter: tj::TJPARAM) -> c_int {
        // SAFETY: as above.
        unsafe { tj::tj3Get(self.0, parameter as c_int) }
    }
}

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: it was made by `tj3Init` and is used no more.
        unsafe { tj::tj3Destroy(self.0) }
    }
}

fn done(code: c_int) -> Option<()> {
    (code == 0).then_some(())
}

/// The image as stored, or what is read of it for `region`. `None` where the library finds anything odd: the other one then gives
/// the image or says what is wrong.
pub(super) fn decode(bytes: &[u8], header: &Header, region: Option<Region>) -> Option<Part> {
    let library = Decompressor::new()?;
    library.set(tj::TJPARAM_TJPARAM_STOPONWARNING, 1)?;
    library.set(tj::TJPARAM_TJPARAM_SCANLIMIT, MOST_SCANS)?;
    // SAFETY: it reads `bytes` and no further.
    done(unsafe { tj::tj3DecompressHeader(library.0, bytes.as_ptr(), bytes.len() as _) })?;
    let sides = [tj::TJPARAM_TJPARAM_JPEGWIDTH, tj::TJPARAM_TJPARAM_JPEGHEIGHT].map(|side| library.get(side));
    let colours = library.get(tj::TJPARAM_TJPARAM_COLORSPACE) as tj::TJCS;
    let simple = [tj::TJCS_TJCS_RGB, tj::TJCS_TJCS_YCbCr, tj::TJCS_TJCS_GRAY].contains(&colours)
        && header.grey == (colours == tj::TJCS_TJCS_GRAY)
        && library.get(tj::TJPARAM_TJPARAM_PRECISION) == 8
        && sides == [header.width as c_int, header.height as c_int];
    if !simple {
        return None;
    }
    let whole = Region { left: 0, top: 0, width: header.width, height: header.height };
    let Region { left, top, width, height } = match region {
        None => whole,
        Some(region) => around(region, header.width, block_columns(library.get(tj::TJPARAM_TJPARAM_SUBSAMP))?),
    };
    let asked = tj::tjregion { x: left as c_int, y: top as c_int, w: width as c_int, h: height as c_int };
    // SAFETY: the handle lives; a region that does not fit is refused.
    done(unsafe { tj::tj3SetCroppingRegion(library.0, asked) })?;
    let (channels, format) = if header.grey { (1, tj::TJPF_TJPF_GRAY) } else { (3, tj::TJPF_TJPF_RGB) };
    let held = width * height * channels;
    let mut pixels: Vec<u8> = Vec::with_capacity(held);
    let (file, size, out) = (bytes.as_ptr(), bytes.len(), pixels.as_mut_ptr());
    // SAFETY: with a pitch of 0 it writes the region's rows one after the other, for which `pixels` has room, and reads `bytes`.
    done(unsafe { tj::tj3Decompress8(library.0, file, size as _, out, 0, format as c_int) })?;
    // SAFETY: with no error and no warning all rows have been written.
    unsafe { pixels.set_len(held) };
    Some(Part { pixels: made_of(header.grey, [width, height], pixels)?, left, top })
}

/// Columns that are coded together.
fn block_columns(subsampling: c_int) -> Option<usize> {
    match subsampling as tj::TJSAMP {
        tj::TJSAMP_TJSAMP_444 | tj::TJSAMP_TJSAMP_GRAY | tj::TJSAMP_TJSAMP_440 | tj::TJSAMP_TJSAMP_441 => Some(8),
        tj::TJSAMP_TJSAMP_422 | tj::TJSAMP_TJSAMP_420 => Some(16),
        tj::TJSAMP_TJSAMP_411 => Some(32),
        _ => None,
    }
}

/// The part that holds `region` and what lies beside it, from the first column of a block on.
fn around(region: Region, width: usize, block: usize) -> Region {
    let left = region.left.saturating_sub(BESIDE) / block * block;
    let right = (region.left + region.width + BESIDE).min(width);
    Region { left, width: right - left, ..region }
}
