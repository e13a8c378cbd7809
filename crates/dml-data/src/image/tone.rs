//! Posterise, solarise, stretch and equalise, as Pillow's `ImageOps`.

use super::enhance::map;
use crate::Image;

/// Keeps the `bits` highest bits of each value; 8 leaves the image.
pub fn posterize(image: &mut Image, bits: u32) {
    let mask = !(255u32 >> bits.min(8)) as u8;
    image.pixels.iter_mut().for_each(|value| *value &= mask);
}

/// Inverts the values that are not below `threshold`.
pub fn solarize(image: &mut Image, threshold: f64) {
    let table = std::array::from_fn(|value| if (value as f64) < threshold { value as u8 } else { 255 - value as u8 });
    map(image, &table);
}

/// Inverts all values.
pub fn invert(image: &mut Image) {
    image.pixels.iter_mut().for_each(|value| *value = 255 - *value);
}

/// Stretches each channel so that its darkest value becomes 0 and its lightest 255.
pub fn autocontrast(image: &mut Image) {
    per_channel(image, |histogram| {
        let low = histogram.iter().position(|&count| count > 0)?;
        let high = histogram.iter().rposition(|&count| count > 0)?;
        if high <= low {
            return None;
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        // The cast cuts and saturates.
        Some(std::array::from_fn(|value| (value as f64 * scale + offset) as u8))
    });
}

/// Spreads the values of each channel so that they are as even as they can be.
pub fn equalize(image: &mut Image) {
    per_channel(image, |histogram| {
        let total: usize = histogram.iter().sum();
        let last = *histogram.iter().rev().find(|&&count| count > 0)?;
        let step = (total - last) / 255;
        if step == 0 {
            return None;
        }
        let mut below = step / 2;
        Some(std::array::from_fn(|value| {
            let spread = (below / step).min(255) as u8;
            below += histogram[value];
            spread
        }))
    });
}

/// Sends each channel through the table that `choose` makes of its histogram, if any.
fn per_channel(image: &mut Image, choose: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
    for channel in 0..image.channels {
        let values = image.pixels.iter().skip(channel).step_by(image.channels);
        let mut histogram = [0; 256];
        values.for_each(|&value| histogram[usize::from(value)] += 1);
        if let Some(table) = choose(&histogram) {
            let values = image.pixels.iter_mut().skip(channel).step_by(image.channels);
            values.for_each(|value| *value = table[usize::from(*value)]);
        }
    }
}
