//! Rotations and affine maps of 8-bit images, as torchvision makes them and Pillow computes them.

use super::Fill;
use crate::Image;
use serde::{Deserialize, Serialize};

/// How a place between pixels is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The pixel that holds the place.
    #[default]
    Nearest,
    /// Linear between four pixels.
    Bilinear,
}

/// `[a, b, c, d, e, f]`: place x', y' of the result is read at a·x' + b·y' + c, d·x' + e·y' + f in the source.
pub type Matrix = [f64; 6];

/// The inverse of: shear, scale and turn around `center`, then move.
///
/// `angle` and `shear` are in degrees; a positive angle turns clockwise, as y points down. `center` and `translate` are
/// x, y in pixels. torchvision's `_get_inverse_affine_matrix`.
pub fn inverse_affine(center: [f64; 2], angle: f64, translate: [f64; 2], scale: f64, shear: [f64; 2]) -> Matrix {
    let turn = angle.to_radians();
    let [shear_x, shear_y] = shear.map(f64::to_radians);
    let ([center_x, center_y], [move_x, move_y]) = (center, translate);
    let a = (turn - shear_y).cos() / shear_y.cos();
    let b = -(turn - shear_y).cos() * shear_x.tan() / shear_y.cos() - turn.sin();
    let c = (turn - shear_y).sin() / shear_y.cos();
    let d = -(turn - shear_y).sin() * shear_x.tan() / shear_y.cos() + turn.cos();
    let [a, b, c, d] = [d / scale, -b / scale, -c / scale, a / scale];
    let x = a * (-center_x - move_x) + b * (-center_y - move_y) + center_x;
    let y = c * (-center_x - move_x) + d * (-center_y - move_y) + center_y;
    [a, b, x, c, d, y]
}

/// The middle of `image`, x and y, where whole numbers are corners of pixels.
pub fn center(image: &Image) -> [f64; 2] {
    [image.width as f64 / 2.0, image.height as f64 / 2.0]
}

/// Turns `image` by `degrees` anticlockwise around its middle; sides stay. torchvision's `rotate`.
pub fn rotate(image: &Image, degrees: f64, sampling: Sampling, fill: Fill) -> Image {
    // To 15 digits, as Pillow does: a half turn is exact.
    let (sin, cos) = (-degrees).to_radians().sin_cos();
    let [sin, cos] = [sin, cos].map(|value| (value * 1e15).round() / 1e15);
    let [x, y] = center(image);
    let matrix = [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y];
    warp(image, matrix, sampling, fill)
}

/// Reads `image` through `matrix`; what lies outside is `fill`. Pillow's `transform` with `AFFINE`.
pub fn warp(image: &Image, matrix: Matrix, sampling: Sampling, fill: Fill) -> Image {
    let channels = image.channels;
    let fill = fill.pixel(channels);
    let mut pixels = Vec::with_capacity(image.pixels.len());
    match sampling {
        Sampling::Nearest => nearest(image, matrix, &fill, &mut pixels),
        Sampling::Bilinear => bilinear(image, matrix, &fill, &mut pixels),
    }
    Image { width: image.width, height: image.height, channels, pixels }
}

/// In fixed point with 16 bits behind the point, as Pillow does.
fn nearest(image: &Image, [a, b, c, d, e, f]: Matrix, fill: &[u8], out: &mut Vec<u8>) {
    // Saturating: a wild matrix reads outside, never wraps.
    let fixed = |value: f64| (value * 65_536.0 + 0.5).floor() as i64;
    let [step_x, step_y] = [fixed(a), fixed(d)];
    let [down_x, down_y] = [fixed(b), fixed(e)];
    let [mut row_x, mut row_y] = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    for _ in 0..image.height {
        let (mut x, mut y) = (row_x, row_y);
        for _ in 0..image.width {
            let (column, row) = (x >> 16, y >> 16);
            if (0..image.width as i64).contains(&column) && (0..image.height as i64).contains(&row) {
                let at = (row as usize * image.width + column as usize) * image.channels;
                out.extend_from_slice(&image.pixels[at..at + image.channels]);
            } else {
                out.extend_from_slice(fill);
            }
            (x, y) = (x.saturating_add(step_x), y.saturating_add(step_y));
        }
        (row_x, row_y) = (row_x.saturating_add(down_x), row_y.saturating_add(down_y));
    }
}

fn bilinear(image: &Image, [a, b, c, d, e, f]: Matrix, fill: &[u8], out: &mut Vec<u8>) {
    let (width, height, channels) = (image.width, image.height, image.channels);
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
            let (x, y) = (a * x + b * y + c, d * x + e * y + f);
            if !(0.0..width as f64).contains(&x) || !(0.0..height as f64).contains(&y) {
                out.extend_from_slice(fill);
                continue;
            }
            let (x, y) = (x - 0.5, y - 0.5);
            let (part_x, part_y) = (x - x.floor(), y - y.floor());
            // Half a pixel from the border the border pixel itself is read.
            let pair = |from: f64, side: usize| {
                let (last, from) = (side as i64 - 1, from.floor() as i64);
                [from, from + 1].map(|at| at.clamp(0, last) as usize)
            };
            let ([left, right], [top, bottom]) = (pair(x, width), pair(y, height));
            for channel in 0..channels {
                let value =
                    |row: usize, column: usize| f64::from(image.pixels[(row * width + column) * channels + channel]);
                let line = |row: usize| value(row, left) + (value(row, right) - value(row, left)) * part_x;
                let (upper, lower) = (line(top), line(bottom));
                // Cut, not rounded.
                out.push((upper + (lower - upper) * part_y) as u8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wild_maps_read_fill_and_do_not_panic() {
        let image = Image::new(2, 2, 1, vec![1, 2, 3, 4]).unwrap();
        for wild in [f64::MAX, f64::INFINITY, f64::NAN, -1e30] {
            for sampling in [Sampling::Nearest, Sampling::Bilinear] {
                let out = warp(&image, [wild, 0.0, wild, 0.0, wild, wild], sampling, Fill::Grey(7));
                assert_eq!(out.pixels.len(), 4);
            }
        }
    }

    #[test]
    fn a_quarter_turn_is_exact() {
        let image = Image::new(2, 2, 1, vec![1, 2, 3, 4]).unwrap();
        assert_eq!(rotate(&image, 90.0, Sampling::Nearest, Fill::default()).pixels, [2, 4, 1, 3]);
        assert_eq!(rotate(&image, 180.0, Sampling::Bilinear, Fill::default()).pixels, [4, 3, 2, 1]);
    }
}
