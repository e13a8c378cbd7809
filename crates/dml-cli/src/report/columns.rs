//! What a table shows of a run.

use dml_eval::statistics::{ci95, mean};
use dml_train::evaluation::{Evaluation, Measures};
use serde::Deserialize;

/// The question a table answers.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Retrieval, verification and open-set recognition.
    Retrieval,
    /// Lake's one-shot runs.
    OneShot,
    /// N-way K-shot.
    FewShot,
}

/// A figure of a run, as a share.
pub(super) struct Column {
    /// Its name in a suite's published figures.
    pub(super) key: &'static str,
    /// Its head.
    pub(super) heading: &'static str,
    value: fn(&Evaluation) -> Option<f64>,
}

impl Column {
    /// The column of these runs, in percent, where they have the figure.
    pub(super) fn values(&self, runs: &[Evaluation]) -> Vec<f64> {
        runs.iter().filter_map(|run| Some(100.0 * (self.value)(run)?)).collect()
    }

    /// The column of these runs as text.
    pub(super) fn over(&self, runs: &[Evaluation]) -> String {
        let values = self.values(runs);
        match values.len() {
            0 => "–".to_owned(),
            1 => format!("{:.1}", values[0]),
            _ => format!("{:.1} ± {:.1}", mean(&values), ci95(&values)),
        }
    }
}

/// The columns of a table.
pub(super) fn of(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Retrieval => RETRIEVAL,
        Kind::OneShot => ONE_SHOT,
        Kind::FewShot => FEW_SHOT,
    }
}

const RETRIEVAL: &[Column] = &[
    Column { key: "recall_at_1", heading: "R@1", value: |e| Some(e.test.as_ref()?.retrieval.recall_at.first()?.1) },
    Column { key: "r_precision", heading: "R-precision", value: |e| Some(e.test.as_ref()?.retrieval.r_precision) },
    Column { key: "map_at_r", heading: "MAP@R", value: |e| Some(e.test.as_ref()?.retrieval.map_at_r) },
    Column { key: "eer", heading: "EER", value: |e| Some(e.test.as_ref()?.verification.eer) },
    Column { key: "tpir", heading: "TPIR@FPIR=1 %", value: |e| Some(e.open_set.as_ref()?.tpir) },
    Column {
        key: "calibrated_tpir",
        heading: "calibrated: TPIR",
        value: |e| Some(e.open_set.as_ref()?.calibrated_tpir),
    },
    Column { key: "achieved_fpir", heading: "FPIR", value: |e| Some(e.open_set.as_ref()?.achieved_fpir) },
    Column { key: "five_way_one_shot", heading: "5-way 1-shot", value: |e| few_shot(e.test.as_ref()?, 5, 1) },
    Column {
        key: "validation_map_at_r",
        heading: "validation MAP@R",
        value: |e| Some(e.validation.as_ref()?.retrieval.map_at_r),
    },
];

const ONE_SHOT: &[Column] =
    &[Column { key: "one_shot_error", heading: "error", value: |e| Some(e.one_shot.as_ref()?.error) }];

const FEW_SHOT: &[Column] = &[
    Column { key: "five_way_one_shot", heading: "5-way 1-shot", value: |e| few_shot(e.test.as_ref()?, 5, 1) },
    Column { key: "five_way_five_shot", heading: "5-way 5-shot", value: |e| few_shot(e.test.as_ref()?, 5, 5) },
    Column { key: "twenty_way_one_shot", heading: "20-way 1-shot", value: |e| few_shot(e.test.as_ref()?, 20, 1) },
    Column { key: "twenty_way_five_shot", heading: "20-way 5-shot", value: |e| few_shot(e.test.as_ref()?, 20, 5) },
];

fn few_shot(measures: &Measures, ways: usize, shots: usize) -> Option<f64> {
    let found = measures.few_shot.iter().find(|f| (f.protocol.ways, f.protocol.shots) == (ways, shots))?;
    Some(found.accuracy)
}
