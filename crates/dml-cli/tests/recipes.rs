//! What a recipe can ask of training, as users write it: image files of a table, samplers, validation, moving means, chunks.

mod place;

use place::{Place, refusal, succeed};
use serde_json::Value;
use std::fmt::Write as _;

/// A table of the images in `place`: some classes for training, the others for the test; with groups, and with boxes.
fn table(place: &Place) {
    let mut classes: Vec<_> = std::fs::read_dir(place.path("images")).unwrap().map(|e| e.unwrap().path()).collect();
    classes.sort();
    let mut text = "path,label,split,group,box\n".to_owned();
    for (i, class) in classes.iter().enumerate() {
        let mut images: Vec<_> = std::fs::read_dir(class).unwrap().map(|e| e.unwrap().path()).collect();
        images.sort();
        for image in images {
            let (label, split) = (class.file_name().unwrap().to_str().unwrap(), if i < 22 { "train" } else { "test" });
            let name = image.file_name().unwrap().to_str().unwrap();
            writeln!(text, "\"images/{label}/{name}\",\"{label}\",{split},group{},2 2 28 28", i % 4).unwrap();
        }
    }
    std::fs::write(place.path("table.csv"), text).unwrap();
}

const RECIPE: &str = r#"
name = "files"

[data]
set = "table"
root = "ROOT"
validation = 0.3
train_transforms = [{ random_resized_crop = { size = 24, scale = [0.5, 1.0] } }, { horizontal_flip = 0.5 }]
eval_transforms = [{ resize = 26 }, { center_crop = 24 }]

[model]
architecture = "resnet18"
freeze_norms = true
freeze = ["layer3"]
[model.head]
dim = 16
layer_norm = true

[loss]
name = "proxy_anchor"

[sampler]
kind = "hierarchical"
classes = 4
per_class = 2

[optimizer]
kind = "sgd"
nesterov = true
lr = 0.05
backbone_lr_factor = 0.1
backbone_frozen_steps = 2
clip_value = 5

[schedule]
kind = "poly"

[train]
steps = 8
checkpoint_every = 3
chunk = 3
ema = 0.5
validate_every = 2
evaluate = "best_on_validation"
"#;

fn files() -> Place {
    let place = Place::new();
    table(&place);
    let root = place.path("table.csv").display().to_string();
    std::fs::write(place.path("recipe.toml"), RECIPE.replace("ROOT", &root)).unwrap();
    place
}

#[test]
fn image_files_train_with_all_that_a_recipe_can_ask_for_and_go_on_after_a_kill() {
    let place = files();
    succeed(&mut place.train("whole"));
    let said = place.events("whole");
    let validated: Vec<&Value> = said.iter().filter(|event| event["event"] == "validated").collect();
    assert_eq!(validated.len(), 4);
    let best = validated.iter().filter_map(|event| event["map_at_r"].as_f64()).fold(0.0, f64::max);
    let result: Value = serde_json::from_slice(&place.read("whole/evaluation.json")).unwrap();
    let found = result["validation"]["retrieval"]["map_at_r"].as_f64().unwrap();
    assert!((found - best).abs() < 1e-9, "the best weights are measured: {found} and {best}");
    assert!(result["test"]["retrieval"]["queries"].as_u64().unwrap() > 10);
    assert!(place.path("whole/checkpoint.1.safetensors").exists());
    place.kill_at(&mut place.train("killed"), "killed", &["\"checkpoint\""]);
    succeed(&mut place.train("killed"));
    for file in ["encoder.safetensors", "evaluation.json", "checkpoint.safetensors", "best.safetensors"] {
        assert!(place.read(&format!("whole/{file}")) == place.read(&format!("killed/{file}")), "{file} differs");
    }
}

#[test]
fn decoded_caches_boxes_and_samplers_change_what_they_should_and_nothing_else() {
    let place = files();
    let short = ["--set", "train.steps=2", "--set", "train.validate_every=0", "--set", "train.evaluate=last"];
    let run = |name: &str, more: &[&str]| {
        let sets: Vec<&str> = more.iter().flat_map(|of| ["--set", of]).collect();
        succeed(place.train(name).args(short).args(sets));
        place.read(&format!("{name}/encoder.safetensors"))
    };
    let plain = run("plain", &[]);
    let cache = format!("data.cache={}", place.path("cache").display());
    assert!(plain == run("cached", &[&cache]));
    assert!(std::fs::read_dir(place.path("cache")).unwrap().count() >= 3);
    assert!(plain == run("cached-again", &[&cache, "data.workers=1", "data.ahead=5"]));
    let whole = run("whole-pictures", &["data.boxes=false"]);
    assert!(plain != whole);
    // One folder serves both.
    assert!(whole == run("whole-pictures-cached", &["data.boxes=false", &cache]));
    for kind in ["pk", "covering_pk", "m_per_class", "weighted_pk", "random"] {
        assert!(plain != run(kind, &[&format!("sampler.kind={kind}")]), "{kind}");
    }
}

#[test]
fn where_a_table_has_roles_its_queries_ask_its_gallery() {
    let place = files();
    let text = String::from_utf8(place.read("table.csv")).unwrap();
    let mut lines = text.lines();
    let mut with_roles = format!("{},is_query,is_gallery\n", lines.next().unwrap());
    let (mut queries, mut seen) = (0, std::collections::HashSet::new());
    for line in lines {
        // Of each test class one image asks and the others answer.
        let class = line.split(',').nth(1).unwrap();
        let asks = line.contains(",test,") && seen.insert(class.to_owned());
        queries += u64::from(asks);
        writeln!(with_roles, "{line},{asks},{}", !asks).unwrap();
    }
    std::fs::write(place.path("table.csv"), with_roles).unwrap();
    let short = ["--set", "train.steps=2", "--set", "train.validate_every=0", "--set", "train.evaluate=last"];
    succeed(place.train("roles").args(short));
    let result: Value = serde_json::from_slice(&place.read("roles/evaluation.json")).unwrap();
    let retrieval = &result["test"]["retrieval"];
    assert_eq!(retrieval["queries"].as_u64().unwrap() + retrieval["lone_queries"].as_u64().unwrap(), queries);
    assert_eq!(retrieval["recall_at"][1][0], 10, "the ranks of In-Shop's paper");
}

#[test]
fn training_stops_when_nothing_gets_better() {
    let place = files();
    // So small that nothing changes.
    succeed(place.train("early").args(["--set", "optimizer.lr=1e-12", "--set", "train.patience=2"]));
    let said = place.events("early");
    let stopped = said.iter().find(|event| event["event"] == "stopped_early").expect("it did not stop");
    assert_eq!(stopped["step"], 6);
    // It is complete: asked again, it does nothing.
    succeed(place.train("early").args(["--set", "optimizer.lr=1e-12", "--set", "train.patience=2"]));
}

#[cfg(unix)]
#[test]
fn an_interrupt_finishes_the_step_and_saves() {
    let place = Place::new();
    succeed(&mut place.train("whole"));
    let (printed, said) = place.interrupt(&mut place.train("asked"), "asked", |_, lines| {
        lines.map_while(Result::ok).any(|line| line.contains("\"step\":7,"))
    });
    assert!(printed.iter().any(|line| line.contains("interrupted")), "{printed:?}");
    assert!(said.contains("the same command goes on"), "{said}");
    succeed(&mut place.train("asked"));
    for file in ["encoder.safetensors", "evaluation.json"] {
        assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("asked/{file}")), "{file}");
    }
}

#[test]
fn a_damaged_checkpoint_is_told_and_an_older_one_stands_in() {
    let place = Place::new();
    succeed(&mut place.train("whole"));
    succeed(&mut place.train("damaged"));
    std::fs::remove_file(place.path("damaged/evaluation.json")).unwrap();
    std::fs::write(place.path("damaged/checkpoint.safetensors"), b"half a file").unwrap();
    let output = succeed(&mut place.train("damaged"));
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"event\":\"damaged\""));
    assert_eq!(place.read("whole/encoder.safetensors"), place.read("damaged/encoder.safetensors"));
    for name in ["checkpoint.safetensors", "checkpoint.1.safetensors"] {
        std::fs::write(place.path("damaged").join(name), b"half a file").unwrap();
    }
    std::fs::remove_file(place.path("damaged/evaluation.json")).unwrap();
    let message = refusal(&mut place.train("damaged"));
    assert!(message.contains("not a whole checkpoint"), "{message}");
}

#[test]
fn what_does_not_go_together_is_refused_with_the_mend() {
    let place = files();
    for (set, wanted) in [
        ("model.freeze_norms=false", "train.chunk"),
        ("model.head.dropout=0.5", "train.chunk"),
        ("data.validation=0", "no validation classes"),
        ("data.preset=cub", "hyp-dino"),
        ("model.freeze=['layer9']", "layer9"),
        ("train.validate_every=0", "train.validate_every"),
        ("train.validate_every=9", "at most train.steps, 8"),
        ("optimizer.kind=adam", "nesterov"),
        ("data.eval_transforms=[]", "give images of different sizes"),
        ("model.architecture=resnet", "resnet18"),
        ("train.ema=1", "train.ema is 1"),
    ] {
        let message = refusal(place.train("bad").args(["--set", set]));
        assert!(message.starts_with("error: ") && message.contains(wanted), "{set}: {message}");
        assert!(!place.path("bad/recipe.toml").exists(), "{set}");
    }
}
