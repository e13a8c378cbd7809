//! What is searched of somebody's embeddings: the rows of the template, as they are compared.

use crate::roster::Key;
use crate::{Error, Identity, Model, Result};
use dml_core::{Matrix, Metric, Projection};
use dml_eval::identification::Templates;
use std::borrow::Cow;

/// Identities as they come from a storage.
pub(crate) struct Part {
    /// Each, and how many rows are its own.
    pub(crate) owners: Vec<(Key, Identity, usize)>,
    /// Rows that are searched, one identity's after another's.
    pub(crate) rows: Vec<f32>,
}

impl Part {
    /// Identities and their embeddings, a row for each sample.
    pub(crate) fn new(
        model: &Model,
        templates: Templates,
        identities: Vec<(Key, Identity)>,
        values: Vec<f32>,
    ) -> Result<Self> {
        let (mut owners, mut others, mut rest) = (Vec::with_capacity(identities.len()), Vec::new(), &values[..]);
        for (key, identity) in identities {
            let (own, after) = rest.split_at(identity.samples.len() * model.dim);
            let rows = kept(model, templates, own)?;
            owners.push((key, identity, rows.len() / model.dim));
            if templates != Templates::PerImage {
                others.extend_from_slice(&rows);
            }
            rest = after;
        }
        let rows = if templates == Templates::PerImage { values } else { others };
        Ok(Self { owners, rows: scaled(model, rows)? })
    }
}

/// The rows of the template of somebody's embeddings.
pub(crate) fn kept<'a>(model: &Model, templates: Templates, values: &'a [f32]) -> Result<Cow<'a, [f32]>> {
    if templates == Templates::PerImage {
        return Ok(Cow::Borrowed(values));
    }
    let samples = Matrix::new(values, values.len() / model.dim, model.dim)?;
    let all: Vec<usize> = (0..samples.rows()).collect();
    Ok(Cow::Owned(templates.of_rows(model.metric, samples, &all)))
}

/// Rows of templates as they are searched.
pub(crate) fn scaled(model: &Model, rows: Vec<f32>) -> Result<Vec<f32>> {
    let d = model.dim;
    if model.metric != Metric::Cosine {
        return Ok(rows);
    }
    let unit = Projection::Unit.apply(Matrix::new(&rows, rows.len() / d, d)?).values;
    match unit.chunks_exact(d).any(|row| row.iter().all(|&v| v == 0.0)) {
        true => Err(Error::Input(
            "the samples cancel out, and their mean has no direction: keep all samples as templates, or the medoid"
                .to_owned(),
        )),
        false => Ok(unit),
    }
}

/// Probes as they are compared with the rows.
pub(crate) fn compared(model: &Model, probes: Matrix<'_>) -> Vec<f32> {
    let how = if model.metric == Metric::Cosine { Projection::Unit } else { Projection::None };
    how.apply(probes).values
}
