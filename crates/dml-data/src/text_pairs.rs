//! Pairs of texts with a score: how alike their meanings are.

use crate::strings::Strings;
use crate::{Error, Expected, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A data set of scored pairs of texts.
#[derive(Debug, Clone)]
pub struct TextPairs {
    name: String,
    /// The file or folder it was read from, for messages.
    origin: PathBuf,
    left: Strings,
    right: Strings,
    scores: Vec<f32>,
    /// Name of each part and how many pairs it has, one part behind the other.
    parts: Vec<(String, usize)>,
}

impl TextPairs {
    /// No pairs yet; `origin` is the file or folder that messages name.
    pub fn new(name: impl Into<String>, origin: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            origin: origin.into(),
            left: Strings::default(),
            right: Strings::default(),
            scores: vec![],
            parts: vec![],
        }
    }

    /// Takes one more pair, in `part`; the pairs of a part come one after the other.
    ///
    /// # Errors
    /// When `part` has been left before, or the score is not finite.
    pub fn add(&mut self, part: &str, pair: [&str; 2], score: f32) -> Result<()> {
        if !score.is_finite() {
            let problem = format!("pair {} has score {score}: give a finite number", self.len());
            return Err(Error::format(&self.origin, problem));
        }
        match self.parts.iter().position(|(name, _)| name == part) {
            Some(at) if at + 1 == self.parts.len() => self.parts[at].1 += 1,
            Some(_) => {
                return Err(Error::format(&self.origin, format!("part {part} comes twice: add its pairs together")));
            }
            None => self.parts.push((part.to_owned(), 1)),
        }
        self.left.push(pair[0]);
        self.right.push(pair[1]);
        self.scores.push(score);
        Ok(())
    }

    /// Short name for messages and reports, e.g. `stsb/test`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// The two texts of pair `index`; panics if `index >= len()`.
    pub fn pair(&self, index: usize) -> [&str; 2] {
        [self.left.get(index), self.right.get(index)]
    }

    /// The score of each pair: higher is more alike.
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// The names of the parts.
    pub fn part_names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|(name, _)| name.as_str())
    }

    /// The pairs of part `name`.
    ///
    /// # Errors
    /// When there is no such part.
    pub fn part(&self, name: &str) -> Result<Self> {
        let lacking = || {
            let there: Vec<&str> = self.part_names().collect();
            Error::format(&self.origin, format!("{} has no part `{name}`: it has {}", self.name, there.join(", ")))
        };
        let at = self.parts.iter().position(|(part, _)| part == name).ok_or_else(lacking)?;
        let first: usize = self.parts[..at].iter().map(|(_, pairs)| pairs).sum();
        let indices: Vec<usize> = (first..first + self.parts[at].1).collect();
        Ok(Self {
            name: format!("{}/{name}", self.name),
            origin: self.origin.clone(),
            left: self.left.select(&indices),
            right: self.right.select(&indices),
            scores: indices.iter().map(|&i| self.scores[i]).collect(),
            parts: vec![self.parts[at].clone()],
        })
    }

    /// Checks that each part has as many pairs as `expected`.
    ///
    /// # Errors
    /// [`Error::Format`] with the part.
    pub fn check_counts(&self, expected: &BTreeMap<String, Expected>) -> Result<()> {
        for (part, expected) in expected {
            let pairs = self.parts.iter().find(|(name, _)| name == part).map_or(0, |(_, pairs)| *pairs);
            if let Some(expected) = expected.samples.filter(|&expected| expected != pairs) {
                let problem = format!("{part} has {pairs} pairs but the manifest says {expected}");
                return Err(Error::format(&self.origin, problem));
            }
        }
        Ok(())
    }
}
