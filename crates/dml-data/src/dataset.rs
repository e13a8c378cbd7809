//! Labelled images: the trait every source implements and the in-memory set most of them return.

use crate::{Error, Result};

/// An image of 8-bit values in HWC order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Values per pixel: 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// `height · width · channels` values, row by row, the channels of a pixel together.
    pub pixels: Vec<u8>,
}

impl Image {
    /// An image from its values; an error if their count is not `width · height · channels`.
    pub fn new(width: usize, height: usize, channels: usize, pixels: Vec<u8>) -> Result<Self> {
        let expected = width * height * channels;
        if pixels.len() != expected {
            let got = pixels.len();
            return Err(Error::Invalid(format!(
                "an image of {width}x{height} with {channels} channels has {expected} values but got {got}"
            )));
        }
        Ok(Self { width, height, channels, pixels })
    }

    /// `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }
}

/// Labelled images of one shape, read by index.
pub trait Dataset: Send + Sync {
    /// Short name for messages and reports, e.g. `emoji/train`.
    fn name(&self) -> &str;
    /// The class of each image, `0..class_names().len()`.
    fn labels(&self) -> &[u32];
    /// The name of each class.
    fn class_names(&self) -> &[String];
    /// `[channels, height, width]` of every image.
    fn shape(&self) -> [usize; 3];
    /// Image `index`; an error when it cannot be read or `index >= len()`.
    fn image(&self, index: usize) -> Result<Image>;
    /// What image `index` is called, unique in the set: the path of its file where there is one, else `<set>/<index>`.
    fn id(&self, index: usize) -> String {
        format!("{}/{index}", self.name())
    }
    /// Number of images.
    fn len(&self) -> usize {
        self.labels().len()
    }
    /// Whether there are no images.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A data set in memory.
#[derive(Debug, Clone)]
pub struct ImageSet {
    name: String,
    shape: [usize; 3],
    pixels: Vec<u8>,
    labels: Vec<u32>,
    class_names: Vec<String>,
    domains: Vec<u32>,
    domain_names: Vec<String>,
    /// Empty where the source knows none.
    ids: Vec<String>,
}

impl ImageSet {
    /// A set from images of `shape` (`[channels, height, width]`), one label each, and the name of every class.
    ///
    /// # Errors
    /// When an image has another shape, a side is 0, the counts differ, or a label has no name.
    pub fn new(
        name: impl Into<String>,
        shape: [usize; 3],
        images: Vec<Image>,
        labels: Vec<u32>,
        class_names: Vec<String>,
    ) -> Result<Self> {
        let name = name.into();
        if let Some((i, image)) = images.iter().enumerate().find(|(_, image)| image.shape() != shape) {
            let got = image.shape();
            return Err(Error::Invalid(format!(
                "{name}: image {i} has shape {got:?} but the set has {shape:?}: resize it"
            )));
        }
        let pixels = images.iter().flat_map(|image| image.pixels.iter().copied()).collect();
        Self::from_pixels(name, shape, pixels, labels, class_names)
    }

    /// A set from the values of all images, `[n, height, width, channels]` in one vector.
    ///
    /// # Errors
    /// As [`ImageSet::new`].
    pub fn from_pixels(
        name: impl Into<String>,
        shape: [usize; 3],
        pixels: Vec<u8>,
        labels: Vec<u32>,
        class_names: Vec<String>,
    ) -> Result<Self> {
        let name = name.into();
        if shape.contains(&0) {
            return Err(Error::Invalid(format!("{name}: images of shape {shape:?} have a side of 0: give at least 1")));
        }
        let (n, size) = (labels.len(), shape.iter().product::<usize>());
        if pixels.len() != n * size {
            let got = pixels.len() / size;
            return Err(Error::Invalid(format!(
                "{name}: labels have length {n} but there are {got} images: pass one label per image"
            )));
        }
        if let Some(label) = labels.iter().find(|&&label| label as usize >= class_names.len()) {
            let known = class_names.len();
            return Err(Error::Invalid(format!(
                "{name}: label {label} has no name among the {known} class names: labels count from 0"
            )));
        }
        let (domains, domain_names, ids) = (vec![0; n], vec!["all".into()], vec![]);
        Ok(Self { name, shape, pixels, labels, class_names, domains, domain_names, ids })
    }

    /// Says which domain (designer, drawer, camera) each image comes from.
    ///
    /// # Errors
    /// When the count differs from the number of images or a domain has no name.
    pub fn with_domains(mut self, domains: Vec<u32>, domain_names: Vec<String>) -> Result<Self> {
        let (got, n, known) = (domains.len(), self.labels.len(), domain_names.len());
        if got != n || domains.iter().any(|&domain| domain as usize >= known) {
            return Err(Error::Invalid(format!(
                "{}: {got} domains below {known} for {n} images: pass one per image",
                self.name
            )));
        }
        (self.domains, self.domain_names) = (domains, domain_names);
        Ok(self)
    }

    /// Says what each image is called ([`Dataset::id`]).
    ///
    /// # Errors
    /// When the count differs from the number of images.
    pub fn with_ids(mut self, ids: Vec<String>) -> Result<Self> {
        let (got, n) = (ids.len(), self.labels.len());
        if got != n {
            return Err(Error::Invalid(format!("{}: {got} ids for {n} images: pass one per image", self.name)));
        }
        self.ids = ids;
        Ok(self)
    }

    /// The same set under another name.
    #[must_use]
    pub fn renamed(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The domain of each image (all 0 when the source knows none).
    pub fn domains(&self) -> &[u32] {
        &self.domains
    }

    /// The name of each domain.
    pub fn domain_names(&self) -> &[String] {
        &self.domain_names
    }

    /// The values of image `index` in HWC order; panics if `index >= len()`.
    pub fn pixels(&self, index: usize) -> &[u8] {
        let size = self.shape.iter().product::<usize>();
        &self.pixels[index * size..(index + 1) * size]
    }

    /// The images of `classes` only; class `classes[i]` becomes class `i`. Images keep their order.
    ///
    /// # Errors
    /// When a class is named twice or does not exist.
    pub fn subset_of_classes(&self, classes: &[u32]) -> Result<Self> {
        let known = self.class_names.len();
        let mut new_label = vec![None; known];
        for (new, &class) in classes.iter().enumerate() {
            let slot = new_label.get_mut(class as usize).ok_or_else(|| {
                Error::Invalid(format!("{}: class {class} is not among its {known} classes", self.name))
            })?;
            if slot.replace(new as u32).is_some() {
                return Err(Error::Invalid(format!("{}: class {class} is named twice: name each once", self.name)));
            }
        }
        let kept: Vec<usize> =
            (0..self.labels.len()).filter(|&i| new_label[self.labels[i] as usize].is_some()).collect();
        let mut subset = self.select(&kept);
        subset.labels.iter_mut().for_each(|label| *label = new_label[*label as usize].expect("kept above"));
        subset.class_names = classes.iter().map(|&class| self.class_names[class as usize].clone()).collect();
        Ok(subset)
    }

    /// Cuts the set in two by class: those whose name `belongs`, and the rest.
    ///
    /// ```
    /// # use dml_data::{Dataset, ImageSet};
    /// # let names = vec!["Greek/a".to_string(), "Latin/b".into()];
    /// # let set = ImageSet::from_pixels("x", [1, 1, 1], vec![1, 2], vec![0, 1], names)?;
    /// let (latin, others) = set.partition_classes(|name| name.starts_with("Latin/"))?;
    /// assert_eq!((latin.len(), others.len()), (1, 1));
    /// # Ok::<(), dml_data::Error>(())
    /// ```
    pub fn partition_classes(&self, belongs: impl Fn(&str) -> bool) -> Result<(Self, Self)> {
        let (inside, outside): (Vec<u32>, Vec<u32>) =
            (0..self.class_names.len() as u32).partition(|&class| belongs(&self.class_names[class as usize]));
        Ok((self.subset_of_classes(&inside)?, self.subset_of_classes(&outside)?))
    }

    /// The images of this set and then those of `other`, whose classes are numbered on.
    ///
    /// # Errors
    /// When their images differ in shape, or their domains.
    pub fn joined(&self, other: &Self) -> Result<Self> {
        if (self.shape, &self.domain_names) != (other.shape, &other.domain_names) {
            let (one, another) = (&self.name, &other.name);
            return Err(Error::Invalid(format!(
                "{one} and {another} have images of shape {:?} and {:?} from {:?} and {:?}: join sets of the same kind",
                self.shape, other.shape, self.domain_names, other.domain_names
            )));
        }
        let (mut joined, classes) = (self.clone(), self.class_names.len() as u32);
        joined.pixels.extend_from_slice(&other.pixels);
        joined.labels.extend(other.labels.iter().map(|label| classes + label));
        joined.class_names.extend_from_slice(&other.class_names);
        joined.domains.extend_from_slice(&other.domains);
        if !(self.ids.is_empty() && other.ids.is_empty()) {
            let ids = |set: &Self| (0..set.labels.len()).map(|i| Dataset::id(set, i)).collect::<Vec<_>>();
            joined.ids = [ids(self), ids(other)].concat();
        }
        Ok(joined)
    }

    /// Four times the classes: each class turned by 0°, 90°, 180° and 270° (anticlockwise), as the few-shot literature
    /// treats Omniglot. Class `c` turned `r` quarters is class `r · C + c`, named `name` or `name@90`.
    ///
    /// # Errors
    /// When the images are not square.
    pub fn with_rotations(&self) -> Result<Self> {
        let [channels, height, width] = self.shape;
        if height != width {
            return Err(Error::Invalid(format!(
                "{}: {width}x{height} images cannot be turned: resize to square",
                self.name
            )));
        }
        let classes = self.class_names.len() as u32;
        let mut turned = self.clone();
        for quarter in 1..4u32 {
            for i in 0..self.labels.len() {
                turned.pixels.extend(rotated(self.pixels(i), height, channels, quarter));
            }
            turned.labels.extend(self.labels.iter().map(|label| quarter * classes + label));
            turned.class_names.extend(self.class_names.iter().map(|name| format!("{name}@{}", 90 * quarter)));
            turned.domains.extend(&self.domains);
            turned.ids.extend(self.ids.iter().map(|id| format!("{id}@{}", 90 * quarter)));
        }
        Ok(turned)
    }

    /// The images at `indices`, classes and their names as they are.
    fn select(&self, indices: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            shape: self.shape,
            pixels: indices.iter().flat_map(|&i| self.pixels(i)).copied().collect(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            class_names: self.class_names.clone(),
            domains: indices.iter().map(|&i| self.domains[i]).collect(),
            domain_names: self.domain_names.clone(),
            ids: if self.ids.is_empty() { vec![] } else { indices.iter().map(|&i| self.ids[i].clone()).collect() },
        }
    }
}

/// A square image turned anticlockwise by `quarters` of a full turn.
fn rotated(pixels: &[u8], size: usize, channels: usize, quarters: u32) -> Vec<u8> {
    let last = size - 1;
    let source = |y: usize, x: usize| match quarters {
        1 => (x, last - y),
        2 => (last - y, last - x),
        _ => (last - x, y),
    };
    let mut out = Vec::with_capacity(pixels.len());
    for y in 0..size {
        for x in 0..size {
            let (sy, sx) = source(y, x);
            let at = (sy * size + sx) * channels;
            out.extend_from_slice(&pixels[at..at + channels]);
        }
    }
    out
}

impl Dataset for ImageSet {
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
        self.shape
    }

    fn id(&self, index: usize) -> String {
        self.ids.get(index).cloned().unwrap_or_else(|| format!("{}/{index}", self.name))
    }

    fn image(&self, index: usize) -> Result<Image> {
        let n = self.labels.len();
        if index >= n {
            return Err(Error::Invalid(format!("{}: image {index} does not exist: there are {n}", self.name)));
        }
        let [channels, height, width] = self.shape;
        Ok(Image { width, height, channels, pixels: self.pixels(index).to_vec() })
    }
}
