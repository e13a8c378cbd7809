//! Random erasing: hiding a rectangle, so that no single part decides.

use rand::Rng;

/// Overwrites one random rectangle of `area` (a share of the image) in `pixels` (CHW) with noise in 0..=255.
///
/// Zhong et al., 2020, "Random Erasing Data Augmentation"; aspect ratios between 1:2 and 2:1.
pub(super) fn erase(pixels: &mut [f32], [channels, height, width]: [usize; 3], area: f32, rng: &mut impl Rng) {
    let aspect = rng.random_range(-1.0f32..=1.0).exp2();
    let side = (area * (height * width) as f32).sqrt();
    let rows = ((side / aspect.sqrt()).round() as usize).clamp(1, height);
    let columns = ((side * aspect.sqrt()).round() as usize).clamp(1, width);
    let top = rng.random_range(0..=height - rows);
    let left = rng.random_range(0..=width - columns);
    for channel in 0..channels {
        for y in top..top + rows {
            let start = (channel * height + y) * width + left;
            pixels[start..start + columns].iter_mut().for_each(|value| *value = rng.random_range(0.0..=255.0));
        }
    }
}
