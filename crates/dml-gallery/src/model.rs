//! Which model made embeddings, and the embeddings it made.

use crate::{Error, Result};
use dml_core::{Matrix, Metric};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Fingerprint of what makes embeddings. Those of two models are not comparable, whatever their length, so a gallery takes
/// only those of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// SHA-256 of the file of weights, in hexadecimal ([`sha256_of`]). `None`: nobody knows, and only embeddings of which
    /// nobody knows either are taken.
    #[serde(default)]
    pub weights_sha256: Option<String>,
    /// Length of an embedding, d.
    pub dim: usize,
    /// How embeddings are compared.
    #[serde(serialize_with = "write_metric", deserialize_with = "read_metric")]
    pub metric: Metric,
    /// What is done to an input before it is embedded, in any words: only compared.
    #[serde(default)]
    pub preprocessing: String,
}

fn write_metric<S: Serializer>(metric: &Metric, to: S) -> std::result::Result<S::Ok, S::Error> {
    to.collect_str(metric)
}

fn read_metric<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Metric, D::Error> {
    String::deserialize(from)?.parse().map_err(de::Error::custom)
}

/// SHA-256 of a file, in hexadecimal.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_of(path: &Path) -> Result<String> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let (mut file, mut hash, mut buffer) = (File::open(path).map_err(io)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(io)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(&buffer[..n]),
        }
    }
}

impl Model {
    /// Refuses the embeddings of another model.
    ///
    /// # Errors
    /// Names the first thing that differs: length, metric, weights or preprocessing.
    pub fn check(&self, given: &Self) -> Result<()> {
        let weights =
            |model: &Self| model.weights_sha256.as_ref().map_or("unknown".to_owned(), |hash| format!("SHA-256 {hash}"));
        let differs = |what, gallery: String, given: String| match gallery == given {
            true => Ok(()),
            false => Err(Error::OtherModel { what, gallery, given }),
        };
        differs("length", self.dim.to_string(), given.dim.to_string())?;
        differs("metric", self.metric.to_string(), given.metric.to_string())?;
        differs("weights", weights(self), weights(given))?;
        differs("preprocessing", format!("{:?}", self.preprocessing), format!("{:?}", given.preprocessing))
    }
}

/// Embeddings `[n, d]` and the model that made them.
#[derive(Clone, Copy, Debug)]
pub struct Embeddings<'a> {
    /// What made them.
    pub model: &'a Model,
    /// `[n, d]`, as the model gives them.
    pub values: Matrix<'a>,
}

impl<'a> Embeddings<'a> {
    /// Embeddings of a model.
    pub fn new(model: &'a Model, values: Matrix<'a>) -> Self {
        Self { model, values }
    }

    /// Refuses what a gallery of `model` cannot compare.
    ///
    /// # Errors
    /// When another model made them, or their length is not d; when a row holds what is not finite, is so long or, by cosine, so
    /// short that its norm is lost in `f32`, or lies outside the Poincaré ball.
    pub fn check(&self, model: &Model) -> Result<()> {
        /// Below this dml-core takes a norm for 0.
        const SMALLEST: f64 = 1e-12;
        model.check(self.model)?;
        let (width, dim) = (self.values.cols().to_string(), model.dim.to_string());
        if width != dim {
            return Err(Error::OtherModel { what: "length", gallery: dim, given: width });
        }
        for row in 0..self.values.rows() {
            let values = self.values.row(row);
            let refused = |problem: String| Err(Error::Embedding { row, problem });
            if let Some(column) = values.iter().position(|v| !v.is_finite()) {
                return refused(format!("holds {} in column {column}: check the model", values[column]));
            }
            let square: f64 = values.iter().map(|&v| f64::from(v).powi(2)).sum();
            // (2‖x‖)² is the most that a distance needs.
            if square > f64::from(f32::MAX) / 8.0 {
                return refused(format!(
                    "has length {:e}: its scores overflow, scale the embeddings down",
                    square.sqrt()
                ));
            }
            match model.metric {
                Metric::Cosine if square.sqrt() < 2.0 * SMALLEST => {
                    return refused("is zero and has no direction: leave it out, or use another metric".to_owned());
                }
                Metric::Hyperbolic(c) if c * square >= 1.0 => {
                    return refused(format!(
                        "has c‖x‖² = {} and is outside of the Poincaré ball: project it",
                        c * square
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
