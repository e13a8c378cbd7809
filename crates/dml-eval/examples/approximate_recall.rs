//! What an approximate index misses and saves on embeddings of one's own, at several numbers of candidates:
//! `cargo run --release -p dml-eval --features ann --example approximate_recall -- EMBEDDINGS [METRIC]`.
//!
//! The first thousand rows each look for their ten nearest among the others.
#![allow(clippy::print_stdout, reason = "an example talks to its user")]

use std::time::Instant;

use dml_core::{Exclude, Matrix, Metric, unwatched};
use dml_eval::input::open_vectors;
use dml_eval::search::{Approximate, ApproximateOptions, Exact, Index, recall_against};

const K: usize = 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("name a file of embeddings, .npy or .safetensors")?;
    let metric: Metric = arguments.next().as_deref().unwrap_or("cosine").parse()?;
    let gallery = open_vectors(&file, None)?;
    let count = gallery.rows().min(1000);
    let values = gallery.block(0..count)?;
    let queries = Matrix::new(&values, count, gallery.dim())?;

    let ask = |index: &dyn Index| {
        let start = Instant::now();
        let found = index.search(&queries, K, Exclude::SelfIndex, &unwatched)?;
        Ok::<_, dml_eval::Error>((found, start.elapsed().as_secs_f64() * 1e3 / count as f64))
    };
    let (exact, time) = ask(&Exact::new(metric, &*gallery))?;
    println!("exact: {time:.3} ms a query, {count} queries, {} rows of {}", gallery.rows(), gallery.dim());
    let start = Instant::now();
    let mut index = Approximate::build(metric, &*gallery, ApproximateOptions::default(), &unwatched)?;
    println!("the graph was built in {:.1} s", start.elapsed().as_secs_f64());
    for candidates in [16, 32, 64, 128, 256] {
        index = index.with_expansion_search(candidates)?;
        let (found, time) = ask(&index)?;
        let recall = recall_against(&exact, &found, K)?;
        let (error, (query, worst)) = (recall.standard_error.unwrap_or(0.0), recall.worst);
        println!(
            "{candidates} candidates: {time:.3} ms a query, recall@{K} {:.4} ± {error:.4}, least {worst:.2} (query {query})",
            recall.mean
        );
    }
    Ok(())
}
