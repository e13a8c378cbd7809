//! Measures against vectors worked by hand and by pytorch-metric-learning, and against plain loops.

use dml_core::{Matrix, Metric};
use dml_eval::{Episodes, OpenSetProtocol, few_shot, open_set, retrieval, retrieval_in_gallery, verification};
use proptest::prelude::*;

const E: Metric = Metric::Euclidean;

#[test]
fn worked_vector_of_pytorch_metric_learning() {
    // PML 2.9.0 on these points: P@1 0.4, R-precision 0.3, MAP@R 0.25; the lone label is left out.
    let points = [0.0, 1.0, 2.4, 2.5, 5.0, 9.0];
    let labels = [0, 0, 1, 0, 1, 2];
    // Labels past 2^24 must not collide, as they do where labels become f32.
    for shift in [0, 1 << 25] {
        let labels = labels.map(|l| l + shift);
        let r = retrieval(E, Matrix::new(&points, 6, 1).unwrap(), &labels, &[1, 2]).unwrap();
        assert_eq!((r.queries, r.lone_queries), (5, 1));
        assert!((r.recall_at[0].1 - 0.4).abs() < 1e-12);
        assert!((r.r_precision - 0.3).abs() < 1e-12 && (r.map_at_r - 0.25).abs() < 1e-12);
    }
}

#[test]
fn queries_ask_their_gallery_and_do_not_find_themselves() {
    let (points, labels) = ([0.0, 1.0, 2.4, 2.5, 5.0, 9.0], [0, 0, 1, 0, 1, 2]);
    let x = Matrix::new(&points, 6, 1).unwrap();
    // Row 0 finds its like first, row 3 one place behind row 2.
    let r = retrieval_in_gallery(E, x, &labels, [&[0, 3], &[1, 2, 4, 5]], &[1, 2]).unwrap();
    assert_eq!((r.queries, r.recall_at.as_slice()), (2, [(1, 0.5), (2, 1.0)].as_slice()));
    assert_eq!((r.r_precision, r.map_at_r), (0.5, 0.5));
    let all = [0, 1, 2, 3, 4, 5];
    let whole = retrieval(E, x, &labels, &[1, 2]).unwrap();
    assert_eq!(retrieval_in_gallery(E, x, &labels, [&all, &all], &[1, 2]).unwrap(), whole);
    let refused = |rows: [&[u32]; 2]| retrieval_in_gallery(E, x, &labels, rows, &[1]).unwrap_err().to_string();
    assert!(refused([&[0], &[6]]).contains("gallery name row 6 of 6") && refused([&[], &[1]]).contains("no queries"));
}

#[test]
fn verification_by_hand() {
    // Genuine distances 1 and 3; impostors 2, 5, 3, 6 (points 0 1 | 3 6).
    let v =
        verification(E, Matrix::new(&[0.0, 1.0, 3.0, 6.0], 4, 1).unwrap(), &[0, 0, 1, 1], &[0.0, 0.3, 0.5]).unwrap();
    assert_eq!((v.genuine, v.impostors), (2, 4));
    let tar: Vec<f64> = v.tar_at_far.iter().map(|t| t.tar).collect();
    assert_eq!(tar, [0.5, 0.5, 1.0]);
    assert!(v.tar_at_far[1].too_few_impostors);
    // Genuine beats impostor in 4 + 2 (3 against 5 and 6) cases and ties once, of 8.
    assert!((v.auc - 6.5 / 8.0).abs() < 1e-12);
    // FAR 1/4, TAR 1/2 to FAR 1/2, TAR 1: FAR = 1 - TAR at one third of the way.
    assert!((v.eer - 1.0 / 3.0).abs() < 1e-12, "{}", v.eer);
    // The same from the scores, in another order; larger is closer there.
    let fars = [0.0, 0.3, 0.5];
    let of_scores = dml_eval::verification::from_scores(vec![-3.0, -1.0], &[-6.0, -2.0, -3.0, -5.0], &fars).unwrap();
    assert_eq!((of_scores.eer, of_scores.auc), (v.eer, v.auc));
    assert_eq!(of_scores.tar_at_far.iter().map(|t| t.tar).collect::<Vec<_>>(), tar);
    assert_eq!((v.eer_threshold, of_scores.eer_threshold), (Some(2.0), Some(-2.0)));
}

#[test]
fn open_set_of_well_separated_classes_is_perfect() {
    let points: Vec<f32> = (0..40).map(|i| (i / 4 * 100 + i % 4) as f32).collect();
    let labels: Vec<u32> = (0..40).map(|i| i / 4).collect();
    let x = (Matrix::new(&points, 40, 1).unwrap(), &labels[..]);
    let protocol = OpenSetProtocol { shots: 1, enrolled: 5, fpir: 0.05, draws: 3, seed: 1 };
    let result = open_set(E, &protocol, x, x).unwrap();
    assert_eq!((result.tpir, result.calibrated_tpir), (1.0, 1.0));
    assert!(result.achieved_fpir <= 0.05 && (result.mated, result.non_mated) == (15.0, 20.0));
    let all = OpenSetProtocol { enrolled: 10, ..protocol };
    assert!(open_set(E, &all, x, x).unwrap_err().to_string().contains("strangers"));
}

#[test]
fn few_shot_is_right_on_separated_classes_and_chance_on_equal_ones() {
    let labels: Vec<u32> = (0..200).map(|i| i / 20).collect();
    let separated: Vec<f32> = labels.iter().map(|&l| l as f32).collect();
    let protocol = Episodes { ways: 5, shots: 1, queries: 5, episodes: 50, seed: 3 };
    let measure = |x: &[f32]| few_shot(E, Matrix::new(x, 200, 1).unwrap(), &labels, &protocol).unwrap();
    assert_eq!(measure(&separated).accuracy, 1.0);
    // All scores tie: the first class wins, which is right one time in five.
    assert!((measure(&[1.0; 200]).accuracy - 0.2).abs() < 1e-12);
    let crowd = Episodes { ways: 11, ..protocol.clone() };
    assert!(few_shot(E, Matrix::new(&separated, 200, 1).unwrap(), &labels, &crowd).is_err());
}

#[test]
fn bad_input_is_refused() {
    let x = Matrix::new(&[0.0, 1.0], 2, 1).unwrap();
    assert!(retrieval(E, x, &[0], &[1]).unwrap_err().to_string().contains("one label per row"));
    assert!(retrieval(E, x, &[0, 0], &[2]).unwrap_err().to_string().contains("K of 1 to 1"));
    assert!(verification(E, x, &[0, 0], &[]).unwrap_err().to_string().contains("two classes"));
    let nan = [0.0, f32::NAN];
    let x = Matrix::new(&nan, 2, 1).unwrap();
    assert!(retrieval(E, x, &[0, 0], &[1]).unwrap_err().to_string().contains("embedding 1"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn verification_equals_counting(values in prop::collection::vec(0u8..30, 6..24)) {
        let x: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
        let labels: Vec<u32> = (0..x.len() as u32).map(|i| i % 3).collect();
        let v = verification(E, Matrix::new(&x, x.len(), 1).unwrap(), &labels, &[0.2]).unwrap();
        let mut pairs = Vec::new();
        for i in 0..x.len() {
            for j in 0..i {
                pairs.push(((x[i] - x[j]).abs(), labels[i] == labels[j]));
            }
        }
        let passed = |t: f32, same: bool| {
            let of: Vec<_> = pairs.iter().filter(|p| p.1 == same).collect();
            of.iter().filter(|p| p.0 <= t).count() as f64 / of.len() as f64
        };
        let best = pairs.iter().map(|p| p.0).filter(|&t| passed(t, false) <= 0.2).map(|t| passed(t, true)).fold(0.0, f64::max);
        prop_assert!((v.tar_at_far[0].tar - best).abs() < 1e-12);
        let distances = |same: bool| -> Vec<f32> { pairs.iter().filter(|p| p.1 == same).map(|p| p.0).collect() };
        let (g, i) = (distances(true), distances(false));
        let win = |a: f32, b: f32| if a < b { 1.0 } else if a == b { 0.5 } else { 0.0 };
        let wins: f64 = g.iter().flat_map(|&a| i.iter().map(move |&b| win(a, b))).sum();
        prop_assert!((v.auc - wins / (g.len() * i.len()) as f64).abs() < 1e-9);
    }
}
