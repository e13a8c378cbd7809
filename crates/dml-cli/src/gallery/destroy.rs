//! `dml gallery destroy`.

use super::place::Place;
use anyhow::Result;
use clap::Args;

#[derive(Args)]
pub(crate) struct Destroy {
    /// The gallery, postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
}

pub(super) fn destroy(arguments: &Destroy) -> Result<()> {
    let said = arguments.gallery.to_string();
    arguments.gallery.destroy()?;
    println!("{said}: deleted");
    Ok(())
}
