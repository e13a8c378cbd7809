//! Images that are computed, not stored: as many classes as a test of scale wants, without a disk.

use crate::{Dataset, Error, Image, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A set to order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Synthetic {
    /// Classes; default 100.
    pub classes: usize,
    /// Least and most images of a class, drawn evenly from the seed and the class; default `[5, 5]`.
    pub per_class: [usize; 2],
    /// `[channels, height, width]`; default `[3, 32, 32]`.
    pub shape: [usize; 3],
    /// From 0, all images of a class alike, to 1, no class at all; default 0.5.
    pub noise: f32,
    /// Default 0.
    pub seed: u64,
}

impl Default for Synthetic {
    fn default() -> Self {
        Self { classes: 100, per_class: [5, 5], shape: [3, 32, 32], noise: 0.5, seed: 0 }
    }
}

/// Labels in memory, pixels computed from (seed, class) and (seed, index): value = (1 − noise) · class + noise · image,
/// where both are uniform in `0..=255`, each class's and each image's own.
#[derive(Debug, Clone)]
pub struct SyntheticSet {
    order: Synthetic,
    labels: Vec<u32>,
    class_names: Vec<String>,
}

/// What a stream of random numbers is for.
#[derive(Clone, Copy)]
enum Of {
    Size = 1,
    Class = 2,
    Image = 3,
}

impl Synthetic {
    /// The set; images class by class.
    ///
    /// # Errors
    /// When there are no classes, a class may be empty, a side is 0, channels are neither 1 nor 3, or the noise is not in
    /// `0..=1`.
    pub fn set(self) -> Result<SyntheticSet> {
        let Self { classes, per_class: [least, most], shape, noise, .. } = self;
        let channels = shape[0] == 1 || shape[0] == 3;
        if classes == 0 || u32::try_from(classes).is_err() || least == 0 || most < least {
            return Err(Error::Invalid(format!(
                "synthetic: {classes} classes of {least} to {most} images: give at least one of each"
            )));
        }
        if shape.contains(&0) || !channels || !(0.0..=1.0).contains(&noise) {
            return Err(Error::Invalid(format!(
                "synthetic: shape {shape:?}, noise {noise}: give 1 or 3 channels, sides from 1, and noise in 0..=1"
            )));
        }
        let sizes = (0..classes).map(|class| match least == most {
            true => least,
            false => self.stream(Of::Size, class).random_range(least..=most),
        });
        let labels = sizes.enumerate().flat_map(|(class, size)| std::iter::repeat_n(class as u32, size)).collect();
        let class_names = (0..classes).map(|class| format!("class {class}")).collect();
        Ok(SyntheticSet { order: self, labels, class_names })
    }

    fn stream(&self, of: Of, position: usize) -> ChaCha8Rng {
        let mut key = *b"........synthetic...............";
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[17] = of as u8;
        key[24..].copy_from_slice(&(position as u64).to_le_bytes());
        ChaCha8Rng::from_seed(key)
    }
}

impl Dataset for SyntheticSet {
    fn name(&self) -> &str {
        "synthetic"
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn shape(&self) -> [usize; 3] {
        self.order.shape
    }

    fn image(&self, index: usize) -> Result<Image> {
        let n = self.labels.len();
        let &label = self
            .labels
            .get(index)
            .ok_or_else(|| Error::Invalid(format!("synthetic: image {index} does not exist: there are {n}")))?;
        let [channels, height, width] = self.order.shape;
        let size = channels * height * width;
        let [class, own] = [(Of::Class, label as usize), (Of::Image, index)].map(|(of, position)| {
            let mut values = vec![0; size];
            self.order.stream(of, position).fill(values.as_mut_slice());
            values
        });
        let noise = self.order.noise;
        let mix =
            |(&class, &own): (&u8, &u8)| ((1.0 - noise) * f32::from(class) + noise * f32::from(own)).round() as u8;
        Image::new(width, height, channels, class.iter().zip(&own).map(mix).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &Image, b: &Image) -> f64 {
        let square = |(&a, &b): (&u8, &u8)| (f64::from(a) - f64::from(b)).powi(2);
        a.pixels.iter().zip(&b.pixels).map(square).sum::<f64>().sqrt()
    }

    #[test]
    fn classes_are_there_and_noise_governs_them() {
        let order = Synthetic { classes: 3, per_class: [2, 4], ..Synthetic::default() };
        let set = order.set().unwrap();
        assert!(set.labels().is_sorted() && (6..=12).contains(&set.len()));
        let images: Vec<Image> = (0..set.len()).map(|i| set.image(i).unwrap()).collect();
        let (same, other) = (distance(&images[0], &images[1]), distance(&images[0], &images[set.len() - 1]));
        assert!(same > 0.0 && same < other, "{same} {other}");
        assert_eq!(images[1], set.image(1).unwrap());
        let without = Synthetic { noise: 0.0, ..order }.set().unwrap();
        assert_eq!(without.image(0).unwrap(), without.image(1).unwrap());
        let reseeded = Synthetic { seed: 1, ..order }.set().unwrap();
        assert_ne!(reseeded.image(0).unwrap(), images[0]);
    }

    #[test]
    fn a_million_classes_are_only_labels() {
        let set = Synthetic { classes: 1_000_000, per_class: [2, 2], ..Synthetic::default() }.set().unwrap();
        assert_eq!((set.len(), set.image(1_999_999).unwrap().shape()), (2_000_000, [3, 32, 32]));
        assert!(set.image(2_000_000).unwrap_err().to_string().contains("image 2000000 does not exist"));
    }

    #[test]
    fn impossible_orders_are_refused() {
        for order in [
            Synthetic { classes: 0, ..Synthetic::default() },
            Synthetic { per_class: [3, 2], ..Synthetic::default() },
            Synthetic { shape: [2, 8, 8], ..Synthetic::default() },
            Synthetic { noise: f32::NAN, ..Synthetic::default() },
        ] {
            assert!(order.set().unwrap_err().to_string().starts_with("synthetic: "));
        }
    }
}
