//! `dml gallery export`.

use super::{place::Place, print_json};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Export {
    /// The gallery: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    /// The folder to make: embeddings.safetensors, identities.jsonl and gallery.json
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn export(arguments: &Export) -> Result<()> {
    let count = dml_gallery::export(&*arguments.gallery.open()?, &arguments.folder)?;
    if arguments.json {
        return print_json(&count);
    }
    println!("{} identities with {} samples: {}", count.identities, count.samples, arguments.folder.display());
    Ok(())
}
