//! Lists of pairs: which items are compared, whether they are of one class, and in which fold.

use super::{Curve, closeness_sign, signed};
use crate::{Error, Result, check};
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Two items that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Row of the first item.
    pub first: usize,
    /// Row of the second item.
    pub second: usize,
    /// Whether they are of one class.
    pub same: bool,
    /// Fold that the pair belongs to, from 0; 0 where there are none.
    pub fold: usize,
}

/// A list of pairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairList {
    pairs: Vec<Pair>,
    /// Identities of the two items of each pair, where they are known.
    identities: Option<Vec<[u32; 2]>>,
}

impl PairList {
    /// A list of `pairs`.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(pairs: Vec<Pair>) -> Result<Self> {
        if pairs.is_empty() {
            return Err(Error::Input("the list of pairs is empty: give one pair at least".to_owned()));
        }
        Ok(Self { pairs, identities: None })
    }

    /// The list with the identities of both items of each pair, so that intervals resample identities.
    ///
    /// # Errors
    /// When they are not one entry per pair, or say otherwise than the pairs of who is the same.
    pub fn with_identities(self, identities: Vec<[u32; 2]>) -> Result<Self> {
        if identities.len() != self.pairs.len() {
            let (given, want) = (identities.len(), self.pairs.len());
            return Err(Error::Input(format!("{given} entries of identities for {want} pairs: give one per pair")));
        }
        let wrong = |(pair, [a, b]): &(&Pair, &[u32; 2])| pair.same != (a == b);
        if let Some(i) = self.pairs.iter().zip(&identities).position(|both| wrong(&both)) {
            let ([a, b], same) = (identities[i], self.pairs[i].same);
            return Err(Error::Input(format!(
                "pair {i} is marked same = {same} but its identities are {a} and {b}: mend one of the two"
            )));
        }
        Ok(Self { identities: Some(identities), ..self })
    }

    /// The list cut into `k` folds of neighbouring pairs, the first ones longer by one where it does not divide: what
    /// scikit-learn's `KFold` without shuffling gives.
    ///
    /// # Errors
    /// When `k` is 0 or more than there are pairs.
    pub fn in_folds(mut self, k: usize) -> Result<Self> {
        let n = self.pairs.len();
        if k == 0 || k > n {
            return Err(Error::Input(format!("{k} folds of {n} pairs were asked for: want 1 to {n}")));
        }
        let folds = (0..k).flat_map(|fold| std::iter::repeat_n(fold, n / k + usize::from(fold < n % k)));
        self.pairs.iter_mut().zip(folds).for_each(|(pair, fold)| pair.fold = fold);
        Ok(self)
    }

    /// The pairs.
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// Identities of the two items of each pair, where they are known.
    pub fn identities(&self) -> Option<&[[u32; 2]]> {
        self.identities.as_deref()
    }

    /// Number of folds: one more than the largest fold named.
    pub fn folds(&self) -> usize {
        self.pairs.iter().map(|pair| pair.fold.saturating_add(1)).max().unwrap_or(0)
    }

    /// Score of each pair of rows of `embeddings` (`[n, d]`), as the metric reports it. Summed in f64.
    ///
    /// # Errors
    /// When a pair names a row that is not there, or an embedding or a score is not finite.
    pub fn scores(&self, metric: Metric, embeddings: Matrix<'_>) -> Result<Vec<f32>> {
        let n = embeddings.rows();
        check(embeddings, &vec![0; n])?;
        if let Some((i, pair)) = self.pairs.iter().enumerate().find(|(_, pair)| pair.first.max(pair.second) >= n) {
            let row = pair.first.max(pair.second);
            return Err(Error::Input(format!("pair {i} names row {row} but there are {n} rows, counted from 0")));
        }
        let rows: Vec<(u32, u32)> = self.pairs.iter().map(|pair| (pair.first as u32, pair.second as u32)).collect();
        let mut scores = super::all_pairs::closeness_of(metric, embeddings, &rows);
        scores.iter_mut().for_each(|score| *score = signed(closeness_sign(metric), *score));
        match scores.iter().position(|score| !score.is_finite()) {
            Some(i) => Err(super::not_finite(&format!("pair {i}"), scores[i])),
            None => Ok(scores),
        }
    }

    /// The ROC curve of the pairs' `scores`, as the metric reports them.
    ///
    /// # Errors
    /// When scores are not one per pair or not finite, or there are no genuine or no impostor pairs.
    pub fn curve(&self, metric: Metric, scores: &[f32]) -> Result<Curve> {
        self.curve_where(metric, scores, |_| true)
    }

    /// The curve of those pairs that `wanted` picks.
    pub(super) fn curve_where(&self, metric: Metric, scores: &[f32], wanted: impl Fn(&Pair) -> bool) -> Result<Curve> {
        self.check_scores(scores)?;
        let (mut genuine, mut impostors) = (Vec::new(), Vec::new());
        for (pair, &score) in self.pairs.iter().zip(scores).filter(|(pair, _)| wanted(pair)) {
            if pair.same { genuine.push(score) } else { impostors.push(score) }
        }
        Curve::of_metric(metric, genuine, impostors)
    }

    pub(super) fn check_scores(&self, scores: &[f32]) -> Result<()> {
        if scores.len() != self.pairs.len() {
            let (given, want) = (scores.len(), self.pairs.len());
            return Err(Error::Input(format!("{given} scores for {want} pairs: give one per pair")));
        }
        match scores.iter().position(|score| !score.is_finite()) {
            Some(i) => Err(super::not_finite(&format!("pair {i}"), scores[i])),
            None => Ok(()),
        }
    }

    /// Reads lines `first, second, same` or `first, second, same, fold`: rows from 0, `same` as 1, 0, true or false, folds
    /// from 0. Fields are parted by commas, semicolons, tabs or blanks. A heading, empty lines and lines that begin with
    /// `#` are passed over.
    ///
    /// # Errors
    /// With the number of the first line that does not read so; when there is no pair, or only some have a fold.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut pairs, mut fields_wanted, mut begun) = (Vec::new(), None, false);
        for (number, line) in numbered_lines(text) {
            let parting = |c: char| c == ',' || c == ';' || c.is_whitespace();
            let fields: Vec<&str> = line.split(parting).filter(|field| !field.is_empty()).collect();
            let heading = !begun && fields.first().is_some_and(|field| field.starts_with(char::is_alphabetic));
            if fields.is_empty() || fields[0].starts_with('#') {
                continue;
            }
            begun = true;
            if heading {
                continue;
            }
            let wanted = *fields_wanted.get_or_insert(fields.len().clamp(3, 4));
            if fields.len() != wanted {
                return Err(at_line(
                    number,
                    format!("{} fields, want {wanted}: first, second, same[, fold]", fields.len()),
                ));
            }
            let row = |field: &str| {
                let wrong = || at_line(number, format!("`{field}` is no row or fold: want a number of 0 or more"));
                field.parse::<u32>().map(|row| row as usize).map_err(|_| wrong())
            };
            let same = match fields[2] {
                "1" | "true" | "True" => true,
                "0" | "false" | "False" => false,
                other => return Err(at_line(number, format!("same is `{other}`: want 1, 0, true or false"))),
            };
            let fold = fields.get(3).map_or(Ok(0), |field| row(field))?;
            pairs.push(Pair { first: row(fields[0])?, second: row(fields[1])?, same, fold });
        }
        Self::new(pairs)
    }

    /// The list as [`parse`](Self::parse) reads it, with a heading. Folds are written where there are several.
    pub fn to_csv(&self) -> String {
        let folds = self.folds() > 1;
        let mut text = String::from(if folds { "first,second,same,fold\n" } else { "first,second,same\n" });
        for pair in &self.pairs {
            // Writing to a string does not fail.
            let _ = write!(text, "{},{},{}", pair.first, pair.second, u8::from(pair.same));
            let _ = if folds { writeln!(text, ",{}", pair.fold) } else { writeln!(text) };
        }
        text
    }
}

/// Lines with their numbers from 1, without a byte order mark.
pub(super) fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.strip_prefix('\u{feff}').unwrap_or(text).lines().enumerate().map(|(i, line)| (i + 1, line.trim()))
}

pub(super) fn at_line(number: usize, what: String) -> Error {
    Error::Input(format!("pairs, line {number}: {what}"))
}
