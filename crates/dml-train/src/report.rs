//! The report of a run: what it achieved, how it got there, and the classes it had not seen.

mod curves;

use crate::cross_modal::{CrossModal, FoundByText};
use crate::embedding::Embeddings;
use crate::evaluation::Evaluation;
use crate::examples::Examples;
use crate::recipe::Evaluated;
use crate::run::RunFolder;
use crate::sets::Sets;
use crate::{Event, Recipe, Result};
use dml_core::unwatched;
use dml_eval::assessment::{AssessmentOptions, EvaluationSet, assess};
use dml_eval::projection::MapKind;
use dml_eval::report::{Gallery, GalleryRow, Listing, MetricRow, MetricTable, Report, Section, Tile};
use dml_eval::retrieval::{Lone, Policy};
use dml_eval::statistics::Bootstrap;
use std::collections::BTreeSet;

/// Longest side of a picture in the page, in pixels.
const PICTURE: usize = 112;

/// The report of the run in `folder`: `evaluation` and the curves of its log; with `test`, the embeddings of the test set, all that
/// [`assess`] says of them without intervals, k-means and t-SNE, which take their time (`dml evaluate` has them).
///
/// # Errors
/// When the log cannot be read.
pub fn of_run(
    recipe: &Recipe,
    folder: &RunFolder,
    sets: &Sets,
    evaluation: &Evaluation,
    test: Option<&Embeddings>,
) -> Result<Report> {
    let events = curves::events(&folder.metrics())?;
    let mut sections = vec![Section::Metrics(results(evaluation))];
    sections.extend(curves::sections(&events));
    let mut warnings = warnings(recipe, &events);
    if let Some((set, embeddings)) = sets.test.as_deref().zip(test.filter(|test| test.can_be_measured())) {
        let ids: Vec<String> = (0..embeddings.labels.len()).map(|i| set.id(i)).collect();
        let picture = |row: usize| picture(set, row);
        let role = |which: usize| sets.roles.as_ref().map(|roles| roles.iter().map(|role| role[which]).collect());
        let (queries, gallery): (Option<Vec<bool>>, Option<Vec<bool>>) = (role(0), role(1));
        let assessed = EvaluationSet {
            ids: Some(&ids[..]),
            is_query: queries.as_deref(),
            is_gallery: gallery.as_deref(),
            picture: Some(&picture),
            ..EvaluationSet::new(embeddings.matrix()?, &embeddings.labels, set.class_names())
        };
        let options = AssessmentOptions {
            metric: recipe.metric()?,
            policy: Policy { lone: Lone::Drop, bootstrap: Bootstrap { resamples: 0, seed: 0 }, ..Policy::default() },
            resamples: 0,
            clustering: None,
            episodes: 0,
            galleries: 0,
            maps: vec![MapKind::Pca],
            ..AssessmentOptions::default()
        };
        match assess(&assessed, &options, &unwatched) {
            Ok(assessment) => {
                let report = assessment.report("", &assessed);
                warnings.extend(report.warnings);
                sections.extend(report.sections);
            }
            // The numbers above are the result; the run is not to end over a page.
            Err(problem) => warnings.push(format!("the test set is not shown: {problem}")),
        }
    }
    if let (Some(found), Some(set)) = (&evaluation.cross_modal.test, sets.test.as_deref()) {
        sections.push(Section::Gallery(found_by_texts(found, set)));
    }
    sections.push(Section::Listing(Listing { title: "Recipe".to_owned(), text: recipe.to_toml()? }));
    Ok(Report { title: recipe.name.clone(), facts: facts(recipe, sets, evaluation), warnings, sections })
}

/// Image `row` of `set` for the page.
fn picture(set: &dyn Examples, row: usize) -> Option<Vec<u8>> {
    set.images()?.picture(row).ok().flatten()?.thumbnail(PICTURE).ok()
}

/// Some texts and the images of `set` that they found.
fn found_by_texts(found: &CrossModal, set: &dyn Examples) -> Gallery {
    let name = |label: u32| set.class_names().get(label as usize).cloned().unwrap_or_default();
    let tile = |row: u32| {
        let label = set.labels().get(row as usize).map_or_else(String::new, |&label| name(label));
        Tile { label, id: set.id(row as usize), picture: picture(set, row as usize) }
    };
    let row = |example: &FoundByText| GalleryRow {
        group: "by a text".to_owned(),
        query: Tile { label: name(example.label), id: example.text.clone(), picture: None },
        neighbours: example
            .images
            .iter()
            .map(|&(row, score)| (tile(row), set.labels().get(row as usize) == Some(&example.label), score))
            .collect(),
    };
    // The data may have changed since.
    let there = |example: &&FoundByText| example.images.iter().all(|&(row, _)| (row as usize) < set.labels().len());
    Gallery {
        title: "Texts and the images they find".to_owned(),
        rows: found.examples.iter().filter(there).map(row).collect(),
    }
}

fn facts(recipe: &Recipe, sets: &Sets, evaluation: &Evaluation) -> Vec<(String, String)> {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let size = |set: &dyn Examples| match set.class_names().len() {
        0 => set.labels().len().to_string(),
        classes => format!("{} of {classes} classes", set.labels().len()),
    };
    let what = match (sets.train.images(), sets.train.class_names()) {
        (Some(_), _) => "images",
        (None, []) => "pairs",
        (None, _) => "texts",
    };
    let train = fact(&format!("Training {what}"), size(sets.train.as_ref()));
    let mut facts = vec![fact("Data", recipe.data.set.clone()), train];
    facts.extend(sets.validation.as_deref().map(|set| fact(&format!("Validation {what}"), size(set))));
    facts.extend(sets.test.as_deref().map(|set| fact(&format!("Test {what}"), size(set))));
    facts.extend([
        fact("Loss", recipe.loss.name.clone()),
        fact("Batch", format!("{} {what}", recipe.sampler.batch())),
        fact("Compared by", evaluation.metric.clone()),
        fact("Steps", evaluation.steps.to_string()),
        fact("Seed", evaluation.seed.to_string()),
    ]);
    facts
}

fn warnings(recipe: &Recipe, events: &[Event]) -> Vec<String> {
    let chosen = (recipe.train.evaluate == Evaluated::BestOnTest)
        .then(|| "the weights were chosen on the test classes: the figures on them are too good".to_owned());
    let damaged = events.iter().filter_map(|event| match event {
        Event::Damaged { problem, step } => Some(format!("{problem}: an older checkpoint stood in, of step {step}")),
        _ => None,
    });
    let stopped = events.iter().filter_map(|event| match event {
        Event::StoppedEarly { step } => {
            Some(format!("stopped at step {step}: what is measured between steps got no better"))
        }
        _ => None,
    });
    let skipped: BTreeSet<&String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Skipped { what, .. } => Some(what),
            _ => None,
        })
        .flatten()
        .collect();
    let skipped = skipped
        .first()
        .map(|first| format!("training did without {} images that cannot be read, among them {first}", skipped.len()));
    damaged.chain(skipped).chain(stopped).chain(chosen).collect()
}

/// What the run achieved, as in `evaluation.json`.
fn results(evaluation: &Evaluation) -> MetricTable {
    let mut rows = Vec::new();
    let mut row = |name: String, value: f64, definition: &str, n: Option<usize>| {
        let definition = definition.to_owned();
        rows.push(MetricRow { name, value, percent: true, definition, n, ..MetricRow::default() });
    };
    for (part, measures) in [("test", &evaluation.test), ("validation", &evaluation.validation)] {
        let Some(of) = measures else { continue };
        let queries = Some(of.retrieval.queries);
        for (k, recall) in of.retrieval.recall_at.iter().take(1) {
            row(format!("R@{k}, {part}"), *recall, "queries with one of their class among the k nearest", queries);
        }
        row(format!("MAP@R, {part}"), of.retrieval.map_at_r, "mean average precision at R, over queries", queries);
        row(format!("EER, {part}"), of.verification.eer, "equal error rate over all pairs; smaller is better", None);
        for few in &of.few_shot {
            let (ways, shots) = (few.protocol.ways, few.protocol.shots);
            let name = format!("{ways}-way {shots}-shot, {part}");
            row(name, few.accuracy, "accuracy by the nearest prototype", Some(few.protocol.episodes));
        }
    }
    for short in &evaluation.shortened {
        for (part, retrieval) in [("test", &short.test), ("validation", &short.validation)] {
            let Some(retrieval) = retrieval else { continue };
            let definition = "by the first numbers of the embeddings alone";
            row(format!("MAP@R of {}, {part}", short.dim), retrieval.map_at_r, definition, Some(retrieval.queries));
        }
    }
    for (part, found) in [("test", &evaluation.correlation.test), ("validation", &evaluation.correlation.validation)] {
        let Some(found) = found else { continue };
        let definition = "rank correlation of the scores of pairs with what people found";
        row(format!("Spearman, {part}"), found.spearman, definition, Some(found.pairs));
    }
    for (part, found) in [("test", &evaluation.cross_modal.test), ("validation", &evaluation.cross_modal.validation)] {
        let Some(found) = found else { continue };
        for (way, of) in [("image to text", &found.image_to_text), ("text to image", &found.text_to_image)] {
            let queries = Some(of.queries);
            for (k, recall) in &of.recall_at {
                row(
                    format!("R@{k}, {way}, {part}"),
                    *recall,
                    "queries with one of their class among the k nearest",
                    queries,
                );
            }
            row(format!("MAP@R, {way}, {part}"), of.map_at_r, "mean average precision at R, over queries", queries);
        }
    }
    if let Some(open) = &evaluation.open_set {
        row("TPIR, test".to_owned(), open.tpir, "share of known probes that are named rightly at an FPIR of 1 %", None);
    }
    if let Some(one) = &evaluation.one_shot {
        row("One-shot error".to_owned(), one.error, "Lake's runs, 20-way; smaller is better", Some(one.trials));
    }
    let note = "Of classes or pairs that were not in training; as in evaluation.json.".to_owned();
    MetricTable { title: "Results".to_owned(), rows, note }
}
