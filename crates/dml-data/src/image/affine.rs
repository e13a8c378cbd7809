//! Affine maps and the bilinear inverse warp.

use super::elastic::Displacement;
use super::framed::{Framed, Places};
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

/// Channels of colour images that are read at once: as many numbers as the vectors of every processor have.
const GROUP: usize = 4;

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
    if image.channels == 1 {
        return read(&Framed::<1>::new(image, 0, fill), image, affine, displacement, out);
    }
    for (group, out) in out.chunks_mut(GROUP * image.width * image.height).enumerate() {
        read(&Framed::<GROUP>::new(image, group * GROUP, fill), image, affine, displacement, out);
    }
}

/// As [`warp`] those channels of `image` that `framed` has, as many as `out` has room for.
fn read<const N: usize>(
    framed: &Framed<N>,
    image: &Image,
    affine: &Affine,
    displacement: Option<&Displacement>,
    out: &mut [f32],
) {
    let (width, height) = (image.width, image.height);
    let (cx, cy) = ((width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0);
    let [a, b, c, d] = affine.matrix;
    let (mut places, mut line) = (Places::of_line(width), vec![[0.0; N]; width]);
    for y in 0..height {
        let dy = y as f32 - cy;
        let straight = |x: usize| {
            let dx = x as f32 - cx;
            [a * dx + b * dy + affine.shift[0] + cx, c * dx + d * dy + affine.shift[1] + cy]
        };
        match displacement {
            None => places.set([width, height], straight),
            Some(displacement) => places.set([width, height], |x| {
                let ([sx, sy], [ex, ey]) = (straight(x), displacement.at(x, y));
                [sx + ex, sy + ey]
            }),
        }
        framed.read(&places, &mut line);
        for (channel, out) in out.chunks_exact_mut(width * height).enumerate() {
            for (out, values) in out[y * width..][..width].iter_mut().zip(&line) {
                *out = values[channel];
            }
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
