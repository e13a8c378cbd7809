//! Pair lists, the k-fold protocol and intervals.

use dml_core::{Matrix, Metric};
use dml_eval::verification::{
    Bootstrap, FoldedTar, KFold, LfwPairs, Pair, PairList, Spread, ThresholdSearch, bootstrap, bootstrap_pairs,
    compare, compare_pairs, k_fold, verification,
};
use dml_testkit::{Case, Tolerance, compare as compare_numbers, load_goldens};
use proptest::prelude::*;
use std::collections::HashMap;
use std::path::Path;

const LFW: &str = "2\t2\nAbel\t1\t2\nBea_Lee\t3\t12\nAbel\t1\tCy\t4\nBea_Lee\t3\tCy\t4\nCy\t1\t2\nCy\t1\t4\nCy\t9\tAbel\t2\nDi\t1\tBea_Lee\t3\n";

fn golden(name: &str) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/verification.safetensors");
    load_goldens(&path).unwrap().into_iter().find(|case| case.name == name).unwrap()
}

fn f32s(case: &Case, name: &str) -> Vec<f32> {
    case.numbers(name).unwrap().into_iter().map(|v| v as f32).collect()
}

fn assert_near(what: &str, got: &[f64], want: &[f64], tolerance: Tolerance) {
    if let Err(difference) = compare_numbers(got, want, &[want.len()], tolerance) {
        panic!("{what}: {difference}");
    }
}

#[test]
fn folds_equal_the_protocol_worked_out_in_numpy() {
    for (name, search) in [("folds_grid", ThresholdSearch::INSIGHTFACE), ("folds_exact", ThresholdSearch::Exact)] {
        let case = golden(name);
        let fars: Vec<f64> = case.description["fars"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let (scores, same) = (f32s(&case, "scores"), case.labels("same").unwrap());
        let pairs = same.iter().enumerate().map(|(i, &same)| Pair { first: i, second: i, same: same == 1, fold: 0 });
        let pairs = PairList::new(pairs.collect()).unwrap().in_folds(10).unwrap();
        let found: KFold = k_fold(Metric::SquaredEuclidean, &scores, &pairs, &fars, search).unwrap();
        let flat = |t: &FoldedTar| [t.threshold, t.tar, t.achieved_far];
        let rows = found
            .folds
            .iter()
            .flat_map(|fold| [fold.threshold, fold.accuracy].into_iter().chain(fold.tar_at_far.iter().flat_map(flat)));
        // A loosest threshold lies one step of f32 before the impostor that would break the FAR.
        assert_near(
            name,
            &rows.collect::<Vec<f64>>(),
            &case.numbers("folds").unwrap(),
            Tolerance::elementwise(1e-9, 2e-7),
        );
        let spreads = |value: fn(&Spread) -> f64| {
            let of_far = found.tar_at_far.iter().flat_map(|(_, tar, far)| [value(tar), value(far)]);
            std::iter::once(value(&found.accuracy)).chain(of_far).collect::<Vec<f64>>()
        };
        for (statistic, value) in [
            ("mean", (|s| s.mean) as fn(&Spread) -> f64),
            ("population_std", |s| s.population_std),
            ("standard_error", |s| s.standard_error),
        ] {
            // Without the thresholds' columns.
            let want = case.numbers(statistic).unwrap().into_iter().enumerate();
            let want: Vec<f64> = want.filter(|(i, _)| *i == 1 || (*i > 1 && i % 3 != 2)).map(|(_, v)| v).collect();
            assert_near(statistic, &spreads(value), &want, Tolerance::elementwise(1e-12, 1e-12));
        }
    }
}

#[test]
fn folds_by_hand() {
    // Similarities; fold 1 is harder. Thresholds: from fold 1, 0.4 (all right but the genuine 0.2); from fold 0, 0.8.
    let table = [
        (0.9, true, 0),
        (0.8, true, 0),
        (0.1, false, 0),
        (0.3, false, 0),
        (0.4, true, 1),
        (0.2, true, 1),
        (0.3, false, 1),
        (0.0, false, 1),
    ];
    let pairs = table.iter().map(|&(_, same, fold)| Pair { first: 0, second: 1, same, fold }).collect();
    let scores: Vec<f32> = table.iter().map(|row| row.0).collect();
    let pairs = PairList::new(pairs).unwrap();
    let found = k_fold(Metric::Cosine, &scores, &pairs, &[0.0], ThresholdSearch::Exact).unwrap();
    let rows: Vec<(f32, f64)> = found.folds.iter().map(|fold| (fold.threshold as f32, fold.accuracy)).collect();
    assert_eq!(rows, [(0.4, 1.0), (0.8, 0.5)]);
    assert_eq!((found.accuracy.mean, found.accuracy.population_std), (0.75, 0.25));
    assert!((found.accuracy.standard_error - 0.25).abs() < 1e-12);
    // On a grid of similarities a pair passes strictly above; 0.5 is good for fold 0, and the first best is taken.
    let grid = ThresholdSearch::Grid { end: 1.0, accuracy_step: 0.25, far_step: 0.125 };
    let found = k_fold(Metric::Cosine, &scores, &pairs, &[0.25], grid).unwrap();
    assert_eq!(found.folds[1].threshold, 0.5);
    // FAR of fold 0 is 1 at 0, 1/2 at 0.125 and 0.25, 0 at 0.375: 1/4 half way.
    assert_eq!(found.folds[1].tar_at_far[0].threshold, 0.3125);
}

#[test]
fn bad_folds_are_refused() {
    let pair = |same, fold| Pair { first: 0, second: 1, same, fold };
    let refused = |pairs: Vec<Pair>, search, mend: &str| {
        let scores = vec![0.5; pairs.len()];
        let pairs = PairList::new(pairs).unwrap();
        let error = k_fold(Metric::Cosine, &scores, &pairs, &[0.1], search).unwrap_err().to_string();
        assert!(error.contains(mend), "{error}");
    };
    let good = vec![pair(true, 0), pair(false, 0), pair(true, 1), pair(false, 1)];
    refused(vec![pair(true, 0), pair(false, 0)], ThresholdSearch::Exact, "two folds or more");
    refused(vec![pair(true, 0), pair(false, usize::MAX)], ThresholdSearch::Exact, "none of them empty");
    refused(vec![pair(true, 0), pair(false, 0), pair(true, 1), pair(true, 1)], ThresholdSearch::Exact, "fold 1");
    for (end, step) in [(4.0, 0.0), (4.0, -1.0), (4.0, f64::NAN), (-1.0, 0.1), (1.0, 1e-9)] {
        refused(
            good.clone(),
            ThresholdSearch::Grid { end, accuracy_step: step, far_step: 0.1 },
            "a grid of thresholds",
        );
    }
    let list = PairList::new(good).unwrap();
    assert!(
        k_fold(Metric::Cosine, &[0.5], &list, &[], ThresholdSearch::Exact)
            .unwrap_err()
            .to_string()
            .contains("1 scores for 4")
    );
    assert!(list.clone().in_folds(0).is_err() && list.in_folds(5).is_err() && PairList::new(vec![]).is_err());
}

#[test]
fn lfw_lists_are_read_written_and_resolved() {
    for text in [LFW.to_owned(), LFW.replace('\t', " "), LFW.replace('\n', "\r\n"), format!("\u{feff}{LFW}\n\n")] {
        let list = LfwPairs::parse(&text).unwrap();
        assert_eq!((list.folds(), list.pairs().len()), (2, 8));
        assert_eq!(list.pairs()[1].images(), ["Bea_Lee_0003", "Bea_Lee_0012"]);
        assert!(list.pairs()[4].same() && !list.pairs()[6].same());
        assert_eq!(list.to_text(), LFW);
    }
    let list = LfwPairs::parse(LFW).unwrap();
    let mut images: Vec<String> = list.pairs().iter().flat_map(|pair| pair.images()).collect();
    images.sort();
    images.dedup();
    let mut rows: HashMap<String, usize> = images.into_iter().zip(0..).collect();
    let pairs = list.resolve(&rows).unwrap();
    assert_eq!(pairs.pairs().iter().map(|pair| pair.fold).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1, 1, 1]);
    assert_eq!((pairs.folds(), pairs.identities().unwrap()[7]), (2, [3, 1]));
    rows.remove("Cy_0004");
    let error = list.resolve(&rows).unwrap_err().to_string();
    assert!(error.contains("1 images") && error.contains("`Cy_0004`"), "{error}");
    // pairsDevTrain: one number, genuine pairs first.
    let dev = LfwPairs::parse("1\nAbel 1 2\nAbel 1 Cy 4\n").unwrap();
    assert_eq!((dev.folds(), dev.to_text().as_str()), (1, "1\nAbel\t1\t2\nAbel\t1\tCy\t4\n"));
}

#[test]
fn broken_lfw_lists_name_their_line() {
    for (text, said) in [
        ("", "empty"),
        ("ten 300\n", "line 1: the heading is `ten 300`"),
        ("1 2 3\n", "line 1"),
        ("0\n", "line 1: the heading names 1 folds of 0"),
        ("99999999999 99999999999\n", "line 1: the heading names"),
        ("1\nA 1\n", "line 2: 2 fields: want 3"),
        ("1\nA 1 B 2\n", "line 2: 4 fields: want 3"),
        ("1\nA 1 x\n", "line 2: `x`"),
        ("1\nA 0 1\n", "line 2: `0`"),
        ("1\nA 1 2\nA 1 2\n", "line 3: 3 fields: want 4"),
        ("1\nA 1 2\n\nA 1 A 3\n", "line 4: a pair of two people names `A` twice"),
        ("1\nA 1 2\n", "names 2 pairs but there are 1"),
        ("1\nA 1 2\nA 1 B 2\nA 3 4\n", "line 4: the heading names 2 pairs but there are more"),
    ] {
        let error = LfwPairs::parse(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text:?}: {error}");
    }
}

#[test]
fn lists_of_rows_are_read_and_written() {
    let text = "first,second,same,fold\n0,1,1,0\n# a note\n2;3;false;1\n\n4\t5\tTrue\t1\n";
    let list = PairList::parse(text).unwrap();
    assert_eq!(list.to_csv(), "first,second,same,fold\n0,1,1,0\n2,3,0,1\n4,5,1,1\n");
    assert_eq!(PairList::parse("0 1 1").unwrap().to_csv(), "first,second,same\n0,1,1\n");
    for (text, said) in [
        ("", "empty"),
        ("first,second,same\n", "empty"),
        ("0,1,1\n0,1,0,2\n", "line 2: 4 fields, want 3"),
        ("0,1\n", "line 1: 2 fields, want 3"),
        ("0,1,1,2,3\n", "line 1: 5 fields, want 4"),
        ("0,1,maybe\n", "line 1: same is `maybe`"),
        ("0,-1,1\n", "line 1: `-1`"),
        ("0,1,1\nfirst,second,same\n", "line 2"),
    ] {
        let error = PairList::parse(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text:?}: {error}");
    }
    let list = PairList::parse("0,1,1\n0,2,0\n").unwrap();
    let x = Matrix::new(&[0.0, 3.0], 2, 1).unwrap();
    assert!(list.scores(Metric::Euclidean, x).unwrap_err().to_string().contains("pair 1 names row 2"));
    let x = Matrix::new(&[0.0, 3.0, 7.0], 3, 1).unwrap();
    let scores = list.scores(Metric::Euclidean, x).unwrap();
    assert_eq!(
        (scores.as_slice(), list.curve(Metric::Euclidean, &scores).unwrap().auc()),
        ([3.0, 7.0].as_slice(), 1.0)
    );
    assert!(list.clone().with_identities(vec![[1, 1]]).is_err());
    assert!(list.with_identities(vec![[1, 1], [2, 2]]).unwrap_err().to_string().contains("pair 1 is marked"));
}

#[test]
fn intervals_equal_the_bootstrap_worked_out_in_numpy() {
    let case = golden("intervals");
    let (values, labels) = (f32s(&case, "embeddings"), case.labels("labels").unwrap());
    let x = Matrix::new(&values, labels.len(), 2).unwrap();
    let far = case.description["far"].as_f64().unwrap();
    let how = Bootstrap { resamples: 2000, ..Bootstrap::default() };
    let found = bootstrap(Metric::SquaredEuclidean, x, &labels, &[far], &how).unwrap();
    let all = [found.eer, found.auc, found.tar_at_far[0].1];
    let (low, high) = (case.numbers("low").unwrap(), case.numbers("high").unwrap());
    for ((got, low), high) in all.iter().zip(low).zip(high) {
        // Quantiles of 2000 and of 5000 draws differ by chance.
        let slack = 0.06 * (high - low);
        assert!((got.low - low).abs() < slack && (got.high - high).abs() < slack, "{got:?}, numpy {low} to {high}");
    }
    let whole = verification(Metric::SquaredEuclidean, x, &labels, &[far]).unwrap();
    let estimates = all.map(|interval| interval.estimate);
    assert_near(
        "estimates",
        &estimates,
        &[whole.eer, whole.auc, whole.tar_at_far[0].tar],
        Tolerance::elementwise(1e-12, 0.0),
    );
    assert_eq!((found.drawn, found.resamples), (60, 2000));
}

#[test]
fn a_bootstrap_follows_from_its_seed_and_not_from_threads() {
    // So many pairs that a sample and the tail stand for them.
    let n = 1600;
    let values: Vec<f32> =
        (0..n * 2).map(|i| ((i * i * 31 + i * 7) % 1009) as f32 * 0.01 + (i / 2 % 320 * 3) as f32).collect();
    let labels: Vec<u32> = (0..n as u32).map(|i| i % 320).collect();
    let x = Matrix::new(&values, n, 2).unwrap();
    let measure = |threads: usize, seed: u64| {
        let how = Bootstrap { resamples: 6, seed, ..Bootstrap::default() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| bootstrap(Metric::Euclidean, x, &labels, &[1e-5, 1e-3], &how).unwrap())
    };
    let one = measure(1, 3);
    assert_eq!(one, measure(2, 3));
    assert_ne!(one, measure(2, 4));
    let whole = verification(Metric::Euclidean, x, &labels, &[1e-5, 1e-3]).unwrap();
    assert!((whole.auc - one.auc.estimate).abs() < 2e-3 && (whole.eer - one.eer.estimate).abs() < 2e-3);
    for (want, (_, got)) in whole.tar_at_far.iter().zip(&one.tar_at_far) {
        assert!((want.tar - got.estimate).abs() < 1e-12 && got.low <= got.high, "{want:?} {got:?}");
    }
}

#[test]
fn paired_comparison_sees_what_unpaired_intervals_hide() {
    let labels: Vec<u32> = (0..240).map(|i| i / 3).collect();
    let noise = |i: usize, salt: u32| {
        let hash = (i as u32 + 1000 * salt).wrapping_mul(2_654_435_761);
        ((hash ^ (hash >> 13)).wrapping_mul(2_246_822_519) >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    // The same items, more noise on top.
    let make = |scale: f32| -> Vec<f32> {
        (0..480).map(|i| noise(i / 6 * 2 + i % 2, 1) * 8.0 + noise(i, 2) * 2.0 + noise(i, 3) * scale).collect()
    };
    let (good, bad) = (make(0.0), make(1.2));
    let [good, bad] = [&good, &bad].map(|values| (Metric::Euclidean, Matrix::new(values, 240, 2).unwrap()));
    let how = Bootstrap { resamples: 300, ..Bootstrap::default() };
    let same = compare([good, good], &labels, &[0.01], &how).unwrap();
    assert_eq!((same.eer.difference.low, same.eer.difference.high, same.eer.p), (0.0, 0.0, 1.0));
    let found = compare([good, bad], &labels, &[0.01], &how).unwrap();
    assert!(found.eer.difference.low > 0.0 && found.eer.p < 0.01 && found.auc.difference.high < 0.0, "{found:?}");
    let [alone, other] = [good, bad].map(|(metric, x)| bootstrap(metric, x, &labels, &[0.01], &how).unwrap().eer);
    assert!(alone.high > other.low, "{alone:?} {other:?}");
    // The other way round it is the same, but for rounding.
    let swapped = compare([bad, good], &labels, &[0.01], &how).unwrap();
    assert!((swapped.eer.difference.low + found.eer.difference.high).abs() < 1e-12 && swapped.eer.p == found.eer.p);
}

#[test]
fn bootstrap_of_pair_lists() {
    let pairs: Vec<Pair> = (0..200).map(|i| Pair { first: i, second: i, same: i.is_multiple_of(2), fold: 0 }).collect();
    let score = |i: usize| ((i * 37) % 101) as f32 / 101.0 + if i.is_multiple_of(2) { 0.4 } else { 0.0 };
    let scores: Vec<f32> = (0..200).map(score).collect();
    let list = PairList::new(pairs).unwrap();
    let how = Bootstrap { resamples: 500, ..Bootstrap::default() };
    let by_pairs = bootstrap_pairs(Metric::Cosine, &scores, &list, &[0.1], &how).unwrap();
    let curve = list.curve(Metric::Cosine, &scores).unwrap();
    assert!((by_pairs.auc.estimate - curve.auc()).abs() < 1e-12 && by_pairs.drawn == 200);
    assert!(by_pairs.auc.low < curve.auc() && curve.auc() < by_pairs.auc.high);
    // Few people have many pairs each: less is known than as many pairs of as many people would tell.
    let people =
        (0..200u32).map(|i| if i % 2 == 0 { [i / 2 % 8 + 100; 2] } else { [i / 2 % 8 + 100, (i / 2 + 1) % 8 + 100] });
    let known = list.clone().with_identities(people.collect()).unwrap();
    let by_people = bootstrap_pairs(Metric::Cosine, &scores, &known, &[0.1], &how).unwrap();
    assert!((by_people.auc.estimate - curve.auc()).abs() < 1e-12 && by_people.drawn == 8);
    let worse: Vec<f32> = scores.iter().enumerate().map(|(i, s)| if i % 3 == 0 { 0.5 } else { *s }).collect();
    let found = compare_pairs([(Metric::Cosine, &scores), (Metric::Cosine, &worse)], &list, &[0.1], &how).unwrap();
    assert!(found.auc.difference.estimate < 0.0 && found.auc.p < 0.05, "{found:?}");
    for broken in
        [Bootstrap { resamples: 0, ..how }, Bootstrap { level: 1.0, ..how }, Bootstrap { level: f64::NAN, ..how }]
    {
        assert!(
            bootstrap_pairs(Metric::Cosine, &scores, &list, &[0.1], &broken).unwrap_err().to_string().contains("level")
        );
    }
    let two = PairList::parse("0 1 1\n0 2 0").unwrap().with_identities(vec![[0, 0], [0, 1]]).unwrap();
    let error = bootstrap_pairs(Metric::Cosine, &[0.5, 0.4], &two, &[], &how);
    // Half of the resamples draw one person twice: whether that is too many, chance says; it must not fail otherwise.
    assert!(error.is_ok() || error.unwrap_err().to_string().contains("too few identities"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn parsers_never_panic(text in "(\u{feff})?([0-9]{1,3}[ \t][0-9]{1,2}\n)?([A-Za-z_0-9#,;\t -]{0,12}\r?\n){0,8}.{0,10}") {
        for list in [LfwPairs::parse(&text), LfwPairs::parse(&format!("1\n{text}"))].into_iter().flatten() {
            prop_assert_eq!(LfwPairs::parse(&list.to_text()).unwrap(), list);
        }
        if let Ok(list) = PairList::parse(&text) {
            let again = PairList::parse(&list.to_csv()).unwrap();
            prop_assert_eq!(again.pairs(), list.pairs());
        }
    }

    #[test]
    fn damaged_lists_are_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in 0_usize..3,
    ) {
        for whole in ["2\t1\nAnn\t1\t2\nAnn\t1\tBob\t1\nAnn\t2\t1\nAnn\t2\tBob\t1\n", "a,b,same,fold\n0,1,true,0\n2,3,0,1\n"] {
            let mut bytes = whole.as_bytes()[..whole.len() - cut].to_vec();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(list) = LfwPairs::parse(&text) {
                prop_assert_eq!(LfwPairs::parse(&list.to_text()).unwrap(), list);
            }
            if let Ok(list) = PairList::parse(&text) {
                prop_assert_eq!(PairList::parse(&list.to_csv()).unwrap(), list);
            }
        }
    }

    #[test]
    fn written_lists_read_as_they_were(
        folds in 1usize..4,
        each in 1usize..4,
        images in prop::collection::vec((0u8..4, 1u32..9999, 0u8..3, 1u32..9999), 24),
    ) {
        let mut text = format!("{folds} {each}\n");
        for (k, &(a, i, step, j)) in images.iter().enumerate().take(folds * each * 2) {
            let name = |a: u8| char::from(b'a' + a % 4);
            match k % (2 * each) < each {
                true => text += &format!("{} {i} {j}\n", name(a)),
                false => text += &format!("{} {i} {} {j}\n", name(a), name(a + 1 + step)),
            }
        }
        let list = LfwPairs::parse(&text).unwrap();
        prop_assert_eq!(list.pairs().len(), 2 * folds * each);
        prop_assert_eq!(LfwPairs::parse(&list.to_text()).unwrap(), list);
    }
}
