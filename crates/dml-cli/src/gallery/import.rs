//! `dml gallery import`.

use super::{place::Place, print_json};
use anyhow::Result;
use clap::Args;
use dml_gallery::{Count, Exported};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Import {
    /// A folder that `dml gallery export` made
    folder: PathBuf,
    /// The gallery to make: a file, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn import(arguments: &Import) -> Result<()> {
    let Exported { model, templates, calibration, .. } = Exported::read(&arguments.folder)?;
    let mut count = Count::default();
    arguments.gallery.create(model, templates, |gallery| {
        count = dml_gallery::import(gallery, &arguments.folder)?;
        gallery.set_calibration(calibration.as_ref())
    })?;
    if arguments.json {
        return print_json(&count);
    }
    println!("{} identities with {} samples: {}", count.identities, count.samples, arguments.gallery);
    Ok(())
}
