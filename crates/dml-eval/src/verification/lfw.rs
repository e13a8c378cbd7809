//! The pair lists of Labeled Faces in the Wild, `pairs.txt` and `pairsDevTrain.txt`.
//!
//! Huang et al., *Labeled Faces in the Wild: A database for studying face recognition in unconstrained environments*, 2007.

use super::pairs::{at_line, numbered_lines};
use super::{Pair, PairList};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt::Write;

/// Two images, each the name of a person and a number from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LfwPair {
    /// First image.
    pub first: (String, u32),
    /// Second image; of the same name in a genuine pair.
    pub second: (String, u32),
}

impl LfwPair {
    /// Whether both images are of one person.
    pub fn same(&self) -> bool {
        self.first.0 == self.second.0
    }

    /// The images as LFW names their files, without the ending: `Abel_Pacheco_0001`.
    pub fn images(&self) -> [String; 2] {
        [&self.first, &self.second].map(|(name, number)| format!("{name}_{number:04}"))
    }
}

/// A pair list of LFW: folds of as many genuine pairs as impostor pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LfwPairs {
    folds: usize,
    pairs: Vec<LfwPair>,
}

impl LfwPairs {
    /// Reads `pairs.txt`: a heading `folds n`, or `n` alone for one fold; then per fold n lines `name a b` and n lines
    /// `name1 a name2 b`. Fields are parted by tabs or blanks; empty lines are passed over.
    ///
    /// # Errors
    /// With the number of the first line that does not read so, or when lines are missing or left over.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = numbered_lines(text).filter(|(_, line)| !line.is_empty());
        let Some((number, heading)) = lines.next() else {
            return Err(Error::Input("pairs: the file is empty: want a heading like `10 300`".to_owned()));
        };
        let counts: Option<Vec<usize>> = heading.split_whitespace().map(|field| field.parse().ok()).collect();
        let (folds, each) = match counts.as_deref() {
            Some(&[each]) => (1, each),
            Some(&[folds, each]) => (folds, each),
            _ => return Err(at_line(number, format!("the heading is `{heading}`: want `10 300` or `1100`"))),
        };
        let Some(all) = folds.checked_mul(each).and_then(|n| n.checked_mul(2)).filter(|&all| all > 0) else {
            return Err(at_line(
                number,
                format!("the heading names {folds} folds of {each} pairs: want 1 or more of each"),
            ));
        };
        let mut pairs = Vec::new();
        for (number, line) in lines {
            if pairs.len() == all {
                return Err(at_line(
                    number,
                    format!("the heading names {all} pairs but there are more: mend the heading"),
                ));
            }
            let same = pairs.len() % (2 * each) < each;
            pairs.push(pair(number, line, same)?);
        }
        if pairs.len() < all {
            let found = pairs.len();
            return Err(Error::Input(format!(
                "pairs: the heading names {all} pairs but there are {found}: is the file whole?"
            )));
        }
        Ok(Self { folds, pairs })
    }

    /// The pairs, fold after fold, genuine ones first.
    pub fn pairs(&self) -> &[LfwPair] {
        &self.pairs
    }

    /// Number of folds.
    pub fn folds(&self) -> usize {
        self.folds
    }

    /// The list as LFW writes it, parted by tabs.
    pub fn to_text(&self) -> String {
        let each = self.pairs.len() / self.folds / 2;
        let mut text = if self.folds == 1 { format!("{each}\n") } else { format!("{}\t{each}\n", self.folds) };
        for LfwPair { first: (a, i), second: (b, j) } in &self.pairs {
            // Writing to a string does not fail.
            let _ = if a == b { writeln!(text, "{a}\t{i}\t{j}") } else { writeln!(text, "{a}\t{i}\t{b}\t{j}") };
        }
        text
    }

    /// The pairs as rows of embeddings, with people as identities. `rows` maps images (`Abel_Pacheco_0001`) to rows.
    ///
    /// # Errors
    /// When an image is not in `rows`.
    pub fn resolve(&self, rows: &HashMap<String, usize>) -> Result<PairList> {
        let mut people: HashMap<&str, u32> = HashMap::new();
        let mut missing = Vec::new();
        let (mut pairs, mut identities) = (Vec::new(), Vec::new());
        for (i, pair) in self.pairs.iter().enumerate() {
            let [first, second] = pair.images().map(|image| match rows.get(&image) {
                Some(&row) => row,
                None => {
                    missing.push(image);
                    0
                }
            });
            let fold = i / (self.pairs.len() / self.folds);
            pairs.push(Pair { first, second, same: pair.same(), fold });
            identities.push([&pair.first.0, &pair.second.0].map(|name| {
                let next = people.len() as u32;
                *people.entry(name).or_insert(next)
            }));
        }
        missing.sort_unstable();
        missing.dedup();
        if let Some(image) = missing.first() {
            let count = missing.len();
            return Err(Error::Input(format!(
                "{count} images of the pair list have no embedding, `{image}` among them"
            )));
        }
        PairList::new(pairs)?.with_identities(identities)
    }
}

/// One line; genuine pairs have three fields.
fn pair(number: usize, line: &str, same: bool) -> Result<LfwPair> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let image = |field: &str| {
        let wrong = || at_line(number, format!("`{field}` is no image number: want 1 or more"));
        field.parse::<u32>().ok().filter(|&image| image > 0).ok_or_else(wrong)
    };
    match (fields[..].as_ref(), same) {
        ([name, a, b], true) => {
            Ok(LfwPair { first: ((*name).to_owned(), image(a)?), second: ((*name).to_owned(), image(b)?) })
        }
        ([one, _, other, _], false) if one == other => {
            Err(at_line(number, format!("a pair of two people names `{one}` twice: want two names")))
        }
        ([one, a, other, b], false) => {
            Ok(LfwPair { first: ((*one).to_owned(), image(a)?), second: ((*other).to_owned(), image(b)?) })
        }
        (_, true) => Err(at_line(number, format!("{} fields: want 3, `name a b`, in a genuine pair", fields.len()))),
        (_, false) => {
            Err(at_line(number, format!("{} fields: want 4, `name1 a name2 b`, of two people", fields.len())))
        }
    }
}
