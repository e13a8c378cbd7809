//! Targets that read what dml-eval and dml-gallery read.

use crate::place::{self, Target};
use dml_core::Metric;
use dml_eval::input::{ColumnNames, check_finite, open_table, open_vectors, zero_rows};
use dml_eval::verification::{LfwPairs, PairList};
use dml_gallery::{Exported, Filter, Gallery, MemoryGallery, Model, Templates, import};

/// All of them by their names.
pub const TARGETS: [Target; 4] =
    [("embeddings", embeddings), ("gallery", gallery), ("labels", labels), ("pairs", pairs)];

/// Embeddings in `.npy` and `.safetensors` files. What is read was in the file.
pub fn embeddings(bytes: &[u8]) {
    for name in ["x.npy", "x.safetensors"] {
        if let Ok(x) = open_vectors(place::file(name, bytes), None) {
            let values = x.block(0..x.rows()).expect("all rows").len();
            assert!(values <= bytes.len() && Some(values) == x.rows().checked_mul(x.dim()));
            let _ = check_finite(&*x);
            zero_rows(&*x).expect("all rows");
        }
    }
}

/// Exports of galleries: a gallery takes all of one or nothing, and holds what the export says.
pub fn gallery(bytes: &[u8]) {
    let folder = place::files(&["gallery.json", "identities.jsonl", "embeddings.safetensors"], bytes);
    // The gallery that an export was made of, or one that takes embeddings of length 2.
    let plain = || Model { weights_sha256: None, dim: 2, metric: Metric::Cosine, preprocessing: String::new() };
    let model = Exported::read(&folder).map_or_else(|_| plain(), |exported| exported.model);
    let Ok(gallery) = MemoryGallery::new(model, Templates::Mean) else { return };
    let taken = import(&gallery, &folder).unwrap_or_default();
    assert_eq!(gallery.count(&Filter::everybody()).expect("memory does not fail"), taken);
    assert!(taken.samples <= bytes.len() / 4 && taken.identities <= bytes.len());
}

/// Labels and the columns beside them, in files of every kind.
pub fn labels(bytes: &[u8]) {
    for name in ["x.csv", "x.tsv", "x.txt", "x.npy", "x.safetensors"] {
        if let Ok(table) = open_table(place::file(name, bytes), &ColumnNames::default()) {
            let classes = table.labels.names.len();
            assert!(table.rows() <= bytes.len() && table.labels.ids.iter().all(|&id| (id as usize) < classes));
        }
    }
}

/// Lists of pairs. What is read comes back from its own text.
pub fn pairs(bytes: &[u8]) {
    let text = place::text(bytes);
    if let Ok(list) = LfwPairs::parse(text) {
        assert_eq!(LfwPairs::parse(&list.to_text()).expect("its own text"), list);
    }
    if let Ok(list) = PairList::parse(text) {
        assert_eq!(PairList::parse(&list.to_csv()).expect("its own text"), list);
    }
}
