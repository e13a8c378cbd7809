//! One recipe, one run folder: train (or go on), evaluate, leave everything that explains the numbers.
//!
//! A run folder holds `recipe.toml` (every value), of texts `tokenizer.json`, `metrics.jsonl` (one event a line),
//! `checkpoint.safetensors`, `encoder.safetensors` (the trained weights alone), `events.out.tfevents.…` (for TensorBoard) and, once
//! complete, `report.html` and `evaluation.json`.

use crate::evaluation::{self, Evaluation};
use crate::moving_mean::with_weights;
use crate::recipe::Evaluated;
use crate::sets::Sets;
use crate::tensorboard::EventFile;
use crate::{Error, Event, Recipe, Result, Trainer, checkpoint, report, sets, weights};
use candle_core::{Device, Tensor};
use dml_data::text::TextTokenizer;
use dml_models::pretrained::sha256;
use dml_models::{Encoder, Network};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// The files of a run.
pub struct RunFolder(PathBuf);

impl RunFolder {
    /// The folder at `path`, made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::create_dir_all(path).map_err(|e| {
            Error::file(path, format!("cannot be made ({e}): see who may write there, or choose another --run-dir"))
        })?;
        Ok(Self(path.to_owned()))
    }

    /// The folder at `path`, which a run has begun.
    ///
    /// # Errors
    /// When there is no recipe in it.
    pub fn existing(path: &Path) -> Result<Self> {
        let folder = Self(path.to_owned());
        match folder.recipe().is_file() {
            true => Ok(folder),
            false => Err(Error::file(path, "holds no recipe.toml, so it is no run folder: train into it first")),
        }
    }

    /// The echoed recipe.
    pub fn recipe(&self) -> PathBuf {
        self.0.join("recipe.toml")
    }

    /// What makes tokens of texts.
    fn tokenizer(&self) -> PathBuf {
        self.0.join("tokenizer.json")
    }

    /// The training state.
    pub fn checkpoint(&self) -> PathBuf {
        self.0.join("checkpoint.safetensors")
    }

    /// The trained encoder.
    pub fn encoder(&self) -> PathBuf {
        self.0.join("encoder.safetensors")
    }

    /// The weights that did best on the classes or pairs that are chosen by.
    pub fn best(&self) -> PathBuf {
        self.0.join("best.safetensors")
    }

    /// The log.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// The result.
    pub fn evaluation(&self) -> PathBuf {
        self.0.join("evaluation.json")
    }

    /// What the run of `recipe` here has achieved, if it is complete: neither data nor first weights are wanted any more.
    ///
    /// # Errors
    /// When the result cannot be read.
    pub(crate) fn finished(&self, recipe: &Recipe) -> Result<Option<Evaluation>> {
        let Some(evaluation) = self.achieved()? else { return Ok(None) };
        Ok(self.written(recipe)?.map(|_| evaluation))
    }

    /// What the run of `recipe` has written out here, if it has begun.
    fn written(&self, recipe: &Recipe) -> Result<Option<Recipe>> {
        let before = std::fs::read_to_string(self.recipe()).ok().and_then(|text| Recipe::parse(&text, &[]).ok());
        let Some(before) = before else { return Ok(None) };
        let same = recipe.completed_as(&before)?.to_toml()? == before.to_toml()?;
        Ok(same.then_some(before))
    }

    /// How the run of `recipe` goes on here, if it has left a checkpoint: that has all weights.
    fn goes_on(&self, recipe: &Recipe) -> Result<Option<Begun>> {
        if !self.has_checkpoint(recipe) {
            return Ok(None);
        }
        let Some(written) = self.written(recipe)? else { return Ok(None) };
        Ok(Some(Begun { written, by_itself: self.recipe_by_itself()? }))
    }

    /// Whether a run of `recipe` has left a checkpoint here: killed while one took the place of another, only an older one.
    fn has_checkpoint(&self, recipe: &Recipe) -> bool {
        checkpoint::found(&self.checkpoint(), recipe.train.keep).is_some()
    }

    /// The data of `recipe`, opened by what lies here where its run has begun.
    ///
    /// # Errors
    /// As [`sets::open`].
    pub(crate) fn sets(&self, recipe: &Recipe, data_dir: Option<&Path>) -> Result<Sets> {
        match self.goes_on(recipe)? {
            Some(begun) => sets::open(&begun.by_itself, data_dir),
            // Also of a folder of another recipe, which is refused.
            None => sets::open(recipe, data_dir),
        }
    }

    /// The result of whatever run is complete here.
    fn achieved(&self) -> Result<Option<Evaluation>> {
        let path = self.evaluation();
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).map(Some).map_err(|e| Error::file(&path, format!("{e}: remove it")))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::file(&path, e)),
        }
    }

    /// The recipe that was run here, as its data are opened when what the encoder began with is gone: with the tokenizer that lies
    /// here, and without first weights.
    ///
    /// # Errors
    /// When the recipe cannot be read.
    pub fn recipe_by_itself(&self) -> Result<Recipe> {
        let mut recipe = Recipe::read(&self.recipe(), &[])?;
        // Runs of old have left no tokenizer: that of their first weights must do.
        let (of_texts, kept) = (recipe.model.for_texts().is_some(), self.tokenizer().is_file());
        if kept {
            recipe.data.tokenizer = Some(self.tokenizer());
        }
        if kept || !of_texts {
            recipe.model.weights = None;
            recipe.model.text.iter_mut().for_each(|text| text.weights = None);
        }
        Ok(recipe)
    }

    /// The encoder that the finished run of `recipe` has left here.
    ///
    /// # Errors
    /// When it is missing or of another shape.
    pub(crate) fn trained_encoder(&self, recipe: &Recipe, input: [usize; 3], device: &Device) -> Result<Network> {
        let encoder = Network::new(&recipe.completed()?.model, input, recipe.seed, device)?;
        dml_models::pretrained::load(&encoder, &self.encoder())?;
        Ok(encoder)
    }

    /// The page about it all.
    pub fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }

    /// Waits until no other process works in the folder, and says so.
    fn lock(&self, on_event: &mut dyn FnMut(&Event)) -> Result<File> {
        let path = self.0.join("lock");
        let file = File::create(&path).map_err(|e| Error::unwritten(&path, &e))?;
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            on_event(&Event::Waiting);
        }
        file.lock().map_err(|e| Error::file(&path, e))?;
        Ok(file)
    }

    /// Writes the recipe, or refuses a folder that was begun with another.
    fn keep_recipe(&self, recipe: &Recipe) -> Result<()> {
        let text = recipe.to_toml()?;
        match std::fs::read_to_string(self.recipe()) {
            Ok(old)
                if Recipe::parse(&old, &[]).and_then(|old| written_now(old, recipe)).is_ok_and(|old| old == text) =>
            {
                Ok(())
            }
            Ok(_) => Err(Error::file(
                &self.0,
                "the folder was begun with another recipe or seed, see its recipe.toml: choose another --run-dir, or remove the \
                 folder",
            )),
            // Neither says of which recipe it is.
            Err(e)
                if e.kind() == ErrorKind::NotFound && (self.evaluation().exists() || self.has_checkpoint(recipe)) =>
            {
                let problem = "holds what a run has left, but no recipe.toml to say which: bring that back, choose another \
                               --run-dir, or remove the folder";
                Err(Error::file(&self.0, problem))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => checkpoint::write_atomically(&self.recipe(), text.as_bytes()),
            Err(e) => Err(Error::file(&self.recipe(), e)),
        }
    }

    /// Keeps `tokenizer`, or refuses to go on with another than the run began with.
    fn keep_tokenizer(&self, tokenizer: &TextTokenizer) -> Result<()> {
        let path = self.tokenizer();
        match std::fs::read(&path) {
            Ok(old) if old == tokenizer.source() => Ok(()),
            Ok(_) => Err(Error::file(
                &path,
                "the run began with another tokenizer than there is now: bring that one back, or choose another --run-dir",
            )),
            Err(e) if e.kind() == ErrorKind::NotFound => checkpoint::write_atomically(&path, tokenizer.source()),
            Err(e) => Err(Error::file(&path, e)),
        }
    }

    /// Opens the log for appending, without the steps after `step` that a crash has undone.
    fn log_from(&self, step: u64) -> Result<File> {
        let path = self.metrics();
        let old = match std::fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => vec![],
            read => read.map_err(|e| Error::file(&path, e))?,
        };
        // A line that was cut off may end within a character.
        let old = String::from_utf8_lossy(&old);
        let kept = |line: &&str| {
            let value: Option<serde_json::Value> = serde_json::from_str(line).ok();
            value.is_some_and(|v| v["step"].as_u64().is_none_or(|s| s <= step))
        };
        let lines: String = old.lines().filter(kept).map(|l| format!("{l}\n")).collect();
        checkpoint::write_atomically(&path, lines.as_bytes())?;
        OpenOptions::new().append(true).open(&path).map_err(|e| Error::file(&path, e))
    }
}

/// The recipe of a run that has begun.
struct Begun {
    /// As its folder has it.
    written: Recipe,
    /// As [`RunFolder::recipe_by_itself`].
    by_itself: Recipe,
}

/// An `old` recipe as it would be written now, where `recipe` is. A key that an older version did not know has its default.
fn written_now(mut old: Recipe, recipe: &Recipe) -> Result<String> {
    // An older version did not write out what the encoder says.
    if old.data.max_length == 0 {
        old.data.max_length = recipe.data.max_length;
    }
    old.to_toml()
}

/// Runs `recipe` in `folder`, from the last checkpoint if there is one; returns at once when it is complete.
///
/// # Errors
/// As [`Trainer::fit`], and when the folder belongs to another recipe.
pub fn run(
    recipe: &Recipe,
    folder: &RunFolder,
    data_dir: Option<&Path>,
    device: &Device,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Evaluation> {
    match folder.finished(recipe)? {
        Some(evaluation) => Ok(evaluation),
        None => run_on(recipe, &folder.sets(recipe, data_dir)?, folder, device, stop, on_event),
    }
}

/// As [`run`], on `sets` that the recipe's have become, e.g. without those for the test.
///
/// # Errors
/// As [`run`].
pub fn run_on(
    recipe: &Recipe,
    sets: &Sets,
    folder: &RunFolder,
    device: &Device,
    stop: &AtomicBool,
    on_event: &mut dyn FnMut(&Event),
) -> Result<Evaluation> {
    let _lock = folder.lock(on_event)?;
    let begun = folder.goes_on(recipe)?;
    let goes_on = begun.is_some();
    let Begun { written: recipe, by_itself } = match begun {
        Some(begun) => begun,
        None => {
            let written = recipe.completed()?;
            Begun { by_itself: written.clone(), written }
        }
    };
    let recipe = &recipe;
    let mut trainer = Trainer::new(&by_itself, sets, device)?;
    folder.keep_recipe(recipe)?;
    if let Some(evaluation) = folder.achieved()? {
        return Ok(evaluation);
    }
    if let Some(tokenizer) = sets.train.tokenizer() {
        folder.keep_tokenizer(tokenizer)?;
    }
    let resumed = trainer.resume(&folder.checkpoint())?;
    if goes_on && resumed.is_none() {
        return Err(Error::file(&folder.checkpoint(), "somebody has removed it just now: run the command again"));
    }
    let damaged = resumed.and_then(|resumed| resumed.damaged);
    let mut log = folder.log_from(trainer.step())?;
    let mut board = EventFile::begin(&folder.0)?;
    let mut keep = |event: &Event| -> Result<()> {
        on_event(event);
        board.write(event)?;
        let line = serde_json::to_string(event).map_err(|e| Error::file(&folder.metrics(), e))?;
        // In one piece, so that whoever reads meanwhile, or after the disk was full, finds whole lines but for the last.
        log.write_all(format!("{line}\n").as_bytes()).map_err(|e| Error::unwritten(&folder.metrics(), &e))
    };
    if let Some(problem) = damaged {
        keep(&Event::Damaged { problem, step: trainer.step() })?;
    }
    for (weights, file, report) in trainer.loaded.iter().filter(|_| trainer.step() == 0) {
        let (commit, sha256) = (weights::commit(weights, file), sha256(file).map_err(|e| Error::file(file, e))?);
        keep(&Event::Weights { file: file.display().to_string(), sha256, commit, became: report.to_string() })?;
    }
    trainer.fit(sets, folder, stop, &mut keep)?;
    keep(&Event::Evaluating)?;
    let measured = match recipe.train.evaluate {
        Evaluated::Last => trainer.moving_weights(),
        Evaluated::BestOnValidation | Evaluated::BestOnTest => {
            Some(dml_models::pretrained::tensors(&folder.best())?.into_iter().collect::<Vec<_>>())
        }
    };
    let encoder = trainer.encoder();
    let (mut evaluation, test) = with_weights(encoder.weights(), measured.as_deref(), || {
        evaluation::of_encoder(encoder, recipe.metric()?, recipe.loss.dims(), sets, device)
    })
    .map_err(|e| e.of_measure(trainer.step()))?;
    let mut weights = measured.unwrap_or_else(|| trainer.own_weights());
    // Without them the weights of an image encoder cannot be used elsewhere.
    if let Some(normalize) = &sets.normalize {
        weights.push(("input.mean".to_owned(), Tensor::new(&normalize.mean[..], device)?));
        weights.push(("input.std".to_owned(), Tensor::new(&normalize.std[..], device)?));
        if normalize.bgr {
            weights.push(("input.bgr".to_owned(), Tensor::new(&[1f32], device)?));
        }
    }
    checkpoint::save_plain(&folder.encoder(), weights)?;
    evaluation.name.clone_from(&recipe.name);
    evaluation.seed = recipe.seed;
    evaluation.steps = trainer.step();
    evaluation.weights = recipe.train.evaluate;
    let page = report::of_run(recipe, folder, sets, &evaluation, test.as_ref())?.html()?;
    checkpoint::write_atomically(&folder.report(), page.as_bytes())?;
    let text = serde_json::to_string_pretty(&evaluation).map_err(|e| Error::file(&folder.evaluation(), e))?;
    checkpoint::write_atomically(&folder.evaluation(), text.as_bytes())?;
    keep(&Event::Finish)?;
    // As whoever comes later reads it: the last bit of a number may be another then.
    serde_json::from_str(&text).map_err(|e| Error::file(&folder.evaluation(), e))
}
