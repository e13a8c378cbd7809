//! `dml gallery import`.

use super::print_json;
use anyhow::Result;
use clap::Args;
use dml_gallery::{Count, Exported, FileGallery, Gallery};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Import {
    /// A folder that `dml gallery export` made
    folder: PathBuf,
    /// The gallery to make
    gallery: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn import(arguments: &Import) -> Result<()> {
    let Exported { model, templates, calibration, .. } = Exported::read(&arguments.folder)?;
    let mut count = Count::default();
    FileGallery::create_with(&arguments.gallery, model, templates, |gallery| {
        count = dml_gallery::import(gallery, &arguments.folder)?;
        gallery.set_calibration(calibration.as_ref())
    })?;
    if arguments.json {
        return print_json(&count);
    }
    println!("{} identities with {} samples: {}", count.identities, count.samples, arguments.gallery.display());
    Ok(())
}
