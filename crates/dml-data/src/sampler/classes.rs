//! The images of each class, in two flat arrays.

use crate::{Error, Result};
use rand::Rng;
use rand::seq::index;
use rayon::slice::ParallelSliceMut;
use std::ops::Range;

/// The images of each class, ascending; classes ascend by label and those without images are left out.
///
/// Takes 4 bytes an image and 4 a class; to build it takes 8 more an image for a while.
#[derive(Debug, Clone)]
pub(super) struct Classes {
    images: Vec<u32>,
    /// Class c has `images[starts[c]..starts[c + 1]]`.
    starts: Vec<u32>,
}

impl Classes {
    /// Groups the images by label.
    pub(super) fn of(labels: &[u32]) -> Result<Self> {
        check_samples(labels.len())?;
        // Label above, index below: one sort brings the classes together and keeps each in order.
        let mut keys: Vec<u64> = labels.iter().zip(0u64..).map(|(&label, i)| u64::from(label) << 32 | i).collect();
        keys.par_sort_unstable();
        let firsts = (0..keys.len()).filter(|&i| i == 0 || keys[i - 1] >> 32 != keys[i] >> 32);
        let mut starts: Vec<u32> = firsts.map(|first| first as u32).collect();
        starts.push(keys.len() as u32);
        starts.shrink_to_fit();
        Ok(Self { images: keys.into_iter().map(|key| key as u32).collect(), starts })
    }

    /// Number of classes.
    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// All images, class by class.
    pub(super) fn images(&self) -> &[u32] {
        &self.images
    }

    /// Where the images of `class` lie in [`Classes::images`].
    pub(super) fn range(&self, class: usize) -> Range<usize> {
        self.starts[class] as usize..self.starts[class + 1] as usize
    }

    /// The images of `class`.
    pub(super) fn get(&self, class: usize) -> &[u32] {
        &self.images[self.range(class)]
    }

    /// Number of images of each class.
    pub(super) fn sizes(&self) -> impl Iterator<Item = usize> {
        self.starts.windows(2).map(|ends| (ends[1] - ends[0]) as usize)
    }

    /// Only the classes with `least` images or more.
    pub(super) fn with_at_least(&self, least: usize) -> Self {
        let (mut images, mut starts) = (Vec::new(), vec![0]);
        for class in (0..self.len()).filter(|&class| self.range(class).len() >= least) {
            images.extend_from_slice(self.get(class));
            starts.push(images.len() as u32);
        }
        Self { images, starts }
    }

    /// Appends `k` images of `class`: all different if it has as many, else each as often as the others, give or take one.
    pub(super) fn draw(&self, class: usize, k: usize, rng: &mut impl Rng, into: &mut Vec<u32>) {
        let images = self.get(class);
        let mut lacking = k;
        while lacking > 0 {
            let turn = lacking.min(images.len());
            into.extend(index::sample(rng, images.len(), turn).into_iter().map(|i| images[i]));
            lacking -= turn;
        }
    }
}

/// Classes and the super-class (category) each lies in.
#[derive(Debug, Clone)]
pub(super) struct Hierarchy {
    pub(super) classes: Classes,
    /// The classes of each super-class.
    pub(super) supers: Classes,
}

impl Hierarchy {
    /// From the label and the super-label of each image.
    pub(super) fn of(labels: &[u32], super_labels: &[u32]) -> Result<Self> {
        if labels.len() != super_labels.len() {
            return Err(Error::Sampler(format!(
                "there are {} labels but {} super-labels: give one of each per image",
                labels.len(),
                super_labels.len()
            )));
        }
        let classes = Classes::of(labels)?;
        let mut super_of = Vec::with_capacity(classes.len());
        for class in 0..classes.len() {
            let images = classes.get(class);
            let first = images[0] as usize;
            if let Some(&other) = images.iter().find(|&&image| super_labels[image as usize] != super_labels[first]) {
                return Err(Error::Sampler(format!(
                    "class {} lies in super-classes {} (image {first}) and {} (image {other}): give all its images one",
                    labels[first], super_labels[first], super_labels[other as usize]
                )));
            }
            super_of.push(super_labels[first]);
        }
        Ok(Self { classes, supers: Classes::of(&super_of)? })
    }
}

/// Refuses sets whose indices do not fit 32 bits.
pub(super) fn check_samples(samples: usize) -> Result<()> {
    if u32::try_from(samples).is_err() {
        return Err(Error::Sampler(format!(
            "there are {samples} samples: a sampler takes at most {}, split the set",
            u32::MAX
        )));
    }
    Ok(())
}

/// Refuses batches with more classes than there are.
pub(super) fn check_classes(what: &str, key: &str, wanted: usize, available: usize) -> Result<()> {
    if wanted > available {
        return Err(Error::Sampler(format!(
            "{what} wants {key} = {wanted} classes but the split has {available}: lower {key} to {available} or less"
        )));
    }
    Ok(())
}

/// Refuses a `value` of `key` below `least`, with the reason.
pub(super) fn check_at_least(key: &str, value: usize, least: usize, why: &str) -> Result<()> {
    if value < least {
        return Err(Error::Sampler(format!("{key} = {value}: {why}; give {least} or more")));
    }
    Ok(())
}
