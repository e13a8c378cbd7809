//! Fine-tunes a sentence encoder in several ways, beside sentence-transformers on the very same batches, and measures both on what
//! neither has seen. `cargo xtask bench text` calls it:
//!
//! `fine_tune WEIGHTS DATA_DIR FOLDER STEPS SEEDS [PYTHON SCRIPT]`, with the folder of the encoder, that of the data sets and one
//! for everything in between. Prints a table.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary that talks to its user")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use candle_core::Device;
use dml_core::{Matrix, Metric};
use dml_data::sources::stsb;
use dml_eval::statistics::{ci95, mean};
use dml_train::embedding::{embed, embed_texts};
use dml_train::run::RunFolder;
use dml_train::sets::Sets;
use dml_train::{Event, Recipe, Trainer, sets};
use serde::Deserialize;
use serde_json::{Value, json};

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What all tasks have in common.
const COMMON: &str = r#"
name = "fine-tuning"
[optimizer]
lr = 2e-5
weight_decay = 0.0
[schedule]
kind = "constant"
[train]
"#;

/// A way to fine-tune.
struct Task {
    name: &'static str,
    /// What of the recipe is its own.
    own: &'static [&'static str],
    /// By what sentence-transformers learns the same, as the script calls it.
    lesson: Lesson,
}

/// What a batch is to the script.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lesson {
    /// Two texts of each class: the first goes with the second, all other second ones are negatives, and the other way round;
    /// its symmetric `MultipleNegativesRankingLoss`, cosines × 20.
    Pairs,
    /// Texts with their classes, for pytorch-metric-learning's `MultiSimilarityLoss` on its embeddings.
    Classes,
    /// Pairs with their scores, for its `CoSENTLoss`.
    Graded,
}

const PAIRS: [&str; 3] =
    ["loss={name='clip',params={temperature=0.05}}", "sampler={classes=16,per_class=2}", "data.max_length=64"];
const TASKS: [Task; 4] = [
    Task {
        name: "Banking77, `clip`",
        own: &["data.set=banking77", PAIRS[0], PAIRS[1], PAIRS[2]],
        lesson: Lesson::Pairs,
    },
    Task {
        name: "Banking77, `multi_similarity`",
        own: &["data.set=banking77", "loss={name='multi_similarity'}", "sampler={classes=8,per_class=4}", PAIRS[2]],
        lesson: Lesson::Classes,
    },
    Task { name: "CLINC150, `clip`", own: &["data.set=clinc150", PAIRS[0], PAIRS[1], PAIRS[2]], lesson: Lesson::Pairs },
    Task {
        name: "STS-B, `cosent`",
        own: &["data.set=stsb", "loss={name='cosent'}", "sampler={kind='random',classes=32,per_class=1}", PAIRS[2]],
        lesson: Lesson::Graded,
    },
];
/// Steps that are not timed: memory is touched for the first time.
const WARM_UP: usize = 3;

/// Figures of an encoder by their names, as shares.
type Figures = Vec<(&'static str, f64)>;

/// What one side did with one seed.
struct Outcome {
    figures: Figures,
    /// Of each step, from batch to batch.
    seconds: Vec<f64>,
    losses: Vec<f64>,
}

/// What the script says.
#[derive(Deserialize)]
struct Peer {
    program: String,
    seconds: Vec<f64>,
    losses: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (weights, data, folder, numbers, peer) = match arguments.as_slice() {
        [weights, data, folder, steps, seeds] => (weights, data, folder, [steps, seeds], None),
        [weights, data, folder, steps, seeds, python, script] => {
            (weights, data, folder, [steps, seeds], Some([python.as_str(), script]))
        }
        _ => bail!("usage: fine_tune WEIGHTS DATA_DIR FOLDER STEPS SEEDS [PYTHON SCRIPT]"),
    };
    let [steps, seeds] = numbers.map(|text| text.parse::<u64>());
    let (steps, seeds) = (steps.context("STEPS is no number")?, seeds.context("SEEDS is no number")?);
    let place = Place { weights, data: Path::new(data), folder: Path::new(folder), peer };
    let mut rows = vec![];
    let mut program = String::new();
    for task in &TASKS {
        let (mut ours, mut theirs, mut before) = (vec![], vec![], vec![]);
        for seed in 0..seeds {
            eprintln!("{}, {} of {seeds}", task.name, seed + 1);
            let run = place.run(task, steps, seed)?;
            before = run.before;
            ours.push(run.ours);
            if let Some((said, outcome)) = run.theirs {
                program = said;
                theirs.push(outcome);
            }
        }
        rows.extend(rows_of(task.name, &before, &ours, &theirs));
    }
    println!(
        "| task | on what was not seen | before | ours | theirs | difference, seed by seed | step, ms | theirs | ours / theirs | losses differ by |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|");
    rows.iter().for_each(|row| println!("{row}"));
    if !program.is_empty() {
        println!("\nTheirs: {program}; {seeds} seeds; losses differ by so much at most, of all steps.");
    }
    Ok(())
}

/// Where everything lies.
struct Place<'a> {
    weights: &'a str,
    data: &'a Path,
    folder: &'a Path,
    peer: Option<[&'a str; 2]>,
}

/// A task with one seed.
struct Run {
    before: Figures,
    ours: Outcome,
    theirs: Option<(String, Outcome)>,
}

impl Place<'_> {
    fn run(&self, task: &Task, steps: u64, seed: u64) -> Result<Run> {
        let mut all: Vec<String> = task.own.iter().map(|&own| own.to_owned()).collect();
        all.extend([format!("model.weights={}", self.weights), format!("train.steps={steps}"), format!("seed={seed}")]);
        let recipe = Recipe::parse(COMMON, &all)?;
        let sets = sets::open(&recipe, Some(self.data))?;
        let mut trainer = Trainer::new(&recipe, &sets, &Device::Cpu)?;
        let before = measure(&trainer, &sets)?;
        let name: String = task.name.chars().filter(char::is_ascii_alphanumeric).collect();
        let file = self.folder.join(format!("{name}-{seed}.json"));
        let given = json!({"lesson": task.lesson.name(), "batches": self.batches(task.lesson, &recipe, &sets, steps)?,
            "test": test_texts(&sets)?, "lr": recipe.optimizer.lr, "max_length": recipe.data.max_length});
        fs::write(&file, given.to_string())?;
        let ours = train(&mut trainer, &sets, &file.with_extension("run"))?;
        let theirs = self.peer.map(|peer| self.sentence_transformers(peer, &file, &sets)).transpose()?;
        Ok(Run { before, ours, theirs })
    }

    /// The texts of each step by columns, and what is known of the rows.
    fn batches(&self, lesson: Lesson, recipe: &Recipe, sets: &Sets, steps: u64) -> Result<Vec<Value>> {
        let sampler = sets.sampler(recipe)?;
        let epoch = sampler.batches_per_epoch() as u64;
        let graded = (lesson == Lesson::Graded).then(|| stsb::open(self.data)?.part("train")).transpose()?;
        let labels = sets.train.labels();
        let text = |&index: &u32| sets.train.text(index as usize).unwrap_or_default().to_owned();
        let mut batches = vec![];
        for step in 0..steps {
            let plan = sampler.plan(step / epoch);
            let indices = plan.get((step % epoch) as usize).context("the sampler has no such batch")?;
            let of = |indices: &[u32]| -> Vec<u32> { indices.iter().map(|&i| labels[i as usize]).collect() };
            batches.push(match &graded {
                Some(pairs) => {
                    let side =
                        |side: usize| -> Vec<&str> { indices.iter().map(|&i| pairs.pair(i as usize)[side]).collect() };
                    let scores: Vec<f32> = indices.iter().map(|&i| pairs.scores()[i as usize]).collect();
                    json!({"columns": [side(0), side(1)], "labels": scores})
                }
                None if lesson == Lesson::Classes => {
                    json!({"columns": [indices.iter().map(text).collect::<Vec<_>>()], "labels": of(indices)})
                }
                // Two of a class come one after the other.
                None => {
                    let side = |side: usize| -> Vec<u32> { indices.iter().skip(side).step_by(2).copied().collect() };
                    let [first, second] = [side(0), side(1)];
                    if of(&first) != of(&second) {
                        bail!("step {step}: the sampler does not deal pairs of a class");
                    }
                    let texts = |side: &[u32]| -> Vec<String> { side.iter().map(text).collect() };
                    json!({"columns": [texts(&first), texts(&second)], "labels": of(&first)})
                }
            });
        }
        Ok(batches)
    }

    fn sentence_transformers(
        &self,
        [python, script]: [&str; 2],
        file: &PathBuf,
        sets: &Sets,
    ) -> Result<(String, Outcome)> {
        let embeddings = file.with_extension("f32");
        let mut command = Command::new(python);
        command.arg(script).arg(self.weights).arg(file).arg(&embeddings).stderr(Stdio::inherit());
        let output = command.output().with_context(|| format!("cannot run {python}"))?;
        if !output.status.success() {
            bail!("{script} failed: {}", output.status);
        }
        let said: Peer = serde_json::from_slice(&output.stdout).context("the script's answer")?;
        let bytes = fs::read(&embeddings)?;
        let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let figures = figures(&values, sets)?;
        Ok((said.program, Outcome { figures, seconds: said.seconds, losses: said.losses }))
    }
}

impl Lesson {
    fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Classes => "classes",
            Self::Graded => "graded",
        }
    }
}

/// The texts that the test embeds, of pairs all first ones and then all second ones.
fn test_texts(sets: &Sets) -> Result<Vec<String>> {
    if let Some(scored) = &sets.scored[1] {
        let n = scored.pairs.len();
        return Ok((0..2 * n).map(|i| scored.pairs.pair(i % n)[i / n].to_owned()).collect());
    }
    let test = sets.test.as_deref().context("the set has no test intents")?;
    Ok((0..test.labels().len()).filter_map(|i| test.text(i).map(str::to_owned)).collect())
}

fn train(trainer: &mut Trainer, sets: &Sets, folder: &Path) -> Result<Outcome> {
    let (mut times, mut losses) = (vec![Instant::now()], vec![]);
    let mut note = |event: &Event| {
        if let Event::Step { loss, .. } = event {
            times.push(Instant::now());
            losses.push(f64::from(*loss));
        }
        Ok(())
    };
    trainer.fit(sets, &RunFolder::open(folder)?, &AtomicBool::new(false), &mut note)?;
    let seconds = times.windows(2).map(|step| (step[1] - step[0]).as_secs_f64()).collect();
    Ok(Outcome { figures: measure(trainer, sets)?, seconds, losses })
}

/// The figures of an encoder on the test.
fn measure(trainer: &Trainer, sets: &Sets) -> Result<Figures> {
    let values = match (&sets.scored[1], &sets.test) {
        (Some(scored), _) => embed_texts(trainer.encoder(), &scored.tokenizer, &test_texts(sets)?, &Device::Cpu)?,
        (None, Some(test)) => embed(trainer.encoder(), test.as_ref(), &Device::Cpu)?.values,
        (None, None) => bail!("the set has no test"),
    };
    figures(&values, sets)
}

/// R@1 and MAP@R of embeddings of the test intents, or Spearman's correlation of those of the test pairs.
fn figures(values: &[f32], sets: &Sets) -> Result<Figures> {
    if let Some(scored) = &sets.scored[1] {
        let n = scored.pairs.len();
        let (left, right) = values.split_at(values.len() / 2);
        let [left, right] = [Matrix::new(left, n, left.len() / n)?, Matrix::new(right, n, right.len() / n)?];
        let found = dml_eval::correlation(Metric::Cosine, left, right, scored.pairs.scores())?;
        return Ok(vec![("Spearman", found.spearman)]);
    }
    let labels = sets.test.as_deref().context("the set has no test intents")?.labels();
    let matrix = Matrix::new(values, labels.len(), values.len() / labels.len())?;
    let found = dml_eval::retrieval(Metric::Cosine, matrix, labels, &[1])?;
    Ok(vec![("R@1", found.recall_at[0].1), ("MAP@R", found.map_at_r)])
}

/// A row for each figure of a task.
fn rows_of(task: &str, before: &Figures, ours: &[Outcome], theirs: &[Outcome]) -> Vec<String> {
    let of = |values: &[f64]| match values.len() {
        0 => "–".to_owned(),
        1 => format!("{:.2}", 100.0 * values[0]),
        _ => format!("{:.2} ± {:.2}", 100.0 * mean(values), 100.0 * ci95(values)),
    };
    let time =
        |runs: &[Outcome]| median(runs.iter().flat_map(|run| run.seconds.iter().skip(WARM_UP).copied()).collect());
    let apart = ours.iter().zip(theirs).flat_map(|(a, b)| a.losses.iter().zip(&b.losses)).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, f64::max);
    let row = |(at, (name, start)): (usize, &(&str, f64))| {
        let each = |runs: &[Outcome]| -> Vec<f64> { runs.iter().map(|run| run.figures[at].1).collect() };
        let (mine, others) = (each(ours), each(theirs));
        let difference: Vec<f64> = mine.iter().zip(&others).map(|(a, b)| a - b).collect();
        let (start, mine, others, difference) = (of(&[*start]), of(&mine), of(&others), of(&difference));
        let mut row =
            format!("| {task} | {name} | {start} | {mine} | {others} | {difference} | {:.0} |", 1e3 * time(ours));
        row += &match theirs {
            [] => " – | – | – |".to_owned(),
            _ => format!(" {:.0} | {:.2} | {apart:.0e} |", 1e3 * time(theirs), time(ours) / time(theirs)),
        };
        row
    };
    before.iter().enumerate().map(row).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
