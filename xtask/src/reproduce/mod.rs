//! `cargo xtask reproduce-paper`: every job of the suites as a `dml` process, then the report.
//!
//! Safe to kill at any moment: a job that is complete is not run again, one that is not goes on from its checkpoint,
//! and no job outlives this process. Whether a folder still belongs to its recipe is for `dml train` to say.

mod job;
mod list;
mod plan;
mod pool;
mod progress;
mod quick;
mod sets;
mod suite;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::workspace;
use plan::{Place, Plan};
use pool::Pool;

/// Options of `cargo xtask reproduce-paper`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Try the whole path in about a minute: one seed and a few steps a job; the numbers mean nothing
    #[arg(long)]
    quick: bool,
    /// Only recipes/suites/NAME.toml, or of it the row NAME/ROW [default: each suite that is not marked `on_request`]
    #[arg(value_name = "NAME")]
    suite: Option<String>,
    /// Say what there is, what it needs, what it costs and what papers report, and run nothing
    #[arg(long)]
    list: bool,
    /// Where tensors live: `cpu`, `cuda`, `cuda:1` … or `metal`; all but the first are built with that feature
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Jobs at a time, which share the threads [default: on the CPU as many as there are threads, elsewhere one]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Folder of the runs and the report [default: runs/reproduce-paper, with --quick runs/reproduce-paper-quick]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Folder of the data sets [default: DML_DATA_DIR, else the platform's data folder, ~/.local/share/dml on Linux]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Steps of each job with `--quick`.
const QUICK_STEPS: u64 = 5;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let started = Instant::now();
    let out = arguments.out.clone().unwrap_or_else(|| {
        workspace::root().join(if arguments.quick { "runs/reproduce-paper-quick" } else { "runs/reproduce-paper" })
    });
    let out = std::path::absolute(&out)?;
    let data = std::path::absolute(arguments.data_dir.clone().map_or_else(dml_data::data_dir, Ok)?)?;
    let (named, gpu) = (arguments.data_dir.is_some(), arguments.device != "cpu");
    let place = Place { out: &out, data: &data, named, gpu };
    let mut plan = Plan::read(&workspace::root().join("recipes"), arguments.suite.as_deref(), arguments.list, &place)?;
    if arguments.list {
        return list::print(&plan);
    }
    if arguments.quick {
        plan.shorten(QUICK_STEPS)?;
    }
    // First, so that a broken build costs no time, and a broken plan no build.
    // Without the hub, which takes a while to build, unless something is to be downloaded from there.
    let kind = arguments.device.split(':').next().unwrap_or_default();
    let features = [plan.wants_weights().then_some("hub"), (kind != "cpu").then_some(kind)];
    let features = features.into_iter().flatten().collect::<Vec<_>>().join(",");
    let dml = workspace::build_of(&["--package", "dml-cli", "--no-default-features", "--features", &features], "dml")?;
    plan.write(&out)?;
    for (job, why) in plan.skipped() {
        eprintln!("{} skipped, it needs {why}", job.title());
    }
    let threads = pool::threads()?;
    // One fills a GPU and its memory.
    let jobs = arguments.jobs.map_or(if gpu { 1 } else { threads }, NonZeroUsize::get);
    let pool = Pool { dml: &dml, data: &data, device: &arguments.device, threads, jobs };
    let left_out = pool.run(&plan.open_jobs())?;
    plan.skip_without_weights(&left_out);
    plan.write(&out)?;
    report(&dml, &out)?;
    let elapsed = started.elapsed().as_secs();
    eprintln!("finished in {} min {} s", elapsed / 60, elapsed % 60);
    Ok(())
}

/// Has `dml` make the report, prints its Markdown and says where it lies.
fn report(dml: &Path, out: &Path) -> Result<()> {
    let status = Command::new(dml)
        .current_dir(workspace::root())
        .args(["report".as_ref(), "--runs".as_ref(), out.as_os_str(), "--out".as_ref(), out.as_os_str()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .context("cannot run dml report")?;
    if !status.success() {
        bail!("dml report --runs {} failed: {status}", workspace::shown(out));
    }
    let markdown = out.join("report.md");
    let text = fs::read_to_string(&markdown).with_context(|| format!("dml report left no {}", markdown.display()))?;
    println!("{}", text.trim_end());
    println!();
    println!("report: {} and report.html", workspace::shown(&markdown));
    println!("runs:   {}", workspace::shown(out));
    Ok(())
}
