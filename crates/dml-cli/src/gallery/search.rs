//! `dml gallery search`.

use super::place::{Place, Storage};
use anyhow::Result;
use clap::Args;
use dml_core::Watch;
use dml_gallery::{Filter, Gallery};
use indicatif::{ProgressBar, ProgressStyle};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

#[derive(Args)]
pub(crate) struct Search {
    /// The gallery: a file, or postgres://…?gallery=NAME
    gallery: Place,
    /// By an approximate graph (HNSW) rather than exactly: made once the gallery is full, it is built more quickly. Of a file it is
    /// built anew by each call, and lies beside it; who is enrolled later is found too. `dml enroll`, `dml gallery remove` and
    /// `dml serve` build it again when they have made it stale
    #[arg(long)]
    graph: bool,
    /// Links of a node
    #[arg(long, requires = "graph", default_value_t = 16)]
    m: u16,
    /// Candidates while the graph is built
    #[arg(long, requires = "graph", default_value_t = 64)]
    ef_construction: u16,
    /// Candidates of a search: more find more, and take longer
    #[arg(long, requires = "graph", default_value_t = 100)]
    ef_search: u16,
    /// Threads that build the graph of a file: with one, the same gallery gives the same graph
    #[arg(long, requires = "graph", default_value_t = 1)]
    threads: u16,
}

pub(super) fn search(arguments: &Search) -> Result<()> {
    let &Search { graph, m, ef_construction, ef_search, .. } = arguments;
    match arguments.gallery.storage()? {
        Storage::File(path) => {
            of_file(&path, arguments)?;
        }
        #[cfg(feature = "pgvector")]
        Storage::Postgres { server, name } => {
            use dml_gallery::{PostgresGallery, Search};
            let search = if graph { Search::Hnsw { m, ef_construction, ef_search } } else { Search::Exact };
            PostgresGallery::open(*server, &name)?.set_search(search)?;
        }
        #[cfg(feature = "milvus")]
        Storage::Milvus { .. } => {
            anyhow::ensure!(!graph, "{}: a gallery in Milvus is searched exactly", arguments.gallery);
        }
    }
    let how = match graph {
        true => format!("by a graph (m {m}, ef_construction {ef_construction}, ef_search {ef_search})"),
        false => "exactly".to_owned(),
    };
    println!("{}: searched {how}", arguments.gallery);
    Ok(())
}

/// Builds the index of a gallery in a file, or forgets it.
#[cfg(feature = "ann")]
fn of_file(path: &Path, arguments: &Search) -> Result<()> {
    use dml_gallery::{ApproximateOptions, FileGallery, IndexReport};
    let gallery = FileGallery::open(path)?;
    if !arguments.graph {
        return Ok(gallery.drop_index()?);
    }
    let options = ApproximateOptions {
        connectivity: arguments.m.into(),
        expansion_add: arguments.ef_construction.into(),
        expansion_search: arguments.ef_search.into(),
        threads: arguments.threads.into(),
    };
    let report = shown(&gallery, |watch| gallery.build_index(options, watch))?;
    let IndexReport { rows, asked, k, recall } = report;
    println!("{rows} rows; of the {k} nearest of {asked} of them {:.2} % are found", 100.0 * recall);
    Ok(())
}

#[cfg(not(feature = "ann"))]
fn of_file(_: &Path, arguments: &Search) -> Result<()> {
    anyhow::ensure!(!arguments.graph, "this dml was built without approximate indices: build it with --features ann");
    Ok(())
}

/// Builds the index of a gallery again where a change has made it stale. The change is kept, whatever becomes of the index.
pub(super) fn refresh(gallery: &dyn Gallery) {
    if let Err(error) = shown(gallery, |watch| gallery.refresh(watch)) {
        super::warn(
            [format!("the index is stale ({error}), and searches are exact: dml gallery search --graph")].iter(),
        );
    }
}

/// Shows how far the building of an index is, once it has begun.
fn shown<T>(gallery: &dyn Gallery, build: impl FnOnce(Watch<'_>) -> dml_gallery::Result<T>) -> dml_gallery::Result<T> {
    // Most calls build nothing, and of a gallery in a server it takes a question to know how much there is.
    let bar = OnceLock::new();
    let begin = || {
        let samples = gallery.count(&Filter::everybody()).map_or(0, |count| count.samples);
        let style = ProgressStyle::with_template("index {bar:30} {pos}/{len} samples, {per_sec}, {eta} left");
        ProgressBar::new(samples as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    };
    let built = build(&|rows| {
        bar.get_or_init(begin).set_position(rows as u64);
        ControlFlow::Continue(())
    });
    if let Some(bar) = bar.get() {
        bar.finish_and_clear();
    }
    built
}
