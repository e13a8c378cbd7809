//! `dml gallery export`.

use super::print_json;
use anyhow::Result;
use clap::Args;
use dml_gallery::FileGallery;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Export {
    /// The gallery
    gallery: PathBuf,
    /// The folder to make: embeddings.safetensors, identities.jsonl and gallery.json
    folder: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn export(arguments: &Export) -> Result<()> {
    let count = dml_gallery::export(&FileGallery::open(&arguments.gallery)?, &arguments.folder)?;
    if arguments.json {
        return print_json(&count);
    }
    println!("{} identities with {} samples: {}", count.identities, count.samples, arguments.folder.display());
    Ok(())
}
