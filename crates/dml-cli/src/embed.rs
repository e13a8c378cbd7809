//! `dml embed`: a part of the data, or pictures or texts of one's own, through a trained encoder into a file.

use crate::gallery::RunEncoder;
use crate::train::{Parent, reopen, stop_on_signal};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use dml_eval::input::{EmbeddingFormat, EmbeddingWriter, Items};
use dml_models::Encoder;
use dml_train::embedding::embed_in_batches;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

#[derive(Args)]
pub(crate) struct Embed {
    /// A folder that `dml train` has finished
    #[arg(long)]
    run_dir: PathBuf,
    /// A picture, a folder of pictures or of folders of them, or texts (a .txt file with one on each line, or a .csv or .tsv table with
    /// the columns text and label), instead of a part of the run's data; what has no label is a class of its own
    #[arg(long, value_name = "PATH", conflicts_with = "split")]
    input: Option<PathBuf>,
    /// File to write, with the labels and ids of the images or texts: .safetensors, .npy (labels and ids in a .csv beside it) or .parquet
    #[arg(long)]
    out: PathBuf,
    /// safetensors, npy or parquet [default: what the ending of --out says]
    #[arg(long)]
    format: Option<EmbeddingFormat>,
    /// Which images or texts
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
    match &arguments.input {
        Some(input) => {
            let encoder = RunEncoder::open(&arguments.run_dir, &arguments.parent)?;
            let listed = encoder.list(input)?;
            write(
                out,
                format,
                (encoder.dim(), items(listed.ids.clone(), listed.labels.as_deref())),
                encoder.embed(&listed),
            )
        }
        None => embed_part(arguments, format),
    }
}

/// The part of the data that `--split` names.
fn embed_part(arguments: &Embed, format: EmbeddingFormat) -> Result<()> {
    let device = arguments.parent.device()?;
    let (recipe, sets, trainer) = reopen(&arguments.run_dir, arguments.parent.data_dir.as_deref(), &device)?;
    let set = match arguments.split {
        Part::Train => Some(sets.still.as_ref()),
        Part::Validation => sets.validation.as_deref(),
        Part::Test => sets.test.as_deref(),
    };
    let set =
        set.with_context(|| format!("data.set {:?} has no such part: choose another --split", recipe.data.set))?;
    let n = set.labels().len();
    let ids: Vec<String> = (0..n).map(|i| set.id(i)).collect();
    let items = match set.class_names() {
        // Pairs, each a class of its own.
        [] => items(ids, None),
        class_names => Items { labels: set.labels().to_vec(), class_names: class_names.to_vec(), ids },
    };
    let rows = embed_in_batches(trainer.encoder(), set, &device).map(|rows| Ok(rows?));
    write(&arguments.out, format, (trainer.encoder().dim(), items), rows)
}

/// What is called `ids`, of these classes or each of its own.
fn items(ids: Vec<String>, labels: Option<&[String]>) -> Items {
    let Some(names) = labels else {
        return Items { labels: (0..ids.len() as u32).collect(), class_names: ids.clone(), ids };
    };
    let mut class_names: Vec<String> = names.to_vec();
    class_names.sort();
    class_names.dedup();
    let numbers: HashMap<&str, u32> = class_names.iter().zip(0..).map(|(name, i)| (name.as_str(), i)).collect();
    let labels = names.iter().map(|name| numbers[name.as_str()]).collect();
    Items { labels, class_names, ids }
}

/// Writes `rows` of length `dim` of `items` to `out` as they come.
fn write(
    out: &Path,
    format: EmbeddingFormat,
    (dim, items): (usize, Items),
    rows: impl Iterator<Item = Result<Vec<f32>>>,
) -> Result<()> {
    if let Some(folder) = out.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let stop = stop_on_signal("stopping; Ctrl-C again ends at once")?;
    let n = items.ids.len();
    let mut writer = EmbeddingWriter::create(out, format, dim, items)?;
    let bar = std::io::stderr().is_terminal().then(|| progress_bar(n)).transpose()?;
    for rows in rows {
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

/// Of so many images or texts.
pub(crate) fn progress_bar(items: usize) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} embedded, {per_sec}, {eta} left")?;
    Ok(ProgressBar::new(items as u64).with_style(style))
}
