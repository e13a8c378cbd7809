//! From a published set to batches, as a trainer takes them:
//!
//! `cargo run --release -p dml-data --example image_batches -- mini-imagenet [DATA_DIR]`
#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use dml_data::image::{Decoder, Preset};
use dml_data::sampler::{CoveringPkSampler, Short};
use dml_data::{FileImages, Inputs, Loader, LoaderOptions, data_dir, sources};
use std::sync::Arc;
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, data_dir) = match &arguments[..] {
        [name] => (name, data_dir()?),
        [name, folder] => (name, folder.into()),
        _ => return Err("usage: image_batches NAME [DATA_DIR] (cargo xtask dataset list names the sets)".into()),
    };
    let preset = Preset::named("imagenet")?;
    let start = Instant::now();
    let train = sources::open(name, &data_dir)?.part("train")?;
    println!(
        "{}: {} images of {} classes, opened in {:.2?}",
        train.name(),
        train.len(),
        train.class_names().len(),
        start.elapsed()
    );
    let sampler = CoveringPkSampler::new(train.labels(), 16, 4, Short::Repeat, 0)?;
    let images = Arc::new(FileImages::new(train, Decoder::default(), preset.train, preset.normalize)?);
    println!("inputs of shape {:?}", images.shape());
    let start = Instant::now();
    let mut count = 0;
    let options = LoaderOptions { until: Some(50), ..LoaderOptions::default() };
    for batch in Loader::over(images, Box::new(sampler), (0, 0), options) {
        count += batch?.indices.len();
    }
    println!(
        "{count} images in {:.2?}: {:.0} a second",
        start.elapsed(),
        f64::from(count as u32) / start.elapsed().as_secs_f64()
    );
    Ok(())
}
