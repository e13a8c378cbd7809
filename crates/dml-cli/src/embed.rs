//! `dml embed`: a part of the data through a trained encoder into a file.

use crate::train::{Parent, reopen, stop_on_signal};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use dml_eval::input::{EmbeddingFormat, EmbeddingWriter, Items};
use dml_models::Encoder;
use dml_train::evaluation;
use indicatif::{ProgressBar, ProgressStyle};
use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

#[derive(Args)]
pub(crate) struct Embed {
    /// A folder that `dml train` has finished
    #[arg(long)]
    run_dir: PathBuf,
    /// File to write, with the labels and ids of the images: .safetensors, .npy (labels and ids in a .csv beside it) or .parquet
    #[arg(long)]
    out: PathBuf,
    /// safetensors, npy or parquet [default: what the ending of --out says]
    #[arg(long)]
    format: Option<EmbeddingFormat>,
    /// Which images
    #[arg(long, default_value = "test")]
    split: Part,
    #[command(flatten)]
    parent: Parent,
}

/// A part of the data, as it is for evaluation.
#[derive(Clone, Copy, ValueEnum)]
enum Part {
    Train,
    Validation,
    Test,
}

/// Ctrl-C, of which nothing is left.
#[derive(Debug)]
pub(crate) struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted: nothing was written")
    }
}

impl std::error::Error for Stopped {}

pub(crate) fn embed(arguments: &Embed) -> Result<()> {
    arguments.parent.watch();
    let out = &arguments.out;
    let format = arguments.format.map_or_else(|| EmbeddingFormat::of(out), Ok)?;
    let device = arguments.parent.device()?;
    let (recipe, sets, trainer) = reopen(&arguments.run_dir, arguments.parent.data_dir.as_deref(), &device)?;
    let set = match arguments.split {
        Part::Train => Some(sets.still.as_ref()),
        Part::Validation => sets.validation.as_deref(),
        Part::Test => sets.test.as_deref(),
    };
    let set =
        set.with_context(|| format!("data.set {:?} has no such images: choose another --split", recipe.data.set))?;
    let n = set.labels().len();
    let items = Items {
        labels: set.labels().to_vec(),
        class_names: set.class_names().to_vec(),
        ids: (0..n).map(|i| set.id(i)).collect(),
    };
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let stop = stop_on_signal("stopping; Ctrl-C again ends at once")?;
    let dim = trainer.encoder().dim();
    let mut writer = EmbeddingWriter::create(out, format, dim, items)?;
    let bar = std::io::stderr().is_terminal().then(|| progress_bar(n)).transpose()?;
    for rows in evaluation::embed_in_batches(trainer.encoder(), set, &device) {
        let rows = rows?;
        writer.push(&rows)?;
        if let Some(bar) = &bar {
            bar.inc((rows.len() / dim) as u64);
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Stopped.into());
        }
    }
    writer.finish()?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    println!("{n} embeddings of length {dim}: {}", out.display());
    Ok(())
}

fn progress_bar(images: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} images, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(images as u64).with_style(style))
}
