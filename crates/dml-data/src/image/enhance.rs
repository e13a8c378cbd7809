//! Brightness, contrast, saturation, sharpness and hue, with Pillow's arithmetic to the bit.
//!
//! All but the hue blend the image with a degenerate one: `degenerate + factor · (image − degenerate)`. Factor 0 gives
//! the degenerate image, 1 the image itself, more than 1 exaggerates.

use crate::Image;

/// Grey of a colour after ITU-R BT.601, as Pillow's mode `L`.
pub(super) fn luma([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000) >> 16) as u8
}

/// `from + factor · (to − from)`, cut to whole numbers and to 0..=255.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // A cast of Rust cuts and saturates, which is what Pillow does in two branches.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

/// Scales values: the degenerate image is black.
pub fn brightness(image: &mut Image, factor: f32) {
    let table: [u8; 256] = std::array::from_fn(|value| blend(0, value as u8, factor));
    map(image, &table);
}

/// Scales the distance from the mean grey of the image.
pub fn contrast(image: &mut Image, factor: f32) {
    let greys = image.pixels.len() / image.channels.max(1);
    if greys == 0 {
        return;
    }
    let sum: u64 = match image.channels {
        3 => image.pixels.as_chunks::<3>().0.iter().map(|&pixel| u64::from(luma(pixel))).sum(),
        _ => image.pixels.iter().map(|&value| u64::from(value)).sum(),
    };
    let mean = (sum as f64 / greys as f64 + 0.5) as u8;
    let table: [u8; 256] = std::array::from_fn(|value| blend(mean, value as u8, factor));
    map(image, &table);
}

/// Scales the distance of the channels from the grey of their pixel. A grey image stays.
pub fn saturation(image: &mut Image, factor: f32) {
    if image.channels != 3 {
        return;
    }
    for pixel in image.pixels.as_chunks_mut::<3>().0 {
        let grey = luma(*pixel);
        *pixel = pixel.map(|value| blend(grey, value, factor));
    }
}

/// Every pixel becomes its grey; the number of channels stays.
pub fn grayscale(image: &mut Image) {
    saturation(image, 0.0);
}

/// Scales the distance from the smoothed image: the mean of 3×3 pixels with the middle counted five times. The border
/// stays.
pub fn sharpness(image: &mut Image, factor: f32) {
    let (width, height, channels) = (image.width, image.height, image.channels);
    if width < 3 || height < 3 {
        return;
    }
    let source = image.pixels.clone();
    let [outer, middle] = [1.0f32, 5.0].map(|weight| weight / 13.0);
    let row = width * channels;
    for y in 1..height - 1 {
        for at in y * row + channels..(y + 1) * row - channels {
            let value = |at: usize| f32::from(source[at]);
            // Row by row from the bottom, the sums of Pillow's filter.
            let line = |at: usize, weight: f32| {
                value(at - channels) * outer + value(at) * weight + value(at + channels) * outer
            };
            let smooth = 0.5 + line(at + row, outer) + line(at, middle) + line(at - row, outer);
            image.pixels[at] = blend(smooth as u8, source[at], factor);
        }
    }
}

/// Turns the hue by `turn` of the circle, −0.5..=0.5, through HSV of 8 bits. A grey image stays.
pub fn hue(image: &mut Image, turn: f64) {
    if image.channels != 3 {
        return;
    }
    let shift = (turn * 255.0) as i32 as u8;
    for pixel in image.pixels.as_chunks_mut::<3>().0 {
        let [hue, saturation, value] = to_hsv(*pixel);
        *pixel = to_rgb([hue.wrapping_add(shift), saturation, value]);
    }
}

fn to_hsv(rgb: [u8; 3]) -> [u8; 3] {
    let [red, green, blue] = rgb;
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return [0, 0, most];
    }
    let range = f32::from(most - least);
    let [r, g, b] = rgb.map(|value| f32::from(most - value) / range);
    let sixth = if red == most {
        b - g
    } else if green == most {
        (2.0 + f64::from(r) - f64::from(b)) as f32
    } else {
        (4.0 + f64::from(g) - f64::from(r)) as f32
    };
    let hue = ((f64::from(sixth) / 6.0 + 1.0) % 1.0) as f32;
    let saturation = range / f32::from(most);
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most]
}

fn to_rgb([hue, saturation, value]: [u8; 3]) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sixth = f64::from(hue) * 6.0 / 255.0;
    let whole = sixth.floor();
    let part = f64::from((sixth - whole) as f32);
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let scaled = |share: f64| (f64::from(value) * share).round() as u8;
    let low = scaled(1.0 - saturation);
    let falling = scaled(1.0 - saturation * part);
    let rising = scaled(1.0 - saturation * (1.0 - part));
    match whole as u8 % 6 {
        0 => [value, rising, low],
        1 => [falling, value, low],
        2 => [low, value, rising],
        3 => [low, falling, value],
        4 => [rising, low, value],
        _ => [value, low, falling],
    }
}

/// Replaces each value by its entry in `table`.
pub(super) fn map(image: &mut Image, table: &[u8; 256]) {
    image.pixels.iter_mut().for_each(|value| *value = table[usize::from(*value)]);
}
