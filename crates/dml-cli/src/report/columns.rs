//! What a table shows of a run.

use dml_train::figures::Figure;
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
    /// Texts found by images and images by texts.
    CrossModal,
    /// Retrieval of texts, and how pairs of them follow what people found.
    Texts,
}

/// The columns of a table.
pub(super) fn of(kind: Kind) -> Vec<&'static Figure> {
    let keys: &[&str] = match kind {
        Kind::Retrieval => &[
            "recall_at_1",
            "r_precision",
            "map_at_r",
            "eer",
            "tpir",
            "calibrated_tpir",
            "achieved_fpir",
            "five_way_one_shot",
            "validation_map_at_r",
        ],
        Kind::OneShot => &["one_shot_error"],
        Kind::CrossModal => &[
            "image_to_text_recall_at_1",
            "image_to_text_recall_at_10",
            "text_to_image_recall_at_1",
            "text_to_image_recall_at_10",
            "cross_modal_map_at_r",
            "recall_at_1",
            "validation_cross_modal_map_at_r",
        ],
        Kind::FewShot => &["five_way_one_shot", "five_way_five_shot", "twenty_way_one_shot", "twenty_way_five_shot"],
        Kind::Texts => {
            &["recall_at_1", "r_precision", "map_at_r", "eer", "spearman", "validation_map_at_r", "validation_spearman"]
        }
    };
    keys.iter().filter_map(|key| Figure::find(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_names_a_figure() {
        let kinds = [Kind::Retrieval, Kind::OneShot, Kind::FewShot, Kind::CrossModal, Kind::Texts];
        assert_eq!(kinds.map(|kind| of(kind).len()), [9, 1, 4, 7, 7]);
    }
}
