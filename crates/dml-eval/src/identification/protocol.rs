//! Who is enrolled with which images, and who probes.

use crate::{Error, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How galleries and probes are drawn from a labelled set, several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnrolmentProtocol {
    /// Images enrolled of each identity; all other images of it are mated probes. Of an identity with no more than
    /// these all are enrolled and none probes.
    pub shots: usize,
    /// Identities enrolled, K.
    pub enrolled: usize,
    /// Identities whose images are non-mated probes; `None` is all that are not enrolled.
    #[serde(default)]
    pub strangers: Option<usize>,
    /// Random draws of identities and images.
    pub draws: usize,
    /// Seed of the draws.
    pub seed: u64,
}

/// A gallery and its probes, as rows of a set of embeddings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Enrolled rows of each identity, in the order of enrolment: of equal scores the identity enrolled first is
    /// better.
    pub(super) identities: Vec<Vec<usize>>,
    /// Rows of mated probes, each with its identity's place in `identities`.
    pub(super) mated: Vec<(usize, u32)>,
    pub(super) non_mated: Vec<usize>,
}

impl EnrolmentProtocol {
    /// Draw `number`, from 0, from a set with these labels. It depends on seed and number only.
    ///
    /// # Errors
    /// When shots or identities are none, or there are fewer classes than identities and strangers.
    pub fn draw(&self, labels: &[u32], number: usize) -> Result<Enrolment> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(number as u64);
        let mut classes: Vec<Vec<usize>> = rows_by_class(labels).into_values().collect();
        let strangers = self.strangers.unwrap_or(classes.len().saturating_sub(self.enrolled));
        if self.enrolled == 0 || self.shots == 0 || self.enrolled.saturating_add(strangers) > classes.len() {
            return Err(Error::Input(format!(
                "recognition: {} identities with {} shots and {strangers} strangers were asked for, of {} classes: want 1 shot or \
                 more, 1 identity or more, and no more identities and strangers than classes",
                self.enrolled,
                self.shots,
                classes.len()
            )));
        }
        classes.shuffle(&mut rng);
        let mut drawn = Enrolment { identities: Vec::new(), mated: Vec::new(), non_mated: Vec::new() };
        for (k, items) in classes[..self.enrolled + strangers].iter_mut().enumerate() {
            items.shuffle(&mut rng);
            if k >= self.enrolled {
                drawn.non_mated.extend_from_slice(items);
                continue;
            }
            let (enrolled, probes) = items.split_at(self.shots.min(items.len()));
            drawn.identities.push(enrolled.to_vec());
            drawn.mated.extend(probes.iter().map(|&row| (row, k as u32)));
        }
        Ok(drawn)
    }
}

impl Enrolment {
    /// The gallery and the probes of a protocol that names them, as rows of the set that `labels` belongs to. A probe
    /// is mated when its label is in the gallery. Identities are enrolled in the order in which they first come in
    /// `gallery`.
    ///
    /// # Errors
    /// When a list is empty, names a row that is not there or names one twice, or a row is enrolled and probes, too.
    pub fn from_lists(labels: &[u32], gallery: &[usize], probes: &[usize]) -> Result<Self> {
        if gallery.is_empty() || probes.is_empty() {
            let (g, p) = (gallery.len(), probes.len());
            return Err(Error::Input(format!(
                "recognition: {g} gallery rows and {p} probes are named: name some of both"
            )));
        }
        let mut seen = BTreeSet::new();
        for &row in gallery.iter().chain(probes) {
            if row >= labels.len() {
                let n = labels.len();
                return Err(Error::Input(format!(
                    "recognition: row {row} is named but there are {n} rows, counted from 0"
                )));
            }
            if !seen.insert(row) {
                return Err(Error::Input(format!(
                    "recognition: row {row} is named twice: an image enrols or probes, once, or it would find itself"
                )));
            }
        }
        let mut places: BTreeMap<u32, u32> = BTreeMap::new();
        let mut identities: Vec<Vec<usize>> = Vec::new();
        for &row in gallery {
            let place = *places.entry(labels[row]).or_insert(identities.len() as u32);
            if place as usize == identities.len() {
                identities.push(Vec::new());
            }
            identities[place as usize].push(row);
        }
        let place = |&row: &usize| places.get(&labels[row]).map(|&place| (row, place));
        let mated = probes.iter().filter_map(place).collect();
        let non_mated = probes.iter().copied().filter(|row| !places.contains_key(&labels[*row])).collect();
        Ok(Self { identities, mated, non_mated })
    }

    /// Enrolled rows of each identity.
    pub fn identities(&self) -> &[Vec<usize>] {
        &self.identities
    }

    /// Rows that probe and are of an enrolled identity, each with its place among [`identities`](Self::identities).
    pub fn mated(&self) -> &[(usize, u32)] {
        &self.mated
    }

    /// Rows that probe and are of nobody enrolled.
    pub fn non_mated(&self) -> &[usize] {
        &self.non_mated
    }

    /// All rows that are named.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        let probes = self.mated.iter().map(|(row, _)| *row).chain(self.non_mated.iter().copied());
        self.identities.iter().flatten().copied().chain(probes)
    }
}

/// The rows of each class, by label.
fn rows_by_class(labels: &[u32]) -> BTreeMap<u32, Vec<usize>> {
    let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    labels.iter().enumerate().for_each(|(row, &label)| classes.entry(label).or_default().push(row));
    classes
}
