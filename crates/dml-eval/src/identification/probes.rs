//! How probes score against a gallery: all that open-set and closed-set measures need.

use super::template::Gallery;
use super::{Enrolment, Templates};
use crate::{Error, Result, check};
use dml_core::{Exclude, Matrix, Metric, nearest};

/// A probe of an enrolled identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MatedProbe {
    /// Rank of its identity among all, from 1; `None` when it is not on the candidate list.
    pub rank: Option<usize>,
    /// Score of its identity, as the metric reports it; without meaning when there is no rank.
    pub score: f32,
}

/// Scores of probes against one gallery.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeScores {
    /// +1 where larger is closer, −1 where smaller is.
    pub(super) sign: f32,
    /// Mates on the candidate lists: rank and closeness.
    pub(super) mates: Vec<(usize, f32)>,
    /// Mated probes, those whose mate is not on the list included.
    pub(super) mated: usize,
    /// Closeness of the best identity of each non-mated probe, falling.
    pub(super) non_mated: Vec<f32>,
    /// Length of the candidate lists.
    pub(super) length: usize,
}

impl ProbeScores {
    /// Searches the gallery for the best `length` identities of each probe (all, if there are fewer); `embeddings` is
    /// `[n, d]`. Of equal scores the identity enrolled first is better.
    ///
    /// # Errors
    /// When `length` is 0, the enrolment names a row that is not there, or an embedding or a score is not finite.
    pub fn measure(
        metric: Metric,
        embeddings: Matrix<'_>,
        enrolment: &Enrolment,
        templates: Templates,
        length: usize,
    ) -> Result<Self> {
        let n = embeddings.rows();
        check(embeddings, &vec![0; n])?;
        if let Some(row) = enrolment.rows().find(|&row| row >= n) {
            return Err(Error::Input(format!("recognition: row {row} is named but there are {n} embeddings")));
        }
        if enrolment.identities.iter().any(Vec::is_empty) || enrolment.identities.is_empty() {
            return Err(Error::Input("recognition: an identity without images is enrolled: leave it out".to_owned()));
        }
        let gallery = Gallery::new(metric, embeddings, &enrolment.identities, templates);
        let length = length.min(enrolment.identities.len());
        let owners: Vec<u32> = enrolment.mated.iter().map(|(_, owner)| *owner).collect();
        let mated: Vec<usize> = enrolment.mated.iter().map(|(row, _)| *row).collect();
        let found = candidates(metric, embeddings, &mated, &gallery, length)?;
        let mate = |(list, owner): (Vec<(u32, f32)>, u32)| {
            let at = list.iter().position(|(candidate, _)| *candidate == owner);
            at.map_or(MatedProbe { rank: None, score: 0.0 }, |at| MatedProbe { rank: Some(at + 1), score: list[at].1 })
        };
        let mated: Vec<MatedProbe> = found.into_iter().zip(owners).map(mate).collect();
        let found = candidates(metric, embeddings, &enrolment.non_mated, &gallery, 1)?;
        let non_mated: Vec<f32> = found.iter().flatten().map(|(_, score)| *score).collect();
        Self::from_scores(metric.is_similarity(), &mated, &non_mated, length)
    }

    /// From scores of any matcher: the mates of mated probes, the best score of each non-mated probe, and how many
    /// candidates the lists hold from which ranks were read.
    ///
    /// # Errors
    /// When the list holds nothing, a rank is not on it, or a score is not finite.
    pub fn from_scores(larger_is_closer: bool, mated: &[MatedProbe], non_mated: &[f32], length: usize) -> Result<Self> {
        if length == 0 {
            return Err(Error::Input("recognition: candidate lists of length 0: want 1 or more".to_owned()));
        }
        if let Some((i, probe)) = mated.iter().enumerate().find(|(_, p)| p.rank.is_some_and(|r| r == 0 || r > length)) {
            let rank = probe.rank.unwrap_or(0);
            return Err(Error::Input(format!(
                "recognition: mated probe {i} has rank {rank}: want 1 to {length}, or none"
            )));
        }
        let sign = if larger_is_closer { 1.0 } else { -1.0 };
        let mates = mated.iter().filter_map(|probe| probe.rank.map(|rank| (rank, sign * probe.score)));
        let mates: Vec<(usize, f32)> = mates.collect();
        let mut non_mated: Vec<f32> = non_mated.iter().map(|score| sign * score).collect();
        if let Some(score) = mates.iter().map(|mate| mate.1).chain(non_mated.iter().copied()).find(|s| !s.is_finite()) {
            return Err(Error::Input(format!("recognition: a score is {score}: want finite scores, check the model")));
        }
        non_mated.sort_unstable_by(|a, b| b.total_cmp(a));
        Ok(Self { sign, mates, mated: mated.len(), non_mated, length })
    }

    /// Probes of enrolled identities.
    pub fn mated(&self) -> usize {
        self.mated
    }

    /// Probes of strangers.
    pub fn non_mated(&self) -> usize {
        self.non_mated.len()
    }

    /// The best score of each non-mated probe, closest first, as the metric reports it.
    pub fn non_mated_scores(&self) -> impl Iterator<Item = f32> {
        self.non_mated.iter().map(|closeness| self.sign * closeness)
    }

    /// Mated probes whose identity is among the best `rank` and scores `threshold` or better.
    pub(crate) fn found(&self, threshold: f32, rank: usize) -> usize {
        let limit = self.sign * threshold;
        self.mates.iter().filter(|mate| mate.0 <= rank && mate.1 >= limit).count()
    }

    /// Length of the candidate lists: the last rank that can be asked for.
    pub fn length(&self) -> usize {
        self.length
    }
}

/// The best `length` identities of each of the rows, with their scores.
fn candidates(
    metric: Metric,
    x: Matrix<'_>,
    rows: &[usize],
    gallery: &Gallery,
    length: usize,
) -> Result<Vec<Vec<(u32, f32)>>> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let values: Vec<f32> = rows.iter().flat_map(|&row| x.row(row)).copied().collect();
    // So many rows hold `length` identities, whosever the best ones are.
    let k = ((length.max(1) - 1) * gallery.most + 1).min(gallery.owners.len());
    let found = nearest(metric, Matrix::new(&values, rows.len(), x.cols())?, gallery.matrix()?, k, Exclude::Nothing)?;
    let list = |q: usize| {
        let mut list: Vec<(u32, f32)> = Vec::with_capacity(length);
        for (&id, &score) in found.ids_of(q).iter().zip(found.scores_of(q)) {
            let owner = gallery.owners[id as usize];
            if list.len() < length && list.iter().all(|(seen, _)| *seen != owner) {
                list.push((owner, score));
            }
        }
        list
    };
    Ok((0..rows.len()).map(list).collect())
}
