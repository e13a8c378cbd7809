//! The classes on which thresholds and probabilities are chosen.

use super::rows::{Chosen, of_split};
use anyhow::{Result, bail};
use clap::Args;
use dml_core::Matrix;
use dml_eval::assessment::EvaluationSet;
use dml_eval::input::{ColumnNames, Labelled, Table};
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct Validation {
    /// Split whose classes are held out: thresholds and calibration are chosen on it and tried on the rest, or on --split
    #[arg(long, value_name = "SPLIT", conflicts_with = "validation_embeddings")]
    validation: Option<String>,
    /// The same from other files: embeddings
    #[arg(long, value_name = "FILE")]
    validation_embeddings: Option<PathBuf>,
    /// and their labels [default: the file of the embeddings]
    #[arg(long, value_name = "FILE", requires = "validation_embeddings")]
    validation_labels: Option<PathBuf>,
    /// FPIRs of recognition, and of its thresholds
    #[arg(long, value_delimiter = ',', value_name = "F", default_values_t = [1e-1, 1e-2])]
    pub(super) fpirs: Vec<f64>,
    /// Items enrolled of each class, in recognition
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) shots: usize,
    /// Random galleries of recognition, each of half of the classes; 0: no recognition
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) galleries: usize,
}

/// Rows of the validation classes.
pub(super) struct Held {
    values: Vec<f32>,
    d: usize,
    labels: Vec<u32>,
    names: Vec<String>,
}

impl Validation {
    /// Whether there are validation classes.
    pub(super) fn is_given(&self) -> bool {
        self.validation.is_some() || self.validation_embeddings.is_some()
    }

    /// The rows that are measured: those of `split`, or all but those of the validation split.
    pub(super) fn measured(&self, table: &Table, split: Option<&str>) -> Result<Vec<usize>> {
        match (split, &self.validation) {
            (Some(split), Some(held)) if split == held => {
                bail!("--split and --validation are both {split}: measure other classes than are chosen on")
            }
            (Some(split), _) => of_split(table, "--split", split),
            (None, Some(held)) => {
                let held = of_split(table, "--validation", held)?;
                let rest: Vec<usize> = (0..table.rows()).filter(|row| held.binary_search(row).is_err()).collect();
                if rest.is_empty() {
                    bail!("--validation takes all {} rows: none is left to measure", table.rows());
                }
                Ok(rest)
            }
            (None, None) => Ok((0..table.rows()).collect()),
        }
    }

    /// The rows of the validation classes, of `set` or of other files.
    pub(super) fn held(&self, set: &Labelled, tensor: Option<&str>, columns: &ColumnNames) -> Result<Option<Held>> {
        if let Some(split) = &self.validation {
            let rows = of_split(&set.table, "--validation", split)?;
            return Ok(Some(Held::new(set, rows)?));
        }
        let Some(embeddings) = &self.validation_embeddings else { return Ok(None) };
        let labels = self.validation_labels.as_deref().unwrap_or(embeddings);
        let held = Labelled::open(embeddings, tensor, labels, columns)?;
        Ok(Some(Held::new(&held, (0..held.table.rows()).collect())?))
    }
}

impl Held {
    fn new(set: &Labelled, rows: Vec<usize>) -> Result<Self> {
        let (n, d) = (set.vectors.rows(), set.vectors.dim());
        let chosen = Chosen::new(&set.table, rows);
        let values = chosen.values(set.vectors.block(0..n)?, d).into_owned();
        Ok(Self { values, d, labels: chosen.labels, names: set.table.labels.names.clone() })
    }

    pub(super) fn set(&self) -> Result<EvaluationSet<'_>> {
        let matrix = Matrix::new(&self.values, self.labels.len(), self.d)?;
        Ok(EvaluationSet::new(matrix, &self.labels, &self.names))
    }
}
