//! What a recipe can ask of its losses and of their course, as users write it: sums of losses, a classification first, embeddings
//! that can be cut, several batches a step, learning rates that fall when nothing gets better, weights chosen on the test.

mod place;

use place::{Place, refusal, succeed};
use serde_json::Value;

const RECIPE: &str = r#"
name = "sum"

[data]
set = "folder"
root = "ROOT"
size = 16
validation = 0.3

[model.conv4]
filters = 8

[loss]
name = "proxy_anchor"
weight = 0.5
matryoshka = { dims = [8, 4] }
[[loss.plus]]
name = "triplet"
weight = 2.0
miner = { name = "batch_hard" }

[warm_up]
steps = 6

[sampler]
classes = 6
per_class = 3

[optimizer]
lr = 0.01

[schedule]
kind = "plateau"
plateau_patience = 0

[train]
steps = 20
accumulate = 2
checkpoint_every = 4
validate_every = 2
"#;

fn place() -> Place {
    let place = Place::new();
    let root = place.path("images").display().to_string();
    std::fs::write(place.path("recipe.toml"), RECIPE.replace("ROOT", &root)).unwrap();
    place
}

#[test]
fn a_sum_after_a_classification_falls_at_plateaus_and_goes_on_after_a_kill() {
    let place = place();
    succeed(&mut place.train("whole"));
    for (run, at) in [("in-the-warm-up", "\"step\":5,"), ("after-it", "\"step\":9,")] {
        place.kill_at(&mut place.train(run), run, &[at]);
        succeed(&mut place.train(run));
        for file in ["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"] {
            assert!(place.read(&format!("whole/{file}")) == place.read(&format!("{run}/{file}")), "{run}/{file}");
        }
    }
    // A measurement that is no better halves the rate of the steps after it.
    let (mut best, mut rate, mut falls) = (f64::NEG_INFINITY, 0.01, 0);
    for event in place.events("whole") {
        if event["event"] == "step" {
            assert_eq!(event["lr"].as_f64().unwrap(), rate, "{event}");
        } else if event["event"] == "validated" {
            let value = event["map_at_r"].as_f64().unwrap();
            if value <= best {
                (rate, falls) = (rate * 0.5, falls + 1);
            }
            best = best.max(value);
        }
    }
    assert!(falls > 0, "no measurement was worse");
    // The first steps are those of the classification alone.
    let losses =
        |run: &str| -> Vec<f64> { place.events(run).iter().filter_map(|event| event["loss"].as_f64()).collect() };
    let recipe = String::from_utf8(place.read("recipe.toml")).unwrap();
    let (before, rest) = recipe.split_once("[loss]").unwrap();
    let (_, after) = rest.split_once("[sampler]").unwrap();
    let alone = format!("{before}[loss]\nname = 'normalized_softmax'\n[sampler]{after}");
    std::fs::write(place.path("recipe.toml"), alone).unwrap();
    succeed(&mut place.train("alone"));
    assert_eq!(losses("whole")[..6], losses("alone")[..6]);
    assert!(losses("whole")[6] > 2.0 * losses("alone")[6], "the sum is another loss");
    let page = String::from_utf8(place.read("whole/report.html")).unwrap();
    assert!(page.contains("MAP@R of 4, test"));
}

#[test]
fn cut_embeddings_are_measured_and_training_makes_them_better() {
    let place = place();
    let of = |run: &str, sets: &[&str]| -> Vec<(u64, f64)> {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        succeed(place.train(run).args(sets));
        let result: Value = serde_json::from_slice(&place.read(&format!("{run}/evaluation.json"))).unwrap();
        let shortened = result["shortened"].as_array().unwrap().iter();
        shortened.map(|cut| (cut["dim"].as_u64().unwrap(), cut["test"]["map_at_r"].as_f64().unwrap())).collect()
    };
    let plain = ["warm_up={steps=1}", "train.accumulate=1", "schedule={kind='constant'}", "train.steps=60"];
    let trained = of("cut", &plain);
    let untrained = of("still", &[&plain[..], &["optimizer.lr=1e-12"]].concat());
    assert_eq!(trained.iter().map(|cut| cut.0).collect::<Vec<_>>(), [8, 4]);
    assert!(trained[0].1 > untrained[0].1, "{trained:?} {untrained:?}");
    assert_ne!(trained[0].1, trained[1].1);
}

#[test]
fn weights_chosen_on_the_test_say_so() {
    let place = place();
    let sets = ["--set", "train.evaluate=best_on_test", "--set", "data.validation=0"];
    succeed(place.train("chosen").args(sets));
    let tested: Vec<Value> = place.events("chosen").into_iter().filter(|event| event["event"] == "tested").collect();
    assert_eq!(tested.len(), 10);
    let best = tested.iter().map(|event| event["recall_at_1"].as_f64().unwrap()).fold(0.0, f64::max);
    let result: Value = serde_json::from_slice(&place.read("chosen/evaluation.json")).unwrap();
    assert_eq!(result["test"]["retrieval"]["recall_at"][0][1].as_f64().unwrap(), best);
    let page = String::from_utf8(place.read("chosen/report.html")).unwrap();
    assert!(page.contains("the figures on them are too good"));
}

#[test]
fn what_does_not_go_together_is_refused_with_the_mend() {
    let place = place();
    let cases = [
        ("warm_up.steps=20", "warm_up.steps is 20: want fewer than train.steps"),
        ("warm_up.steps=0", "leave [warm_up] out"),
        ("warm_up.loss={name='nothing'}", "nothing"),
        ("loss.plus=[{name='triplet', params={marginn=1}}]", "marginn"),
        ("loss.matryoshka.dims=[9999]", "dims has 9999"),
        ("train.accumulate=0", "train.accumulate is 0: want 1 or more"),
        ("train.validate_every=0", "train.validate_every of 1 or more"),
        ("schedule.kind='plateaux'", "plateaux"),
        ("loss.plus=[]", "weight is 0.5 with nothing beside it"),
    ];
    for (set, wanted) in cases {
        let message = refusal(place.train("bad").args(["--set", set]));
        assert!(message.starts_with("error: ") && message.contains(wanted), "{set}: {message}");
        assert!(!place.path("bad/recipe.toml").exists(), "{set}");
    }
}
