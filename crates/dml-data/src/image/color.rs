//! Random brightness, contrast and saturation.

/// Factors on the colours of one image; 1 leaves them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Jitter {
    pub(super) brightness: f32,
    pub(super) contrast: f32,
    pub(super) saturation: f32,
}

/// Weights of red, green and blue in grey (ITU-R BT.601).
const LUMA: [f32; 3] = [0.299, 0.587, 0.114];

impl Jitter {
    /// Applies the factors to `pixels` (CHW, 0..=255) in the order of the fields and clamps to 0..=255.
    ///
    /// Brightness scales values, contrast scales their distance from the mean grey of the image,
    /// saturation the distance of a pixel's channels from its grey (RGB only).
    pub(super) fn apply(&self, pixels: &mut [f32], channels: usize) {
        if self.brightness != 1.0 {
            pixels.iter_mut().for_each(|value| *value = (*value * self.brightness).clamp(0.0, 255.0));
        }
        if self.contrast != 1.0 {
            let mean = pixels.iter().map(|&value| f64::from(value)).sum::<f64>() as f32 / pixels.len() as f32;
            pixels.iter_mut().for_each(|value| *value = (mean + (*value - mean) * self.contrast).clamp(0.0, 255.0));
        }
        if self.saturation != 1.0 && channels == 3 {
            let plane = pixels.len() / 3;
            for at in 0..plane {
                let grey: f32 = (0..3).map(|channel| LUMA[channel] * pixels[channel * plane + at]).sum();
                for value in pixels[at..].iter_mut().step_by(plane) {
                    *value = (grey + (*value - grey) * self.saturation).clamp(0.0, 255.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturation_zero_is_grey_and_contrast_zero_is_flat() {
        let mut pixels = [200.0, 10.0, 50.0, 10.0, 0.0, 10.0];
        Jitter { brightness: 1.0, contrast: 1.0, saturation: 0.0 }.apply(&mut pixels, 3);
        let grey = 0.299 * 200.0 + 0.587 * 50.0;
        assert!((pixels[0] - grey).abs() < 1e-3 && (pixels[0] - pixels[4]).abs() < 1e-3, "{pixels:?}");
        Jitter { brightness: 1.0, contrast: 0.0, saturation: 1.0 }.apply(&mut pixels, 3);
        assert!(pixels.iter().all(|value| (value - pixels[0]).abs() < 1e-3), "{pixels:?}");
    }
}
