//! `dml gallery create`.

use super::{place::Place, served};
use crate::train::Parent;
use anyhow::{Context, Result};
use clap::Args;
use dml_core::Metric;
use dml_gallery::{Model, Templates, sha256_of};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Create {
    /// The file to make, or postgres://USER@HOST/DATABASE?gallery=NAME or milvus://…
    gallery: Place,
    /// The model: a folder that `dml train` has finished
    #[arg(long, conflicts_with_all = ["dim", "metric", "weights", "preprocessing"])]
    run_dir: Option<PathBuf>,
    /// Length of an embedding, of another model
    #[arg(long, required_unless_present = "run_dir")]
    dim: Option<usize>,
    /// How embeddings are compared: cosine, dot, euclidean, squared_euclidean, snr, lp:P or hyperbolic:C
    #[arg(long, default_value = "cosine")]
    metric: Metric,
    /// File of the model's weights: embeddings are then taken only with the same file beside them
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// What is done to an input before it is embedded, in any words; the same words are wanted beside embeddings
    #[arg(long, value_name = "TEXT", default_value = "")]
    preprocessing: String,
    /// What probes are compared with: per_image (every sample), mean or medoid
    #[arg(long, value_name = "KIND", default_value = "per_image", value_parser = templates)]
    templates: Templates,
    #[command(flatten)]
    parent: Parent,
}

fn templates(name: &str) -> Result<Templates, String> {
    match name {
        "per_image" => Ok(Templates::PerImage),
        "mean" => Ok(Templates::Mean),
        "medoid" => Ok(Templates::Medoid),
        _ => Err("use per_image, mean or medoid".to_owned()),
    }
}

pub(super) fn create(arguments: &Create) -> Result<()> {
    arguments.parent.watch();
    let model = match &arguments.run_dir {
        Some(run_dir) => served::open(run_dir, &arguments.parent)?.model().clone(),
        None => Model {
            weights_sha256: arguments.weights.as_deref().map(sha256_of).transpose()?,
            dim: arguments.dim.context("--dim is missing: say how long an embedding is")?,
            metric: arguments.metric,
            preprocessing: arguments.preprocessing.clone(),
        },
    };
    let said = super::model_line(&model);
    arguments.gallery.create(model, arguments.templates, |_| Ok(()))?;
    println!("{}: empty; {said}", arguments.gallery);
    Ok(())
}
