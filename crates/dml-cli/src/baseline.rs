//! `dml baseline`: what a trained encoder must beat.

use crate::train::Parent;
use anyhow::{Result, bail};
use candle_core::Device;
use clap::Args;
use dml_core::Metric;
use dml_data::sources::omniglot::{self, ORIGINAL_SIZE, OneShotRun};
use dml_data::{Dataset, ImageSet};
use dml_eval::{Centring, Ink, OneShotTrials};
use dml_train::embedding;
use dml_train::evaluation::{self, Evaluation};
use dml_train::{Recipe, Trainer, checkpoint, sets};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Args)]
pub(crate) struct Baseline {
    /// `pixels` or `untrained` (Conv-4 with its initial weights), both on emoji; `omniglot-pixels` or
    /// `omniglot-modified-hausdorff`, both on Lake's one-shot runs
    name: String,
    /// File for the result, JSON
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    parent: Parent,
}

/// As far as the emoji recipes say what an untrained network is.
const RECIPE: &str = "name = 'untrained'\n[data]\nset = 'emoji'\n[loss]\nname = 'triplet'\n[sampler]\nclasses = 2\nper_class = 2\n[train]\nsteps = 1\n";

pub(crate) fn baseline(arguments: &Baseline) -> Result<()> {
    arguments.parent.watch();
    let data_dir = arguments.parent.data_dir.as_deref();
    let mut result = match arguments.name.as_str() {
        "pixels" | "untrained" => emoji(&arguments.name, &arguments.parent.device()?)?,
        "omniglot-pixels" => one_shot(data_dir, |run| {
            let (train, test) = (embedding::pixels(&run.train)?, embedding::pixels(&run.test)?);
            Ok(evaluation::one_shot_run(Metric::Euclidean, &train, &test)?)
        })?,
        "omniglot-modified-hausdorff" => one_shot(data_dir, modified_hausdorff)?,
        other => {
            bail!("unknown baseline {other:?}: use pixels, untrained, omniglot-pixels or omniglot-modified-hausdorff")
        }
    };
    result.name.clone_from(&arguments.name);
    Ok(checkpoint::write_atomically(&arguments.out, serde_json::to_string_pretty(&result)?.as_bytes())?)
}

fn emoji(name: &str, device: &Device) -> Result<Evaluation> {
    let recipe = Recipe::parse(RECIPE, &[])?;
    let sets = sets::open(&recipe, None)?;
    if name == "untrained" {
        let untrained = Trainer::new(&recipe, &sets, device)?;
        return Ok(evaluation::of_encoder(untrained.encoder(), Metric::Cosine, &[], &sets, device)?.0);
    }
    let [validation, test] = &sets.images;
    let pixels = |set: &Option<Arc<ImageSet>>| set.as_ref().map(|set| embedding::pixels(set.as_ref())).transpose();
    let (validation, test) = (pixels(validation)?, pixels(test)?);
    Ok(evaluation::of_embeddings(Metric::Euclidean, validation.as_ref(), test.as_ref())?)
}

/// Lake's runs at their original size, each measured by `trials`.
fn one_shot(data_dir: Option<&Path>, trials: impl Fn(&OneShotRun) -> Result<OneShotTrials>) -> Result<Evaluation> {
    let data_dir = data_dir.map_or_else(dml_data::data_dir, |folder| Ok(folder.to_owned()))?;
    let runs = omniglot::one_shot_runs(&data_dir, ORIGINAL_SIZE)?.iter().map(trials).collect::<Result<Vec<_>>>()?;
    Ok(Evaluation { one_shot: Some(dml_eval::one_shot(&runs)?), ..Evaluation::default() })
}

fn modified_hausdorff(run: &OneShotRun) -> Result<OneShotTrials> {
    let inks = |set: &ImageSet| {
        (0..set.len()).map(|i| Ink::new(set.pixels(i), ORIGINAL_SIZE, Centring::Exact)).collect::<Result<Vec<_>, _>>()
    };
    let (train, test) = (inks(&run.train)?, inks(&run.test)?);
    let distance = |i: usize, class: usize| test[i].distance(&train[class]);
    Ok(OneShotTrials::measure(run.answers().to_vec(), train.len(), distance)?)
}
