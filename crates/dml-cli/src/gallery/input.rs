//! What is enrolled or asked: embeddings in a file, or pictures or texts and the encoder of a run folder.

use super::served::RunEncoder;
use crate::embed::progress_bar;
use crate::evaluate::column_names;
use crate::train::Parent;
use anyhow::{Result, bail};
use clap::Args;
use dml_core::Matrix;
use dml_eval::input::{Labelled, open_table, open_vectors};
use dml_gallery::{Embeddings, Model, sha256_of};
use dml_serve::Encode as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Input {
    /// Embeddings, .npy or .safetensors; or, with --run-dir, a picture or a folder of them, or texts: a .txt file with one on
    /// each line, or a .csv or .tsv table with the columns text and label
    input: PathBuf,
    /// The encoder that embeds pictures or texts: a folder that `dml train` has finished
    #[arg(long, conflicts_with_all = ["labels", "tensor", "columns", "weights", "preprocessing"])]
    run_dir: Option<PathBuf>,
    /// Whose each row is, and what it is called: .csv, .tsv, .txt, .npy, .safetensors
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Tensor that holds the embeddings [default: the only matrix]
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// A column that goes by another name, e.g. label=person or id=file
    #[arg(long = "column", value_name = "ROLE=NAME")]
    columns: Vec<String>,
    /// File of the weights that made the embeddings, where the gallery was made with one
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// What was done to the inputs, in the words that the gallery was made with
    #[arg(long, value_name = "TEXT", default_value = "")]
    preprocessing: String,
    #[command(flatten)]
    parent: Parent,
}

/// Embeddings, and what is known of each.
pub(super) struct Rows {
    pub(super) model: Model,
    values: Vec<f32>,
    /// What each is called.
    pub(super) ids: Vec<String>,
    /// Whose each is.
    pub(super) labels: Option<Vec<String>>,
}

impl Rows {
    pub(super) fn embeddings(&self) -> Result<Embeddings<'_>> {
        Ok(Embeddings::new(&self.model, Matrix::new(&self.values, self.ids.len(), self.model.dim)?))
    }

    /// Whose each row is, or why nobody knows.
    pub(super) fn known_labels(&self, wanted_for: &str) -> Result<&[String]> {
        match &self.labels {
            Some(labels) => Ok(labels),
            None => bail!(
                "{wanted_for} wants to know whose each row is: give --labels, or folders of pictures with a folder for each identity"
            ),
        }
    }
}

impl Input {
    /// Reads, and embeds where there is an encoder. `gallery` says how embeddings in files are compared.
    pub(super) fn rows(&self, gallery: &Model) -> Result<Rows> {
        self.parent.watch();
        if let Some(run_dir) = &self.run_dir {
            let encoder = RunEncoder::open(run_dir, &self.parent)?;
            let model = encoder.model().clone();
            // Before the work of embedding anything.
            gallery.check(&model)?;
            let found = encoder.list(&self.input)?;
            let mut values = Vec::with_capacity(found.ids.len() * model.dim);
            let bar = std::io::stderr().is_terminal().then(|| progress_bar(found.ids.len())).transpose()?;
            for rows in encoder.embed(&found) {
                values.extend(rows?);
                if let Some(bar) = &bar {
                    bar.set_position((values.len() / model.dim) as u64);
                }
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            return Ok(Rows { model, values, ids: found.ids, labels: found.labels });
        }
        if self.input.is_dir() {
            bail!("{} is a folder: give --run-dir with the encoder that embeds its pictures", self.input.display());
        }
        let tensor = self.tensor.as_deref();
        let (vectors, table) = match &self.labels {
            None if self.columns.is_empty() => (open_vectors(&self.input, tensor)?, None),
            None => {
                let set = Labelled::open(&self.input, tensor, &self.input, &column_names(&self.columns)?)?;
                (set.vectors, Some(set.table))
            }
            Some(labels) => {
                let table = open_table(labels, &column_names(&self.columns)?)?;
                let vectors = open_vectors(&self.input, tensor)?;
                let names = [&self.input, labels].map(|path| path.display().to_string());
                let set = Labelled::join(vectors, &names[0], table, &names[1])?;
                (set.vectors, Some(set.table))
            }
        };
        let rows = vectors.rows();
        let model = Model {
            weights_sha256: self.weights.as_deref().map(sha256_of).transpose()?,
            dim: vectors.dim(),
            metric: gallery.metric,
            preprocessing: self.preprocessing.clone(),
        };
        let ids = table.as_ref().and_then(|table| table.ids.clone());
        let ids = ids.unwrap_or_else(|| (0..rows).map(|row| format!("#{row}")).collect());
        let labels = table.map(|table| {
            let names = &table.labels.names;
            table.labels.ids.iter().map(|&id| names[id as usize].clone()).collect()
        });
        Ok(Rows { model, values: vectors.block(0..rows)?.into_owned(), ids, labels })
    }
}
