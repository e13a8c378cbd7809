//! Recognition: which of the enrolled classes is this, or none of them? Over random galleries of the set.

use super::calibrated::Calibrated;
use super::{AssessmentOptions, EvaluationSet};
use crate::identification::{EnrolmentProtocol, OverDraws, Recognition, RecognitionOptions, check_rate, recognition};
use crate::report::{Axis, Curves, MetricRow, MetricTable, Scale, Section, Series};
use crate::{Error, Result};

/// Half of the classes are enrolled, the others are strangers.
pub(super) fn protocol(classes: usize, options: &AssessmentOptions) -> EnrolmentProtocol {
    let &AssessmentOptions { shots, galleries, seed, .. } = options;
    EnrolmentProtocol { shots, enrolled: classes / 2, strangers: None, draws: galleries, seed }
}

/// Refuses rates that are none, and galleries of nothing.
pub(super) fn check(options: &AssessmentOptions) -> Result<()> {
    options.fars.iter().try_for_each(|&far| check_rate("FAR", far))?;
    options.fpirs.iter().try_for_each(|&fpir| check_rate("FPIR", fpir))?;
    match options.shots {
        0 => Err(Error::Input("recognition enrols 0 items of each class: want 1 shot or more".to_owned())),
        _ => Ok(()),
    }
}

pub(super) fn recognise(set: &EvaluationSet<'_>, options: &AssessmentOptions) -> Result<Recognition> {
    let how = RecognitionOptions { fpirs: options.fpirs.clone(), ranks: vec![1], ..RecognitionOptions::default() };
    recognition(options.metric, set.embeddings, set.labels, &protocol(set.classes(), options), &how)
}

/// The table, with what thresholds from validation classes do, and the curves.
pub(super) fn sections(found: &Recognition, calibrated: Option<&Calibrated>) -> Vec<Section> {
    let row = |name: String, rate: &OverDraws, definition: String| MetricRow {
        name,
        value: rate.mean,
        low: rate.ci95.map(|half| rate.mean - half),
        high: rate.ci95.map(|half| rate.mean + half),
        percent: true,
        definition,
        n: Some(found.mated.round() as usize),
    };
    let mut rows: Vec<MetricRow> = Vec::new();
    for point in found.cmc.iter().filter(|point| [1, 5, 10, 20].contains(&point.rank)) {
        let definition = "share of probes of enrolled classes whose class is among the best so many (closed set)";
        rows.push(row(format!("Rank-{} rate", point.rank), &point.rate, definition.to_owned()));
    }
    for point in &found.tpir_at_fpir {
        let few = if point.too_few_non_mated { "; too few strangers to measure it" } else { "" };
        let definition = format!(
            "share of probes of enrolled classes that find theirs first and pass, where at most {} of strangers do; threshold \
             {:.4}, found on the same probes{few}",
            point.fpir, point.threshold.mean
        );
        rows.push(row(format!("TPIR@FPIR={}", point.fpir), &point.tpir, definition));
    }
    rows.extend(calibrated.iter().flat_map(|calibrated| calibrated.recognition_rows()));
    let shots = found.protocol.as_ref().map_or(0, |protocol| protocol.shots);
    let table = MetricTable {
        title: "Recognition".to_owned(),
        rows,
        note: format!(
            "{} random galleries of {:.0} classes, {shots} enrolled of each; probes: {:.0} other items of them, {:.0} items of \
             strangers. FPIR grows with the gallery. Intervals: 95 %, over galleries; they know nothing of training seeds.",
            found.draws, found.identities, found.mated, found.non_mated
        ),
    };
    let least = 1.0 / found.non_mated.max(1.0);
    let curve = |title: &str, x: Axis, y: &str, name: &str, points: Vec<(f64, f64)>, note: &str| Curves {
        title: title.to_owned(),
        x,
        y: Axis { label: y.to_owned(), scale: Scale::Linear, min: 0.0, max: 1.0 },
        series: vec![Series { name: name.to_owned(), points, faint: false }],
        marks: Vec::new(),
        note: note.to_owned(),
    };
    let open = curve(
        "Recognition of enrolled classes and strangers",
        Axis { label: "FPIR".to_owned(), scale: Scale::Log, min: least, max: 1.0 },
        "TPIR",
        "rank 1",
        found.curve.iter().filter(|point| point.0 >= least).map(|point| (point.0, point.1.mean)).collect(),
        "Probes of enrolled classes that are found and pass, against strangers that pass. Means over galleries.",
    );
    let closed = curve(
        "Cumulative match",
        Axis { label: "Rank".to_owned(), scale: Scale::Linear, min: 1.0, max: found.cmc.len() as f64 },
        "Share found",
        "closed set",
        found.cmc.iter().map(|point| (point.rank as f64, point.rate.mean)).collect(),
        "Probes of enrolled classes whose class is among the best so many. Means over galleries.",
    );
    let drawn = [open, closed].into_iter().filter(|curves| curves.series[0].points.len() > 1);
    std::iter::once(Section::Metrics(table)).chain(drawn.map(Section::Curves)).collect()
}
