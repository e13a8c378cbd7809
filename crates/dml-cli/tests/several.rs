//! Several runs in one command: seeds and folds, what they leave, and that a kill costs nothing.

mod place;

use place::{Place, refusal, succeed};
use serde_json::Value;

const SHORT: [&str; 2] = ["--set", "train.steps=30"];

fn json(place: &Place, file: &str) -> Value {
    serde_json::from_slice(&place.read(file)).unwrap()
}

#[test]
fn seeds_are_ordinary_runs_with_a_mean_and_an_interval() {
    let place = Place::new();
    let output = succeed(place.train("seeds").args(SHORT).args(["--seeds", "3"]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\"run\":\"seed-2\"") && said.contains("| R@1 |") && said.contains(" ± "), "{said}");
    succeed(place.train("alone").args(SHORT).args(["--seed", "1"]));
    for file in ["encoder.safetensors", "evaluation.json", "recipe.toml"] {
        assert!(place.read(&format!("alone/{file}")) == place.read(&format!("seeds/seed-1/{file}")), "{file}");
    }
    assert_eq!(place.events("alone"), place.events("seeds/seed-1"));
    let summary = json(&place, "seeds/summary.json");
    assert_eq!(summary["seeds"], serde_json::json!([0, 1, 2]));
    let figures = summary["rows"][0]["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["key"] == "map_at_r").unwrap();
    let of_runs: Vec<f64> = (0..3)
        .map(|seed| json(&place, &format!("seeds/seed-{seed}/evaluation.json")))
        .map(|run| run["test"]["retrieval"]["map_at_r"].as_f64().unwrap())
        .collect();
    let values: Vec<f64> = found["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    let mean = of_runs.iter().sum::<f64>() / 3.0;
    let deviation = (of_runs.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    let near = |a: &Value, b: f64| (a.as_f64().unwrap() - b).abs() < 1e-5;
    assert!(values.iter().zip(&of_runs).all(|(a, b)| (a - b).abs() < 1e-12), "{values:?} {of_runs:?}");
    assert!(near(&found["mean"], mean), "{found} {of_runs:?}");
    // The 97.5 % quantile of Student's t of two degrees of freedom.
    assert!(near(&found["ci95"], 4.302_653 * deviation / 3f64.sqrt()), "{found} {of_runs:?}");
}

#[test]
fn killed_seeds_go_on_side_by_side_or_in_turn_and_end_alike() {
    let place = Place::new();
    succeed(place.train("whole").args(SHORT).args(["--seeds", "0,4"]));
    let mut two = place.train("killed");
    place.kill_at(two.args(SHORT).args(["--seeds", "0,4"]), "killed/seed-4", &["seed-4", "\"checkpoint\",\"step\":5"]);
    assert!(place.path("killed/seed-0/evaluation.json").exists());
    let output = succeed(place.train("killed").args(SHORT).args(["--seeds", "0,4", "--jobs", "2"]));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(!said.contains("\"run\":\"seed-0\""), "what was complete is done again: {said}");
    let first = said.lines().find(|line| line.contains("seed-4")).unwrap();
    assert!(!first.contains("\"step\":0,"), "it did not go on from the checkpoint: {first}");
    succeed(place.train("side-by-side").args(SHORT).args(["--seeds", "0,4", "--jobs", "2"]));
    for other in ["killed", "side-by-side"] {
        for file in ["summary.json", "seed-0/encoder.safetensors", "seed-4/encoder.safetensors"] {
            assert!(place.read(&format!("whole/{file}")) == place.read(&format!("{other}/{file}")), "{other}/{file}");
        }
    }
    // More seeds later: the others stay.
    succeed(place.train("whole").args(SHORT).args(["--seeds", "0,4,5"]));
    assert_eq!(json(&place, "whole/summary.json")["seeds"], serde_json::json!([0, 4, 5]));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_all_of_them_at_once() {
    let place = Place::new();
    // So many steps that neither is through where the other begins late.
    let arguments = ["--set", "train.steps=4000", "--seeds", "4", "--jobs", "2"];
    let (printed, said) = place.interrupt(place.train("asked").args(arguments), "asked", |_, lines| {
        let mut awaited = vec!["seed-0", "seed-1"];
        lines.map_while(Result::ok).any(|line| {
            awaited.retain(|run| !(line.contains(run) && line.contains("\"event\":\"step\"")));
            awaited.is_empty()
        })
    });
    assert_eq!(printed.iter().filter(|line| line.contains("interrupted")).count(), 2, "{printed:?}");
    assert!(said.contains("the same command goes on"), "{said}");
    assert!(!place.path("asked/seed-2").exists() && !place.path("asked/summary.json").exists());
}

#[test]
fn what_cannot_be_several_runs_is_refused_with_the_mend() {
    let place = Place::new();
    succeed(place.train("one").args(["--set", "train.steps=1"]));
    for (run, arguments, wanted) in [
        ("bad", &["--seeds", "0"][..], "want 1 or more"),
        ("bad", &["--seeds", "few"], "0,3,7"),
        ("bad", &["--seeds", "2,2"], "seed 2 is named twice"),
        ("bad", &["--seeds", "2", "--seed", "1"], "cannot be used with"),
        ("bad", &["--seeds", "2", "--set", "loss.name=tripplet"], "triplet"),
        ("one", &["--seeds", "2", "--set", "train.steps=1"], "folder of a single run"),
    ] {
        let message = refusal(place.train(run).args(arguments));
        assert!(message.starts_with("error: ") && message.contains(wanted), "{arguments:?}: {message}");
        assert!(!place.path(run).join("seed-0/recipe.toml").exists(), "{arguments:?}");
    }
}

const FOLDS: [&str; 10] = [
    "--set",
    "model.head.dim=16",
    "--set",
    "train.steps=12",
    "--set",
    "train.validate_every=4",
    "--set",
    "train.evaluate=best_on_validation",
    "--folds",
    "3",
];

fn figure(summary: &Value, row: usize, key: &str) -> Value {
    let figures = summary["rows"][row]["figures"].as_array().unwrap();
    figures.iter().find(|figure| figure["key"] == key).unwrap_or_else(|| panic!("no {key}: {figures:?}")).clone()
}

#[test]
fn folds_are_measured_by_themselves_and_together_and_the_test_stays_the_same() {
    let place = Place::new();
    let output = succeed(place.train("folds").args(FOLDS));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("| separated 16-dim |") && said.contains("| concatenated 48-dim |"), "{said}");
    let summary = json(&place, "folds/summary.json");
    let folds: Vec<Value> = (0..3).map(|fold| json(&place, &format!("folds/fold-{fold}/evaluation.json"))).collect();
    let map_at_r = |run: &Value, part: &str| run[part]["retrieval"]["map_at_r"].as_f64().unwrap();
    for (key, part) in [("map_at_r", "test"), ("validation_map_at_r", "validation")] {
        let mean = folds.iter().map(|run| map_at_r(run, part)).sum::<f64>() / 3.0;
        assert!((figure(&summary, 0, key)["mean"].as_f64().unwrap() - mean).abs() < 1e-6, "{key}");
    }
    let count = |run: &Value, part: &str| {
        let retrieval = &run[part]["retrieval"];
        retrieval["queries"].as_u64().unwrap() + retrieval["lone_queries"].as_u64().unwrap()
    };
    let ensemble = json(&place, "folds/ensemble.json");
    assert_eq!((&ensemble["dim"], &ensemble["models"]), (&48.into(), &3.into()));
    assert_eq!(figure(&summary, 1, "map_at_r")["mean"], ensemble["evaluation"]["test"]["retrieval"]["map_at_r"]);
    // One that is of other models is measured again.
    let text = String::from_utf8(place.read("folds/ensemble.json")).unwrap();
    let first = ensemble["encoders"][0].as_str().unwrap();
    let stale = text.replace("\"dim\": 48", "\"dim\": 47").replace(first, &"0".repeat(64));
    assert_eq!(json(&place, "folds/fold-0/evaluation.json")["weights"], "best_on_validation");
    std::fs::write(place.path("folds/ensemble.json"), stale).unwrap();
    succeed(place.train("folds").args(FOLDS));
    assert_eq!(String::from_utf8(place.read("folds/ensemble.json")).unwrap(), text);
    // Of a run without folds: its test images are theirs, and its training and validation images their validation images.
    succeed(place.train("plain").args(SHORT));
    let plain = json(&place, "plain/evaluation.json");
    assert!(folds.iter().chain([&ensemble["evaluation"]]).all(|run| count(run, "test") == count(&plain, "test")));
    let images: u64 = std::fs::read_dir(place.path("images"))
        .unwrap()
        .map(|class| std::fs::read_dir(class.unwrap().path()).unwrap().count() as u64)
        .sum();
    let held_out: u64 = folds.iter().map(|run| count(run, "validation")).sum();
    assert_eq!(held_out + count(&plain, "test"), images);
    // One fold alone is the same run.
    let alone = ["--set", "data.fold=1"];
    succeed(place.train("alone").args(FOLDS).args(alone));
    for file in ["encoder.safetensors", "evaluation.json", "recipe.toml"] {
        assert!(place.read(&format!("alone/{file}")) == place.read(&format!("folds/fold-1/{file}")), "{file}");
    }
    succeed(place.train("shuffled").args(FOLDS).args(alone).args(["--set", "data.fold_shuffle=1"]));
    assert!(place.read("alone/encoder.safetensors") != place.read("shuffled/encoder.safetensors"));
}

#[test]
fn killed_folds_of_several_seeds_go_on_and_end_like_undisturbed_ones() {
    let place = Place::new();
    let seeds = ["--seeds", "2"];
    succeed(place.train("whole").args(FOLDS).args(seeds).args(["--jobs", "2"]));
    let mut folds = place.train("killed");
    place.kill_at(folds.args(FOLDS).args(seeds), "killed/seed-0/fold-2", &["seed-0/fold-2", "\"step\":8,"]);
    succeed(place.train("killed").args(FOLDS).args(seeds));
    let summary = json(&place, "whole/summary.json");
    assert!(figure(&summary, 1, "map_at_r")["ci95"].as_f64().is_some());
    for file in ["summary.json", "seed-0/ensemble.json", "seed-1/ensemble.json", "seed-0/fold-2/encoder.safetensors"] {
        assert!(place.read(&format!("whole/{file}")) == place.read(&format!("killed/{file}")), "{file}");
    }
}

#[test]
fn folds_that_cannot_be_are_refused_with_the_mend() {
    let place = Place::new();
    for (arguments, wanted) in [
        (&["--folds", "1"][..], "data.folds is 1: want 2 or more"),
        (&["--folds", "9"], "9 folds of"),
        (&["--folds", "3", "--set", "data.fold=3"], "want 0 to 2"),
        (&["--set", "data.fold=0"], "without data.folds"),
        (&["--folds", "3", "--set", "data.validation=0.2"], "keep one"),
    ] {
        let message = refusal(place.train("bad").args(SHORT).args(arguments));
        assert!(message.starts_with("error: ") && message.contains(wanted), "{arguments:?}: {message}");
        assert!(!place.path("bad/fold-0/recipe.toml").exists(), "{arguments:?}");
    }
}
