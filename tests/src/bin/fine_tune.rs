//! Fine-tunes a sentence encoder on half of the intents of Banking77, beside sentence-transformers on the very same batches, and
//! measures both on the other intents. `cargo xtask bench text` calls it:
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
use dml_data::Texts;
use dml_data::sources::banking77;
use dml_eval::statistics::{ci95, mean};
use dml_train::run::RunFolder;
use dml_train::sets::Sets;
use dml_train::{Event, Recipe, Trainer, embedding, sets};
use serde::Deserialize;
use serde_json::json;

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Two questions of each of 16 intents; the first goes with the second, all other second ones are negatives, and the other way
/// round: sentence-transformers' symmetric `MultipleNegativesRankingLoss`, cosines × 20.
const RECIPE: &str = r#"
name = "fine-tuning on Banking77"
[data]
set = "banking77"
max_length = 64
[loss]
name = "clip"
params = { temperature = 0.05 }
[sampler]
classes = 16
per_class = 2
[optimizer]
lr = 2e-5
weight_decay = 0.0
[schedule]
kind = "constant"
[train]
"#;
/// Steps that are not timed: memory is touched for the first time.
const WARM_UP: usize = 3;

/// What one side did with one seed.
struct Outcome {
    recall_at_1: f64,
    map_at_r: f64,
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
            (weights, data, folder, [steps, seeds], Some([python, script]))
        }
        _ => bail!("usage: fine_tune WEIGHTS DATA_DIR FOLDER STEPS SEEDS [PYTHON SCRIPT]"),
    };
    let [steps, seeds] = numbers.map(|text| text.parse::<u64>());
    let (steps, seeds) = (steps.context("STEPS is no number")?, seeds.context("SEEDS is no number")?);
    let (data, folder) = (Path::new(data), PathBuf::from(folder));
    let texts = banking77::open(data)?;
    let (mut ours, mut theirs, mut program, mut before) = (vec![], vec![], String::new(), None);
    for seed in 0..seeds {
        let of_model = [format!("model.weights={weights}"), format!("train.steps={steps}"), format!("seed={seed}")];
        let recipe = Recipe::parse(RECIPE, &of_model)?;
        let sets = sets::open(&recipe, Some(data))?;
        let mut trainer = Trainer::new(&recipe, &sets, &Device::Cpu)?;
        if before.is_none() {
            before = Some(measure(&trainer, &sets)?);
        }
        let batches = folder.join(format!("batches-{seed}.json"));
        let test = texts.part("test")?;
        let test_texts: Vec<&str> = (0..test.len()).map(|i| test.text(i)).collect();
        let given = json!({"batches": pairs(&recipe, &sets, &texts.part("train")?, steps)?, "test": test_texts,
            "lr": recipe.optimizer.lr, "max_length": recipe.data.max_length});
        fs::write(&batches, given.to_string())?;
        eprintln!("[{}/{seeds}] ours", seed + 1);
        ours.push(train(&mut trainer, &sets, &folder.join(format!("run-{seed}")))?);
        if let Some([python, script]) = peer {
            eprintln!("[{}/{seeds}] sentence-transformers", seed + 1);
            let (said, outcome) = sentence_transformers(python, script, weights, &batches, test.labels())?;
            program = said;
            theirs.push(outcome);
        }
    }
    print_table(before.unwrap_or_default(), &ours, &theirs, &program);
    Ok(())
}

/// The texts of each step, in pairs.
fn pairs(recipe: &Recipe, sets: &Sets, train: &Texts, steps: u64) -> Result<Vec<Vec<[String; 2]>>> {
    let sampler = sets.sampler(recipe)?;
    let epoch = sampler.batches_per_epoch() as u64;
    let mut batches = vec![];
    for step in 0..steps {
        let plan = sampler.plan(step / epoch);
        let indices = plan.get((step % epoch) as usize).context("the sampler has no such batch")?;
        // Two of a class come one after the other.
        let text = |&index: &u32| train.text(index as usize).to_owned();
        let pair = |pair: &[u32]| [text(&pair[0]), text(&pair[1])];
        let same = |pair: &[u32]| train.labels()[pair[0] as usize] == train.labels()[pair[1] as usize];
        if !indices.chunks_exact(2).all(same) {
            bail!("step {step}: the sampler does not deal pairs of a class");
        }
        batches.push(indices.chunks_exact(2).map(pair).collect());
    }
    Ok(batches)
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
    let (recall_at_1, map_at_r) = measure(trainer, sets)?;
    Ok(Outcome { recall_at_1, map_at_r, seconds, losses })
}

/// R@1 and MAP@R of the test intents.
fn measure(trainer: &Trainer, sets: &Sets) -> Result<(f64, f64)> {
    let test = sets.test.as_deref().context("the set has no test intents")?;
    let found = embedding::embed(trainer.encoder(), test, &Device::Cpu)?;
    retrieval(found.matrix()?, &found.labels)
}

fn retrieval(embeddings: Matrix<'_>, labels: &[u32]) -> Result<(f64, f64)> {
    let found = dml_eval::retrieval(Metric::Cosine, embeddings, labels, &[1])?;
    Ok((found.recall_at[0].1, found.map_at_r))
}

fn sentence_transformers(
    python: &str,
    script: &str,
    weights: &str,
    batches: &Path,
    labels: &[u32],
) -> Result<(String, Outcome)> {
    let embeddings = batches.with_extension("f32");
    let mut command = Command::new(python);
    command.arg(script).arg(weights).arg(batches).arg(&embeddings).stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot run {python}"))?;
    if !output.status.success() {
        bail!("{script} failed: {}", output.status);
    }
    let said: Peer = serde_json::from_slice(&output.stdout).context("the script's answer")?;
    let bytes = fs::read(&embeddings)?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let matrix = Matrix::new(&values, labels.len(), values.len() / labels.len())?;
    let (recall_at_1, map_at_r) = retrieval(matrix, labels)?;
    Ok((said.program, Outcome { recall_at_1, map_at_r, seconds: said.seconds, losses: said.losses }))
}

fn print_table(before: (f64, f64), ours: &[Outcome], theirs: &[Outcome], program: &str) {
    let of = |values: &[f64]| format!("{:.2} ± {:.2}", 100.0 * mean(values), 100.0 * ci95(values));
    let each = |runs: &[Outcome], what: fn(&Outcome) -> f64| runs.iter().map(what).collect::<Vec<f64>>();
    let time =
        |runs: &[Outcome]| median(runs.iter().flat_map(|run| run.seconds.iter().skip(WARM_UP).copied()).collect());
    println!("| | seeds | R@1 | MAP@R | step, ms |\n|---|---:|---:|---:|---:|");
    println!("| before | – | {:.2} | {:.2} | – |", 100.0 * before.0, 100.0 * before.1);
    for (who, runs) in [("ours", ours), (program, theirs)].into_iter().filter(|(_, runs)| !runs.is_empty()) {
        let (recall, map) = (each(runs, |run| run.recall_at_1), each(runs, |run| run.map_at_r));
        println!("| {who} | {} | {} | {} | {:.0} |", runs.len(), of(&recall), of(&map), 1e3 * time(runs));
    }
    if theirs.is_empty() {
        return;
    }
    let paired = |what: fn(&Outcome) -> f64| -> Vec<f64> {
        ours.iter().zip(theirs).map(|(ours, theirs)| what(ours) - what(theirs)).collect()
    };
    let (recall, map) = (paired(|run| run.recall_at_1), paired(|run| run.map_at_r));
    println!(
        "| difference, seed by seed | {} | {} | {} | {:.2} × |",
        ours.len(),
        of(&recall),
        of(&map),
        time(ours) / time(theirs)
    );
    let apart = |(ours, theirs): (&Outcome, &Outcome)| {
        ours.losses.iter().zip(&theirs.losses).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let apart = ours.iter().zip(theirs).map(apart).fold(0.0, f64::max);
    println!("\nThe losses of a step differ by {apart:.1e} at most.");
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
