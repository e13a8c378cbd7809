//! `cargo xtask bench text`: the fine-tuning of a sentence encoder, beside sentence-transformers doing the same.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use super::peers::{self, Needs};
use super::readme;
use crate::{dataset, workspace};

/// Options of `cargo xtask bench text`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Folder of all-MiniLM-L6-v2, or of another sentence encoder, as sentence-transformers lays it out
    #[arg(long, value_name = "DIR")]
    weights: PathBuf,
    /// Folder of the data sets [default: DML_DATA_DIR, else the platform's data folder]
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Beside sentence-transformers, in the virtual environment of the other benches
    #[arg(long)]
    peers: bool,
    /// Steps of a run
    #[arg(long, default_value_t = 60)]
    steps: u64,
    /// Runs
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Put the table into the README
    #[arg(long)]
    record: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let data = arguments.data_dir.clone().map_or_else(dml_data::data_dir, Ok)?;
    for name in ["banking77", "clinc150", "stsb"] {
        if let Some(fetch) = dataset::missing(name, &data, arguments.data_dir.is_some())? {
            bail!("{name} is not below {}: run {fetch}", data.display());
        }
    }
    if !arguments.weights.join("modules.json").exists() {
        bail!("{} holds no sentence encoder: want a folder with modules.json", arguments.weights.display());
    }
    let program = workspace::build("fine_tune")?;
    let folder = tempfile::tempdir()?;
    let threads = thread::available_parallelism().map_or(1, usize::from).to_string();
    let mut command = Command::new(program);
    command.arg(arguments.weights.canonicalize()?).arg(&data).arg(folder.path());
    command.args([arguments.steps, arguments.seeds].map(|number| number.to_string()));
    if arguments.peers {
        command.arg(peers::environment(None, Needs::Sentences)?);
        command.arg(workspace::root().join("tests/bench/fine_tune_peers.py"));
    }
    command.env("RAYON_NUM_THREADS", &threads).env("OMP_NUM_THREADS", &threads);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("TOKENIZERS_PARALLELISM", "true").env("HF_HUB_OFFLINE", "1");
    let output = command.stderr(Stdio::inherit()).output().context("cannot run fine_tune")?;
    if !output.status.success() {
        bail!("fine_tune failed: {}", output.status);
    }
    let table = format!(
        "{} steps of AdamW at 2e-5 on 32 questions or 32 pairs, the same for both, nothing dropped out; on intents or pairs that \
         neither has seen, percent, mean ± half-width of its 95 % interval over the seeds. {threads} threads.\n\n{}",
        arguments.steps,
        String::from_utf8_lossy(&output.stdout).trim()
    );
    println!("{table}");
    if arguments.record {
        readme::put("text", &table)?;
    }
    Ok(())
}
