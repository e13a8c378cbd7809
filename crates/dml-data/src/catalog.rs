//! What a data set is made of: which class, part, role and group each sample belongs to, and how a sample is read.
//!
//! A catalogue holds names and numbers only, so one of millions of images opens in a second; bytes are read sample by
//! sample. Labels count from 0 in every catalogue: a part keeps the classes it has, renumbered, and their names.

mod builder;
mod files;

pub use builder::{CatalogBuilder, Membership};
pub use files::{FileEntry, Files, Span};
pub(crate) use files::{LARGEST_SAMPLE, stays_inside};

use crate::strings::Strings;
use crate::{ClassFolds, Error, Expected, Result, SplitRule};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the samples of a [`Catalog`] are: [`Files`] or the texts of [`Texts`].
pub trait Samples: Clone {
    /// What a source says of one sample.
    type Item<'a>;

    /// Takes one more sample.
    ///
    /// # Errors
    /// When it cannot be one, e.g. a path that leads out of the folder.
    fn push(&mut self, item: Self::Item<'_>) -> Result<()>;

    /// Those at `indices`, in that order.
    fn select(&self, indices: &[usize]) -> Self;
}

impl Samples for Strings {
    type Item<'a> = &'a str;

    fn push(&mut self, item: &str) -> Result<()> {
        Strings::push(self, item);
        Ok(())
    }

    fn select(&self, indices: &[usize]) -> Self {
        Strings::select(self, indices)
    }
}

/// A data set of texts with classes.
pub type Texts = Catalog<Strings>;

/// The samples of a data set and where each belongs.
#[derive(Debug, Clone)]
pub struct Catalog<S = Files> {
    name: String,
    /// The file or folder it was read from, for messages.
    origin: PathBuf,
    labels: Vec<u32>,
    class_names: Vec<String>,
    parts: Vec<u8>,
    part_names: Vec<String>,
    /// Whether each sample is a query and whether it is in the gallery; empty: all are both.
    roles: Vec<[bool; 2]>,
    /// Empty: no groups.
    groups: Vec<u32>,
    group_names: Vec<String>,
    samples: S,
}

impl<S: Samples> Catalog<S> {
    /// Short name for messages and reports, e.g. `sop/test`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The class of each sample, below `class_names().len()`.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// The name of each class.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The parts there are: `train`, `validation`, `test` or what the source calls them.
    pub fn part_names(&self) -> &[String] {
        &self.part_names
    }

    /// The part of sample `index`; panics if `index >= len()`.
    pub fn part_of(&self, index: usize) -> &str {
        &self.part_names[self.parts[index] as usize]
    }

    /// Whether sample `index` may be asked for; true unless the source says who asks. Panics if `index >= len()`.
    pub fn is_query(&self, index: usize) -> bool {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        self.roles.get(index).is_none_or(|role| role[0])
    }

    /// Whether sample `index` may be an answer; true unless the source says so. Panics if `index >= len()`.
    pub fn is_gallery(&self, index: usize) -> bool {
        assert!(index < self.len(), "sample {index} of {}", self.len());
        self.roles.get(index).is_none_or(|role| role[1])
    }

    /// Group (camera, super-class) of each sample, below `group_names().len()`; empty when the source knows none.
    pub fn groups(&self) -> &[u32] {
        &self.groups
    }

    /// The name of each group.
    pub fn group_names(&self) -> &[String] {
        &self.group_names
    }

    /// What the samples are.
    pub fn samples(&self) -> &S {
        &self.samples
    }

    /// The part `name`, its classes numbered `0..C` in their order here. `query` and `gallery` name the samples of that
    /// role where the source has roles, `all` names everything.
    ///
    /// # Errors
    /// When there is no such part.
    pub fn part(&self, name: &str) -> Result<Self> {
        let mut part = self.select(&self.indices(name)?).remapped();
        part.name = format!("{}/{name}", self.name);
        Ok(part)
    }

    /// The samples at `indices`, in that order, classes and their numbers as they are. Panics on an index that is not
    /// below `len()`.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self {
            name: self.name.clone(),
            origin: self.origin.clone(),
            labels: indices.iter().map(|&i| self.labels[i]).collect(),
            class_names: self.class_names.clone(),
            parts: indices.iter().map(|&i| self.parts[i]).collect(),
            part_names: self.part_names.clone(),
            roles: if self.roles.is_empty() { vec![] } else { indices.iter().map(|&i| self.roles[i]).collect() },
            groups: if self.groups.is_empty() { vec![] } else { indices.iter().map(|&i| self.groups[i]).collect() },
            group_names: self.group_names.clone(),
            samples: self.samples.select(indices),
        }
    }

    /// The same samples; classes without any are left out and the others numbered `0..C` in their order.
    #[must_use]
    pub fn remapped(mut self) -> Self {
        let counts = counts(&self.labels, self.class_names.len());
        let mut new = 0;
        let numbers: Vec<u32> = counts
            .iter()
            .map(|&count| {
                let number = new;
                new += u32::from(count > 0);
                number
            })
            .collect();
        self.labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
        let mut class = 0;
        self.class_names.retain(|_| {
            class += 1;
            counts[class - 1] > 0
        });
        self
    }

    /// The same samples in the parts `train`, `validation` and `test`, which share no class: the classes of all of them
    /// are dealt by `rule`, whatever parts the source had.
    ///
    /// # Errors
    /// As [`SplitRule::classes`].
    pub fn split(&self, rule: &SplitRule) -> Result<Self> {
        let mut whole = self.clone().remapped();
        let classes = rule.classes(&whole.class_names)?;
        let mut part_of = vec![0; whole.class_names.len()];
        for (part, classes) in [(1, &classes.validation), (2, &classes.test)] {
            classes.iter().for_each(|&class| part_of[class as usize] = part);
        }
        whole.parts = whole.labels.iter().map(|&label| part_of[label as usize]).collect();
        whole.part_names = ["train", "validation", "test"].map(str::to_owned).to_vec();
        Ok(whole)
    }

    /// The same samples; the classes of the parts `train` and `validation` are dealt to these two anew: those of fold `fold` are for
    /// validation. Other parts stay.
    ///
    /// # Errors
    /// As [`ClassFolds::held_out`].
    pub fn with_fold(mut self, folds: &ClassFolds, fold: usize) -> Result<Self> {
        let pooled: Vec<bool> = self.part_names.iter().map(|name| name == "train" || name == "validation").collect();
        let pooled: Vec<usize> = (0..self.len()).filter(|&i| pooled[self.parts[i] as usize]).collect();
        let mut there = vec![false; self.class_names.len()];
        pooled.iter().for_each(|&i| there[self.labels[i] as usize] = true);
        let classes: Vec<usize> = (0..there.len()).filter(|&class| there[class]).collect();
        let names: Vec<String> = classes.iter().map(|&class| self.class_names[class].clone()).collect();
        let mut held_out = vec![false; self.class_names.len()];
        folds.held_out(&names, fold)?.into_iter().for_each(|class| held_out[classes[class as usize]] = true);
        let [train, validation] = ["train", "validation"].map(|name| {
            self.part_names.iter().position(|part| part == name).unwrap_or_else(|| {
                self.part_names.push(name.to_owned());
                self.part_names.len() - 1
            })
        });
        for i in pooled {
            self.parts[i] = if held_out[self.labels[i] as usize] { validation as u8 } else { train as u8 };
        }
        Ok(self)
    }

    /// The same samples; only those of `part` keep their roles, the others are neither query nor gallery.
    #[must_use]
    pub(crate) fn with_roles_of(mut self, part: &str) -> Self {
        let kept: Vec<bool> = self.part_names.iter().map(|name| name == part).collect();
        let outside = |i: &usize| !kept[self.parts[*i] as usize];
        let others: Vec<usize> = (0..self.len()).filter(outside).collect();
        if !self.roles.is_empty() {
            others.into_iter().for_each(|i| self.roles[i] = [false, false]);
        }
        self
    }

    /// Checks that each part has the classes and samples `expected` of it; the names are those of [`Catalog::part`].
    ///
    /// # Errors
    /// [`Error::Format`] with the part and the class that is to blame, as near as counts can tell.
    pub fn check_counts(&self, expected: &BTreeMap<String, Expected>) -> Result<()> {
        let everywhere = counts(&self.labels, self.class_names.len());
        let empty = everywhere.iter().position(|&count| count == 0).map(|class| self.class_names[class].as_str());
        for (part, expected) in expected {
            let labels: Vec<u32> = self.indices(part)?.into_iter().map(|i| self.labels[i]).collect();
            let counts = counts(&labels, self.class_names.len());
            if let Some(problem) = expected.problem(part, &counts, &self.class_names, empty) {
                let mend = "bring the set as its owners publish it";
                return Err(Error::format(&self.origin, format!("{problem}; {mend}")));
            }
        }
        Ok(())
    }

    /// Checks that no class is in two parts.
    ///
    /// # Errors
    /// [`Error::Format`] with such a class: the split is for classification, where the test is of classes seen before.
    pub fn check_disjoint(&self) -> Result<()> {
        let mut owner = vec![None; self.class_names.len()];
        for (&label, &part) in self.labels.iter().zip(&self.parts) {
            let owner = owner[label as usize].get_or_insert(part);
            if *owner != part {
                let (class, one) = (&self.class_names[label as usize], &self.part_names[*owner as usize]);
                let other = &self.part_names[part as usize];
                let problem = format!(
                    "class `{class}` is in {one} and in {other}: a split for classification. Deal the classes with a \
                     SplitRule, or ask for the classification split by name"
                );
                return Err(Error::format(&self.origin, problem));
            }
        }
        Ok(())
    }

    /// The samples of a part, of a role, or all.
    fn indices(&self, name: &str) -> Result<Vec<usize>> {
        if let Some(part) = self.part_names.iter().position(|part| part == name) {
            return Ok((0..self.len()).filter(|&i| self.parts[i] as usize == part).collect());
        }
        match name {
            "all" => Ok((0..self.len()).collect()),
            "query" if !self.roles.is_empty() => Ok((0..self.len()).filter(|&i| self.roles[i][0]).collect()),
            "gallery" if !self.roles.is_empty() => Ok((0..self.len()).filter(|&i| self.roles[i][1]).collect()),
            _ => Err(Error::format(
                &self.origin,
                format!("{} has no part `{name}`: it has {}", self.name, self.part_names.join(", ")),
            )),
        }
    }
}

/// How many samples each of the classes has.
fn counts(labels: &[u32], classes: usize) -> Vec<usize> {
    let mut counts = vec![0; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    counts
}

impl Texts {
    /// Text `index`; panics if `index >= len()`.
    pub fn text(&self, index: usize) -> &str {
        self.samples.get(index)
    }
}

impl Catalog {
    /// The path of sample `index` below the root; panics if `index >= len()`.
    pub fn path(&self, index: usize) -> &str {
        self.samples.path(index)
    }

    /// The box of sample `index` in pixels, `[x, y, width, height]`, if the source gives one. Panics if
    /// `index >= len()`.
    pub fn bounding_box(&self, index: usize) -> Option<[f32; 4]> {
        self.samples.bounding_box(index)
    }

    /// The same samples, cut to their boxes or whole. Images of one's own lists are cut unless this says otherwise; those of the
    /// published sets are whole, as their papers take them.
    #[must_use]
    pub fn cut_to_boxes(mut self, cut: bool) -> Self {
        self.samples.set_cut(cut);
        self
    }

    /// The box that sample `index` is cut to, if it is; panics if `index >= len()`.
    pub fn cut(&self, index: usize) -> Option<[f32; 4]> {
        self.samples.cut(index)
    }

    /// The bytes of sample `index`, and a path that names it in messages.
    ///
    /// # Errors
    /// When there is no such sample or its file cannot be read.
    pub fn read(&self, index: usize) -> Result<(PathBuf, Vec<u8>)> {
        if index >= self.len() {
            let (name, n) = (&self.name, self.len());
            return Err(Error::Invalid(format!("{name}: sample {index} does not exist: there are {n}")));
        }
        self.samples.read(index)
    }

    /// The folder below which the files lie.
    pub fn root(&self) -> &Path {
        self.samples.root()
    }

    /// The file on the disk that holds sample `index`: its own, or an archive.
    pub(crate) fn holder(&self, index: usize) -> PathBuf {
        self.samples.holder(index)
    }

    /// One sample of each of these files, the first that it holds.
    pub(crate) fn held_first(&self) -> Vec<usize> {
        self.samples.held_first()
    }

    /// SHA-256 of the paths, boxes and places in archives of the samples, in their order.
    pub(crate) fn entries_digest(&self) -> String {
        self.samples.digest()
    }

    /// Checks that the file of every sample is there, without opening it.
    ///
    /// # Errors
    /// [`Error::Format`] with the first one lacking and its class.
    pub fn check_files(&self) -> Result<()> {
        use rayon::prelude::*;
        let lacking = (0..self.len()).into_par_iter().find_first(|&i| !self.samples.exists(i));
        lacking.map_or(Ok(()), |i| {
            let class = &self.class_names[self.labels[i] as usize];
            let problem = format!("an image of class `{class}` is not there: bring the set anew");
            Err(Error::format(&self.root().join(self.path(i)), problem))
        })
    }
}
