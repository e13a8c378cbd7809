//! `dml inspect`: what a run folder, a checkpoint, an encoder or a file of embeddings holds.

use anyhow::{Result, bail};
use clap::Args;
use dml_eval::input::{TensorSummary, summarize};
use dml_train::run::RunFolder;
use dml_train::{Recipe, checkpoint};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct Inspect {
    /// Run folder, or a .safetensors, .npy or .parquet file
    path: PathBuf,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What is found.
#[derive(Serialize)]
struct Inspection {
    path: PathBuf,
    /// `checkpoint`, `encoder`, `embeddings` or `tensors`.
    kind: &'static str,
    /// Learned values of the encoder, without running statistics; of a file of tensors all.
    parameters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipe: Option<Recipe>,
    /// Values that are NaN or infinite.
    not_finite: usize,
    tensors: Vec<TensorSummary>,
}

/// Where a training stands.
#[derive(Serialize)]
struct Progress {
    step: u64,
    /// MAP@R of the best measurement of the validation classes.
    best: Option<f64>,
    /// Measurements since.
    since_best: u64,
}

pub(crate) fn inspect(arguments: &Inspect) -> Result<()> {
    let found = of_path(&arguments.path)?;
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&found)?),
        false => show(&found),
    }
    Ok(())
}

fn of_path(path: &Path) -> Result<Inspection> {
    if !path.is_dir() {
        let recipe = path.parent().map(|folder| folder.join("recipe.toml")).filter(|recipe| recipe.is_file());
        let found = Inspection::new(path, summarize(path)?);
        let of_run = matches!(found.kind, "checkpoint" | "encoder");
        let recipe = recipe.filter(|_| of_run).map(|recipe| Recipe::read(&recipe, &[])).transpose()?;
        return Ok(Inspection { recipe, ..found });
    }
    let folder = RunFolder::existing(path)?;
    let recipe = Some(Recipe::read(&folder.recipe(), &[])?);
    let checkpoint = checkpoint::found(&folder.checkpoint(), recipe.as_ref().map_or(1, |recipe| recipe.train.keep));
    let encoder = Some(folder.encoder()).filter(|file| file.is_file());
    let checkpoint =
        checkpoint.map(|file| Ok::<_, anyhow::Error>(Inspection::new(&file, summarize(&file)?))).transpose()?;
    let found = match (encoder, checkpoint) {
        // The result, and from the checkpoint how far the training went.
        (Some(encoder), checkpoint) => Inspection {
            progress: checkpoint.and_then(|checkpoint| checkpoint.progress),
            ..Inspection::new(&encoder, summarize(&encoder)?)
        },
        (None, Some(checkpoint)) => checkpoint,
        (None, None) => bail!("{}: the run has no checkpoint yet: inspect it later", path.display()),
    };
    Ok(Inspection { recipe, ..found })
}

impl Inspection {
    fn new(path: &Path, tensors: Vec<TensorSummary>) -> Self {
        let named = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
        // A scalar is its own mean.
        let scalar = |name: &str| named(name).and_then(|tensor| tensor.mean);
        let progress = scalar("trainer/step").map(|step| Progress {
            step: step as u64,
            // −1, and −2 since: none yet.
            best: scalar("trainer/best").filter(|&best| best > -1.0),
            since_best: scalar("trainer/since_best").unwrap_or(0.0) as u64,
        });
        let rows = |tensor: &TensorSummary| tensor.name.is_empty() && tensor.shape.len() == 2;
        let kind = if progress.is_some() {
            "checkpoint"
        // How a run's file of weights begins or is called: one of texts says nothing of its inputs.
        } else if named("input.mean").is_some() || path.file_name().is_some_and(|name| name == "encoder.safetensors") {
            "encoder"
        } else if named("embeddings").is_some() || tensors.iter().all(rows) {
            "embeddings"
        } else {
            "tensors"
        };
        let learned = |tensor: &&TensorSummary| match kind {
            "checkpoint" => tensor.name.starts_with("encoder/") && !is_buffer(&tensor.name),
            _ => !is_buffer(&tensor.name),
        };
        Self {
            path: path.to_owned(),
            kind,
            parameters: tensors.iter().filter(learned).map(TensorSummary::len).sum(),
            not_finite: tensors.iter().map(|tensor| tensor.not_finite).sum(),
            progress,
            recipe: None,
            tensors,
        }
    }
}

/// What is measured or given rather than learned.
fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var") || name.starts_with("input.")
}

fn show(found: &Inspection) {
    println!("{}: {}", found.path.display(), found.kind);
    if let Some(recipe) = &found.recipe {
        let (train, sampler) = (&recipe.train, &recipe.sampler);
        println!("recipe      {}: {} on {}, seed {}", recipe.name, recipe.loss.name, recipe.data.set, recipe.seed);
        println!("batch       {} classes × {} images, {} steps", sampler.classes, sampler.per_class, train.steps);
    }
    if let Some(Progress { step, best, since_best }) = &found.progress {
        println!("step        {step}");
        if let Some(best) = best {
            // What it is of, MAP@R, Spearman's correlation or R@1, is the recipe's choice.
            println!("best        {:.2} % of what chooses the weights, {since_best} measurements since", 100.0 * best);
        }
    }
    if found.kind != "embeddings" {
        println!("parameters  {}", found.parameters);
    }
    if found.not_finite > 0 {
        println!("WARNING     {} values are NaN or infinite", found.not_finite);
    }
    let head = ["tensor", "type", "shape", "mean", "std", "min", "max", "not finite"].map(str::to_owned);
    let mut rows = vec![head];
    rows.extend(found.tensors.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..8).map(width).collect();
    println!();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(i, cell)| {
            let width = widths[i];
            if i < 3 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn row(tensor: &TensorSummary) -> [String; 8] {
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), short);
    let sides: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
    [
        if tensor.name.is_empty() { "–".to_owned() } else { tensor.name.clone() },
        tensor.dtype.clone(),
        if sides.is_empty() { "scalar".to_owned() } else { sides.join(" × ") },
        number(tensor.mean),
        number(tensor.std),
        number(tensor.min),
        number(tensor.max),
        tensor.not_finite.to_string(),
    ]
}

/// Four digits, or as many as a whole number has.
fn short(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e9 {
        format!("{value}")
    } else if (1e-3..1e5).contains(&size) {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}
