//! `dml gallery search`.

use super::place::{Place, Storage};
use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct Search {
    /// The gallery, postgres://…?gallery=NAME
    gallery: Place,
    /// By an approximate graph (HNSW) rather than exactly: made once the gallery is full, it is built more quickly
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
}

pub(super) fn search(arguments: &Search) -> Result<()> {
    let &Search { graph, m, ef_construction, ef_search, .. } = arguments;
    match arguments.gallery.storage()? {
        Storage::File(path) => {
            anyhow::ensure!(!graph, "{}: a gallery in a file is searched exactly", path.display());
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
