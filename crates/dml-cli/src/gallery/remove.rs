//! `dml gallery remove`.

use super::{place::Place, print_json, search};
use anyhow::Result;
use clap::Args;
use dml_gallery::Filter;

#[derive(Args)]
pub(crate) struct Remove {
    /// The gallery: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    /// Whom to forget: all of them, or nobody if one is not enrolled
    #[arg(required = true)]
    names: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn remove(arguments: &Remove) -> Result<()> {
    let gallery = arguments.gallery.open()?;
    gallery.remove(&arguments.names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let left = gallery.count(&Filter::everybody())?;
    match arguments.json {
        true => print_json(&serde_json::json!({ "removed": arguments.names, "left": left }))?,
        false => {
            println!("{} forgotten, {} identities left: {}", arguments.names.len(), left.identities, arguments.gallery);
        }
    }
    search::refresh(gallery.as_ref());
    Ok(())
}
