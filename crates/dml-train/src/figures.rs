//! The figures of an evaluation that tables and summaries show, each with the name that they all use.

use crate::evaluation::{Evaluation, Measures};
use dml_eval::Retrieval;
use dml_eval::statistics::{ci95, mean};

/// A figure of a run, as a share.
pub struct Figure {
    /// Its name in files: `map_at_r`.
    pub key: &'static str,
    /// Its name in tables: MAP@R.
    pub heading: &'static str,
    /// Whether less is better, as of errors.
    pub lower_is_better: bool,
    value: fn(&Evaluation) -> Option<f64>,
}

impl Figure {
    /// The figure called `key`.
    pub fn find(key: &str) -> Option<&'static Self> {
        FIGURES.iter().find(|figure| figure.key == key)
    }

    /// The figure of one run, if it was measured.
    pub fn of(&self, run: &Evaluation) -> Option<f64> {
        (self.value)(run)
    }
}

const fn higher(key: &'static str, heading: &'static str, value: fn(&Evaluation) -> Option<f64>) -> Figure {
    Figure { key, heading, lower_is_better: false, value }
}

const fn lower(key: &'static str, heading: &'static str, value: fn(&Evaluation) -> Option<f64>) -> Figure {
    Figure { key, heading, lower_is_better: true, value }
}

/// All figures, in the order of tables. On the test classes or pairs unless it says otherwise.
pub const FIGURES: &[Figure] = &[
    higher("recall_at_1", "R@1", |e| Some(e.test.as_ref()?.retrieval.recall_at.first()?.1)),
    higher("r_precision", "R-precision", |e| Some(e.test.as_ref()?.retrieval.r_precision)),
    higher("map_at_r", "MAP@R", |e| Some(e.test.as_ref()?.retrieval.map_at_r)),
    lower("eer", "EER", |e| Some(e.test.as_ref()?.verification.eer)),
    higher("tpir", "TPIR@FPIR=1 %", |e| Some(e.open_set.as_ref()?.tpir)),
    higher("calibrated_tpir", "calibrated: TPIR", |e| Some(e.open_set.as_ref()?.calibrated_tpir)),
    lower("achieved_fpir", "FPIR", |e| Some(e.open_set.as_ref()?.achieved_fpir)),
    lower("one_shot_error", "error", |e| Some(e.one_shot.as_ref()?.error)),
    higher("five_way_one_shot", "5-way 1-shot", |e| few_shot(e.test.as_ref()?, 5, 1)),
    higher("five_way_five_shot", "5-way 5-shot", |e| few_shot(e.test.as_ref()?, 5, 5)),
    higher("twenty_way_one_shot", "20-way 1-shot", |e| few_shot(e.test.as_ref()?, 20, 1)),
    higher("twenty_way_five_shot", "20-way 5-shot", |e| few_shot(e.test.as_ref()?, 20, 5)),
    higher("image_to_text_recall_at_1", "image → text R@1", |e| {
        recall(&e.cross_modal.test.as_ref()?.image_to_text, 1)
    }),
    higher("image_to_text_recall_at_10", "R@10", |e| recall(&e.cross_modal.test.as_ref()?.image_to_text, 10)),
    higher("text_to_image_recall_at_1", "text → image R@1", |e| {
        recall(&e.cross_modal.test.as_ref()?.text_to_image, 1)
    }),
    higher("text_to_image_recall_at_10", "R@10", |e| recall(&e.cross_modal.test.as_ref()?.text_to_image, 10)),
    higher("cross_modal_map_at_r", "MAP@R both ways", |e| Some(e.cross_modal.test.as_ref()?.map_at_r())),
    higher("validation_cross_modal_map_at_r", "validation MAP@R both ways", |e| {
        Some(e.cross_modal.validation.as_ref()?.map_at_r())
    }),
    higher("spearman", "Spearman", |e| Some(e.correlation.test.as_ref()?.spearman)),
    higher("validation_map_at_r", "validation MAP@R", |e| Some(e.validation.as_ref()?.retrieval.map_at_r)),
    higher("validation_spearman", "validation Spearman", |e| Some(e.correlation.validation.as_ref()?.spearman)),
];

fn recall(retrieval: &Retrieval, at: usize) -> Option<f64> {
    retrieval.recall_at.iter().find(|(k, _)| *k == at).map(|(_, recall)| *recall)
}

fn few_shot(measures: &Measures, ways: usize, shots: usize) -> Option<f64> {
    let found = measures.few_shot.iter().find(|f| (f.protocol.ways, f.protocol.shots) == (ways, shots))?;
    Some(found.accuracy)
}

/// Shares as a cell of a table, in percent: `45.5`, or of several their mean and the half-width of its 95 % confidence interval
/// by Student's t, `45.5 ± 1.6`; `–` of none.
pub fn cell(shares: &[f64]) -> String {
    match shares.len() {
        0 => "–".to_owned(),
        1 => format!("{:.1}", 100.0 * shares[0]),
        _ => format!("{:.1} ± {:.1}", 100.0 * mean(shares), 100.0 * ci95(shares)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_cells_are_percent() {
        for (i, figure) in FIGURES.iter().enumerate() {
            assert!(FIGURES[..i].iter().all(|other| other.key != figure.key), "{}", figure.key);
        }
        assert_eq!(cell(&[]), "–");
        assert_eq!(cell(&[0.455]), "45.5");
        // 4.303 · 1 / √3, in percent.
        assert_eq!(cell(&[0.01, 0.02, 0.03]), "2.0 ± 2.5");
    }
}
