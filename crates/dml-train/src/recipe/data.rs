//! Where the images or texts come from, as a recipe says it.

use crate::{Error, Result};
use dml_data::image::{Decoder, Pipeline, Unreadable};
use dml_data::{ClassFolds, Normalize};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the images or texts come from, and how they are made inputs.
///
/// Sets in memory (`emoji`, `folder`, `mnist`, `fashion-mnist`, `omniglot-…`) have images of one small size and are augmented by the
/// recipe's `augment`. Sets of image files (`table` and the published ones) go through `preset`, or `train_transforms` and
/// `eval_transforms`; so does a `folder` where these are given, or another preset than the default. Texts become tokens by `tokenizer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// `emoji`, `folder`, `mnist`, `fashion-mnist`, `omniglot-small1`, `omniglot-small2`, `omniglot-full`, `table`, or the name of a
    /// published set of image files: `cub-200-2011`, `cars-196`, `stanford-online-products`, `in-shop`, `inaturalist-2018`,
    /// `vehicle-id`, `lfw`, `att-faces`, `mini-imagenet`. Of texts: `emoji-names`, `banking77`, `clinc150`, `texts`; of pairs of
    /// texts: `stsb`, `pairs`.
    pub set: String,
    /// For `folder`: a folder with one folder of images per class. For `table`: a CSV or Parquet file with the columns `path`, `label`
    /// and, if there are, `split`, `is_query`, `is_gallery`, `box`, `group`; paths are below its folder. For `texts`: a CSV file with
    /// `text`, `label`, `split`, `group`; for `pairs` with `left`, `right`, `score`, `split`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Side of the square images of a `folder`, pixels; what takes more than 4 GiB so is not held in memory but read each time.
    /// Default 32.
    pub size: usize,
    /// Turn every training class by 0°, 90°, 180°, 270° into four classes; for `omniglot-full` those of validation and test
    /// too, as published. Default false.
    pub rotations: bool,
    /// Alphabets of Omniglot's background set that are kept from training, to choose by. Default none.
    pub hold_out: Vec<String>,
    /// Share of the training classes of a set of image files or of `texts` that is kept from training, to choose by, if the set has no part
    /// `validation`. Default 0.
    pub validation: f64,
    /// Groups of the training and validation classes that take turns as validation classes, for cross-validation as in Musgrave et
    /// al. 2020: `dml train` makes a run of each. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// Which of the `folds`, from 0, is for validation in this run. Default none: each in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<usize>,
    /// Seed by which classes are shuffled before they are dealt to `folds`. Default none: neighbouring classes are in one fold, as in
    /// the paper; those of image files in the order of their source, others in order of their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold_shuffle: Option<u64>,
    /// Preprocessing of a paper: `imagenet` (default), `mlrc`, `proxy-anchor-bn-inception`, `proxy-anchor-resnet50`, `roadmap`,
    /// `hyp-dino`, `hyp-vit`.
    pub preset: String,
    /// Steps of training images, instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_transforms: Option<Pipeline>,
    /// Steps of all other images, instead of the preset's; they draw nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_transforms: Option<Pipeline>,
    /// Mean and deviation of image files, instead of the preset's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalize: Option<Normalize>,
    /// How image files are read.
    pub decoder: Decoder,
    /// Whether images are cut to their boxes. Default: those of a `table` are, those of published sets are not, as in their papers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boxes: Option<bool>,
    /// Texts that go with the images of a class, of which each image has one in a batch, drawn anew each time: `emoji-names`, or a CSV
    /// file as for `texts`, whose labels are the names of the classes. The two are views of an example; `model.text` embeds the
    /// texts, and each way of retrieval between the two is measured. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub texts: Option<String>,
    /// Views of each training image: 1 (default), or 2, each augmented by itself, for losses of two views such as `self_supervised`
    /// and `vic_reg`. Something must be drawn of it.
    #[serde(skip_serializing_if = "is_one")]
    pub views: usize,
    /// Of a set whose training images are queries or gallery images (`is_query`, `is_gallery` of a `table`), e.g. photographs from the
    /// street and from a shop: whether a batch has two streams, of queries as the sampler deals them, and beside each an image of its
    /// class from the gallery, drawn anew each time. The two are views of an example. Default false: all are dealt alike.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub two_streams: bool,
    /// Folder of decoded images: made once, mapped into memory, used by all runs of the same set, decoder and first steps. Default
    /// none: files are decoded each time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<PathBuf>,
    /// Of texts: the `tokenizer.json` that makes tokens of them. Default: that of the sentence encoder that `model.weights` names;
    /// for `emoji-names` one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Of texts: most tokens of one; what is beyond is cut off. 0 (default): as many as the sentence encoder says, which the
    /// run folder's recipe writes out, or the model has places for.
    pub max_length: usize,
    /// Of pairs: the score from which on the two texts are positives of each other, e.g. 4 for `stsb`; pairs below are left out.
    /// Default none: all pairs, with their scores, for `cosent` and `angle`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive_score: Option<f32>,
    /// What becomes of training images whose files cannot be read: the run ends (`fail`, default), or they are left out of their batches
    /// and named in the log (`skip`). What is measured must be readable.
    pub unreadable: Unreadable,
    /// Threads that prepare batches. They change no batch. Default 2.
    pub workers: usize,
    /// Batches that are prepared ahead. Default 2.
    pub ahead: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            set: String::new(),
            root: None,
            size: 32,
            rotations: false,
            hold_out: vec![],
            validation: 0.0,
            folds: None,
            fold: None,
            fold_shuffle: None,
            preset: "imagenet".to_owned(),
            train_transforms: None,
            eval_transforms: None,
            normalize: None,
            decoder: Decoder::default(),
            boxes: None,
            texts: None,
            views: 1,
            two_streams: false,
            cache: None,
            tokenizer: None,
            max_length: 0,
            positive_score: None,
            unreadable: Unreadable::Fail,
            workers: 2,
            ahead: 2,
        }
    }
}

impl DataConfig {
    /// The folds, and which one is held out in this run; `None` without folds.
    ///
    /// # Errors
    /// When it is not said which one.
    pub(crate) fn held_out(&self) -> Result<Option<(ClassFolds, usize)>> {
        let Some(folds) = self.folds else { return Ok(None) };
        let fold = self.fold.ok_or_else(|| {
            Error::Recipe(format!(
                "data.folds is {folds} but a single run holds out one of them: set data.fold to 0 … {}, or leave it to dml train",
                folds.saturating_sub(1)
            ))
        })?;
        Ok(Some((ClassFolds { folds, shuffle: self.fold_shuffle }, fold)))
    }

    /// Whether it says what is done to image files.
    pub(crate) fn names_transforms(&self) -> bool {
        let (train, eval) = (&self.train_transforms, &self.eval_transforms);
        train.is_some() || eval.is_some() || self.preset != Self::default().preset
    }

    pub(super) fn check(&self) -> Result<()> {
        let wrong = |problem: String| Err(Error::Recipe(problem));
        match (&self.texts, self.views) {
            (_, 1) | (None, 2) => {}
            (Some(_), 2) => return wrong("data.views is 2 but data.texts is the second view: keep one".to_owned()),
            (_, views) => return wrong(format!("data.views is {views}: want 1 or 2")),
        }
        if self.two_streams && (self.texts.is_some() || self.views == 2) {
            return wrong(
                "data.two_streams is set but data.texts or data.views give a second view, too: keep one".to_owned(),
            );
        }
        let Some(folds) = self.folds else {
            return match (self.fold, self.fold_shuffle) {
                (None, None) => Ok(()),
                _ => wrong("data.fold and data.fold_shuffle are nothing without data.folds: set it too".to_owned()),
            };
        };
        if folds < 2 {
            return wrong(format!("data.folds is {folds}: want 2 or more, or leave it out"));
        }
        if let Some(fold) = self.fold.filter(|&fold| fold >= folds) {
            return wrong(format!("data.fold is {fold} but there are {folds} folds: want 0 to {}", folds - 1));
        }
        if self.validation > 0.0 || !self.hold_out.is_empty() {
            return wrong(
                "data.folds and data.validation or data.hold_out all say which classes to choose by: keep one"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_one(views: &usize) -> bool {
    *views == 1
}
