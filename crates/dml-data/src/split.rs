//! Class-disjoint splits: a class is in one part only, chosen by a seeded hash of its name.

use crate::{Dataset, Error, ImageSet, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A data set in three parts that share no class.
#[derive(Debug, Clone)]
pub struct Split {
    /// To learn from.
    pub train: ImageSet,
    /// To choose by: losses, steps, thresholds.
    pub validation: ImageSet,
    /// To report, once.
    pub test: ImageSet,
}

/// How classes are dealt to the parts: names are ordered by SHA-256 of `<seed as 8 little-endian bytes><name>`;
/// the first `test` of them are the test classes, then `validation` of the others, the rest is for training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SplitRule {
    /// Seed of the hash; default 0.
    pub seed: u64,
    /// Share of all classes that is for the test; default 1/2.
    pub test: f64,
    /// Share of the classes outside the test that is for validation; default 1/4.
    pub validation: f64,
}

impl Default for SplitRule {
    fn default() -> Self {
        Self { seed: 0, test: 0.5, validation: 0.25 }
    }
}

/// The classes of each part, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassSplit {
    /// Training classes.
    pub train: Vec<u32>,
    /// Validation classes.
    pub validation: Vec<u32>,
    /// Test classes.
    pub test: Vec<u32>,
}

impl SplitRule {
    /// Deals the classes. Counts are rounded to the nearest integer.
    ///
    /// # Errors
    /// When a share is outside `0..1`, or a part that should have classes would get none (training: fewer than two).
    pub fn classes(&self, names: &[String]) -> Result<ClassSplit> {
        for (what, share) in [("test", self.test), ("validation", self.validation)] {
            if !(0.0..1.0).contains(&share) {
                return Err(Error::Invalid(format!("split.{what} = {share}: give a share of at least 0 and below 1")));
            }
        }
        let order = by_hash(names, self.seed);
        let tests = (names.len() as f64 * self.test).round() as usize;
        let validations = ((names.len() - tests) as f64 * self.validation).round() as usize;
        let too_few = (tests == 0 && self.test > 0.0) || (validations == 0 && self.validation > 0.0);
        if too_few || names.len() - tests - validations < 2 {
            let n = names.len();
            return Err(Error::Invalid(format!(
                "{n} classes are too few for a split with test = {} and validation = {}: bring more classes or change the shares",
                self.test, self.validation
            )));
        }
        let mut parts = [
            order[..tests].to_vec(),
            order[tests..tests + validations].to_vec(),
            order[tests + validations..].to_vec(),
        ];
        parts.iter_mut().for_each(|part| part.sort_unstable());
        let [test, validation, train] = parts;
        Ok(ClassSplit { train, validation, test })
    }

    /// Cuts `set` by this rule; the parts are named `<set>/train`, `<set>/validation` and `<set>/test`.
    ///
    /// # Errors
    /// As [`SplitRule::classes`].
    pub fn split(&self, set: &ImageSet) -> Result<Split> {
        let classes = self.classes(set.class_names())?;
        let part = |ids: &[u32], name: &str| {
            Ok::<_, Error>(set.subset_of_classes(ids)?.renamed(format!("{}/{name}", set.name())))
        };
        Ok(Split {
            train: part(&classes.train, "train")?,
            validation: part(&classes.validation, "validation")?,
            test: part(&classes.test, "test")?,
        })
    }
}

/// The classes called `names` in the order of SHA-256 of `<seed as 8 little-endian bytes><name>`.
pub(crate) fn by_hash(names: &[String], seed: u64) -> Vec<u32> {
    let hash = |name: &str| -> [u8; 32] {
        Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize().into()
    };
    let mut order: Vec<u32> = (0..names.len() as u32).collect();
    order.sort_by_cached_key(|&class| (hash(&names[class as usize]), class));
    order
}
