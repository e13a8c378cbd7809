//! `dml report`: run folders to tables.

use anyhow::{Context, Result};
use clap::Args;
use dml_eval::report::{Table, html_page};
use dml_eval::statistics::{ci95, mean};
use dml_train::checkpoint::write_atomically;
use dml_train::evaluation::Evaluation;
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Report {
    /// Folder with plan.json and the runs
    #[arg(long)]
    runs: PathBuf,
    /// Folder for report.md and report.html
    #[arg(long)]
    out: PathBuf,
}

#[derive(Deserialize)]
struct Plan {
    suites: Vec<Suite>,
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Suite {
    suite: String,
    title: String,
}

#[derive(Deserialize)]
struct Job {
    suite: String,
    name: String,
    dir: PathBuf,
    skipped: Option<String>,
}

const COLUMNS: [&str; 9] = [
    "method",
    "seeds",
    "R@1",
    "R-precision",
    "MAP@R",
    "EER",
    "TPIR@FPIR=1%",
    "calibrated TPIR (FPIR)",
    "validation MAP@R",
];

pub(crate) fn report(arguments: &Report) -> Result<()> {
    let path = arguments.runs.join("plan.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}: run cargo xtask reproduce-paper", path.display()))?;
    let plan: Plan = serde_json::from_str(&text)?;
    let tables = plan.suites.iter().map(|s| table(s, &plan.jobs)).collect::<Result<Vec<_>>>()?;
    let title = "Deep metric learning, reproduced";
    let body: Vec<String> = tables.iter().map(Table::markdown).collect();
    let markdown = format!("# {title}\n\n{}", body.join("\n"));
    write_atomically(&arguments.out.join("report.md"), markdown.as_bytes())?;
    write_atomically(&arguments.out.join("report.html"), html_page(title, &tables).as_bytes())?;
    println!("{markdown}");
    Ok(())
}

fn table(suite: &Suite, jobs: &[Job]) -> Result<Table> {
    let mut rows = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for job in jobs.iter().filter(|j| j.suite == suite.suite) {
        if !names.contains(&job.name.as_str()) {
            names.push(&job.name);
            let same: Vec<&Job> = jobs.iter().filter(|j| j.suite == suite.suite && j.name == job.name).collect();
            rows.push(row(&job.name, &same)?);
        }
    }
    Ok(Table {
        title: suite.title.clone(),
        columns: COLUMNS.map(str::to_owned).to_vec(),
        rows,
        note: "Percent, mean over seeds ± half-width of the 95 % confidence interval (Student's t). Test classes are unseen; the open-set \
               threshold is calibrated on validation classes. The best of a column is not chosen: every recipe was fixed on validation classes."
            .to_owned(),
    })
}

fn row(name: &str, jobs: &[&Job]) -> Result<Vec<String>> {
    let mut cells = vec![name.to_owned()];
    if let Some(why) = jobs.iter().find_map(|j| j.skipped.clone()) {
        cells.push(format!("skipped: {why}"));
        cells.resize(COLUMNS.len(), String::new());
        return Ok(cells);
    }
    let runs = jobs.iter().map(|job| read(job)).collect::<Result<Vec<Evaluation>>>()?;
    cells.push(runs.len().to_string());
    let over = |f: &dyn Fn(&Evaluation) -> Option<f64>| -> String {
        let values: Vec<f64> = runs.iter().filter_map(f).collect();
        match values.len() {
            0 => "–".to_owned(),
            1 => format!("{:.1}", 100.0 * values[0]),
            _ => format!("{:.1} ± {:.1}", 100.0 * mean(&values), 100.0 * ci95(&values)),
        }
    };
    cells.push(over(&|e| e.test.recall_at.first().map(|r| r.1)));
    cells.push(over(&|e| Some(e.test.r_precision)));
    cells.push(over(&|e| Some(e.test.map_at_r)));
    cells.push(over(&|e| Some(e.verification.eer)));
    cells.push(over(&|e| e.open_set.as_ref().map(|o| o.tpir)));
    let calibrated = over(&|e| e.open_set.as_ref().map(|o| o.calibrated_tpir));
    cells.push(format!("{calibrated} ({})", over(&|e| e.open_set.as_ref().map(|o| o.achieved_fpir))));
    cells.push(over(&|e| Some(e.validation.map_at_r)));
    Ok(cells)
}

fn read(job: &Job) -> Result<Evaluation> {
    let path = job.dir.join("evaluation.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} is missing: the job did not finish", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: remove it and run again", path.display()))
}
