//! Intervals and tests against scipy (`tests/golden/generate/eval_statistics.py`).

use dml_eval::statistics::{Bootstrap, Interval, ci95, std, wilson95};
use dml_testkit::{Case, load_goldens};
use std::path::Path;

fn case(name: &str) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/statistics.safetensors");
    load_goldens(&path).unwrap().into_iter().find(|case| case.name == name).unwrap()
}

#[test]
fn wilson_is_scipys() {
    let case = case("wilson");
    let want = case.numbers("intervals").unwrap();
    for (counts, want) in case.labels("counts").unwrap().chunks(2).zip(want.chunks(2)) {
        let got = wilson95(counts[0] as usize, counts[1] as usize).unwrap();
        assert!(
            (got.low - want[0]).abs() < 1e-12 && (got.high - want[1]).abs() < 1e-12,
            "{counts:?}: {got:?} {want:?}"
        );
        assert!(got.contains(f64::from(counts[0]) / f64::from(counts[1])));
    }
    assert_eq!((wilson95(0, 0), wilson95(3, 2)), (None, None));
}

#[test]
fn student_is_scipys_however_many_values() {
    let case = case("student");
    for (freedom, want) in case.labels("freedoms").unwrap().into_iter().zip(case.numbers("quantiles").unwrap()) {
        let values: Vec<f64> = (0..=freedom).map(|i| f64::from(i % 2)).collect();
        let got = ci95(&values) / std(&values) * f64::from(freedom + 1).sqrt();
        assert!((got - want).abs() < 1e-6 * want, "{freedom}: {got} {want}");
    }
}

/// Value and number of the queries of each class.
fn sums(values: &[f64], classes: &[u32]) -> Vec<(f64, f64)> {
    let mut sums = vec![(0.0, 0.0); classes.iter().max().unwrap().to_owned() as usize + 1];
    for (value, class) in values.iter().zip(classes) {
        let (sum, count) = &mut sums[*class as usize];
        *sum += value;
        *count += 1.0;
    }
    sums
}

#[test]
fn clustered_bootstraps_are_scipys_but_for_chance() {
    for name in ["even_classes", "uneven_classes", "single_queries"] {
        let case = case(name);
        let (classes, [first, second]) =
            (case.labels("classes").unwrap(), ["first", "second"].map(|n| case.numbers(n).unwrap()));
        let sums = sums(&first, &classes);
        let both = Bootstrap { resamples: 4000, seed: 5 }.intervals(sums.len(), |drawn| {
            let of = |f: fn((f64, f64)) -> f64| drawn.iter().map(|&c| f(sums[c as usize])).sum::<f64>();
            vec![of(|s| s.0) / of(|s| s.1), of(|s| s.0 / s.1) / drawn.len() as f64]
        });
        let paired = Bootstrap { resamples: 4000, seed: 5 }.paired(&first, &second, &classes).unwrap();
        for (got, want) in [(both[0].unwrap(), "micro"), (both[1].unwrap(), "macro"), (paired.interval, "difference")] {
            let want = case.numbers(want).unwrap();
            // The ends of 4000 draws scatter by about 0.04 standard errors.
            let near = |got: f64, want_end: f64| (got - want_end).abs() < 0.2 * want[2];
            assert!(near(got.low, want[0]) && near(got.high, want[1]), "{name}: {got:?} {want:?}");
        }
    }
}

#[test]
fn draws_follow_from_the_seed_on_any_number_of_threads() {
    let run = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            Bootstrap { resamples: 50, seed }.intervals(7, |drawn| vec![drawn.iter().map(|&c| f64::from(c * c)).sum()])
        })
    };
    assert_eq!(run(1, 3), run(4, 3));
    assert_ne!(run(1, 3), run(1, 4));
}

#[test]
fn a_paired_test_tells_a_difference_from_none() {
    let classes: Vec<u32> = (0..200).map(|q| q / 5).collect();
    // The second run misses two classes in three that the first has, and wins none.
    let first = vec![1.0; 200];
    let second: Vec<f64> = classes.iter().map(|class| f64::from(u8::from(class % 3 == 0))).collect();
    let bootstrap = Bootstrap::default();
    let test = bootstrap.paired(&first, &second, &classes).unwrap();
    assert!((test.difference - 0.65).abs() < 1e-12 && test.clusters == 40, "{test:?}");
    assert!(test.p_value < 0.002 && test.interval.low > 0.4, "{test:?}");
    let mirrored = bootstrap.paired(&second, &first, &classes).unwrap();
    assert_eq!((mirrored.difference, mirrored.p_value), (-test.difference, test.p_value));
    // The same run: no difference, whatever is drawn.
    let same = bootstrap.paired(&first, &first, &classes).unwrap();
    assert_eq!((same.p_value, same.interval), (1.0, Interval { low: 0.0, high: 0.0 }));
    // One class in 40 won, one lost: nothing to see.
    let swapped: Vec<f64> = classes.iter().map(|class| f64::from(u8::from(*class != 1))).collect();
    let other: Vec<f64> = classes.iter().map(|class| f64::from(u8::from(*class != 2))).collect();
    assert!(bootstrap.paired(&swapped, &other, &classes).unwrap().p_value > 0.5);
}

#[test]
fn a_p_value_is_small_as_often_as_it_says() {
    // 300 pairs of runs that do not differ, 30 classes each.
    let mut state = 1u64;
    let mut coin = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    let classes: Vec<u32> = (0..30).collect();
    let small = (0..300).filter(|&seed| {
        let runs = [(); 2].map(|()| (0..30).map(|_| coin()).collect::<Vec<f64>>());
        Bootstrap { resamples: 200, seed }.paired(&runs[0], &runs[1], &classes).unwrap().p_value < 0.1
    });
    let small = small.count();
    assert!((15..=55).contains(&small), "{small} of 300 where 30 are expected");
}

#[test]
fn too_little_to_draw_from() {
    let bootstrap = Bootstrap::default();
    assert_eq!(bootstrap.intervals(1, |_| vec![1.0, 2.0]), [None, None]);
    assert_eq!(Bootstrap { resamples: 0, seed: 0 }.intervals(3, |_| vec![1.0]), [None]);
    let error = |first: &[f64], second: &[f64], classes: &[u32]| {
        bootstrap.paired(first, second, classes).unwrap_err().to_string()
    };
    assert!(error(&[1.0], &[1.0, 0.0], &[0, 1]).contains("the same queries"));
    assert!(error(&[1.0, 0.0], &[1.0, f64::NAN], &[0, 1]).contains("query 1"));
    assert!(error(&[1.0, 0.0], &[1.0, 0.0], &[4, 4]).contains("1 classes by 1000 resamples"));
}
