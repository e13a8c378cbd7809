//! What holds of retrieval measures whatever the data, their names, and galleries of one item per identity.

use dml_core::{Exclude, Matrix, Metric, nearest};
use dml_eval::retrieval::*;
use proptest::prelude::*;

const E: Metric = Metric::Euclidean;
const QUICK: Policy = Policy { lone: Lone::Zero, beyond: Beyond::Miss, bootstrap: Bootstrap { resamples: 0, seed: 0 } };

/// Measures of every kind.
fn all_measures() -> Vec<Measure> {
    Preset::ALL.into_iter().flat_map(|preset| preset.measures(&[1, 3, 10])).map(|named| named.1).collect()
}

fn line(points: &[f32]) -> Matrix<'_> {
    Matrix::new(points, points.len(), 1).unwrap()
}

/// Ranks by sorting, with relevant ties before or after others as asked.
fn sorted_ranks(x: &[f32], labels: &[u32], q: usize, ties: Ties) -> Vec<u32> {
    let mut others: Vec<usize> = (0..x.len()).filter(|&j| j != q).collect();
    let right = |j: usize| labels[j] == labels[q];
    others.sort_by(|&a, &b| {
        let by_distance = (x[a] - x[q]).abs().total_cmp(&(x[b] - x[q]).abs());
        by_distance.then(match ties {
            Ties::ById => a.cmp(&b),
            Ties::Optimistic => right(b).cmp(&right(a)),
            Ties::Pessimistic => right(a).cmp(&right(b)),
        })
    });
    (1u32..).zip(others).filter(|&(_, j)| right(j)).map(|(rank, _)| rank).collect()
}

fn windows() -> impl Strategy<Value = Window> {
    let k = 1usize..2000;
    prop_oneof![
        Just(Window::Whole),
        Just(Window::R),
        Just(Window::RAndQuery),
        k.clone().prop_map(Window::First),
        k.prop_map(Window::FirstOfR)
    ]
}

fn any_measure() -> impl Strategy<Value = Measure> {
    use Denominator::{Hits, Least, Places, Relevant, RelevantAndQuery};
    let over = prop::sample::select(vec![Places, Relevant, Least, Hits, RelevantAndQuery]);
    let gain = prop::sample::select(vec![Gain::Linear, Gain::Exponential]);
    let ideal = prop::sample::select(vec![Ideal::All, Ideal::Found]);
    (windows(), over, gain, ideal, 0..5).prop_map(|(within, over, gain, ideal, family)| match family {
        0 => Measure::HitRate { within },
        1 => Measure::Hits { within, over },
        2 => Measure::AveragePrecision { within, over },
        3 => Measure::ReciprocalRank { within },
        _ => Measure::Ndcg { within, gain, ideal },
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn ranks_are_those_of_sorting(values in prop::collection::vec((0u8..20, 0u32..4), 2..30)) {
        let x: Vec<f32> = values.iter().map(|v| f32::from(v.0)).collect();
        let labels: Vec<u32> = values.iter().map(|v| v.1).collect();
        for ties in [Ties::ById, Ties::Optimistic, Ties::Pessimistic] {
            let found = Rankings::whole(E, line(&x), line(&x), &Relevance::within(&labels), &[Exclusion::SelfIndex], ties);
            for (q, ranking) in found.unwrap().iter().enumerate() {
                prop_assert_eq!(ranking.ranks, sorted_ranks(&x, &labels, q, ties));
                prop_assert_eq!((ranking.length, ranking.known), (x.len() - 1, x.len() - 1));
            }
        }
    }

    #[test]
    fn measures_stay_in_their_order_and_in_bounds(values in prop::collection::vec((0u8..200, 0u32..4), 5..30)) {
        let x: Vec<f32> = values.iter().map(|v| f32::from(v.0)).collect();
        let labels: Vec<u32> = values.iter().map(|v| v.1).collect();
        let ranked = |ties| Rankings::whole(E, line(&x), line(&x), &Relevance::within(&labels), &[Exclusion::SelfIndex], ties).unwrap();
        let by_id = ranked(Ties::ById);
        let value = |name: &str, ranking| name.parse::<Measure>().unwrap().value(ranking);
        for ranking in by_id.iter() {
            for measure in all_measures() {
                let value = measure.value(ranking);
                prop_assert!((0.0..=1.0 + 1e-12).contains(&value), "{measure}: {value}");
            }
            prop_assert!(value("map@r", ranking) <= value("r-precision", ranking) + 1e-12);
            prop_assert!(value("map@r", ranking) <= value("map", ranking) + 1e-12);
            prop_assert!(value("map@3:k", ranking) <= value("map@3:min", ranking) + 1e-12);
            prop_assert!(value("map@3:min", ranking) <= value("map@3:hits", ranking) + 1e-12);
            prop_assert!(value("ndcg@3", ranking) <= value("ndcg@3:found", ranking) + 1e-12);
            prop_assert!(value("recall@1", ranking) <= value("recall@3", ranking));
            prop_assert_eq!(value("precision@1", ranking), value("recall@1", ranking));
        }
        let (worst, best) = (ranked(Ties::Pessimistic), ranked(Ties::Optimistic));
        for ((low, middle), high) in worst.iter().zip(by_id.iter()).zip(best.iter()) {
            for measure in [Measure::MAP, Measure::MRR, Measure::recall_at(2)] {
                let [low, middle, high] = [low, middle, high].map(|ranking| measure.value(ranking));
                prop_assert!(low <= middle + 1e-12 && middle <= high + 1e-12);
            }
        }
    }

    #[test]
    fn the_order_of_the_gallery_does_not_matter(seed in 0u32..1000, shift in 1usize..19) {
        // All integers below 19, and queries from which no two of them are equally far.
        let gallery: Vec<f32> = (0..19).map(|i| ((i * 7 + seed as usize) % 19) as f32).collect();
        let labels: Vec<u32> = (0..19).map(|i| (i * i + seed) % 4).collect();
        let queries = [0.1f32, 4.3, 11.2, 30.0];
        let measure = |gallery: &[f32], labels: &[u32]| {
            let relevance = Relevance::Labels { queries: &[0, 1, 2, 3], gallery: labels };
            let rankings = Rankings::whole(E, line(&queries), line(gallery), &relevance, &[], Ties::ById).unwrap();
            evaluate(&rankings, &all_measures(), Some(&[0, 1, 0, 1]), &QUICK).unwrap()
        };
        let (mut turned, mut turned_labels) = (gallery.clone(), labels.clone());
        turned.rotate_left(shift);
        turned_labels.rotate_left(shift);
        prop_assert_eq!(measure(&gallery, &labels), measure(&turned, &turned_labels));
    }

    #[test]
    fn cut_lists_equal_whole_rankings_up_to_their_depth(values in prop::collection::vec((0u8..20, 0u32..4), 5..30), k in 1usize..5) {
        let x: Vec<f32> = values.iter().map(|v| f32::from(v.0)).collect();
        let labels: Vec<u32> = values.iter().map(|v| v.1).collect();
        let relevance = Relevance::within(&labels);
        let groups: Vec<u32> = (0..x.len() as u32).map(|i| i / 2).collect();
        let exclude = [Exclusion::SelfIndex, Exclusion::SameGroup { queries: &groups, gallery: &groups }];
        let found = nearest(E, line(&x), line(&x), k, Exclude::SelfIndex).unwrap();
        let cut = Rankings::from_nearest(&found, x.len(), &relevance, &exclude).unwrap();
        let whole = Rankings::whole(E, line(&x), line(&x), &relevance, &exclude, Ties::ById).unwrap();
        for (cut, whole) in cut.iter().zip(whole.iter()) {
            prop_assert!(cut.known + 1 >= k);
            let known: Vec<u32> = whole.ranks.iter().copied().filter(|&rank| rank as usize <= cut.known).collect();
            prop_assert_eq!(cut.ranks, known);
            prop_assert_eq!((cut.relevant, cut.length), (whole.relevant, whole.length));
        }
    }

    #[test]
    fn names_are_read_as_they_are_written(measure in any_measure()) {
        let name = measure.to_string();
        match name.parse::<Measure>() {
            Ok(read) => {
                prop_assert_eq!(read, measure, "{}", name);
                let json = serde_json::to_string(&measure).unwrap();
                prop_assert_eq!(&json, &format!("\"{name}\""));
                prop_assert_eq!(serde_json::from_str::<Measure>(&json).unwrap(), measure);
                prop_assert!(!measure.title().is_empty() && !measure.definition().contains('\n'));
            }
            Err(error) => prop_assert!(error.to_string().contains("always 1"), "{error}"),
        }
    }
}

#[test]
fn names_in_many_spellings() {
    let named = |name: &str| name.parse::<Measure>().map(|measure| measure.to_string()).map_err(|e| e.to_string());
    for alias in ["recall@10", "hit@10", "cmc@10", "accuracy@10"] {
        assert_eq!(named(alias).unwrap(), "recall@10");
    }
    let same =
        ["r-precision", "map@r", "map", "map@r+1", "map@10:hits", "map@min(2,r):r", "mrr@5", "ndcg@10:exp:found"];
    for name in same {
        assert_eq!(named(name).unwrap(), name);
    }
    assert_eq!(named("precision@10:k").unwrap(), "precision@10");
    assert_eq!(named("precision@10:r").unwrap(), "ir-recall@10");
    assert_eq!(named("precision@r:r").unwrap(), "r-precision");
    assert_eq!(named("map@r:r").unwrap(), "map@r");
    for (wrong, says) in [
        ("map@10", "map@10:min (sentence-transformers)"),
        ("map@10:q", "want k, r, min, hits or r+1"),
        ("recall@0", "want K of 1 or more"),
        ("recall@+3", "looks at `+3` places"),
        ("recall@", "looks at `` places"),
        ("recall", "always 1"),
        ("recall@3:min", "takes nothing after a colon"),
        ("r-precision@3", "leave out the `@`"),
        ("ndcg@3:log", ":exp:found"),
        ("recal@3", "there is no measure `recal@3`: measures are recall@K"),
        ("", "there is no measure"),
    ] {
        let error = named(wrong).unwrap_err();
        assert!(error.contains(says), "{wrong}: {error}");
    }
}

#[test]
fn words_say_window_and_denominator() {
    let words = |name: &str| {
        let measure: Measure = name.parse().unwrap();
        (measure.title(), measure.definition())
    };
    let (title, definition) = words("map@10:min");
    assert_eq!(title, "MAP@10 over min(10, R)");
    let sum = "sum of the precision at each relevant item within rank 10";
    assert_eq!(definition, format!("{sum} / min(10, R), mean over queries"));
    assert_eq!(words("map@r").0, "MAP@R");
    assert_eq!(words("r-precision").1, "relevant items within rank R / R, mean over queries");
    assert!(words("recall@1").1.starts_with("share of queries with a relevant item within rank 1 "));
    assert_eq!(words("ir-recall@5").0, "IR recall@5");
}

#[test]
fn presets_are_found_by_name_and_their_measures_can_be_evaluated() {
    for preset in Preset::ALL {
        assert_eq!(preset.to_string().parse::<Preset>().unwrap(), preset);
        for (theirs, measure) in preset.measures(&[1, 5]) {
            assert_eq!(measure.to_string().parse::<Measure>().unwrap(), measure, "{preset}: {theirs}");
        }
    }
    assert!("pmll".parse::<Preset>().unwrap_err().to_string().contains("there are dml_papers, in_shop, pml"));
}

#[test]
fn runs_on_the_same_queries_are_compared() {
    let labels: Vec<u32> = (0..40).map(|i| i / 4).collect();
    let good: Vec<f32> = (0..40).map(|i| (i / 4 * 10 + i % 4) as f32).collect();
    let bad: Vec<f32> = (0..40).map(|i| (i * 17 % 41) as f32).collect();
    let measure = |x: &[f32]| {
        let relevance = Relevance::within(&labels);
        let rankings = Rankings::whole(E, line(x), line(x), &relevance, &[Exclusion::SelfIndex], Ties::ById).unwrap();
        evaluate(&rankings, &[Measure::MAP, Measure::recall_at(1)], Some(&labels), &Policy::default()).unwrap()
    };
    let (good, bad) = (measure(&good), measure(&bad));
    let recall = good.get(Measure::recall_at(1)).unwrap();
    assert_eq!((recall.micro_mean, recall.wilson.unwrap().high), (1.0, 1.0));
    assert!(good.get(Measure::MAP).unwrap().wilson.is_none());
    let map = bad.get(Measure::MAP).unwrap();
    assert!(map.student.unwrap().contains(map.micro_mean) && map.micro_bootstrap.unwrap().contains(map.micro_mean));
    // Classes of one size: both means, and both intervals, are the same.
    assert!((map.micro_mean - map.macro_mean).abs() < 1e-12 && map.classes.len() == 10);
    let test = good.compare(&bad, Measure::MAP, &Bootstrap::default()).unwrap();
    assert!(test.difference > 0.5 && test.p_value < 0.01 && test.interval.low > 0.0, "{test:?}");
    assert!(
        good.compare(&bad, Measure::MRR, &Bootstrap::default())
            .unwrap_err()
            .to_string()
            .contains("mrr was not measured")
    );
    let json = serde_json::to_string(&good).unwrap();
    assert_eq!(serde_json::from_str::<Measurements>(&json).unwrap(), good);
}

#[test]
fn one_item_per_identity_by_hand() {
    // Identity 1 has items at 1 and 4; identity 2 at 2 and 5; identity 3 at 3. Query of identity 1 at 0.
    let (points, labels) = ([1.0, 4.0, 2.0, 5.0, 3.0], [1, 1, 2, 2, 3]);
    let protocol = SingleShot { draws: 4000, seed: 1 };
    let run = |exclude: &[Exclusion<'_>], threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let gallery = (line(&points), &labels[..]);
        pool.install(|| single_shot(E, (line(&[0.0, 0.5]), &[1, 9]), gallery, exclude, Ties::ById, &protocol)).unwrap()
    };
    let draws = run(&[], 1);
    assert_eq!(draws, run(&[], 4));
    let measures = [1, 2, 3].map(Measure::recall_at);
    let found = evaluate_draws(&draws, &measures, None, &Policy::default()).unwrap();
    // At 1 it is first. At 4 identity 3 is before it, and identity 2 in half of the draws.
    let cmc: Vec<f64> = found.measured.iter().map(|measured| measured.micro_mean).collect();
    assert!((cmc[0] - 0.5).abs() < 0.03 && (cmc[1] - 0.75).abs() < 0.03 && cmc[2] == 1.0, "{cmc:?}");
    assert_eq!((found.lone_queries, found.measured[0].wilson), (1, None));
    assert_eq!(draws[0].get(0).unwrap().length, 3);
    // Without the item at 1 (the query's camera) and identity 3 there are two places, and it is first in half of the draws.
    let junk = [vec![0, 4], vec![]];
    let draws = run(&[Exclusion::Ids(&junk)], 2);
    let found = evaluate_draws(&draws, &measures[..2], None, &Policy::default()).unwrap();
    assert!((found.measured[0].micro_mean - 0.5).abs() < 0.03 && found.measured[1].micro_mean == 1.0);
    assert_eq!(draws[7].get(0).unwrap().length, 2);
    let none = SingleShot { draws: 0, ..protocol };
    let error = single_shot(E, (line(&[0.0]), &[1]), (line(&points), &labels), &[], Ties::ById, &none).unwrap_err();
    assert!(error.to_string().contains("0 draws"));
    let errors = evaluate_draws(&[], &measures, None, &Policy::default()).unwrap_err().to_string();
    assert!(errors.contains("none of 0 queries"), "{errors}");
}
