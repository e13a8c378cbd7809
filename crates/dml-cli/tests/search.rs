//! A search for a recipe's values: what it leaves, that a kill costs nothing, and that the test classes are not looked at.

mod place;

use place::{Place, refusal, succeed};
use serde_json::Value;
use std::process::Command;

const SPACE: &str = "
[optimizer]
lr = { log_uniform = [1e-5, 1e-1] }
[loss.params]
neg_margin = { uniform = [0.1, 0.9] }
[sampler]
per_class = { int = [2, 3] }
";

fn place() -> Place {
    let place = Place::new();
    std::fs::write(place.path("space.toml"), SPACE).unwrap();
    place
}

fn search(place: &Place, run: &str, trials: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
    command.arg("search").arg(place.path("recipe.toml")).arg("--space").arg(place.path("space.toml"));
    command.arg("--run-dir").arg(place.path(run)).args(["--trials", trials, "--set", "train.steps=20"]);
    command.env("DML_DATA_DIR", place.path("no-sets"));
    command
}

fn trials(place: &Place, run: &str) -> Vec<Value> {
    let text = String::from_utf8(place.read(&format!("{run}/trials.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_killed_search_goes_on_ends_alike_and_its_best_recipe_trains() {
    let place = place();
    // Past the random trials, so that what is drawn depends on what was found.
    let output = succeed(&mut search(&place, "whole", "13"));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("| trial | validation MAP@R | loss.params.neg_margin |"), "{said}");
    let signs = ["trial-011", "\"checkpoint\",\"step\":5"];
    place.kill_at(&mut search(&place, "killed", "13"), "killed/trial-011", &signs);
    assert_eq!(trials(&place, "killed").len(), 11);
    let output = succeed(&mut search(&place, "killed", "13"));
    let first = String::from_utf8(output.stdout).unwrap().lines().next().unwrap().to_owned();
    assert!(first.contains("trial-011") && !first.contains("\"step\":0,"), "it did not go on: {first}");
    for file in ["trials.jsonl", "best.toml", "trial-012/encoder.safetensors"] {
        assert!(place.read(&format!("whole/{file}")) == place.read(&format!("killed/{file}")), "{file}");
    }
    let done = trials(&place, "whole");
    let achieved = |trial: &Value| trial["achieved"].as_f64().unwrap();
    let best = done.iter().max_by(|a, b| achieved(a).total_cmp(&achieved(b))).unwrap();
    for (i, trial) in done.iter().enumerate() {
        let run = format!("whole/trial-{i:03}/evaluation.json");
        let run: Value = serde_json::from_slice(&place.read(&run)).unwrap();
        assert!((run["validation"]["retrieval"]["map_at_r"].as_f64().unwrap() - achieved(trial)).abs() < 1e-12);
        assert!(run["test"].is_null() && run["open_set"].is_null(), "the test classes were looked at: {run}");
        let per_class = trial["values"]["sampler.per_class"].as_i64().unwrap();
        assert!((2..=3).contains(&per_class), "{trial}");
    }
    let mut train = Command::new(env!("CARGO_BIN_EXE_dml"));
    succeed(train.arg("train").arg(place.path("whole/best.toml")).arg("--run-dir").arg(place.path("best")));
    let best_run = format!("whole/trial-{:03}/encoder.safetensors", best["trial"].as_u64().unwrap());
    assert!(place.read("best/encoder.safetensors") == place.read(&best_run));
    let result: Value = serde_json::from_slice(&place.read("best/evaluation.json")).unwrap();
    assert!(result["test"].is_object());
    // More trials later: those that are there stay.
    succeed(&mut search(&place, "whole", "14"));
    assert_eq!((trials(&place, "whole").len(), &trials(&place, "whole")[..13]), (14, &done[..]));
}

#[test]
fn folds_judge_a_trial_and_chance_is_another_way_to_draw() {
    let place = place();
    let arguments = ["--folds", "3", "--sampler", "random", "--set", "data.fold_shuffle=0"];
    succeed(search(&place, "folds", "2").args(arguments));
    for (i, trial) in trials(&place, "folds").iter().enumerate() {
        let folds: Vec<f64> = trial["folds"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        for (fold, found) in folds.iter().enumerate() {
            let run = format!("folds/trial-{i:03}/fold-{fold}/evaluation.json");
            let run: Value = serde_json::from_slice(&place.read(&run)).unwrap();
            assert!((run["validation"]["retrieval"]["map_at_r"].as_f64().unwrap() - found).abs() < 1e-12);
        }
        assert_eq!(folds.len(), 3);
        assert!((trial["achieved"].as_f64().unwrap() - folds.iter().sum::<f64>() / 3.0).abs() < 1e-12);
    }
    // Side by side, the same.
    succeed(search(&place, "jobs", "2").args(arguments).args(["--jobs", "3"]));
    assert!(place.read("folds/trials.jsonl") == place.read("jobs/trials.jsonl"));
    let message = refusal(search(&place, "folds", "3").args(["--sampler", "tpe"]));
    assert!(message.contains("another recipe, space, sampler or seed"), "{message}");
}

#[test]
fn a_trial_that_grows_beyond_all_numbers_is_the_worst_and_no_end() {
    let place = place();
    std::fs::write(place.path("space.toml"), "optimizer.lr = { choice = [1e-3, 1e30] }").unwrap();
    succeed(search(&place, "search", "6").args(["--set", "optimizer.kind=sgd"]));
    let done = trials(&place, "search");
    let lost: Vec<&Value> = done.iter().filter(|trial| trial["achieved"].is_null()).collect();
    assert!(!lost.is_empty() && lost.len() < done.len(), "{done:?}");
    assert!(lost.iter().all(|trial| trial["values"]["optimizer.lr"] == 1e30), "{lost:?}");
    let best = String::from_utf8(place.read("search/best.toml")).unwrap();
    assert!(best.contains("lr = 0.001"), "{best}");
    // After the last step no loss tells: what is measured does, between steps and in the end.
    for (run, every) in [("end", "0"), ("between", "1")] {
        let set = ["--set", "optimizer.kind=sgd", "--set", "train.steps=1"];
        let every = format!("train.validate_every={every}");
        succeed(search(&place, run, "6").args(set).args(["--set", &every]));
        let done = trials(&place, run);
        let lost = |trial: &&Value| trial["achieved"].is_null();
        assert!(done.iter().any(|trial| lost(&trial)), "{done:?}");
        assert!(done.iter().all(|trial| lost(&trial) == (trial["values"]["optimizer.lr"] == 1e30)), "{done:?}");
    }
    let train = ["--set", "optimizer.kind=sgd", "--set", "optimizer.lr=1e30", "--set", "train.steps=1"];
    let message = refusal(place.train("run").args(train));
    assert!(message.contains("not finite") && message.contains("after step 1: lower optimizer.lr"), "{message}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_the_search_at_once() {
    let place = place();
    let (printed, said) = place.interrupt(&mut search(&place, "asked", "50"), "asked", |_, lines| {
        lines.map_while(Result::ok).any(|line| line.contains("trial-001") && line.contains("\"step\":3,"))
    });
    assert!(said.contains("error: interrupted"), "{said}");
    // Whichever trial it was at by then, no other begins behind it. Between two trials there is none to say so.
    let stopped = printed.iter().position(|line| line.contains("\"event\":\"interrupted\"")).unwrap_or(printed.len());
    assert!(printed[stopped..].iter().all(|line| !line.contains("\"event\":\"start\"")), "{printed:?}");
    let trials = trials(&place, "asked");
    assert!((1..50).contains(&trials.len()), "{trials:?}");
}

#[test]
fn a_space_that_cannot_be_is_refused_before_anything_runs() {
    let place = place();
    for (space, arguments, wanted) in [
        ("[optimizer]\nlr = 0.1", &[][..], "optimizer.lr is 0.1"),
        ("[optimizer]\nlrr.uniform = [0.1, 0.2]", &[], "lrr"),
        ("[loss]\nname.choice = ['triplet', 'tripplet']", &[], "tripplet"),
        ("[sampler]\nclasses.int = [2, 99]", &["--set", "loss.memory.size=999"], "lower sampler.classes"),
        ("[optimizer]\nlr.uniform = [0.0, 0.2]", &[], "optimizer.lr is 0"),
        ("[optimizer]\nlr.uniform = [0.1, 0.2]", &["--set", "train.steps=0"], "train.steps is 0"),
        ("[optimizer]\nlr.uniform = [0.1, 0.2]", &["--set", "data.set=omniglot-small1"], "dataset fetch omniglot"),
    ] {
        std::fs::write(place.path("space.toml"), space).unwrap();
        let message = refusal(search(&place, "bad", "3").args(arguments));
        assert!(message.starts_with("error: ") && message.contains(wanted), "{space}: {message}");
        assert!(!place.path("bad").exists(), "{space}");
    }
}
