//! Images of a folder that are read when they are asked for.

use crate::image::{decode, fit_square};
use crate::{Dataset, Error, Image, ImageSet, Result};
use rayon::prelude::*;
use std::path::PathBuf;

/// Images of a folder at one size, each decoded whenever it is asked for: in memory are their names alone, so that a folder may be
/// larger than it.
#[derive(Debug, Clone)]
pub struct FolderSet {
    name: String,
    size: usize,
    files: Vec<PathBuf>,
    ids: Vec<String>,
    labels: Vec<u32>,
    class_names: Vec<String>,
}

impl FolderSet {
    pub(super) fn empty(name: String, size: usize) -> Self {
        Self { name, size, files: vec![], ids: vec![], labels: vec![], class_names: vec![] }
    }

    /// Takes one more class: what its images are called, and where they lie.
    pub(super) fn add(&mut self, class: &str, images: impl Iterator<Item = (String, PathBuf)>) {
        let label = self.class_names.len() as u32;
        self.class_names.push(class.to_owned());
        for (id, file) in images {
            self.ids.push(id);
            self.files.push(file);
            self.labels.push(label);
        }
    }

    #[must_use]
    pub(super) fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The images of `classes` only, each of which is there and named once; class `classes[i]` becomes class `i`.
    pub(super) fn of_classes(&self, classes: &[u32]) -> Self {
        let mut new_label = vec![None; self.class_names.len()];
        (0..).zip(classes).for_each(|(new, &class)| new_label[class as usize] = Some(new));
        let kept = self.labels.iter().enumerate().filter_map(|(i, &label)| Some((i, new_label[label as usize]?)));
        let (indices, labels): (Vec<usize>, Vec<u32>) = kept.unzip();
        Self {
            name: self.name.clone(),
            size: self.size,
            files: indices.iter().map(|&i| self.files[i].clone()).collect(),
            ids: indices.iter().map(|&i| self.ids[i].clone()).collect(),
            labels,
            class_names: classes.iter().map(|&class| self.class_names[class as usize].clone()).collect(),
        }
    }

    /// The images of this set and then those of `other`, whose classes are numbered on.
    pub(super) fn joined(&self, other: &Self) -> Self {
        let (mut joined, classes) = (self.clone(), self.class_names.len() as u32);
        joined.files.extend_from_slice(&other.files);
        joined.ids.extend_from_slice(&other.ids);
        joined.labels.extend(other.labels.iter().map(|label| classes + label));
        joined.class_names.extend_from_slice(&other.class_names);
        joined
    }

    /// Bytes that the decoded images take.
    pub fn bytes(&self) -> u64 {
        self.shape().into_iter().fold(self.len() as u64, |bytes, side| bytes.saturating_mul(side as u64))
    }

    /// All of them decoded once.
    ///
    /// # Errors
    /// When an image cannot be read, or the images have no size or one that memory has no room for.
    pub fn in_memory(&self) -> Result<ImageSet> {
        let of_image = self.shape().into_iter().fold(1, usize::saturating_mul);
        let (mut pixels, all) = (vec![], self.len().saturating_mul(of_image));
        pixels.try_reserve_exact(all).map_err(|_| {
            let (name, n, size) = (&self.name, self.len(), self.size);
            Error::Invalid(format!("{name}: memory has no room for {n} images of {size}x{size}: give a smaller size"))
        })?;
        pixels.resize(all, 0);
        if of_image > 0 {
            let each = pixels.par_chunks_exact_mut(of_image).enumerate();
            each.try_for_each(|(index, out)| -> Result<()> {
                out.copy_from_slice(&self.image(index)?.pixels);
                Ok(())
            })?;
        }
        let (labels, names) = (self.labels.clone(), self.class_names.clone());
        ImageSet::from_pixels(self.name.as_str(), self.shape(), pixels, labels, names)?.with_ids(self.ids.clone())
    }
}

impl Dataset for FolderSet {
    fn name(&self) -> &str {
        &self.name
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn shape(&self) -> [usize; 3] {
        [3, self.size, self.size]
    }

    fn image(&self, index: usize) -> Result<Image> {
        let file = self.files.get(index).ok_or_else(|| {
            let (name, n) = (&self.name, self.files.len());
            Error::Invalid(format!("{name}: image {index} does not exist: there are {n}"))
        })?;
        let bytes = std::fs::read(file).map_err(Error::io(file))?;
        fit_square(&decode(file, &bytes, 3)?, self.size)
    }

    fn id(&self, index: usize) -> String {
        self.ids.get(index).cloned().unwrap_or_else(|| format!("{}/{index}", self.name))
    }
}
