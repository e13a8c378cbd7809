//! Commands that run a model.

use crate::several::{self, Several};
use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::Args;
use dml_eval::Retrieval;
use dml_train::evaluation::{self, Evaluation};
use dml_train::recipe::Evaluated;
use dml_train::run::{RunFolder, run};
use dml_train::sets::Sets;
use dml_train::{Event, Recipe, Trainer, sets};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Args)]
pub(crate) struct Train {
    /// The recipe, TOML
    recipe: PathBuf,
    /// Folder for the checkpoint, the log and the result; of several runs, for a folder of each and `summary.json`
    #[arg(long)]
    run_dir: PathBuf,
    /// Seed, instead of the recipe's
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    several: Several,
    /// Change a key of the recipe, e.g. train.steps=100
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Never begin anew: go on with what an earlier start has left in the folder, or refuse. Without it a run goes on, too, where there
    /// is one
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    parent: Parent,
}

#[derive(Args)]
pub(crate) struct Parent {
    /// Folder of the data sets [default: DML_DATA_DIR, else the platform's data folder, ~/.local/share/dml on Linux]
    #[arg(long)]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where tensors live: `cpu`, `cuda`, `cuda:1` …, or `metal` (all but the first need a build with that feature)
    #[arg(long, default_value = "cpu")]
    device: String,
    /// End when standard input closes, that is when the parent process is gone
    #[arg(long, hide = true)]
    exit_with_stdin: bool,
}

impl Parent {
    /// The device of the command line.
    pub(crate) fn device(&self) -> Result<Device> {
        let (kind, number) = self.device.split_once(':').unwrap_or((&self.device, "0"));
        let number =
            number.parse().with_context(|| format!("--device is {:?}: write cuda:0, cuda:1 …", self.device))?;
        let device = match kind {
            "cpu" => Ok(Device::Cpu),
            "cuda" => Device::new_cuda(number),
            "metal" => Device::new_metal(number),
            _ => bail!("--device is {:?}: use cpu, cuda or metal", self.device),
        };
        device.with_context(|| {
            format!("--device {}: build with `--features {kind}` on a machine that has it", self.device)
        })
    }

    pub(crate) fn watch(&self) {
        if self.exit_with_stdin {
            std::thread::spawn(|| {
                let mut sink = Vec::new();
                let _ = std::io::stdin().read_to_end(&mut sink);
                std::process::exit(130);
            });
        }
    }
}

pub(crate) fn train(arguments: &Train) -> Result<()> {
    arguments.parent.watch();
    let changes: Vec<String> = arguments.set.iter().cloned().chain(arguments.several.change()).collect();
    let mut recipe = Recipe::read(&arguments.recipe, &changes)?;
    recipe.seed = arguments.seed.unwrap_or(recipe.seed);
    if arguments.resume && !has_begun(&arguments.run_dir) {
        bail!(
            "--resume: {} holds no run to go on with: name the folder of one, or leave --resume out",
            arguments.run_dir.display()
        );
    }
    let runs = arguments.several.runs(&recipe)?;
    if !runs.is_one() {
        return several::train(&runs, &arguments.run_dir, arguments.several.jobs, &arguments.parent);
    }
    let folder = RunFolder::open(&arguments.run_dir)?;
    let bar = std::io::stdout().is_terminal().then(|| progress_bar(recipe.train.steps)).transpose()?;
    let (mut said, mut rate) = (String::new(), None);
    let mut show = |event: &Event| match (&bar, event) {
        (Some(bar), Event::Step { step, loss, lr, images_per_second, .. }) => {
            // Steady enough to read.
            let smooth = rate.map_or(*images_per_second, |rate| 0.9 * rate + 0.1 * images_per_second);
            rate = Some(smooth);
            bar.set_position(*step);
            bar.set_message(format!("{smooth:.0} images/s, loss {loss:.4}, lr {lr:.1e}{said}"));
        }
        (Some(bar), Event::Waiting) => {
            bar.println(format!("another process works in {}: waiting for its end", arguments.run_dir.display()));
        }
        // The steps of an earlier start took none of this one's time.
        (Some(bar), Event::Start { step, .. }) => {
            bar.set_position(*step);
            bar.reset_eta();
        }
        (Some(bar), Event::Weights { file, became, .. }) => bar.println(format!("weights of {file}: {became}")),
        (Some(bar), Event::Skipped { step, what }) => bar.println(format!("step {step} without {}", what.join("; "))),
        (Some(bar), Event::Damaged { problem, step }) => {
            bar.println(format!("{problem}; going on from an older checkpoint, of step {step}"));
        }
        (Some(bar), event) => {
            if let Some(found) = measured(event) {
                said = found;
                bar.tick();
            }
        }
        (None, event) => {
            if let Ok(line) = serde_json::to_string(event) {
                tell(&line);
            }
        }
    };
    let device = arguments.parent.device()?;
    let stop = stop_on_signal("finishing the step and saving; Ctrl-C again ends at once")?;
    let evaluation = run(&recipe, &folder, arguments.parent.data_dir.as_deref(), &device, &stop, &mut show)?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
        println!("{}: {}", recipe.name, summary(&evaluation));
        println!("report: {}", folder.report().display());
    }
    Ok(())
}

/// Whether a run, or one of several, has begun in `folder`.
fn has_begun(folder: &Path) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    folder.join("recipe.toml").is_file()
        || entries.map(|entry| entry.path()).any(|path| path.is_dir() && has_begun(&path))
}

/// Prints a line that programs read. One that standard output does not take, a file on a full disk or a pipe that nobody reads any
/// more, is not worth a run: `metrics.jsonl` has it.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// What was measured between steps, for the bar.
fn measured(event: &Event) -> Option<String> {
    let (what, value, unit, best) = match *event {
        Event::Validated { map_at_r, best, .. } => ("validation MAP@R", map_at_r, " %", best),
        Event::ValidatedBothWays { map_at_r, best, .. } => ("validation MAP@R both ways", map_at_r, " %", best),
        Event::ValidatedPairs { spearman, best, .. } => ("validation Spearman", spearman, "", best),
        Event::Tested { recall_at_1, best, .. } => ("test R@1", recall_at_1, " %", best),
        Event::TestedBothWays { map_at_r, best, .. } => ("test MAP@R both ways", map_at_r, " %", best),
        _ => return None,
    };
    Some(format!(", {what} {:.1}{unit}{}", 100.0 * value, if best { ", the best" } else { "" }))
}

/// Becomes true when the user presses Ctrl-C, who is told what happens then. Pressed again, the process ends at once.
pub(crate) fn stop_on_signal(told: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let asked = stop.clone();
    ctrlc::set_handler(move || {
        if asked.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        eprintln!("{told}");
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(stop)
}

pub(crate) fn progress_bar(steps: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left, {msg}")?;
    Ok(ProgressBar::new(steps).with_style(style))
}

fn summary(e: &Evaluation) -> String {
    let mut said = Vec::new();
    if let Some(test) = &e.test {
        let r1 = test.retrieval.recall_at.first().map_or(f64::NAN, |r| r.1);
        said.push(format!(
            "R@1 {:.1} %, MAP@R {:.1} %, EER {:.1} %",
            100.0 * r1,
            100.0 * test.retrieval.map_at_r,
            100.0 * test.verification.eer
        ));
    }
    if let Some(found) = &e.cross_modal.test {
        let share = |of: &Retrieval| 100.0 * of.recall_at.first().map_or(f64::NAN, |r| r.1);
        let (texts, images) = (share(&found.image_to_text), share(&found.text_to_image));
        said.push(format!("R@1 of texts by images {texts:.1} %, of images by texts {images:.1} %"));
    }
    if let Some(pairs) = &e.correlation.test {
        return format!("Spearman {:.2} on {} test pairs", 100.0 * pairs.spearman, pairs.pairs);
    }
    said.extend(e.one_shot.as_ref().map(|o| format!("error in Lake's one-shot runs {:.1} %", 100.0 * o.error)));
    let chosen = match e.weights {
        Evaluated::BestOnTest => ", with the weights that did best on them: too good",
        Evaluated::BestOnValidation | Evaluated::Last => "",
    };
    format!("{} on classes it has not seen{chosen}", said.join(", "))
}

/// The recipe, data and encoder of a run folder.
pub(crate) fn reopen(run_dir: &Path, data_dir: Option<&Path>, device: &Device) -> Result<(Recipe, Sets, Trainer)> {
    let folder = RunFolder::existing(run_dir)?;
    let recipe = Recipe::read(&folder.recipe(), &[])?;
    let mut begun = folder.recipe_by_itself()?;
    let sets = sets::open(&begun, data_dir)?;
    // The checkpoint has all weights: those that it began with may be gone.
    begun.model.weights = None;
    begun.model.text.iter_mut().for_each(|text| text.weights = None);
    let mut trainer = Trainer::new(&begun, &sets, device)?;
    if trainer.resume(&folder.checkpoint())?.is_none() {
        bail!("{} does not exist: train into this folder first", folder.checkpoint().display());
    }
    if !trainer.is_done() {
        bail!(
            "{}: training stopped at step {} of {}: run dml train again first",
            run_dir.display(),
            trainer.step(),
            recipe.train.steps
        );
    }
    // What was measured: the last weights, their moving mean, or the best on validation. The checkpoint's may be others.
    if !folder.encoder().exists() {
        bail!("{}: the run was not measured to its end: run dml train again first", run_dir.display());
    }
    dml_models::pretrained::load(trainer.encoder(), &folder.encoder())?;
    Ok((recipe, sets, trainer))
}

/// Measures the encoder of a run folder again, and prints the result as JSON.
pub(crate) fn evaluate(run_dir: &Path, parent: &Parent) -> Result<()> {
    parent.watch();
    let device = parent.device()?;
    let (recipe, sets, trainer) = reopen(run_dir, parent.data_dir.as_deref(), &device)?;
    let (mut result, _) =
        evaluation::of_encoder(trainer.encoder(), recipe.metric()?, recipe.loss.dims(), &sets, &device)?;
    (result.name, result.seed, result.steps) = (recipe.name, recipe.seed, trainer.step());
    result.weights = recipe.train.evaluate;
    println!("{}", serde_json::to_string_pretty(&result)?);
    Ok(())
}
