//! `dml report`: run folders to tables, beside published figures.

mod columns;
mod picture;
mod plan;

use anyhow::Result;
use clap::Args;
use dml_eval::report::{Table, html_page};
use dml_train::checkpoint::write_atomically;
use dml_train::evaluation::Evaluation;
use dml_train::figures::{Figure, cell};
use plan::{Job, Plan, Suite};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Report {
    /// Folder with plan.json and the runs
    #[arg(long)]
    runs: PathBuf,
    /// Folder for report.md, report.html and retrieval.png
    #[arg(long)]
    out: PathBuf,
}

const TITLE: &str = "Deep metric learning, reproduced";

const NOTE: &str = "Percent; mean over seeds ± half-width of its 95 % confidence interval (Student's t). All classes are \
                    unseen in training; thresholds and recipes were chosen on validation classes.";

pub(crate) fn report(arguments: &Report) -> Result<()> {
    let plan = Plan::read(&arguments.runs)?;
    let tables = plan.suites.iter().map(|suite| table(suite, &plan.jobs)).collect::<Result<Vec<_>>>()?;
    let body: Vec<String> = tables.iter().map(Table::markdown).collect();
    let mut markdown = format!("# {TITLE}\n\n{}", body.join("\n"));
    let mut html = html_page(TITLE, &tables);
    if let Some(run) = picture::best_run(&plan) {
        picture::draw(&run.dir, &arguments.out.join("retrieval.png"))?;
        let caption = format!(
            "Unseen emoji as queries (left) and their four nearest by {}: green is the same class, red another.",
            run.name
        );
        markdown += &format!("\n![{caption}](retrieval.png)\n\n{caption}\n");
        html =
            html.replace("</body>", &format!("<img src=\"retrieval.png\" alt=\"{caption}\"><p>{caption}</p></body>"));
    }
    write_atomically(&arguments.out.join("report.md"), markdown.as_bytes())?;
    write_atomically(&arguments.out.join("report.html"), html.as_bytes())?;
    println!("{markdown}");
    Ok(())
}

fn table(suite: &Suite, jobs: &[Job]) -> Result<Table> {
    let columns = columns::of(suite.table);
    let jobs: Vec<&Job> = jobs.iter().filter(|job| job.suite == suite.suite).collect();
    let mut rows = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for job in &jobs {
        if !done.contains(&job.name.as_str()) {
            done.push(&job.name);
            rows.push(row(&job.name, &[&job.name], &jobs, &columns)?);
        }
    }
    // Of a single job there is a row already.
    for comparison in suite.comparison.iter().filter(|comparison| comparison.of.len() > 1) {
        let names: Vec<&str> = comparison.of.iter().map(String::as_str).collect();
        rows.push(row(&comparison.name, &names, &jobs, &columns)?);
    }
    for published in &suite.published {
        let figures = columns
            .iter()
            .map(|column| published.figures.get(column.key).map_or("–".to_owned(), |v| format!("{v:.1}")));
        rows.push([published.name.clone(), "published".to_owned()].into_iter().chain(figures).collect());
    }
    let verdicts = suite.comparison.iter().map(|c| c.verdict(suite, &jobs)).collect::<Result<Vec<_>>>()?;
    Ok(Table {
        title: suite.title.clone(),
        columns: ["method", "seeds"].into_iter().chain(columns.iter().map(|c| c.heading)).map(str::to_owned).collect(),
        rows,
        note: [verdicts, vec![NOTE.to_owned(), suite.note.clone()]].concat().join(" ").trim().to_owned(),
    })
}

/// One row from all runs of the jobs in `names`.
fn row(title: &str, names: &[&str], jobs: &[&Job], columns: &[&Figure]) -> Result<Vec<String>> {
    let jobs: Vec<&Job> = jobs.iter().copied().filter(|job| names.contains(&job.name.as_str())).collect();
    if let Some(why) = jobs.iter().find_map(|job| job.skipped.clone()) {
        let mut cells = vec![title.to_owned(), format!("skipped: {why}")];
        cells.resize(columns.len() + 2, String::new());
        return Ok(cells);
    }
    let runs = jobs.iter().map(|job| job.evaluation()).collect::<Result<Vec<Evaluation>>>()?;
    let figures = columns.iter().map(|column| cell(&runs.iter().filter_map(|run| column.of(run)).collect::<Vec<_>>()));
    Ok([title.to_owned(), runs.len().to_string()].into_iter().chain(figures).collect())
}
