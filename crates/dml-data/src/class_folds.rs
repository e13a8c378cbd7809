//! Classes in groups that take turns as validation classes.

use crate::split::by_hash;
use crate::{Dataset, Error, ImageSet, Result, Split};

/// How classes are dealt to folds: groups of the same size, but for one, of neighbouring classes. Each fold is held out once, to
/// choose by, and the others are learned from; classes of the test are in none (Musgrave et al., *A Metric Learning Reality Check*,
/// 2020: four folds of neighbouring classes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassFolds {
    /// Number of folds.
    pub folds: usize,
    /// Classes are ordered by a hash of this seed and their name first, as by a [`crate::SplitRule`]; without: they are dealt in
    /// their own order.
    pub shuffle: Option<u64>,
}

impl ClassFolds {
    /// Which of the classes called `names` are held out with fold `fold`, counted from 0; ascending.
    ///
    /// # Errors
    /// When there is no such fold, or not two classes for each.
    pub fn held_out(&self, names: &[String], fold: usize) -> Result<Vec<u32>> {
        let (n, folds) = (names.len(), self.folds);
        if fold >= folds {
            return Err(Error::Invalid(format!("fold {fold} of {folds}: folds count from 0")));
        }
        if folds < 2 || n / folds < 2 {
            return Err(Error::Invalid(format!(
                "{folds} folds of {n} classes: want two folds or more, of two classes or more each"
            )));
        }
        let order = match self.shuffle {
            Some(seed) => by_hash(names, seed),
            None => (0..n as u32).collect(),
        };
        let mut classes = order[fold * n / folds..(fold + 1) * n / folds].to_vec();
        classes.sort_unstable();
        Ok(classes)
    }

    /// `set` without the classes of fold `fold`, and these.
    ///
    /// # Errors
    /// As [`ClassFolds::held_out`].
    pub fn cut(&self, set: &ImageSet, fold: usize) -> Result<[ImageSet; 2]> {
        let [others, held_out] = self.parted(set.class_names(), fold)?;
        Ok([set.subset_of_classes(&others)?, set.subset_of_classes(&held_out)?])
    }

    /// The classes called `names` but those of fold `fold`, and these; both ascending.
    fn parted(&self, names: &[String], fold: usize) -> Result<[Vec<u32>; 2]> {
        let held_out = self.held_out(names, fold)?;
        let others = (0..names.len() as u32).filter(|class| held_out.binary_search(class).is_err()).collect();
        Ok([others, held_out])
    }

    /// The classes called `names`, dealt in order of their names: all but those of fold `fold`, and these; both in that order.
    pub(crate) fn dealt(&self, names: &[String], fold: usize) -> Result<[Vec<u32>; 2]> {
        let mut order: Vec<u32> = (0..names.len() as u32).collect();
        order.sort_by_key(|&class| &names[class as usize]);
        let ordered: Vec<String> = order.iter().map(|&class| names[class as usize].clone()).collect();
        let parts = self.parted(&ordered, fold)?;
        Ok(parts.map(|part| part.into_iter().map(|place| order[place as usize]).collect()))
    }
}

impl Split {
    /// The same test; the classes of the other two parts, in order of their names, are dealt to them anew: those of fold `fold` are
    /// for validation.
    ///
    /// # Errors
    /// As [`ClassFolds::held_out`].
    pub fn with_fold(&self, folds: &ClassFolds, fold: usize) -> Result<Self> {
        let whole = self.train.joined(&self.validation)?;
        let [train, validation] = folds.dealt(whole.class_names(), fold)?;
        let (train, validation) = (whole.subset_of_classes(&train)?, whole.subset_of_classes(&validation)?);
        let (train, validation) = (train.renamed(self.train.name()), validation.renamed(self.validation.name()));
        Ok(Self { train, validation, test: self.test.clone() })
    }
}
