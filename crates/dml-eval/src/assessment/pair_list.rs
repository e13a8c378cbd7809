//! Verification of the pairs that a list names, as LFW's protocol has it.

use super::{AssessmentOptions, EvaluationSet, of_enough};
use crate::report::{MetricRow, MetricTable};
use crate::verification::{
    Bootstrap, Interval, KFold, LfwPairs, TarAtFar, ThresholdSearch, VerificationIntervals, bootstrap_pairs, k_fold,
};
use crate::{Error, Result};
use serde::Serialize;
use std::collections::HashMap;

/// Verification of a list of pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairListVerification {
    /// Pairs of one person.
    pub genuine: usize,
    /// Pairs of two people.
    pub impostors: usize,
    /// Fold by fold, at the threshold that the other folds give; none of a list of one fold.
    pub folds: Option<KFold>,
    /// Equal error rate of all pairs.
    pub eer: f64,
    /// Area under the ROC curve of all pairs.
    pub auc: f64,
    /// TAR at each FAR, of all pairs.
    pub tar_at_far: Vec<TarAtFar>,
    /// Intervals, people drawn again.
    pub intervals: Option<VerificationIntervals>,
    /// What is to be borne in mind.
    pub warnings: Vec<String>,
}

/// Verifies the pairs of a list. The set's ids are to name images as LFW does, `Abel_Pacheco_0001`, with or without folders
/// and the ending of a picture.
///
/// # Errors
/// When the set has no ids, two rows are the same image, an image of the list has no row, or an embedding is not finite.
pub fn verify_pairs(
    set: &EvaluationSet<'_>,
    list: &LfwPairs,
    options: &AssessmentOptions,
) -> Result<PairListVerification> {
    set.check()?;
    let pairs = list.resolve(&images(set)?)?;
    let (metric, fars) = (options.metric, &options.fars);
    let scores = pairs.scores(metric, set.embeddings)?;
    let curve = pairs.curve(metric, &scores)?;
    let mut warnings = Vec::new();
    let folds = of_enough(k_fold(metric, &scores, &pairs, fars, ThresholdSearch::Exact), &mut warnings)?;
    let intervals = if options.resamples > 0 {
        let how = Bootstrap { resamples: options.resamples, seed: options.seed, ..Bootstrap::default() };
        of_enough(bootstrap_pairs(metric, &scores, &pairs, fars, &how), &mut warnings)?
    } else {
        None
    };
    Ok(PairListVerification {
        genuine: curve.genuine(),
        impostors: curve.impostors(),
        folds,
        eer: curve.equal_error().eer,
        auc: curve.auc(),
        tar_at_far: fars.iter().map(|&far| curve.tar_at_far(far)).collect::<Result<_>>()?,
        intervals,
        warnings,
    })
}

/// The row of each image.
fn images(set: &EvaluationSet<'_>) -> Result<HashMap<String, usize>> {
    let ids = set.ids.ok_or_else(|| {
        Error::Input(
            "pairs name images: the labels want a column of ids such as Abel_Pacheco_0001, or paths that end so"
                .to_owned(),
        )
    })?;
    let mut rows = HashMap::with_capacity(ids.len());
    for (row, id) in ids.iter().enumerate() {
        let image = image_name(id);
        if let Some(other) = rows.insert(image.to_owned(), row) {
            return Err(Error::Input(format!("rows {other} and {row} are both the image {image}: keep one of them")));
        }
    }
    Ok(rows)
}

/// The last part of a path, without the ending of a picture. A name may have dots of its own.
fn image_name(id: &str) -> &str {
    let name = id.rsplit(['/', '\\']).next().unwrap_or(id);
    match name.rsplit_once('.') {
        Some((stem, ending)) if ending.bytes().all(|b| b.is_ascii_alphanumeric()) && ending.len() <= 4 => stem,
        _ => name,
    }
}

impl PairListVerification {
    pub(super) fn table(&self) -> MetricTable {
        let pairs = Some(self.genuine + self.impostors);
        let row = |name: String, value: f64, interval: Option<(f64, f64)>, definition: String| MetricRow {
            name,
            value,
            low: interval.map(|i| i.0),
            high: interval.map(|i| i.1),
            percent: true,
            definition,
            n: pairs,
        };
        let ends = |interval: Option<Interval>| interval.map(|i| (i.low, i.high));
        let mut rows = Vec::new();
        if let Some(found) = &self.folds {
            let (mean, error) = (found.accuracy.mean, found.accuracy.standard_error);
            let definition = format!(
                "share of pairs decided rightly, each fold at the best threshold of the others: {:.2} ± {:.2} % (standard error \
                 over {} folds, s/√k, which is the interval shown)",
                100.0 * mean,
                100.0 * error,
                found.folds.len()
            );
            rows.push(row("Accuracy ± s.e.".to_owned(), mean, Some((mean - error, mean + error)), definition));
        }
        let intervals = self.intervals.as_ref();
        let eer = "rate at which as many impostors pass as genuine pairs do not; smaller is better".to_owned();
        rows.push(row("EER".to_owned(), self.eer, ends(intervals.map(|i| i.eer)), eer));
        let auc = "chance that a genuine pair is closer than an impostor pair, ties counted half".to_owned();
        rows.push(row("AUC".to_owned(), self.auc, ends(intervals.map(|i| i.auc)), auc));
        for (at, point) in self.tar_at_far.iter().enumerate() {
            let interval = intervals.and_then(|i| i.tar_at_far.get(at)).map(|i| i.1);
            let few = if point.too_few_impostors { "; too few impostors to measure it" } else { "" };
            let definition =
                format!("share of genuine pairs that pass where at most {:e} of impostors do{few}", point.far);
            rows.push(row(format!("TAR@FAR={:e}", point.far), point.tar, ends(interval), definition));
        }
        MetricTable {
            title: "Verification of the pair list".to_owned(),
            rows,
            note: format!(
                "{} genuine and {} impostor pairs. Intervals but of the accuracy: 95 %, people drawn again.",
                self.genuine, self.impostors
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_named_by_the_ends_of_paths() {
        for id in ["Jr._B_0001", "a/b/Jr._B_0001.jpg", r"c:\lfw\Jr._B_0001.png"] {
            assert_eq!(image_name(id), "Jr._B_0001");
        }
    }
}
