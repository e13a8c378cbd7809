//! What a finished run has made, without the data that it learned from: enough to embed what others bring.

use crate::recipe::DataConfig;
use crate::run::RunFolder;
use crate::{Error, Recipe, Result, sets};
use candle_core::Device;
use dml_data::image::{Decoder, Pipeline};
use dml_data::text::TextTokenizer;
use dml_data::{Dataset, Normalize};
use dml_models::Network;
use std::path::Path;

/// The encoder of a finished run, and how what it embeds is prepared.
pub struct Trained {
    /// What was run.
    pub recipe: Recipe,
    /// The encoder with its trained weights.
    pub network: Network,
    /// How pictures become inputs, if it embeds them.
    pub pictures: Option<Prepared>,
    /// What makes tokens of texts, if it embeds them.
    pub tokenizer: Option<TextTokenizer>,
}

/// How a picture becomes an input, as those of the test did.
#[derive(Clone)]
pub struct Prepared {
    /// The steps of image files, or `None` where the largest centred square is scaled.
    pub steps: Option<(Decoder, Pipeline)>,
    /// What values become.
    pub normalize: Normalize,
    /// `[channels, height, width]`.
    pub shape: [usize; 3],
}

/// Channels of pictures.
const CHANNELS: usize = 3;

impl Trained {
    /// What the run in `folder` has made. Neither its data nor its first weights are wanted.
    ///
    /// # Errors
    /// When the run is not finished, has learned from images that are made of pictures in no way that pictures of others are, or its
    /// files cannot be read.
    pub fn open(folder: &RunFolder, device: &Device) -> Result<Self> {
        let weights = folder.encoder();
        if !weights.exists() {
            return Err(Error::file(&weights, "does not exist: run dml train to its end first"));
        }
        let recipe = folder.recipe_by_itself()?;
        let of_texts = recipe.model.architecture.embeds_texts();
        let pictures = match of_texts {
            true => None,
            false => Some(Prepared::of(&recipe.data, &weights)?),
        };
        let tokenizer = recipe.model.for_texts().map(|_| sets::tokenizer(&recipe)).transpose()?;
        let shape = pictures.as_ref().map_or([1, 1, 1], |pictures| pictures.shape);
        let network = folder.trained_encoder(&recipe, shape, device)?;
        Ok(Self { recipe, network, pictures, tokenizer })
    }
}

impl Prepared {
    /// As `data` says; what was measured of training images lies in the file of the `weights`.
    fn of(data: &DataConfig, weights: &Path) -> Result<Self> {
        if sets::are_files(data) {
            let (eval, normalize) = sets::evaluation(data)?;
            let shape = eval.output_shape(CHANNELS)?;
            return Ok(Self { steps: Some((data.decoder, eval)), normalize, shape });
        }
        let shape = match data.set.as_str() {
            "folder" => [CHANNELS, data.size, data.size],
            "emoji" => dml_data::sources::emoji::load()?.test.shape(),
            set => {
                return Err(Error::Recipe(format!(
                    "data.set is {set:?}, whose images are not made of pictures: embed them yourself"
                )));
            }
        };
        let tensors = dml_models::pretrained::tensors(weights)?;
        let values = |name: &str| -> Result<Vec<f32>> {
            let tensor = tensors.get(name).ok_or_else(|| {
                Error::Recipe(format!("the encoder's file has no {name}: run dml train in its folder again"))
            })?;
            Ok(tensor.to_vec1()?)
        };
        let normalize = Normalize { mean: values("input.mean")?, std: values("input.std")?, bgr: false };
        Ok(Self { steps: None, normalize, shape })
    }
}
