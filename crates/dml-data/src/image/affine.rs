//! Affine maps and the bilinear inverse warp.

use super::elastic::Displacement;
use crate::Image;

/// The map from an output pixel to the place in the source it is read from, both relative to the centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Affine {
    /// Row-major 2×2 matrix.
    pub(super) matrix: [f32; 4],
    /// Shift in source pixels, x then y.
    pub(super) shift: [f32; 2],
}

impl Affine {
    /// The inverse of: shear by `shear` radians along x, scale by `scale`, turn by `angle` radians, move by `translate` pixels.
    pub(super) fn inverse_of(angle: f32, scale: f32, shear: f32, translate: [f32; 2]) -> Self {
        let (sin, cos) = angle.sin_cos();
        let slant = shear.tan();
        // (R·s·H)⁻¹ = H⁻¹·Rᵀ/s with H = [1 slant; 0 1].
        let matrix = [(cos + slant * sin) / scale, (sin - slant * cos) / scale, -sin / scale, cos / scale];
        let [tx, ty] = translate;
        let shift = [-(matrix[0] * tx + matrix[1] * ty), -(matrix[2] * tx + matrix[3] * ty)];
        Self { matrix, shift }
    }
}

/// Reads `image` through `affine` (and `displacement`, if any) into `out`, CHW, values 0..=255.
///
/// A place outside the image reads `fill`, or the nearest border pixel when `fill` is `None`.
pub(super) fn warp(
    image: &Image,
    affine: &Affine,
    displacement: Option<&Displacement>,
    fill: Option<u8>,
    out: &mut [f32],
) {
    let (width, height) = (image.width, image.height);
    let (cx, cy) = ((width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0);
    let plane = width * height;
    let [a, b, c, d] = affine.matrix;
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (x as f32 - cx, y as f32 - cy);
            let mut sx = a * dx + b * dy + affine.shift[0] + cx;
            let mut sy = c * dx + d * dy + affine.shift[1] + cy;
            if let Some(displacement) = displacement {
                let [ex, ey] = displacement.at(x, y);
                (sx, sy) = (sx + ex, sy + ey);
            }
            let at = y * width + x;
            sample(image, sx, sy, fill, |channel, value| out[channel * plane + at] = value);
        }
    }
}

/// Bilinear interpolation at (`x`, `y`) for every channel.
#[inline]
fn sample(image: &Image, x: f32, y: f32, fill: Option<u8>, mut put: impl FnMut(usize, f32)) {
    let (channels, width) = (image.channels, image.width);
    // Most places have all four neighbours inside: no bounds are asked for each of them.
    if x >= 0.0 && y >= 0.0 && x < (width - 1) as f32 && y < (image.height - 1) as f32 {
        let (left, top) = (x as usize, y as usize);
        let (fx, fy) = (x - left as f32, y - top as f32);
        let pairs = |y: usize| &image.pixels[(y * width + left) * channels..][..2 * channels];
        let (above, below) = (pairs(top), pairs(top + 1));
        let across = |pair: &[u8], channel: usize| {
            f32::from(pair[channel]) * (1.0 - fx) + f32::from(pair[channels + channel]) * fx
        };
        for channel in 0..channels {
            put(channel, across(above, channel) * (1.0 - fy) + across(below, channel) * fy);
        }
        return;
    }
    let (left, top) = (x.floor(), y.floor());
    let (fx, fy) = (x - left, y - top);
    // Saturating casts: a wild coordinate lands far outside, never wraps.
    let (left, top) = (left as i64, top as i64);
    for channel in 0..image.channels {
        let value = |y: i64, x: i64| pixel(image, channel, x, y, fill);
        let upper = value(top, left) * (1.0 - fx) + value(top, left.saturating_add(1)) * fx;
        let bottom = top.saturating_add(1);
        let lower = value(bottom, left) * (1.0 - fx) + value(bottom, left.saturating_add(1)) * fx;
        put(channel, upper * (1.0 - fy) + lower * fy);
    }
}

fn pixel(image: &Image, channel: usize, x: i64, y: i64, fill: Option<u8>) -> f32 {
    let (right, bottom) = (image.width as i64 - 1, image.height as i64 - 1);
    let (inside_x, inside_y) = (x.clamp(0, right), y.clamp(0, bottom));
    match fill {
        Some(fill) if inside_x != x || inside_y != y => f32::from(fill),
        _ => {
            let at = (inside_y as usize * image.width + inside_x as usize) * image.channels + channel;
            f32::from(image.pixels[at])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(width: usize, height: usize, pixels: &[u8]) -> Image {
        Image::new(width, height, 1, pixels.to_vec()).unwrap()
    }

    #[test]
    fn a_quarter_turn_moves_pixels_exactly_where_they_belong() {
        let image = grey(3, 3, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut out = [0.0; 9];
        warp(&image, &Affine::inverse_of(std::f32::consts::FRAC_PI_2, 1.0, 0.0, [0.0; 2]), None, Some(0), &mut out);
        // y points down, so a positive angle turns clockwise.
        let expected = [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0];
        assert!(out.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1e-4), "{out:?}");
    }

    #[test]
    fn the_inverse_undoes_shear_scale_turn_and_move() {
        let (angle, scale, shear, translate) = (0.3f32, 1.2f32, 0.2f32, [2.0f32, -1.0]);
        let inverse = Affine::inverse_of(angle, scale, shear, translate);
        let (x, y) = (3.0f32, 5.0f32);
        let sheared = (x + shear.tan() * y, y);
        let turned = (
            scale * (angle.cos() * sheared.0 - angle.sin() * sheared.1) + translate[0],
            scale * (angle.sin() * sheared.0 + angle.cos() * sheared.1) + translate[1],
        );
        let [a, b, c, d] = inverse.matrix;
        let back = (a * turned.0 + b * turned.1 + inverse.shift[0], c * turned.0 + d * turned.1 + inverse.shift[1]);
        assert!((back.0 - x).abs() < 1e-5 && (back.1 - y).abs() < 1e-5, "{back:?}");
    }

    /// Places inside are read another way than those at the border; a shift of a 256th of a pixel crosses from one to the other.
    #[test]
    fn inside_and_outside_are_read_alike() {
        let pixels: Vec<u8> = (0..60).map(|i| (i * 37 % 251) as u8).collect();
        let image = Image::new(5, 4, 3, pixels).unwrap();
        let at = |x: f32, y: f32| {
            let mut values = [0.0; 3];
            sample(&image, x, y, None, |channel, value| values[channel] = value);
            values
        };
        for y in [0.0f32, 0.25, 1.0, 2.5, 2.996_093_8, 3.0] {
            for x in [0.0f32, 0.75, 2.0, 3.5, 3.996_093_8, 4.0] {
                let told = |channel: usize| {
                    let read = |x: f32, y: f32| {
                        f32::from(image.pixels[(y.min(3.0) as usize * 5 + x.min(4.0) as usize) * 3 + channel])
                    };
                    let (left, top) = (x.floor(), y.floor());
                    let line = |y: f32| read(left, y) * (1.0 - (x - left)) + read(left + 1.0, y) * (x - left);
                    line(top) * (1.0 - (y - top)) + line(top + 1.0) * (y - top)
                };
                assert_eq!(at(x, y), [0, 1, 2].map(told), "{x}, {y}");
            }
        }
    }

    #[test]
    fn a_move_fills_with_the_value_or_the_border() {
        let image = grey(3, 1, &[10, 20, 30]);
        let shift = Affine::inverse_of(0.0, 1.0, 0.0, [1.0, 0.0]);
        let mut out = [0.0; 3];
        warp(&image, &shift, None, Some(99), &mut out);
        assert_eq!(out, [99.0, 10.0, 20.0]);
        warp(&image, &shift, None, None, &mut out);
        assert_eq!(out, [10.0, 10.0, 20.0]);
    }
}
