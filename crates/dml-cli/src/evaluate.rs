//! `dml evaluate`: embeddings and labels in, a report out; or the encoder of a run folder once more.

mod processing;
mod rows;
mod settings;
mod validation;

use anyhow::{Context, Result, bail};
use clap::Args;
use dml_core::{Matrix, Metric, Watch, unwatched};
use dml_eval::assessment::{Assessment, EvaluationSet, assess, calibrate, compare, post_process, verify_pairs};
use dml_eval::input::{Labelled, Vectors, open_vectors};
use dml_eval::projection::MapKind;
use dml_eval::report::{MetricRow, Section};
use dml_eval::retrieval::Preset;
use dml_eval::verification::LfwPairs;
use indicatif::{ProgressBar, ProgressStyle};
use rows::Chosen;
pub(crate) use rows::column_names;
use std::fs;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use validation::Held;

#[derive(Args)]
pub(crate) struct Evaluate {
    /// Embeddings, .npy, .safetensors or .parquet; needs --labels, unless its file has them too, or a .csv beside the .npy
    #[arg(required_unless_present = "run_dir", conflicts_with = "run_dir")]
    embeddings: Option<PathBuf>,
    /// A folder that `dml train` has finished, instead of embeddings: prints its measures as JSON
    #[arg(long)]
    run_dir: Option<PathBuf>,
    /// Labels, and columns beside them: .csv, .tsv, .txt, .npy, .safetensors, .parquet [default: the file of the embeddings]
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Tensor that holds the embeddings [default: the only matrix]
    #[arg(long, value_name = "NAME")]
    tensor: Option<String>,
    /// A column that goes by another name, e.g. label=species or group=camera_id
    #[arg(long = "column", value_name = "ROLE=NAME")]
    columns: Vec<String>,
    /// Only rows of this split
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Embeddings of the same rows by another run: every retrieval measure of the two is compared, with a paired test
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    #[command(flatten)]
    validation: validation::Validation,
    /// Pair list of LFW (pairs.txt): accuracy fold by fold, EER, TAR@FAR; ids are to end in names like Abel_Pacheco_0001
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    #[command(flatten)]
    processing: processing::Processing,
    /// Folder of report.html, report.md, report.json and evaluation.json
    #[arg(long, value_name = "DIR", default_value = "evaluation")]
    out: PathBuf,
    /// Title of the report
    #[arg(long)]
    title: Option<String>,
    /// cosine, dot, euclidean, squared_euclidean, snr, lp:P or hyperbolic:C
    #[arg(long, default_value = "cosine")]
    metric: Metric,
    /// Retrieval measures, e.g. recall@1,map@r,map@10:min,ndcg@10. Left out: recall@1, 10, 100, 1000, map@r, r-precision, map and mrr
    #[arg(long, value_name = "NAMES")]
    measures: Option<String>,
    /// Measures and rules of a library or of papers: dml_papers, in_shop, pml, oml, tfs, roth, sentence_transformers, torchmetrics
    #[arg(long, value_name = "NAME", conflicts_with = "measures")]
    preset: Option<Preset>,
    /// K of the preset's measures
    #[arg(long, value_delimiter = ',', value_name = "K", default_values_t = [1, 10, 100])]
    ks: Vec<usize>,
    /// FARs of verification, and of its thresholds
    #[arg(long, value_delimiter = ',', value_name = "F", default_values_t = [1e-1, 1e-2, 1e-3, 1e-4])]
    fars: Vec<f64>,
    /// The group column is the camera: what the query's own camera took of its class is not in its ranking
    #[arg(long)]
    camera_rule: bool,
    /// Folder of the pictures that ids name, for the report
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Leave k-means out: it is most of the time of a large set
    #[arg(long)]
    no_clustering: bool,
    /// Maps of the space in the report: pca, tsne
    #[arg(long, value_delimiter = ',', value_name = "NAMES", default_values_t = MapKind::ALL)]
    maps: Vec<MapKind>,
    /// Leave the maps out
    #[arg(long, conflicts_with = "maps")]
    no_maps: bool,
    /// Rows that the maps show at most, of whole classes where they fit
    #[arg(long, value_name = "N", default_value_t = 3000)]
    mapped_rows: usize,
    /// Neighbours that a row minds in t-SNE; a third of the rows at most
    #[arg(long, value_name = "P", default_value_t = 30.0)]
    perplexity: f64,
    /// Resamples of the intervals; 0: no intervals
    #[arg(long, default_value_t = 1000)]
    resamples: usize,
    /// Seed of all draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    pub(crate) parent: crate::train::Parent,
}

pub(crate) fn evaluate(arguments: &Evaluate) -> Result<()> {
    match (&arguments.run_dir, &arguments.embeddings) {
        (Some(run_dir), _) => crate::train::evaluate(run_dir, &arguments.parent),
        (None, Some(embeddings)) => evaluate_files(arguments, embeddings),
        (None, None) => bail!("nothing to evaluate: give embeddings or --run-dir"),
    }
}

fn evaluate_files(arguments: &Evaluate, embeddings: &Path) -> Result<()> {
    arguments.parent.watch();
    if arguments.against.is_some() && arguments.resamples == 0 {
        bail!("--against tests by drawing classes again: want --resamples 1 or more");
    }
    let labels = arguments.labels.clone().unwrap_or_else(|| labels_of(embeddings));
    let columns = rows::column_names(&arguments.columns)?;
    let set = Labelled::open(embeddings, arguments.tensor.as_deref(), &labels, &columns)?;
    let (n, d) = (set.vectors.rows(), set.vectors.dim());
    let chosen = Chosen::new(&set.table, arguments.validation.measured(&set.table, arguments.split.as_deref())?);
    let held = arguments.validation.held(&set, arguments.tensor.as_deref(), &columns)?;
    let values = chosen.values(set.vectors.block(0..n)?, d);
    let picture = |row: usize| {
        let folder = arguments.images.as_ref()?;
        fs::read(folder.join(chosen.ids.as_ref()?.get(row)?)).ok()
    };
    let names = &set.table.labels.names;
    let evaluated = EvaluationSet {
        ids: chosen.ids.as_deref(),
        is_query: chosen.is_query.as_deref(),
        is_gallery: chosen.is_gallery.as_deref(),
        cameras: arguments.camera_rule.then_some(chosen.groups.as_deref()).flatten(),
        picture: Some(&picture),
        ..EvaluationSet::new(Matrix::new(&values, chosen.len(), d)?, &chosen.labels, names)
    };
    if arguments.camera_rule && evaluated.cameras.is_none() {
        bail!("--camera-rule wants a column group, camera or sequence beside the labels: add one");
    }
    let assessment = measure(arguments, &evaluated, held.as_ref(), &chosen, n)?;
    let title = arguments.title.clone().unwrap_or_else(|| name_of(embeddings));
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let report = assessment.report(&title, &evaluated);
    report.write(&arguments.out)?;
    let json = arguments.out.join("evaluation.json");
    dml_train::checkpoint::write_atomically(&json, serde_json::to_string_pretty(&assessment)?.as_bytes())?;
    for section in &report.sections {
        if let Section::Metrics(table) = section {
            println!("{}", table.title);
            table.rows.iter().for_each(|row| println!("  {}", line(row)));
        }
    }
    report.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    println!("report: {}", arguments.out.join("report.html").display());
    Ok(())
}

/// All that is asked of the rows `chosen` out of `n`.
fn measure(
    arguments: &Evaluate,
    set: &EvaluationSet<'_>,
    held: Option<&Held>,
    chosen: &Chosen,
    n: usize,
) -> Result<Assessment> {
    let options = settings::options(arguments)?;
    let against = arguments.against.as_deref().map(|file| open_rows(file, arguments, n)).transpose()?;
    let processes = arguments.processing.all(arguments.metric, arguments.validation.is_given())?;
    let list = arguments.pairs.as_deref().map(pair_list).transpose()?;
    let scored = (set.embeddings.rows() as u64).pow(2);
    let mut assessment = watched(scored, |watch| assess(set, &options, watch))?;
    if let (Some(file), Some(other)) = (&arguments.against, against) {
        let values = chosen.values(other.block(0..n)?, other.dim());
        let (name, other) = (name_of(file), Matrix::new(&values, chosen.len(), other.dim())?);
        let found = watched(scored, |watch| compare(set, &assessment, (&name, other), &options, watch))?;
        assessment.comparison = Some(found);
    }
    if let Some(list) = list {
        assessment.pair_list = Some(verify_pairs(set, &list, &options)?);
    }
    let held = held.map(Held::set).transpose()?;
    for process in &processes {
        let done = watched(scored, |watch| post_process(set, &assessment, process, held.as_ref(), &options, watch))?;
        assessment.post_processed.push(done);
    }
    if let Some(held) = &held {
        assessment.calibration = Some(calibrate(set, held, &options)?);
    }
    Ok(assessment)
}

/// Where the labels of a file of embeddings are looked for: in itself, or as `dml embed` writes them beside an `.npy` file.
fn labels_of(embeddings: &Path) -> PathBuf {
    let beside = embeddings.with_extension("csv");
    let array = embeddings.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
    if array && beside.is_file() { beside } else { embeddings.to_owned() }
}

fn pair_list(file: &Path) -> Result<LfwPairs> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    LfwPairs::parse(&text).with_context(|| file.display().to_string())
}

/// Another run's embeddings of the same `n` rows.
fn open_rows(file: &Path, arguments: &Evaluate, n: usize) -> Result<Box<dyn Vectors + Send>> {
    let other = open_vectors(file, arguments.tensor.as_deref())?;
    if other.rows() != n {
        let (file, rows) = (file.display(), other.rows());
        bail!("{file} has {rows} rows but there are {n} labelled embeddings: compare the same items in the same order");
    }
    Ok(other)
}

fn name_of(file: &Path) -> String {
    file.file_stem().map_or_else(|| "embeddings".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// A number for the terminal.
fn line(row: &MetricRow) -> String {
    let number = |value: f64| match row.percent {
        true => format!("{:.2} %", 100.0 * value),
        // A rate may be small.
        false if value != 0.0 && value.abs() < 1e-3 => format!("{value:.2e}"),
        false => format!("{value:.4}"),
    };
    let interval = row.low.zip(row.high).map(|(low, high)| format!("  [{}, {}]", number(low), number(high)));
    format!("{:<24} {:>10}{}", row.name, number(row.value), interval.unwrap_or_default())
}

/// Work that scores so many pairs, with a bar where somebody looks.
fn watched<T>(pairs: u64, work: impl FnOnce(Watch<'_>) -> dml_eval::Result<T>) -> Result<T> {
    if !std::io::stderr().is_terminal() {
        return Ok(work(&unwatched)?);
    }
    let style = ProgressStyle::with_template("{bar:30} {percent} % of the rankings, {eta} left")?;
    let bar = ProgressBar::new(pairs).with_style(style);
    let found = work(&|scored: usize| {
        bar.set_position(scored as u64);
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    Ok(found?)
}
