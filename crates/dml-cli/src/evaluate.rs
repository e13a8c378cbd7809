//! `dml evaluate`: embeddings and labels in, a report out; or the encoder of a run folder once more.

use anyhow::{Context, Result, bail};
use clap::Args;
use dml_core::{Metric, unwatched};
use dml_eval::assessment::{Assessment, AssessmentOptions, EvaluationSet, assess};
use dml_eval::clustering::ClusterOptions;
use dml_eval::input::{ColumnNames, Labelled, Table};
use dml_eval::projection::MapKind;
use dml_eval::report::{MetricRow, Section};
use dml_eval::retrieval::{Lone, Measure, Policy, Preset, Ties};
use dml_eval::statistics::Bootstrap;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct Evaluate {
    /// Embeddings, .npy or .safetensors; needs --labels, unless its file has them too
    #[arg(required_unless_present = "run_dir", conflicts_with = "run_dir")]
    embeddings: Option<PathBuf>,
    /// A folder that `dml train` has finished, instead of embeddings: prints its measures as JSON
    #[arg(long)]
    run_dir: Option<PathBuf>,
    /// Labels, and columns beside them: .csv, .tsv, .txt, .npy, .safetensors [default: the file of the embeddings]
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
    /// FARs of verification
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
    let labels = arguments.labels.as_deref().unwrap_or(embeddings);
    let names = column_names(&arguments.columns)?;
    let set = Labelled::open(embeddings, arguments.tensor.as_deref(), labels, &names)?;
    let (n, d) = (set.vectors.rows(), set.vectors.dim());
    let all = set.vectors.block(0..n)?;
    let chosen = Chosen::new(&all, d, &set.table, arguments.split.as_deref())?;
    let picture = |row: usize| {
        let folder = arguments.images.as_ref()?;
        fs::read(folder.join(chosen.ids.as_ref()?.get(row)?)).ok()
    };
    let set = EvaluationSet {
        ids: chosen.ids.as_deref(),
        is_query: chosen.is_query.as_deref(),
        is_gallery: chosen.is_gallery.as_deref(),
        cameras: arguments.camera_rule.then_some(chosen.groups.as_deref()).flatten(),
        picture: Some(&picture),
        ..EvaluationSet::new(chosen.matrix(d)?, &chosen.labels, &set.table.labels.names)
    };
    if arguments.camera_rule && set.cameras.is_none() {
        bail!("--camera-rule wants a column group, camera or sequence beside the labels: add one");
    }
    let assessment = measure(&set, &options(arguments)?)?;
    let title = arguments.title.clone().unwrap_or_else(|| {
        embeddings.file_stem().map_or_else(|| "Embeddings".to_owned(), |stem| stem.to_string_lossy().into_owned())
    });
    fs::create_dir_all(&arguments.out).with_context(|| format!("cannot make {}", arguments.out.display()))?;
    let report = assessment.report(&title, &set);
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

/// A number for the terminal.
fn line(row: &MetricRow) -> String {
    let number = |value: f64| if row.percent { format!("{:.2} %", 100.0 * value) } else { format!("{value:.4}") };
    let interval = row.low.zip(row.high).map(|(low, high)| format!("  [{}, {}]", number(low), number(high)));
    format!("{:<24} {:>10}{}", row.name, number(row.value), interval.unwrap_or_default())
}

fn measure(set: &EvaluationSet<'_>, options: &AssessmentOptions) -> Result<Assessment> {
    if !std::io::stderr().is_terminal() {
        return Ok(assess(set, options, &unwatched)?);
    }
    let style = ProgressStyle::with_template("{bar:30} {percent} % of the rankings, {eta} left")?;
    let pairs = (set.embeddings.rows() as u64).pow(2);
    let bar = ProgressBar::new(pairs).with_style(style);
    let watch = |scored: usize| {
        bar.set_position(scored as u64);
        ControlFlow::Continue(())
    };
    let found = assess(set, options, &watch);
    bar.finish_and_clear();
    Ok(found?)
}

fn options(arguments: &Evaluate) -> Result<AssessmentOptions> {
    let bootstrap = Bootstrap { resamples: arguments.resamples, seed: arguments.seed };
    let named = arguments.measures.as_deref().unwrap_or_default().split_terminator(',');
    let mut measures = named.map(|name| Ok(name.trim().parse()?)).collect::<Result<Vec<Measure>>>()?;
    let mut policy = Policy { bootstrap, lone: Lone::Drop, ..Policy::default() };
    let mut ties = Ties::ById;
    if let Some(preset) = arguments.preset {
        measures = preset.measures(&arguments.ks).into_iter().map(|(_, measure)| measure).collect();
        measures.dedup();
        policy = Policy { bootstrap, ..preset.policy() };
        ties = preset.ties();
    }
    Ok(AssessmentOptions {
        metric: arguments.metric,
        measures,
        policy,
        ties,
        fars: arguments.fars.clone(),
        resamples: arguments.resamples,
        clustering: (!arguments.no_clustering)
            .then(|| ClusterOptions { seeds: vec![arguments.seed], ..ClusterOptions::default() }),
        maps: if arguments.no_maps { Vec::new() } else { arguments.maps.clone() },
        mapped_rows: arguments.mapped_rows,
        perplexity: arguments.perplexity,
        seed: arguments.seed,
        ..AssessmentOptions::default()
    })
}

fn column_names(columns: &[String]) -> Result<ColumnNames> {
    let mut names = ColumnNames::default();
    for column in columns {
        let (role, name) = column.split_once('=').with_context(|| format!("--column {column}: want ROLE=NAME"))?;
        let place = match role {
            "label" => &mut names.label,
            "id" => &mut names.id,
            "split" => &mut names.split,
            "is_query" => &mut names.is_query,
            "is_gallery" => &mut names.is_gallery,
            "group" => &mut names.group,
            _ => bail!("--column {column}: roles are label, id, split, is_query, is_gallery, group"),
        };
        *place = Some(name.to_owned());
    }
    Ok(names)
}

/// The rows that are evaluated.
struct Chosen<'a> {
    values: std::borrow::Cow<'a, [f32]>,
    labels: Vec<u32>,
    ids: Option<Vec<String>>,
    is_query: Option<Vec<bool>>,
    is_gallery: Option<Vec<bool>>,
    groups: Option<Vec<u32>>,
}

impl<'a> Chosen<'a> {
    fn new(all: &'a [f32], d: usize, table: &Table, split: Option<&str>) -> Result<Self> {
        let rows: Vec<usize> = match (split, &table.splits) {
            (None, _) => (0..table.rows()).collect(),
            (Some(name), Some(splits)) => {
                let Some(split) = splits.names.iter().position(|known| known == name) else {
                    bail!("--split {name}: there is {}", splits.names.join(", "));
                };
                (0..table.rows()).filter(|&i| splits.ids[i] as usize == split).collect()
            }
            (Some(name), None) => bail!("--split {name}: the labels have no column split"),
        };
        let values = if rows.len() == table.rows() {
            all.into()
        } else {
            rows.iter().flat_map(|&i| &all[i * d..(i + 1) * d]).copied().collect()
        };
        Ok(Self {
            values,
            labels: of_rows(&rows, &table.labels.ids),
            ids: table.ids.as_ref().map(|ids| of_rows(&rows, ids)),
            is_query: table.is_query.as_ref().map(|marks| of_rows(&rows, marks)),
            is_gallery: table.is_gallery.as_ref().map(|marks| of_rows(&rows, marks)),
            groups: table.groups.as_ref().map(|groups| of_rows(&rows, &groups.ids)),
        })
    }

    fn matrix(&self, d: usize) -> Result<dml_core::Matrix<'_>> {
        Ok(dml_core::Matrix::new(&self.values, self.labels.len(), d)?)
    }
}

fn of_rows<T: Clone>(rows: &[usize], values: &[T]) -> Vec<T> {
    rows.iter().map(|&i| values[i].clone()).collect()
}
