//! Packs equal images into one lossless PNG.

use anyhow::{Context, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Side of an image in pixels.
pub const SIDE: usize = 32;
/// Images in a row of the mosaic.
const COLUMNS: usize = 40;
const CHANNELS: usize = 3;

/// Writes `tiles` row by row; a missing one stays white.
pub fn write(path: &Path, tiles: &[Option<&[u8]>]) -> Result<()> {
    let (width, height) = (COLUMNS * SIDE, tiles.len().div_ceil(COLUMNS) * SIDE);
    let mut pixels = vec![255; width * height * CHANNELS];
    for (i, tile) in tiles.iter().enumerate() {
        let Some(tile) = tile else { continue };
        let (left, top) = (i % COLUMNS * SIDE, i / COLUMNS * SIDE);
        for (y, row) in tile.chunks_exact(SIDE * CHANNELS).enumerate() {
            let start = ((top + y) * width + left) * CHANNELS;
            pixels[start..start + row.len()].copy_from_slice(row);
        }
    }
    let mut file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    let encoder = PngEncoder::new_with_quality(&mut file, CompressionType::Best, FilterType::Adaptive);
    encoder.write_image(&pixels, width as u32, height as u32, ExtendedColorType::Rgb8)?;
    // A dropped writer would keep a full disk to itself.
    file.flush().with_context(|| path.display().to_string())
}
