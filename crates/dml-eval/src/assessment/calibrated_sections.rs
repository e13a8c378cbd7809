//! What was chosen on other classes, as sections of the report.

use super::calibrated::{Calibrated, Scaled, TriedThreshold};
use crate::report::{Axis, Curves, MetricRow, MetricTable, Scale, Section, Series};

fn row(name: String, value: f64, percent: bool, n: Option<u64>, definition: String) -> MetricRow {
    let n = n.map(|n| n as usize);
    MetricRow { name, value, low: None, high: None, percent, definition, n }
}

/// Achieved rate and what is found, two rows for each threshold.
fn rows(tried: &[TriedThreshold], (rate, found): (&str, &str), (others, ours): (&str, &str)) -> Vec<MetricRow> {
    let of_one = |TriedThreshold { chosen, here }: &TriedThreshold| {
        let gallery = here.gallery.map_or_else(String::new, |k| format!(", {k} classes enrolled"));
        let achieved = format!(
            "share of {others} that pass the threshold {:.4}, chosen for {} on the validation classes ({:.2e} there, of {}\
             {gallery})",
            chosen.threshold, chosen.target, chosen.achieved, chosen.trials
        );
        let finds = format!("share of {ours} at that threshold");
        [
            row(format!("{rate}, target {}", chosen.target), here.achieved, false, Some(here.trials), achieved),
            row(format!("{found}, target {}", chosen.target), here.found, true, Some(here.genuine), finds),
        ]
    };
    tried.iter().flat_map(of_one).collect()
}

impl Calibrated {
    pub(super) fn recognition_rows(&self) -> Vec<MetricRow> {
        rows(
            &self.recognition,
            ("FPIR", "TPIR"),
            ("strangers", "probes of enrolled classes that find theirs first, and pass"),
        )
    }

    pub(super) fn sections(&self) -> Vec<Section> {
        let mut table =
            rows(&self.verification, ("FMR", "TAR"), ("pairs of two classes", "pairs of one class that pass"));
        let mut note = format!("Chosen on {} classes ({} embeddings) of the validation set.", self.classes, self.rows);
        let mut curves = None;
        if let Some(found) = &self.probabilities {
            let pairs = Some(found.pairs as u64);
            for (name, scaled) in [("Platt", &found.platt), ("isotonic", &found.isotonic)] {
                let ece = "expected calibration error, 15 bins of equal width (Guo et al. 2017)".to_owned();
                table.push(row(format!("ECE, {name}"), scaled.reliability.ece, false, pairs, ece));
                let cost =
                    "cost of log-likelihood ratios in bits: 0 is perfect, 1 says nothing (Brümmer 2006)".to_owned();
                table.push(row(format!("Cllr, {name}"), scaled.cllr, false, pairs, cost));
            }
            let least = "least Cllr of any rising function of the scores: what calibration cannot mend".to_owned();
            table.push(row("Cllr, least".to_owned(), found.min_cllr, false, pairs, least));
            note += &format!(
                " Probabilities: fitted on {} pairs, {:.2} % of one class; tried on {}, {:.2} %, and for that share.",
                found.fitted_pairs,
                100.0 * found.fitted_share,
                found.pairs,
                100.0 * found.share
            );
            curves = Some(reliability(&found.platt, &found.isotonic));
        }
        if let Some(found) = &self.opis {
            let definition = format!(
                "variance over {} classes of what a threshold is worth to them, FMR 0.01 to 0.1: 0 where one threshold suits all \
                 (Zhang et al. 2024)",
                found.classes
            );
            table.push(row("OPIS".to_owned(), found.opis, false, None, definition));
        }
        let table = (!table.is_empty()).then(|| MetricTable { title: "Calibration".to_owned(), rows: table, note });
        table.map(Section::Metrics).into_iter().chain(curves.map(Section::Curves)).collect()
    }
}

fn reliability(platt: &Scaled, isotonic: &Scaled) -> Curves {
    let share = |label: &str| Axis { label: label.to_owned(), scale: Scale::Linear, min: 0.0, max: 1.0 };
    let series = |name: &str, scaled: &Scaled| Series {
        name: name.to_owned(),
        points: scaled.reliability.bins.iter().map(|bin| (bin.probability, bin.share)).collect(),
        faint: false,
    };
    let perfect = Series { name: "perfect".to_owned(), points: vec![(0.0, 0.0), (1.0, 1.0)], faint: false };
    Curves {
        title: "Reliability".to_owned(),
        x: share("Probability"),
        y: share("Share of one class"),
        series: vec![series("Platt", platt), series("isotonic", isotonic), perfect],
        marks: Vec::new(),
        note: "Pairs by their probability, in 15 bins, and how many of them are of one class.".to_owned(),
    }
}
