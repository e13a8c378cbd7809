//! The models of all folds as one.

use super::{Member, Setting};
use crate::embedding::Embeddings;
use crate::evaluation::{Embedded, Evaluation};
use crate::run::RunFolder;
use crate::sets::{self, Sets};
use crate::{Error, Result, checkpoint};
use dml_core::Metric;
use dml_models::pretrained::sha256;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::path::Path;

/// What an ensemble achieves: `ensemble.json`.
#[derive(Serialize, Deserialize)]
pub(super) struct Ensemble {
    /// How many models it is of.
    pub(super) models: usize,
    /// The SHA-256 of each one's encoder.
    #[serde(default)]
    encoders: Vec<String>,
    /// Length of its embeddings.
    pub(super) dim: usize,
    /// On the classes that none of its models has seen in any way.
    pub(super) evaluation: Evaluation,
}

/// The trained `members`, folds of one recipe, as one model of the test classes: a sample's embeddings, each of unit length, are
/// joined and brought to unit length again (Musgrave et al. 2020, "concatenated"); those of the texts that go with images likewise,
/// so that a score between the two is the mean of the models' cosines. What was measured before, of the same weights, is read from
/// `file`.
///
/// # Errors
/// When an encoder is missing, or `file` cannot be read or written.
pub(super) fn of_folds(members: &[Member], root: &Path, file: &Path, setting: &Setting<'_>) -> Result<Ensemble> {
    let encoders = members.iter().map(|Member { name, .. }| {
        let path = RunFolder::existing(&root.join(name))?.encoder();
        sha256(&path).map_err(|e| Error::file(&path, e))
    });
    let encoders: Vec<String> = encoders.collect::<Result<_>>()?;
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let before: Ensemble =
                serde_json::from_str(&text).map_err(|e| Error::file(file, format!("{e}: remove it")))?;
            if before.encoders == encoders {
                return Ok(before);
            }
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(Error::file(file, e)),
    }
    let of_member = |Member { name, .. }: &Member| -> Result<(Sets, Embedded)> {
        // Its validation classes are training classes of the others.
        let folder = RunFolder::existing(&root.join(name))?;
        let recipe = &folder.recipe_by_itself()?;
        let sets = Sets { validation: None, ..sets::open(recipe, setting.data_dir)? };
        let encoder = folder.trained_encoder(recipe, sets.input_shape(), setting.device)?;
        let embedded = Embedded::new(&encoder, &sets, setting.device)?;
        Ok((sets, embedded))
    };
    // What the test is, is the same for all folds.
    let (sets, first) = of_member(&members[0])?;
    let mut parts = vec![first];
    for member in &members[1..] {
        parts.push(of_member(member)?.1);
    }
    let (recipe, joined) = (&members[0].recipe, joined(&parts));
    let of_any = joined.test.as_ref().or(joined.one_shot.first().map(|run| &run[0]));
    let dim = of_any.map_or(0, |embeddings| embeddings.dim);
    let mut evaluation = joined.measure(Metric::Cosine, &sets)?;
    evaluation.name = format!("{}, {} folds", recipe.name, members.len());
    evaluation.seed = recipe.seed;
    let ensemble = Ensemble { models: members.len(), encoders, dim, evaluation };
    let text = serde_json::to_string_pretty(&ensemble).map_err(|e| Error::file(file, e))?;
    checkpoint::write_atomically(file, text.as_bytes())?;
    Ok(ensemble)
}

/// Everything that all of `parts` have embedded, joined.
fn joined(parts: &[Embedded]) -> Embedded {
    let of_all = |of: fn(&Embedded) -> Option<&Embeddings>| -> Option<Embeddings> {
        Some(concatenated(&parts.iter().map(of).collect::<Option<Vec<_>>>()?))
    };
    let runs = parts.iter().map(|part| part.one_shot.len()).min().unwrap_or(0);
    let of_run =
        |run: usize, half: usize| concatenated(&parts.iter().map(|part| &part.one_shot[run][half]).collect::<Vec<_>>());
    Embedded {
        validation: None,
        test: of_all(|part| part.test.as_ref()),
        one_shot: (0..runs).map(|run| [of_run(run, 0), of_run(run, 1)]).collect(),
        captions: [None, of_all(|part| part.captions[1].as_ref())],
    }
}

/// Embeddings of the same samples by several models as one: `[x₁/‖x₁‖, x₂/‖x₂‖, …]/√m` of unit length. Those of length 0 stay.
fn concatenated(models: &[&Embeddings]) -> Embeddings {
    let samples = models.iter().map(|model| model.labels.len()).min().unwrap_or(0);
    let dim = models.iter().map(|model| model.dim).sum();
    let mut values = Vec::with_capacity(samples * dim);
    for sample in 0..samples {
        let start = values.len();
        for model in models {
            let from = values.len();
            values.extend_from_slice(&model.values[sample * model.dim..(sample + 1) * model.dim]);
            to_unit_length(&mut values[from..]);
        }
        to_unit_length(&mut values[start..]);
    }
    Embeddings { values, dim, labels: models.first().map(|model| model.labels.clone()).unwrap_or_default() }
}

fn to_unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_weigh_the_same_however_long_their_embeddings_are() {
        let one = Embeddings { values: vec![3.0, 4.0, 0.0, 0.0], dim: 2, labels: vec![7, 8] };
        let other = Embeddings { values: vec![100.0, -0.5], dim: 1, labels: vec![7, 8] };
        let joined = concatenated(&[&one, &other]);
        let half = 0.5f32.sqrt();
        let want = [0.6 * half, 0.8 * half, half, 0.0, 0.0, -1.0];
        assert!(joined.values.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", joined.values);
        assert_eq!((joined.dim, joined.labels), (3, vec![7, 8]));
    }

    #[test]
    fn texts_are_joined_as_images_are() {
        let one = |values: Vec<f32>| Embeddings { values, dim: 2, labels: vec![1] };
        let part = |image: [f32; 2], text: [f32; 2]| Embedded {
            validation: None,
            test: Some(one(image.to_vec())),
            one_shot: vec![],
            captions: [None, Some(one(text.to_vec()))],
        };
        let parts = [part([2.0, 0.0], [3.0, 0.0]), part([0.0, 5.0], [0.0, -1.0])];
        let Embedded { test: Some(image), captions: [None, Some(text)], .. } = joined(&parts) else {
            panic!("a part is missing")
        };
        // The mean of the models' cosines, 1 and −1.
        let cosine: f32 = image.values.iter().zip(&text.values).map(|(a, b)| a * b).sum();
        assert!((image.dim, text.dim) == (4, 4) && cosine.abs() < 1e-6, "{:?} {:?}", image.values, text.values);
        let without = Embedded { captions: [None, None], ..part([1.0, 0.0], [1.0, 0.0]) };
        assert!(joined(&[parts.into_iter().next().unwrap(), without]).captions[1].is_none());
    }
}
