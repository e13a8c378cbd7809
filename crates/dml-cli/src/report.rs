//! `dml report`: the page of a run folder; or many run folders to tables, beside published figures.

mod columns;
mod comparison;
mod picture;
mod plan;

use crate::train::{Parent, reopen};
use anyhow::{Context, Result, bail};
use clap::Args;
use dml_eval::report::{Table, html_page};
use dml_train::checkpoint::write_atomically;
use dml_train::embedding;
use dml_train::evaluation::Evaluation;
use dml_train::figures::{Figure, cell};
use dml_train::run::RunFolder;
use plan::{Achieved, Job, Models, Plan, Suite};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct Report {
    /// A folder that `dml train` has finished: make its report.html again
    #[arg(long)]
    run_dir: Option<PathBuf>,
    /// Folder with plan.json and the runs
    #[arg(long, conflicts_with = "run_dir", requires = "out")]
    runs: Option<PathBuf>,
    /// Folder for report.md, report.html and retrieval.png of the runs
    #[arg(long, requires = "runs")]
    out: Option<PathBuf>,
    #[command(flatten)]
    parent: Parent,
}

const TITLE: &str = "Deep metric learning, reproduced";

const NOTE: &str = "Percent; mean over seeds ± half-width of its 95 % confidence interval (Student's t). All classes are \
                    unseen in training; thresholds and recipes were chosen on validation classes.";

pub(crate) fn report(arguments: &Report) -> Result<()> {
    match (&arguments.run_dir, &arguments.runs, &arguments.out) {
        (Some(run_dir), ..) => of_run(run_dir, &arguments.parent),
        (None, Some(runs), Some(out)) => of_runs(runs, out),
        _ => bail!("nothing to report: give --run-dir, or --runs and --out"),
    }
}

fn of_run(run_dir: &Path, parent: &Parent) -> Result<()> {
    let device = parent.device()?;
    let (recipe, sets, trainer) = reopen(run_dir, parent.data_dir.as_deref(), &device)?;
    let folder = RunFolder::existing(run_dir)?;
    let text = std::fs::read_to_string(folder.evaluation())
        .with_context(|| format!("{}: run dml train again first", folder.evaluation().display()))?;
    let measured: Evaluation = serde_json::from_str(&text).context("evaluation.json")?;
    let test = sets.test.as_deref().map(|set| embedding::embed(trainer.encoder(), set, &device)).transpose()?;
    let page = dml_train::report::of_run(&recipe, &folder, &sets, &measured, test.as_ref())?.html()?;
    write_atomically(&folder.report(), page.as_bytes())?;
    println!("report: {}", folder.report().display());
    Ok(())
}

fn of_runs(runs: &Path, out: &Path) -> Result<()> {
    let plan = Plan::read(runs)?;
    let mut tables = Vec::new();
    for suite in &plan.suites {
        let jobs: Vec<&Job> = plan.jobs.iter().filter(|job| job.suite == suite.suite).collect();
        tables.push(table(suite, &jobs)?);
        tables.extend(comparison::table(suite, &jobs)?);
    }
    let body: Vec<String> = tables.iter().map(Table::markdown).collect();
    let mut markdown = format!("# {TITLE}\n\n{}", body.join("\n"));
    let mut html = html_page(TITLE, &tables);
    if let Some(run) = picture::best_run(&plan) {
        picture::draw(&run.dir, &out.join("retrieval.png"))?;
        let caption = format!(
            "Unseen emoji as queries (left) and their four nearest by {}: green is the same class, red another.",
            run.name
        );
        markdown += &format!("\n![{caption}](retrieval.png)\n\n{caption}\n");
        html =
            html.replace("</body>", &format!("<img src=\"retrieval.png\" alt=\"{caption}\"><p>{caption}</p></body>"));
    }
    write_atomically(&out.join("report.md"), markdown.as_bytes())?;
    write_atomically(&out.join("report.html"), html.as_bytes())?;
    println!("{markdown}");
    Ok(())
}

fn table(suite: &Suite, jobs: &[&Job]) -> Result<Table> {
    let columns = columns::of(suite.table);
    let mut rows = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for job in jobs {
        if !done.contains(&job.name.as_str()) {
            done.push(&job.name);
            // Of folds each model by itself, and all as one.
            let folds =
                job.folds.is_some() && jobs.iter().any(|other| other.name == job.name && other.skipped.is_none());
            let models = [Some(Models::Separated), folds.then_some(Models::Concatenated)];
            for models in models.into_iter().flatten() {
                rows.push(row(&job.name, &[&job.name], models, jobs, &columns)?);
            }
        }
    }
    // Of a single job there is a row already.
    for comparison in suite.comparison.iter().filter(|comparison| comparison.of.len() > 1) {
        let names: Vec<&str> = comparison.of.iter().map(String::as_str).collect();
        rows.push(row(&comparison.name, &names, comparison.models, jobs, &columns)?);
    }
    for published in &suite.published {
        let figures = columns
            .iter()
            .map(|column| published.figures.get(column.key).map_or("–".to_owned(), |v| format!("{v:.1}")));
        rows.push([published.name.clone(), "published".to_owned()].into_iter().chain(figures).collect());
    }
    Ok(Table {
        title: suite.title.clone(),
        columns: ["method", "seeds"].into_iter().chain(columns.iter().map(|c| c.heading)).map(str::to_owned).collect(),
        rows,
        note: format!("{NOTE} {}", suite.note).trim().to_owned(),
    })
}

/// One row from all runs of the jobs in `names`.
fn row(title: &str, names: &[&str], models: Models, jobs: &[&Job], columns: &[&Figure]) -> Result<Vec<String>> {
    let jobs: Vec<&Job> = jobs.iter().copied().filter(|job| names.contains(&job.name.as_str())).collect();
    let run = match plan::that_ran(&jobs) {
        Ok(run) => run,
        Err(why) => {
            let mut cells = vec![title.to_owned(), format!("skipped: {why}")];
            cells.resize(columns.len() + 2, String::new());
            return Ok(cells);
        }
    };
    let runs = run.iter().map(|job| job.achieved(models)).collect::<Result<Vec<_>>>()?;
    let figures =
        columns.iter().map(|column| cell(&runs.iter().filter_map(|run| run.figure(column)).collect::<Vec<_>>()));
    let title = runs.first().and_then(Achieved::models).map_or(title.to_owned(), |models| format!("{title}, {models}"));
    Ok([title, runs.len().to_string()].into_iter().chain(figures).collect())
}
