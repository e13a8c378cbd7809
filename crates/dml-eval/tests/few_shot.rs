//! Few-shot classification against scikit-learn; tables by hand; comparison of two runs; bad input; the numbers of
//! before.

mod blobs;

use blobs::blobs;
use dml_core::{Matrix, Metric};
use dml_eval::few_shot::*;
use dml_testkit::{Case, load_goldens};
use std::path::Path;

const E: Metric = Metric::Euclidean;

const CLASSIFIERS: [Classifier; 5] = [
    Classifier::Prototype,
    Classifier::UnitPrototype,
    Classifier::CosinePrototype,
    Classifier::NearestNeighbour,
    Classifier::Vote(3),
];

fn rows(case: &Case, name: &str) -> (Vec<f32>, usize, usize) {
    let tensor = case.tensor(name).unwrap();
    (tensor.flatten_all().unwrap().to_vec1().unwrap(), tensor.dims()[0], tensor.dims()[1])
}

#[test]
fn classes_equal_those_of_scikit_learn() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/eval/recognition.safetensors");
    let case = load_goldens(&path).unwrap().into_iter().find(|case| case.name == "few_shot").unwrap();
    let ((s, m, d), (q, n, _)) = (rows(&case, "samples"), rows(&case, "queries"));
    let (samples, queries) = (Matrix::new(&s, m, d).unwrap(), Matrix::new(&q, n, d).unwrap());
    let labels = case.labels("labels").unwrap();
    let say = |classifier| classify(classifier, E, (samples, &labels), queries).unwrap();
    for (name, classifier) in
        ["prototype", "unit_prototype", "cosine_prototype", "nearest_neighbour"].into_iter().zip(CLASSIFIERS)
    {
        assert_eq!(say(classifier), case.labels(name).unwrap(), "{name}");
    }
    for k in [3, 7] {
        let (want, clear) =
            (case.labels(&format!("vote_{k}")).unwrap(), case.labels(&format!("vote_{k}_counts")).unwrap());
        let said = say(Classifier::Vote(k));
        let compared =
            (0..n).filter(|&i| clear[i] == 1).inspect(|&i| assert_eq!(said[i], want[i], "vote {k}, query {i}"));
        assert!(compared.count() > n / 2);
    }
    assert_eq!(say(Classifier::Vote(1)), say(Classifier::NearestNeighbour));
}

#[test]
fn classifiers_by_hand() {
    // Class 5 at 0 and 10, class 3 at 6 and 7. The prototypes stand at 5 and 6.5.
    let (samples, labels) = ([0.0, 10.0, 6.0, 7.0], [5, 5, 3, 3]);
    let samples = (Matrix::new(&samples, 4, 1).unwrap(), &labels[..]);
    let say =
        |classifier, query: f32| classify(classifier, E, samples, Matrix::new(&[query], 1, 1).unwrap()).unwrap()[0];
    assert_eq!([5.6, 5.9, 9.9].map(|q| say(Classifier::Prototype, q)), [5, 3, 3]);
    assert_eq!([5.6, 5.9, 9.9].map(|q| say(Classifier::NearestNeighbour, q)), [3, 3, 5]);
    // Nearest of 9.9 are 10, 7, 6: two votes for class 3. Of two, 10 and 7, one each: the nearest decides.
    assert_eq!([1, 2, 3, 4].map(|k| say(Classifier::Vote(k), 9.9)), [5, 5, 3, 5]);
    // A tie of scores goes to the class that comes first.
    assert_eq!(say(Classifier::NearestNeighbour, 8.5), 5);
    assert_eq!(say(Classifier::Prototype, 5.75), 5);
    // Of (9, 1), (1, 3) raw and unit prototypes point elsewhere.
    let samples = [9.0, 1.0, 0.2, 3.0, 1.0, 1.0];
    let samples = (Matrix::new(&samples, 3, 2).unwrap(), &[0, 0, 1][..]);
    let query = Matrix::new(&[1.0, 0.3], 1, 2).unwrap();
    let said = CLASSIFIERS.map(|c| classify(c, Metric::Cosine, samples, query).unwrap()[0]);
    assert_eq!(said[..4], [0, 1, 0, 0]);
}

fn protocol(shots: usize) -> Episodes {
    Episodes { ways: 5, shots, queries: 2, episodes: 100, seed: 3 }
}

#[test]
fn few_shot_gives_the_numbers_it_gave() {
    let (x, labels) = blobs(24, 7, 8, 2);
    let x = Matrix::new(&x, labels.len(), 8).unwrap();
    // By the code before `few_shot` became a folder.
    for (metric, shots, accuracy, ci95) in [
        (Metric::Cosine, 1, 0.7020000000000002, 0.03114395276677952),
        (Metric::Cosine, 4, 0.867, 0.021408281603438446),
        (E, 1, 0.679, 0.03581651534860939),
        (E, 4, 0.8570000000000003, 0.021262781444286054),
    ] {
        let found = few_shot(metric, x, &labels, &protocol(shots)).unwrap();
        assert!((found.accuracy - accuracy).abs() < 1e-9 && (found.ci95 - ci95).abs() < 1e-9, "{found:?}");
    }
    let old = r#"{"protocol": {"ways": 5, "shots": 1, "queries": 2, "episodes": 9, "seed": 0}, "accuracy": 0.5, "ci95": 0.1}"#;
    assert_eq!(serde_json::from_str::<FewShot>(old).unwrap().classifier, Classifier::Prototype);
}

#[test]
fn runs_are_compared_episode_by_episode() {
    let (x, labels) = blobs(24, 7, 8, 2);
    let noisy: Vec<f32> = x.iter().enumerate().map(|(i, v)| v + 0.4 * ((i * 37 % 19) as f32 / 19.0 - 0.5)).collect();
    let run = |values: &[f32], classifier, shots| {
        let x = Matrix::new(values, labels.len(), 8).unwrap();
        few_shot_episodes(classifier, E, x, &labels, &protocol(shots)).unwrap()
    };
    let (clean, worse) = (run(&x, Classifier::Prototype, 1), run(&noisy, Classifier::Prototype, 1));
    let found = clean.paired(&worse).unwrap();
    assert!((found.mean - (clean.summary().accuracy - worse.summary().accuracy)).abs() < 1e-12);
    // By the formula, over differences.
    let differences: Vec<f64> = clean.accuracies.iter().zip(&worse.accuracies).map(|(a, b)| a - b).collect();
    let variance = differences.iter().map(|d| (d - found.mean).powi(2)).sum::<f64>() / 99.0;
    assert!((found.ci95 - 1.96 * (variance / 100.0).sqrt()).abs() < 1e-12);
    assert_eq!((found.episodes, found.wins), (100, differences.iter().filter(|d| **d > 0.0).count()));
    let turned = worse.paired(&clean).unwrap();
    assert_eq!((turned.mean, turned.ci95, turned.losses), (-found.mean, found.ci95, found.wins));
    // Narrower than two intervals that know nothing of each other.
    assert!(found.ci95 < clean.summary().ci95.hypot(worse.summary().ci95));
    let itself = clean.paired(&clean).unwrap();
    assert_eq!((itself.mean, itself.ci95, itself.wins, itself.losses), (0.0, 0.0, 0, 0));
    // Of one shot a prototype is its sample, so all classifiers but the cosine's agree.
    assert_eq!(run(&x, Classifier::NearestNeighbour, 1).accuracies, clean.accuracies);

    let json = serde_json::to_string(&clean).unwrap();
    let back: EpisodeAccuracies = serde_json::from_str(&json).unwrap();
    assert_eq!((&back, back.paired(&worse).unwrap()), (&clean, found));
    assert!(!serde_json::to_string(&clean.summary()).unwrap().contains("accuracies"));

    let four = run(&x, Classifier::Prototype, 4);
    assert!(clean.paired(&four).unwrap_err().to_string().contains("not the same episodes"));
    let mut others = labels.clone();
    others.swap(0, 100);
    let x = Matrix::new(&x, labels.len(), 8).unwrap();
    let other = few_shot_episodes(Classifier::Prototype, E, x, &others, &protocol(1)).unwrap();
    assert!(clean.paired(&other).is_err());
}

#[test]
fn same_episodes_for_any_threads() {
    let (x, labels) = blobs(12, 7, 4, 5);
    let x = Matrix::new(&x, labels.len(), 4).unwrap();
    for classifier in CLASSIFIERS {
        let on = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| few_shot_episodes(classifier, E, x, &labels, &protocol(2)).unwrap())
        };
        assert_eq!(on(1), on(3));
    }
}

#[test]
fn bad_input_is_named() {
    let (x, labels) = blobs(6, 5, 2, 1);
    let x = Matrix::new(&x, labels.len(), 2).unwrap();
    let say = |classifier, protocol: Episodes| {
        few_shot_episodes(classifier, E, x, &labels, &protocol).unwrap_err().to_string()
    };
    assert!(say(Classifier::Prototype, protocol(4)).contains("0 classes with 6 samples or more"));
    assert!(say(Classifier::Prototype, protocol(usize::MAX)).contains("0 classes"));
    assert!(say(Classifier::Prototype, protocol(0)).contains("no zeros"));
    let small = Episodes { ways: 2, ..protocol(1) };
    assert!(say(Classifier::Vote(3), small.clone()).contains("3 neighbours are to vote but there are 2"));
    assert!(say(Classifier::Vote(0), small).contains("0 neighbours"));
    let bad = [1.0, f32::NAN];
    let one = Matrix::new(&[1.0], 1, 1).unwrap();
    let message = |s, l: &[u32], q| classify(Classifier::Prototype, E, (s, l), q).unwrap_err().to_string();
    assert!(message(one, &[1, 2], one).contains("one label per row"));
    assert!(message(Matrix::new(&bad, 2, 1).unwrap(), &[1, 2], one).contains("embedding 1"));
    assert!(classify(Classifier::Prototype, E, (one, &[1]), Matrix::new(&[1.0, 2.0], 1, 2).unwrap()).is_err());
}
