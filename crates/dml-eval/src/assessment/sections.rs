//! An assessment as a report.

use super::set::EvaluationSet;
use super::{Assessment, Example, Maps, SpaceMap, recognition, retrieval_table};
use crate::projection::MapKind;
use crate::report::{
    Axis, ClassTable, Confusions, Curves, Gallery, GalleryRow, Histogram, Mark, MetricRow, MetricTable, PlaneMap,
    Point, Projection, Report, Scale, Section, Series, Tile,
};
use crate::verification::{Interval, probit};

impl Assessment {
    /// The report. `set` is the one that was measured: it knows names and pictures.
    pub fn report(&self, title: &str, set: &EvaluationSet<'_>) -> Report {
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let facts = vec![
            fact("Embeddings", format!("{} of length {}", self.rows, self.dimensions)),
            fact("Classes", self.classes.to_string()),
            fact("Queries", self.queries.to_string()),
            fact("Gallery", self.gallery.to_string()),
            fact("Compared by", self.metric.clone()),
            fact("Ranking", "exact; ties by smaller index unless said".to_owned()),
        ];
        let mut sections = vec![Section::Metrics(retrieval_table::table("Retrieval", &self.retrieval))];
        sections.extend(self.comparison.iter().map(|comparison| Section::Metrics(comparison.table())));
        sections.extend(self.post_processed.iter().map(|processed| Section::Metrics(processed.table())));
        sections.extend(self.verification_table().map(Section::Metrics));
        sections.extend(self.pair_list.iter().map(|found| Section::Metrics(found.table())));
        let calibrated = self.calibration.as_ref();
        sections.extend(self.recognition.iter().flat_map(|found| recognition::sections(found, calibrated)));
        sections.extend(calibrated.iter().flat_map(|calibrated| calibrated.sections()));
        sections.extend(self.few_shot_table().map(Section::Metrics));
        sections.extend(self.clustering_table().map(Section::Metrics));
        sections.extend(self.curves());
        sections.extend(self.histogram().map(Section::Histogram));
        sections.push(Section::Gallery(self.gallery(set)));
        sections.extend(self.map(set).map(Section::Projection));
        sections.push(Section::Classes(self.class_table(set)));
        sections.extend(self.confusion_section(set).map(Section::Confusions));
        sections.push(Section::Metrics(self.space_table()));
        Report { title: title.to_owned(), facts, warnings: self.all_warnings(), sections }
    }

    /// Those of the set and those of what was tried on it.
    fn all_warnings(&self) -> Vec<String> {
        let others = self.calibration.iter().flat_map(|calibrated| &calibrated.warnings);
        let of_pairs = self.pair_list.iter().flat_map(|found| &found.warnings);
        self.warnings.iter().chain(others).chain(of_pairs).cloned().collect()
    }

    fn verification_table(&self) -> Option<MetricTable> {
        let (found, intervals) = (self.verification.as_ref()?, self.verification_intervals.as_ref());
        let row = |name: String, value: f64, interval: Option<Interval>, definition: String| MetricRow {
            name,
            value,
            low: interval.map(|i| i.low),
            high: interval.map(|i| i.high),
            percent: true,
            definition,
            n: None,
        };
        let mut rows = vec![
            row(
                "EER".to_owned(),
                found.eer,
                intervals.map(|i| i.eer),
                "rate at which as many impostors pass as genuine pairs do not; smaller is better".to_owned(),
            ),
            row(
                "AUC".to_owned(),
                found.auc,
                intervals.map(|i| i.auc),
                "chance that a genuine pair is closer than an impostor pair, ties counted half".to_owned(),
            ),
        ];
        for (at, point) in found.tar_at_far.iter().enumerate() {
            let interval = intervals.and_then(|i| i.tar_at_far.get(at)).map(|i| i.1);
            let achieved = point.point.map_or_else(String::new, |p| {
                format!(
                    "; threshold {:.4}, achieved FAR {:.2e} ({} false accepts)",
                    p.threshold, p.far, p.false_accepts
                )
            });
            let few = if point.too_few_impostors { "; too few impostors to measure it" } else { "" };
            let definition = format!(
                "share of genuine pairs that pass where at most {:e} of impostors do{achieved}{few}",
                point.far
            );
            rows.push(row(format!("TAR@FAR={:e}", point.far), point.tar, interval, definition));
        }
        let drawn = if intervals.is_some() { " Intervals: 95 %, identities drawn again." } else { "" };
        let exact = if found.bounds.is_some() { " EER and AUC from a histogram of 131,072 bins." } else { "" };
        Some(MetricTable {
            title: "Verification".to_owned(),
            rows,
            note: format!("All pairs: {} genuine, {} impostor.{drawn}{exact}", found.genuine, found.impostors),
        })
    }

    fn few_shot_table(&self) -> Option<MetricTable> {
        let first = self.few_shot.first()?;
        let row = |found: &crate::FewShot| MetricRow {
            name: format!("{}-way {}-shot", found.protocol.ways, found.protocol.shots),
            value: found.accuracy,
            low: Some(found.accuracy - found.ci95),
            high: Some(found.accuracy + found.ci95),
            percent: true,
            definition: format!(
                "accuracy by the nearest prototype, {} queries a class, {} episodes",
                found.protocol.queries, found.protocol.episodes
            ),
            n: Some(found.protocol.episodes),
        };
        Some(MetricTable {
            title: "Few-shot".to_owned(),
            rows: self.few_shot.iter().map(row).collect(),
            note: format!(
                "Intervals: 1.96·s/√E over episodes, seed {}; they know nothing of training seeds.",
                first.protocol.seed
            ),
        })
    }

    fn clustering_table(&self) -> Option<MetricTable> {
        let found = self.clustering.as_ref()?;
        let scores = [
            ("NMI", found.mean.nmi, "normalised mutual information, arithmetic mean of the entropies"),
            ("AMI", found.mean.ami, "the same, adjusted for chance"),
            ("ARI", found.mean.ari, "Rand index, adjusted for chance"),
            ("Pairwise F1", found.mean.pair_f1, "pairs in one cluster against pairs of one class"),
            ("Purity", found.mean.purity, "share of items of the most frequent class of their cluster"),
        ];
        let row = |(name, value, definition): (&str, f64, &str)| MetricRow {
            name: name.to_owned(),
            value,
            low: None,
            high: None,
            percent: true,
            definition: definition.to_owned(),
            n: None,
        };
        Some(MetricTable {
            title: "Clustering".to_owned(),
            rows: scores.into_iter().map(row).collect(),
            note: format!(
                "k-means, {} clusters, {} seeds, at most {} passes. NMI grows with the number of clusters: read AMI beside it.",
                found.clusters,
                found.runs.len(),
                found.options.iterations
            ),
        })
    }

    fn curves(&self) -> Vec<Section> {
        if self.roc.is_empty() {
            return Vec::new();
        }
        let impostors = self.verification.as_ref().map_or(1, |v| v.impostors) as f64;
        let least = (1.0 / impostors).max(1e-7);
        let asked = || self.verification.iter().flat_map(|v| &v.tar_at_far);
        let roc = Curves {
            title: "ROC".to_owned(),
            x: Axis { label: "FAR".to_owned(), scale: Scale::Log, min: least, max: 1.0 },
            y: Axis { label: "TAR".to_owned(), scale: Scale::Linear, min: 0.0, max: 1.0 },
            series: vec![Series {
                name: "all pairs".to_owned(),
                points: self.roc.iter().filter(|p| p.far >= least).map(|p| (p.far, p.tar)).collect(),
                faint: false,
            }],
            marks: asked()
                .filter_map(|t| t.point)
                .filter(|p| p.far >= least)
                .map(|p| Mark { label: format!("{:.1} %", 100.0 * p.tar), x: p.far, y: p.tar })
                .collect(),
            note: "Genuine pairs that pass against impostor pairs that do.".to_owned(),
        };
        let inside = |share: f64| probit(share).is_finite() && (1e-7..=0.99).contains(&share);
        let det = Curves {
            title: "DET".to_owned(),
            x: Axis { label: "FAR".to_owned(), scale: Scale::Probit, min: least.min(1e-3), max: 0.5 },
            y: Axis { label: "FNMR".to_owned(), scale: Scale::Probit, min: 1e-3, max: 0.5 },
            series: vec![Series {
                name: "all pairs".to_owned(),
                points: self
                    .roc
                    .iter()
                    .map(|p| (p.far, 1.0 - p.tar))
                    .filter(|&(far, fnmr)| inside(far) && inside(fnmr) && far <= 0.5 && (1e-3..=0.5).contains(&fnmr))
                    .collect(),
                faint: false,
            }],
            marks: Vec::new(),
            note: "Both error rates on normal-deviate axes: straight where scores are normal.".to_owned(),
        };
        let drawn = |curves: &Curves| curves.series.iter().any(|series| series.points.len() > 1);
        [roc, det].into_iter().filter(drawn).map(Section::Curves).collect()
    }

    fn histogram(&self) -> Option<Histogram> {
        let found = self.similarities.as_ref()?;
        let threshold = self.verification.as_ref().and_then(|v| v.eer_threshold);
        Some(Histogram {
            title: "Similarities".to_owned(),
            x_label: self.metric.clone(),
            edges: found.edges.clone(),
            series: vec![
                ("same class".to_owned(), found.genuine.clone()),
                ("other class".to_owned(), found.impostor.clone()),
            ],
            lines: threshold.map(|t| ("EER threshold".to_owned(), f64::from(t))).into_iter().collect(),
            note: format!("Densities over the pairs of {} rows, evenly spaced.", found.rows),
        })
    }

    fn gallery(&self, set: &EvaluationSet<'_>) -> Gallery {
        let tile = |row: u32| {
            let label = set.labels.get(row as usize).and_then(|&label| set.names.get(label as usize));
            Tile {
                label: label.cloned().unwrap_or_default(),
                id: set.id(row as usize),
                picture: set.picture.and_then(|picture| picture(row as usize)),
            }
        };
        let row = |example: &Example| GalleryRow {
            group: example.kind.clone(),
            query: tile(example.query),
            neighbours: example.found.iter().map(|&(row, score, right)| (tile(row), right, score)).collect(),
        };
        Gallery { title: "Queries and what they find".to_owned(), rows: self.examples.iter().map(row).collect() }
    }

    fn map(&self, set: &EvaluationSet<'_>) -> Option<Projection> {
        let Maps { rows, maps } = &self.maps;
        let point =
            |&row: &u32| Point { class: set.labels.get(row as usize).copied().unwrap_or(0), id: set.id(row as usize) };
        let drawn = |map: &SpaceMap| PlaneMap {
            name: map.kind.title().to_owned(),
            method: format!(
                "{}. Of {} nearest neighbours in the space it keeps {:.0} % near.",
                map.method,
                map.neighbours,
                100.0 * map.neighbours_kept
            ),
            places: map.places.clone(),
        };
        let mut note = String::new();
        if rows.len() < self.rows {
            note += &format!("Drawn from {} rows: classes at random, whole where they fit. ", self.rows);
        }
        if maps.iter().any(|map| map.kind == MapKind::Tsne) {
            note += "t-SNE shows who is near whom; how far groups are apart, and how large they look, means little.";
        }
        (!maps.is_empty()).then(|| Projection {
            title: "The space".to_owned(),
            points: rows.iter().map(point).collect(),
            maps: maps.iter().map(drawn).collect(),
            classes: set.names.to_vec(),
            note: note.trim_end().to_owned(),
        })
    }

    /// Worst classes first, by the first measure.
    fn class_table(&self, set: &EvaluationSet<'_>) -> ClassTable {
        let measured = &self.retrieval.measured;
        let mut rows: Vec<(String, Vec<f64>)> = Vec::new();
        for (at, class) in measured.first().map(|m| &m.classes[..]).unwrap_or_default().iter().enumerate() {
            let values = measured.iter().map(|m| m.classes.get(at).map_or(f64::NAN, |class| class.mean));
            let name = set.names.get(class.label as usize).cloned().unwrap_or_default();
            rows.push((name, std::iter::once(class.queries as f64).chain(values).collect()));
        }
        rows.sort_by(|a, b| a.1[1..].iter().sum::<f64>().total_cmp(&b.1[1..].iter().sum()).then(a.0.cmp(&b.0)));
        let columns = std::iter::once("queries".to_owned()).chain(measured.iter().map(|m| m.measure.title()));
        ClassTable { title: "Classes, worst first".to_owned(), columns: columns.collect(), rows }
    }

    fn confusion_section(&self, set: &EvaluationSet<'_>) -> Option<Confusions> {
        /// Pairs listed, and classes of the matrix.
        const PAIRS: usize = 30;
        const CLASSES: usize = 12;
        let name = |class: u32| set.names.get(class as usize).cloned().unwrap_or_default();
        if self.confusions.is_empty() {
            return None;
        }
        let mut worst: Vec<u32> = Vec::new();
        for class in self.confusions.iter().flat_map(|c| [c.class, c.taken_for]) {
            if worst.len() < CLASSES && !worst.contains(&class) {
                worst.push(class);
            }
        }
        let asked = |class: u32| {
            let first = self.retrieval.measured.first()?;
            first.classes.iter().find(|c| c.label == class).map(|c| c.queries)
        };
        let count = |a: u32, b: u32| {
            let confused = |to: Option<u32>| {
                self.confusions
                    .iter()
                    .filter(|c| c.class == a && to.is_none_or(|to| c.taken_for == to))
                    .map(|c| c.queries)
                    .sum()
            };
            if a == b { asked(a).unwrap_or(0).saturating_sub(confused(None)) } else { confused(Some(b)) }
        };
        let matrix = worst.iter().map(|&a| worst.iter().map(|&b| count(a, b)).collect()).collect();
        let listed = self.confusions.iter().take(PAIRS);
        Some(Confusions {
            title: "Who is taken for whom".to_owned(),
            pairs: listed.map(|c| (name(c.class), name(c.taken_for), c.queries, c.share)).collect(),
            matrix: Some((worst.iter().map(|&class| name(class)).collect(), matrix)),
        })
    }

    fn space_table(&self) -> MetricTable {
        let found = &self.diagnostics;
        let row = |name: &str, value: Option<f64>, definition: &str| {
            value.map(|value| MetricRow {
                name: name.to_owned(),
                value,
                low: None,
                high: None,
                percent: false,
                definition: definition.to_owned(),
                n: None,
            })
        };
        let rows = [
            row(
                "Alignment",
                found.alignment.as_ref().map(|a| a.value),
                "E‖x − y‖² over pairs of one class (Wang & Isola 2020)",
            ),
            row("Uniformity", Some(found.uniformity.value), "log E e^(−2‖x − y‖²) over all pairs (Wang & Isola 2020)"),
            row(
                "Effective rank",
                Some(found.spectrum.effective_rank),
                "exp of the entropy of the normalised singular values (Roy & Vetterli 2007)",
            ),
            row(
                "ρ-spectrum",
                found.spectrum.rho_spectrum,
                "KL(uniform ‖ normalised singular values): 0 is flat (Roth et al. 2020)",
            ),
            row("Hubness", Some(found.hubness.skewness), "skewness of how often rows are among the nearest of others"),
            row("Antihubs", Some(found.hubness.antihubs), "share of rows that are among the nearest of none"),
        ];
        MetricTable {
            title: "The embedding space".to_owned(),
            rows: rows.into_iter().flatten().collect(),
            note: format!("k = {} neighbours for hubness.", found.hubness.k),
        }
    }
}
