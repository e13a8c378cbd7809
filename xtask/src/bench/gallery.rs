//! `cargo xtask bench gallery`.

use std::fmt::Write;

use super::peers::Needs;
use super::record::Record;
use super::table::{conditions, ratio, seconds};
use super::versus::{Contest, Measured};

pub(super) const CONTEST: Contest = Contest {
    name: "gallery",
    folder: "bench-gallery",
    program: "time_gallery",
    ours: "ours",
    script: "time_gallery_peers.py",
    peer: "peers",
    needs: Needs::Search,
    // They repeat themselves.
    rounds: 1,
    anew: false,
    chosen_by: |case| &case.title,
    markdown,
    summary: markdown,
};

fn markdown(record: &Record, rows: &[Measured]) -> String {
    let mut text = conditions("float32, cosine, 10 candidates, ", record);
    text.push_str(
        "Floor: of one probe, reading the gallery's vectors from memory once; of 64, the bare product; of opening, reading the \
         file. faiss is its flat index in memory, and its file, without names, metadata or crash safety. pgvector and \
         Milvus are galleries of ours in servers on the same machine, pgvector's searched exactly and by its graph.\n\n",
    );
    text.push_str("| work | identities | d | ours, ms | identities/s | faiss, ms | times as fast | floor, ms | times the floor | pgvector, ms | by its graph, ms | Milvus, ms |\n");
    text.push_str("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for row in rows {
        let time = |who: &str| seconds(row, who).map_or_else(|| "–".to_owned(), |s| format!("{:.1}", 1e3 * s));
        let rate = seconds(row, "ours").map_or_else(String::new, |s| format!("{:.0}", row.case.n as f64 / s));
        let cells = [
            time("ours"),
            rate,
            time("faiss"),
            ratio(row, "faiss", "ours"),
            time("floor"),
            ratio(row, "ours", "floor"),
            time("pgvector"),
            time("pgvector_graph"),
            time("milvus"),
        ];
        let _ = writeln!(text, "| {} | {} | {} | {} |", row.case.title, row.case.n, row.case.d, cells.join(" | "));
    }
    text.push_str(
        "\nBy an index the vectors lie on a surface of 16 directions, as face embeddings do (Gong et al. 2019), and the probes \
         are other points of it. On no surface there are groups of ten that are near to each other, and nothing between.\n",
    );
    for row in rows {
        let (Some(exact), Some(by_index)) = (seconds(row, "exact"), seconds(row, "ours")) else { continue };
        let recall = row.recall.get("ours").copied().unwrap_or(f64::NAN);
        let building = seconds(row, "building").unwrap_or(f64::NAN);
        let _ = writeln!(
            text,
            "\n{}, {} identities: {:.1} times as fast as exact search, recall@10 {recall:.3}; building took {building:.0} s.",
            row.case.title,
            row.case.n,
            exact / by_index
        );
    }
    for (row, why) in rows.iter().flat_map(|row| row.skipped.values().map(move |why| (row, why))) {
        let _ = writeln!(text, "\n– {}: {why}", row.case.title);
    }
    text
}
