//! What a run folder is worth by itself, when the data that its run learned from are gone.

mod place;

use place::{Place, refusal, succeed};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Embeddings by what they are of, from an .npy file and the table beside it.
fn embedded(npy: &Path) -> BTreeMap<String, Vec<f32>> {
    let table = fs::read_to_string(npy.with_extension("csv")).unwrap();
    let bytes = fs::read(npy).unwrap();
    let values: Vec<f32> = bytes[128..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let names: Vec<&str> = table.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    let dim = values.len() / names.len();
    names.into_iter().map(str::to_owned).zip(values.chunks(dim).map(<[f32]>::to_vec)).collect()
}

/// However its test pictures were prepared, pictures of others are, and of the same pictures the same comes out.
#[test]
fn pictures_are_embedded_as_those_of_the_test_were_without_any_data() {
    let steps = "[{ resize = 20 }, { center_crop = 16 }]";
    let [train, eval] = ["train", "eval"].map(|part| format!("data.{part}_transforms={steps}"));
    for sets in [&[][..], &[train.as_str(), &eval, "augment={}"]] {
        let place = Place::new();
        let sets = sets.iter().chain(&["train.steps=2"]).flat_map(|set| ["--set", set]);
        succeed(place.train("run").args(sets));
        let embed = |out: &str, more: &[&str]| {
            let mut dml = Command::new(env!("CARGO_BIN_EXE_dml"));
            dml.arg("embed").arg("--run-dir").arg(place.path("run")).arg("--out").arg(place.path(out)).args(more);
            dml
        };
        succeed(&mut embed("test.npy", &[]));
        let of_test = embedded(&place.path("test.npy"));
        let brought = place.path("brought");
        for name in of_test.keys() {
            let to = brought.join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::rename(place.path("images").join(name), to).unwrap();
        }
        fs::remove_dir_all(place.path("images")).unwrap();
        let input = brought.display().to_string();
        succeed(&mut embed("brought.npy", &["--input", &input]));
        assert_eq!(embedded(&place.path("brought.npy")), of_test);
        // A picture beside folders of pictures is of nobody.
        let (name, _) = of_test.first_key_value().unwrap();
        fs::copy(brought.join(name), brought.join("stray.png")).unwrap();
        let message = refusal(&mut embed("stray.npy", &["--input", &input]));
        assert!(
            message.contains("both pictures and folders of pictures") && message.contains("stray.png"),
            "{message}"
        );
        // What was not measured to its end has no result yet: the checkpoint's weights may be others.
        fs::remove_file(place.path("run/encoder.safetensors")).unwrap();
        let message = refusal(&mut embed("none.npy", &["--input", &input]));
        assert!(message.contains("encoder.safetensors") && message.contains("dml train"), "{message}");
    }
}

#[test]
fn what_is_left_without_its_recipe_is_not_taken_for_another_run_s() {
    let place = Place::new();
    let one_step = ["--set", "train.steps=1"];
    let message = refusal(place.train("run").args(one_step).arg("--resume"));
    assert!(message.contains("holds no run to go on with") && !place.path("run/recipe.toml").exists(), "{message}");
    succeed(place.train("run").args(one_step));
    succeed(place.train("run").args(one_step).arg("--resume"));
    let recipe = place.path("run/recipe.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::remove_file(&recipe).unwrap();
    let other = ["--set", "train.steps=1", "--set", "optimizer.lr=0.5"];
    for gone in ["", "evaluation.json"] {
        if !gone.is_empty() {
            fs::remove_file(place.path("run").join(gone)).unwrap();
        }
        let message = refusal(place.train("run").args(other));
        assert!(message.contains("no recipe.toml to say which") && !recipe.exists(), "{message}");
    }
    // Killed while one checkpoint took the place of another, a run has only the older one.
    fs::write(&recipe, text).unwrap();
    fs::rename(place.path("run/checkpoint.safetensors"), place.path("run/checkpoint.1.safetensors")).unwrap();
    let inspected = succeed(Command::new(env!("CARGO_BIN_EXE_dml")).arg("inspect").arg(place.path("run")));
    assert!(String::from_utf8(inspected.stdout).unwrap().contains("step        1"));
    let said = String::from_utf8(succeed(place.train("run").args(one_step)).stdout).unwrap();
    assert!(said.lines().next().unwrap().contains("\"step\":1"), "it began anew: {said}");
    // A file is no folder.
    let message = refusal(&mut place.train("recipe.toml"));
    assert!(message.contains("cannot be made") && message.contains("--run-dir"), "{message}");
}

#[test]
fn who_waits_for_another_process_says_so() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    let lock = fs::File::create(place.path("run/lock")).unwrap();
    lock.lock().unwrap();
    let mut train = place.train("run");
    let mut child = train.args(["--set", "train.steps=1"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    place::read_until(&mut child, &["waiting"]);
    assert!(!place.path("run/recipe.toml").exists());
    lock.unlock().unwrap();
    assert!(child.wait().unwrap().success() && place.path("run/evaluation.json").exists());
}
