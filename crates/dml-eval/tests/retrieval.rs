//! Retrieval against other libraries (`tests/golden/generate/eval_retrieval.py`) and against tables worked by hand.

use dml_core::{Exclude, Matrix, Metric, Nearest, nearest};
use dml_eval::retrieval::*;
use dml_testkit::{Case, Tolerance, compare, load_goldens};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// torchmetrics and OML compute in f32.
const TOLERANCE: Tolerance = Tolerance::elementwise(1e-6, 1e-6);

#[derive(Deserialize)]
struct Described {
    metric: String,
    expected: BTreeMap<String, Expected>,
}

/// What one library was asked, and its rules.
#[derive(Deserialize)]
struct Expected {
    measures: Vec<Measure>,
    lone: Lone,
    beyond: Beyond,
}

/// A golden case in memory.
struct Set {
    metric: Metric,
    queries: (Vec<f32>, usize, usize),
    gallery: (Vec<f32>, usize, usize),
    query_labels: Option<Vec<u32>>,
    gallery_labels: Option<Vec<u32>>,
    grades: Vec<Vec<(u32, f32)>>,
    cameras: Option<(Vec<u32>, Vec<u32>)>,
    own: bool,
}

fn rows(case: &Case, name: &str) -> (Vec<f32>, usize, usize) {
    let tensor = case.tensor(name).unwrap();
    let [rows, cols] = tensor.dims()[..] else { panic!("a matrix") };
    (tensor.flatten_all().unwrap().to_vec1().unwrap(), rows, cols)
}

fn matrix((values, rows, cols): &(Vec<f32>, usize, usize)) -> Matrix<'_> {
    Matrix::new(values, *rows, *cols).unwrap()
}

impl Set {
    fn of(case: &Case, metric: &str) -> Self {
        let (own, labelled) = (!case.has("gallery"), case.has("query_labels"));
        let side = |side: &str| if own { "queries".to_owned() } else { side.to_owned() };
        let labels = |name: &str| labelled.then(|| case.labels(name).unwrap());
        let listed = |(grades, _, cols): (Vec<f32>, usize, usize)| -> Vec<Vec<(u32, f32)>> {
            grades.chunks(cols).map(|row| (0u32..).zip(row.iter().copied()).collect()).collect()
        };
        Self {
            metric: metric.parse().unwrap(),
            queries: rows(case, "queries"),
            gallery: rows(case, &side("gallery")),
            query_labels: labels("query_labels"),
            gallery_labels: labels(if own { "query_labels" } else { "gallery_labels" }),
            grades: if labelled { Vec::new() } else { listed(rows(case, "grades")) },
            cameras: case
                .has("query_cameras")
                .then(|| (case.labels("query_cameras").unwrap(), case.labels("gallery_cameras").unwrap())),
            own,
        }
    }

    fn relevance(&self) -> Relevance<'_> {
        match (&self.query_labels, &self.gallery_labels) {
            (Some(queries), Some(gallery)) => Relevance::Labels { queries, gallery },
            _ => Relevance::Lists(&self.grades),
        }
    }

    fn exclude(&self) -> Vec<Exclusion<'_>> {
        let cameras = self.cameras.iter().map(|(queries, gallery)| Exclusion::SameCamera { queries, gallery });
        self.own.then_some(Exclusion::SelfIndex).into_iter().chain(cameras).collect()
    }

    fn whole(&self, ties: Ties) -> Rankings {
        let (queries, gallery) = (matrix(&self.queries), matrix(&self.gallery));
        Rankings::whole(self.metric, queries, gallery, &self.relevance(), &self.exclude(), ties).unwrap()
    }

    fn searched(&self, k: usize) -> Rankings {
        let exclude = if self.own { Exclude::SelfIndex } else { Exclude::Nothing };
        let found = nearest(self.metric, matrix(&self.queries), matrix(&self.gallery), k, exclude).unwrap();
        Rankings::from_nearest(&found, self.gallery.1, &self.relevance(), &self.exclude()).unwrap()
    }
}

fn goldens() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/retrieval.safetensors");
    load_goldens(&path).unwrap()
}

#[test]
fn every_library_is_matched_by_its_rules() {
    let (mut compared, mut sources) = (0, BTreeMap::new());
    for case in goldens() {
        let described = Described::deserialize(&case.description).unwrap();
        let set = Set::of(&case, &described.metric);
        let rankings = set.whole(Ties::ById);
        for (source, Expected { measures, lone, beyond }) in &described.expected {
            let policy = Policy { lone: *lone, beyond: *beyond, bootstrap: NO_BOOTSTRAP };
            let found = evaluate(&rankings, measures, set.query_labels.as_deref(), &policy).unwrap();
            let of = |number: fn(&Measured) -> f64| found.measured.iter().map(number).collect::<Vec<_>>();
            let values = found.measured.iter().flat_map(|m| m.values.clone()).collect();
            for (kind, got) in [("micro", of(|m| m.micro_mean)), ("macro", of(|m| m.macro_mean)), ("values", values)] {
                let name = format!("{source}_{kind}");
                if case.has(&name) {
                    let want = case.numbers(&name).unwrap();
                    assert_eq!(got.len(), want.len(), "{} {name}", case.name);
                    let width = want.len() / measures.len();
                    if let Err(difference) = compare(&got, &want, &[measures.len(), width], TOLERANCE) {
                        let measure = measures[difference.index()[0]];
                        panic!("{} {name}, {measure}: {difference}", case.name);
                    }
                    compared += want.len();
                    *sources.entry(source.clone()).or_insert(0) += 1;
                }
            }
        }
    }
    assert!(compared > 5000 && sources.len() == 10, "{compared} numbers of {sources:?}");
}

#[test]
fn cut_lists_say_what_whole_rankings_say_as_deep_as_they_are() {
    for case in goldens() {
        let described = Described::deserialize(&case.description).unwrap();
        let set = Set::of(&case, &described.metric);
        let labels = set.query_labels.as_deref();
        let items = set.gallery.1 - usize::from(set.own);
        let policy = Policy { lone: Lone::Zero, beyond: Beyond::Miss, bootstrap: NO_BOOTSTRAP };
        for k in [3, items] {
            let (cut, whole) = (set.searched(k), set.whole(Ties::ById));
            let depth = cut.depth().unwrap_or(k);
            assert!(depth >= 1 && depth <= k && (depth == k || set.cameras.is_some()));
            let mut measures = Preset::SentenceTransformers.measures(&[1, depth]);
            measures.push(("exponential".to_owned(), format!("ndcg@{depth}:exp").parse().unwrap()));
            let measures: Vec<Measure> = measures.into_iter().map(|(_, measure)| measure).collect();
            let measure = |rankings| evaluate(rankings, &measures, labels, &policy).unwrap();
            assert_eq!(measure(&cut), measure(&whole), "{} cut at {k}", case.name);
            assert_eq!(cut.depth().is_none(), k == items || cut == whole, "{}", case.name);
            if cut.depth().is_some() {
                let error = evaluate(&cut, &[Measure::MAP], labels, &policy).unwrap_err().to_string();
                assert!(error.contains(&format!("only {depth} are known: search that deep")), "{error}");
            }
        }
    }
}

const E: Metric = Metric::Euclidean;
const NO_BOOTSTRAP: Bootstrap = Bootstrap { resamples: 0, seed: 0 };

fn named(names: &[&str]) -> Vec<Measure> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

/// Micro means of measures of points on a line.
fn line(
    queries: &[f32],
    gallery: &[f32],
    relevance: Relevance<'_>,
    exclude: &[Exclusion<'_>],
    ties: Ties,
    names: &[&str],
) -> Vec<f64> {
    let on = |points| Matrix::new(points, points.len(), 1).unwrap();
    let rankings = Rankings::whole(E, on(queries), on(gallery), &relevance, exclude, ties).unwrap();
    let found = evaluate(&rankings, &named(names), None, &Policy { bootstrap: NO_BOOTSTRAP, ..Policy::default() });
    found.unwrap().measured.iter().map(|measured| measured.micro_mean).collect()
}

fn assert_near(got: &[f64], want: &[f64]) {
    assert!(got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() < 1e-12), "{got:?} {want:?}");
}

#[test]
fn worked_vector_of_pytorch_metric_learning() {
    let (points, labels) = ([0.0, 1.0, 2.4, 2.5, 5.0, 9.0], [0, 0, 1, 0, 1, 2]);
    let x = Matrix::new(&points, 6, 1).unwrap();
    // Labels past 2^24 must not collide, as they do where labels become f32.
    for shift in [0, 1 << 24, u32::MAX - 2] {
        let labels = labels.map(|label: u32| shift + label);
        let relevance = Relevance::within(&labels);
        let rankings = Rankings::whole(E, x, x, &relevance, &[Exclusion::SelfIndex], Ties::ById).unwrap();
        let measures: Vec<Measure> = Preset::Pml.measures(&[]).into_iter().map(|named| named.1).collect();
        let found = evaluate(&rankings, &measures, Some(&labels), &Preset::Pml.policy()).unwrap();
        let means = |of: fn(&Measured) -> f64| found.measured.iter().map(of).collect::<Vec<_>>();
        assert_near(&means(|m| m.micro_mean), &[0.4, 0.3, 0.25, 0.6, 0.65]);
        let printed: Vec<String> = means(|m| m.macro_mean).iter().map(|mean| format!("{mean:.5}")).collect();
        assert_eq!(printed, ["0.33333", "0.25000", "0.20833", "0.56250", "0.60417"]);
        assert_eq!((found.queries.as_slice(), found.lone_queries), (&[0, 1, 2, 3, 4][..], 1));
        let classes: Vec<(u32, usize)> = found.measured[0].classes.iter().map(|c| (c.label, c.queries)).collect();
        assert_eq!(classes, [(shift, 3), (shift + 1, 2)]);
        // PML with k = 2.
        let at_2 = evaluate(&rankings, &named(&["map@2:r", "mrr@2"]), None, &Policy::default()).unwrap();
        assert_near(&at_2.measured.iter().map(|m| m.micro_mean).collect::<Vec<_>>(), &[0.35, 0.6]);
    }
}

#[test]
fn denominators_by_hand() {
    // Right, wrong, right, wrong, wrong, right: R = 3.
    let relevance = Relevance::Labels { queries: &[1], gallery: &[1, 0, 1, 0, 0, 1] };
    let table = [
        ("recall@1", 1.0),
        ("precision@4", 2.0 / 4.0),
        ("precision@4:min", 2.0 / 3.0),
        ("ir-recall@4", 2.0 / 3.0),
        ("r-precision", 2.0 / 3.0),
        ("map@r", (1.0 + 2.0 / 3.0) / 3.0),
        ("map", (1.0 + 2.0 / 3.0 + 3.0 / 6.0) / 3.0),
        ("map@2:r", 1.0 / 3.0),
        ("map@2:min", 1.0 / 2.0),
        ("map@2:hits", 1.0),
        ("map@4:k", (1.0 + 2.0 / 3.0) / 4.0),
        ("map@4:r+1", (1.0 + 2.0 / 3.0) / 4.0),
        ("map@r+1", (1.0 + 2.0 / 3.0) / 4.0),
        ("mrr", 1.0),
        ("ndcg@3", (1.0 + 0.5) / (1.0 + 1.0 / 3f64.log2() + 0.5)),
        ("ndcg@3:found", 1.5 / (1.0 + 1.0 / 3f64.log2())),
    ];
    let (names, want): (Vec<&str>, Vec<f64>) = table.into_iter().unzip();
    let points = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    assert_near(&line(&[0.0], &points, relevance, &[], Ties::ById, &names), &want);
}

#[test]
fn a_perfect_ranking_has_one_everywhere_but_where_the_query_is_counted() {
    let (points, labels) = ([0.0, 0.1, 0.2, 9.0, 9.1, 9.2], [0, 0, 0, 1, 1, 1]);
    let names = ["recall@1", "r-precision", "map@r", "map", "mrr", "ndcg@4", "map@5:min", "map@r+1", "map@5:k"];
    let got = line(&points, &points, Relevance::within(&labels), &[Exclusion::SelfIndex], Ties::ById, &names);
    assert_near(&got, &[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0 / 3.0, 2.0 / 5.0]);
}

#[test]
fn ties_by_hand() {
    // All at one distance; ids 1 and 3 are right.
    let relevance = Relevance::Labels { queries: &[1], gallery: &[0, 1, 0, 1] };
    let rank = |ties| line(&[0.0], &[1.0; 4], relevance, &[], ties, &["mrr", "map", "recall@2"]);
    assert_near(&rank(Ties::ById), &[1.0 / 2.0, (1.0 / 2.0 + 2.0 / 4.0) / 2.0, 1.0]);
    assert_near(&rank(Ties::Optimistic), &[1.0, 1.0, 1.0]);
    assert_near(&rank(Ties::Pessimistic), &[1.0 / 3.0, (1.0 / 3.0 + 2.0 / 4.0) / 2.0, 0.0]);
    // Among relevant ties the worthier comes first, or last.
    let lists = [vec![(1, 1.0), (3, 3.0)]];
    let ndcg = |ties| line(&[0.0], &[1.0; 4], Relevance::Lists(&lists), &[], ties, &["ndcg@1"]);
    assert_near(&[ndcg(Ties::Optimistic), ndcg(Ties::Pessimistic)].concat(), &[1.0, 0.0]);
    // In-Shop: a hit when fewer than K negatives are strictly closer than the best positive.
    let query = Relevance::Labels { queries: &[1], gallery: &[0, 0, 0, 1] };
    let hit = |ties| line(&[0.0], &[0.5, 1.0, 1.0, 1.0], query, &[], ties, &["recall@1", "recall@2"]);
    assert_near(&hit(Preset::InShop.ties()), &[0.0, 1.0]);
    assert_near(&hit(Ties::ById), &[0.0, 0.0]);
}

#[test]
fn a_copy_of_the_query_stays_and_the_query_goes() {
    // Rows 0, 1, 2 are copies; 1 is of another class. Dropping rank 0 instead of the index would drop row 0 always.
    let (points, labels) = ([5.0, 5.0, 5.0, 7.0], [0, 1, 0, 1]);
    let x = Matrix::new(&points, 4, 1).unwrap();
    let rankings = Rankings::whole(E, x, x, &Relevance::within(&labels), &[Exclusion::SelfIndex], Ties::ById).unwrap();
    let ranks: Vec<&[u32]> = rankings.iter().map(|ranking| ranking.ranks).collect();
    assert_eq!(ranks, [&[2], &[3], &[1], &[2]]);
}

#[test]
fn lone_queries_are_dropped_or_counted_or_refused() {
    let points = [0.0, 1.0, 2.0];
    let x = Matrix::new(&points, 3, 1).unwrap();
    let labels = [4, 4, 9];
    let rankings = Rankings::whole(E, x, x, &Relevance::within(&labels), &[Exclusion::SelfIndex], Ties::ById).unwrap();
    let measured =
        |lone| evaluate(&rankings, &[Measure::recall_at(1)], Some(&labels), &Policy { lone, ..Policy::default() });
    let (drop, zero) = (measured(Lone::Drop).unwrap(), measured(Lone::Zero).unwrap());
    assert_near(&[drop.measured[0].micro_mean, drop.measured[0].macro_mean], &[1.0, 1.0]);
    assert_near(&[zero.measured[0].micro_mean, zero.measured[0].macro_mean], &[2.0 / 3.0, 0.5]);
    assert_eq!((drop.lone_queries, zero.lone_queries), (1, 1));
    let error = measured(Lone::Refuse).unwrap_err().to_string();
    assert!(error.contains("1 of 3 queries have nothing relevant in the gallery, query 2 first"), "{error}");
    let alone = Rankings::whole(E, x, x, &Relevance::within(&[1, 2, 3]), &[Exclusion::SelfIndex], Ties::ById).unwrap();
    let error = evaluate(&alone, &[Measure::MAP], None, &Policy::default()).unwrap_err().to_string();
    assert!(error.contains("none of 3 queries has a relevant item"), "{error}");
}

#[test]
fn groups_cameras_and_ids_are_left_out() {
    let gallery = [1.0, 2.0, 3.0, 4.0, 5.0];
    let labels = Relevance::Labels { queries: &[7], gallery: &[7, 8, 8, 7, 7] };
    let with = |exclude: &[Exclusion<'_>]| line(&[0.0], &gallery, labels, exclude, Ties::ById, &["mrr", "map"]);
    assert_near(&with(&[]), &[1.0, (1.0 + 2.0 / 4.0 + 3.0 / 5.0) / 3.0]);
    // Junk is row 0; row 1 has the same camera but another label, and stays.
    let camera = Exclusion::SameCamera { queries: &[3], gallery: &[3, 3, 1, 2, 1] };
    assert_near(&with(&[camera]), &[1.0 / 3.0, (1.0 / 3.0 + 2.0 / 4.0) / 2.0]);
    // A group goes whole.
    let group = Exclusion::SameGroup { queries: &[3], gallery: &[3, 3, 1, 2, 1] };
    assert_near(&with(&[group]), &[1.0 / 2.0, (1.0 / 2.0 + 2.0 / 3.0) / 2.0]);
    let ids = [vec![2, 1, 2]];
    assert_near(&with(&[Exclusion::Ids(&ids)]), &[1.0, 1.0]);
    assert_near(&with(&[camera, Exclusion::Ids(&ids)]), &[1.0, 1.0]);
}

#[test]
fn label_sets_share_labels() {
    let queries = [vec![1, 2, 2, 3]];
    let gallery = [vec![9], vec![3, 2], vec![1, 4, 5], vec![], vec![3, 2, 1]];
    let on = |gain| {
        let relevance = Relevance::LabelSets { queries: &queries, gallery: &gallery, gain };
        let x = Matrix::new(&[0.0, 1.0, 2.0, 3.0, 4.0], 5, 1).unwrap();
        let query = Matrix::new(&[0.0], 1, 1).unwrap();
        Rankings::whole(E, query, x, &relevance, &[], Ties::ById).unwrap()
    };
    let ranking = |rankings: &Rankings| {
        let ranking = rankings.get(0).unwrap();
        (ranking.ranks.to_vec(), ranking.gains.to_vec(), ranking.ideal.to_vec())
    };
    assert_eq!(ranking(&on(SharedGain::One)), (vec![2, 3, 5], vec![], vec![]));
    assert_eq!(ranking(&on(SharedGain::Count)), (vec![2, 3, 5], vec![2.0, 1.0, 3.0], vec![3.0, 2.0, 1.0]));
    let jaccard = ranking(&on(SharedGain::Jaccard)).1;
    assert_eq!(jaccard, [2.0 / 3.0, 1.0 / 5.0, 1.0]);
}

#[test]
fn measures_that_look_beyond_a_ranking() {
    let relevance = Relevance::Labels { queries: &[1], gallery: &[0, 1, 1] };
    let on = |points| Matrix::new(points, points.len(), 1).unwrap();
    let rankings = Rankings::whole(E, on(&[0.0]), on(&[1.0, 2.0, 3.0]), &relevance, &[], Ties::ById).unwrap();
    let at_10 =
        |beyond| evaluate(&rankings, &[Measure::precision_at(10)], None, &Policy { beyond, ..Policy::default() });
    let error = at_10(Beyond::Refuse).unwrap_err().to_string();
    assert!(error.contains("precision@10 looks at 10 places but the gallery has 3 items for query 0"), "{error}");
    assert_near(&[at_10(Beyond::Clip).unwrap().measured[0].micro_mean], &[2.0 / 3.0]);
    assert_near(&[at_10(Beyond::Miss).unwrap().measured[0].micro_mean], &[0.2]);
}

#[test]
fn rankings_that_contradict_themselves_are_refused() {
    let one = |ranks: Vec<u32>, relevant, length, depth| {
        let starts = vec![0, ranks.len()];
        Rankings::new(starts, ranks, vec![relevant], vec![length], depth).unwrap_err().to_string()
    };
    assert!(one(vec![0], 1, 5, None).contains("count from 1"));
    assert!(one(vec![2, 2], 2, 5, None).contains("rise"));
    assert!(one(vec![6], 1, 5, None).contains("within what is known"));
    assert!(one(vec![4], 1, 5, Some(3)).contains("5 items of which 3 are known"));
    assert!(one(vec![1, 2], 1, 5, Some(3)).contains("no more are found"));
    assert!(one(vec![1], 2, 5, None).contains("holds all relevant items"));
    let starts = Rankings::new(vec![0, 2], vec![1], vec![1], vec![5], None).unwrap_err().to_string();
    assert!(starts.contains("starts that rise"), "{starts}");
    assert!(Rankings::new(vec![], vec![], vec![], vec![], None).is_err());
    let plain = Rankings::new(vec![0, 1], vec![1], vec![2], vec![5], Some(1)).unwrap();
    let gains = |gains: &[f32], ideal: &[f32]| plain.clone().with_gains(gains.to_vec(), ideal.to_vec());
    assert!(gains(&[3.0], &[1.0, 3.0]).is_ok());
    assert!(gains(&[3.0], &[1.0, 2.0]).unwrap_err().to_string().contains("more gain"));
    assert!(gains(&[0.0], &[1.0, 3.0]).unwrap_err().to_string().contains("above 0"));
    assert!(gains(&[1.0], &[1.0]).unwrap_err().to_string().contains("for 2 relevant items"));
}

#[test]
fn bad_input_is_refused_by_name() {
    let x = Matrix::new(&[0.0, 1.0], 2, 1).unwrap();
    let whole = |relevance: Relevance<'_>, exclude: &[Exclusion<'_>]| {
        Rankings::whole(E, x, x, &relevance, exclude, Ties::ById).unwrap_err().to_string()
    };
    let good = Relevance::within(&[0, 0]);
    let short = Relevance::Labels { queries: &[0, 0], gallery: &[0] };
    assert_eq!(whole(short, &[]), "there are 1 labels for 2 gallery items: give each one");
    assert!(whole(Relevance::Lists(&[vec![], vec![(5, 1.0)]]), &[]).contains("query 1 names gallery row 5"));
    assert!(whole(Relevance::Lists(&[vec![], vec![(0, -1.0)]]), &[]).contains("gain -1"));
    assert!(whole(Relevance::Lists(&[vec![(1, 1.0), (1, 2.0)], vec![]]), &[]).contains("row 1 twice"));
    assert!(whole(good, &[Exclusion::Ids(&[vec![9], vec![]])]).contains("row 9"));
    assert!(whole(good, &[Exclusion::SameGroup { queries: &[], gallery: &[1, 1] }]).contains("0 groups for 2 queries"));
    let three = Matrix::new(&[0.0, 1.0, 2.0], 3, 1).unwrap();
    let labels = Relevance::Labels { queries: &[0; 3], gallery: &[0; 2] };
    let error = Rankings::whole(E, three, x, &labels, &[Exclusion::SelfIndex], Ties::ById).unwrap_err().to_string();
    assert!(error.contains("3 queries leave themselves out of a gallery of 2"), "{error}");
    let nan = Matrix::new(&[0.0, f32::NAN], 2, 1).unwrap();
    assert!(Rankings::whole(E, x, nan, &good, &[], Ties::ById).unwrap_err().to_string().contains("gallery item 1"));
    let found = |ids: Vec<u32>| {
        Nearest::from_lists(ids.chunks(2).map(|ids| ids.iter().map(|&id| (id, 0.0)).collect::<Vec<_>>()))
    };
    let error = |ids| Rankings::from_nearest(&found(ids), 2, &good, &[]).unwrap_err().to_string();
    assert!(error(vec![0, 1, 0, 2]).contains("query 1 found row 2"));
    assert!(error(vec![0, 1, 0, 0]).contains("row 0 twice"));
    let rankings = Rankings::whole(E, x, x, &good, &[Exclusion::SelfIndex], Ties::ById).unwrap();
    let labels = evaluate(&rankings, &[Measure::MAP], Some(&[1]), &Policy::default()).unwrap_err().to_string();
    assert!(labels.contains("1 labels for 2 queries"), "{labels}");
}
