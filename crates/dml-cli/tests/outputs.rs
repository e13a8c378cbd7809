//! What a finished run can be asked for: embeddings in each format, its page, what its files hold; and completions.

mod place;

use place::{Place, refusal, succeed};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn dml(task: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
    command.arg(task);
    command
}

/// A short run.
fn finished() -> Place {
    let place = Place::new();
    let short = ["train.steps=12", "train.validate_every=4", "train.evaluate=best_on_validation"];
    succeed(place.train("run").args(short.iter().flat_map(|set| ["--set", set])));
    place
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn embeddings_of_each_format_are_read_back_with_the_same_result() {
    let place = finished();
    let mut results = vec![];
    for name in ["e.safetensors", "e.npy", "e.parquet"] {
        let (out, report) = (place.path("out").join(name), place.path(name.trim_start_matches("e.")));
        succeed(dml("embed").arg("--run-dir").arg(place.path("run")).arg("--out").arg(&out));
        let few = ["--resamples", "0", "--no-maps", "--no-clustering"];
        succeed(dml("evaluate").arg(&out).arg("--out").arg(&report).args(few));
        let found = json(&std::fs::read(report.join("evaluation.json")).unwrap());
        let page = json(&std::fs::read(report.join("report.json")).unwrap());
        // Class names and paths come along: they are what the report shows.
        results.push((found, page["sections"].clone()));
    }
    assert!(results[0] == results[1] && results[0] == results[2]);
    let of_run = json(&place.read("run/evaluation.json"));
    let found = &results[0].0["retrieval"]["measured"];
    let map = found.as_array().unwrap().iter().find(|m| m["measure"].to_string().contains("\"map@r\""));
    let (map, wanted) = (map.map(|m| m["micro_mean"].clone()), &of_run["test"]["retrieval"]["map_at_r"]);
    assert!(map.is_some_and(|map| (map.as_f64().unwrap() - wanted.as_f64().unwrap()).abs() < 1e-9), "{found}");
    let table = String::from_utf8(place.read("out/e.csv")).unwrap();
    let first = table.lines().nth(1).unwrap();
    assert!(first.contains(".png,") && place.path("images").join(first.split(',').next().unwrap()).exists(), "{first}");
    // Nothing but what was asked for.
    let mut files: Vec<_> = std::fs::read_dir(place.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["e.csv", "e.npy", "e.parquet", "e.safetensors"]);
}

#[test]
fn other_parts_and_formats_can_be_asked_for_and_unknown_ones_are_refused() {
    let place = finished();
    let embed = |out: &str, more: &[&str]| {
        let mut command = dml("embed");
        command.arg("--run-dir").arg(place.path("run")).arg("--out").arg(place.path(out)).args(more);
        command
    };
    succeed(&mut embed("train.bin", &["--format", "npy", "--split", "train"]));
    assert_eq!(&place.read("train.bin")[..6], b"\x93NUMPY");
    let said = String::from_utf8(succeed(&mut embed("validation.npy", &["--split", "validation"])).stdout).unwrap();
    assert!(said.starts_with("16 embeddings of length 8"), "4 of 32 classes, with 4 images each: {said}");
    assert!(refusal(&mut embed("x.csv", &[])).contains(".safetensors, .npy or .parquet"));
    assert!(refusal(&mut embed("x.npy", &["--format", "hdf5"])).contains("safetensors, npy or parquet"));
    assert!(refusal(&mut embed("x.npy", &["--split", "all"])).contains("validation"));
    assert!(!place.path("x.npy").exists() && !place.path("x.csv").exists());
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_nothing_half_written() {
    let place = Place::new();
    // So many images that there is time.
    succeed(place.train("run").args(["--set", "data.set=emoji", "--set", "train.steps=1"]));
    let embed = |out: &Path| {
        let mut command = dml("embed");
        command.arg("--run-dir").arg(place.path("run")).arg("--out").arg(out.join("e.npy"));
        command
    };
    let left = |out: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(out).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let out = place.path("out");
    let (printed, said) = place.interrupt(&mut embed(&out), "out", |asked, _| {
        while left(&out).is_empty() && asked.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        !left(&out).is_empty()
    });
    assert!(printed.is_empty() && said.contains("nothing was written"), "{printed:?} {said}");
    assert_eq!(left(&out), Vec::<String>::new());
    succeed(&mut embed(&out));
    assert_eq!(left(&out).len(), 2);
}

#[test]
fn a_run_leaves_a_page_with_its_curves_that_can_be_made_again() {
    let place = finished();
    let page = String::from_utf8(place.read("run/report.html")).unwrap();
    for wanted in
        ["Results", "Loss", "Learning rate", "Gradient", "Speed", "Validation", "best: ", "Retrieval", "ROC", "Recipe"]
    {
        assert!(page.contains(wanted), "no {wanted}");
    }
    assert!(page.contains("data:image/png;base64,"), "queries are shown");
    assert!(!page.contains("http://") && !page.contains("https://"), "it stands alone");
    std::fs::remove_file(place.path("run/report.html")).unwrap();
    succeed(dml("report").arg("--run-dir").arg(place.path("run")));
    assert!(page == String::from_utf8(place.read("run/report.html")).unwrap());
    assert!(refusal(&mut dml("report")).contains("--run-dir"));
}

#[test]
fn inspect_shows_what_files_hold_and_names_damage() {
    let place = finished();
    let inspect = |path: &Path| json(&succeed(dml("inspect").arg(path).arg("--json")).stdout);
    let checkpoint = inspect(&place.path("run/checkpoint.safetensors"));
    assert_eq!(checkpoint["kind"], "checkpoint");
    assert_eq!(checkpoint["progress"]["step"], 12);
    let best = checkpoint["progress"]["best"].as_f64().unwrap();
    let of_run = json(&place.read("run/evaluation.json"));
    assert!((best - of_run["validation"]["retrieval"]["map_at_r"].as_f64().unwrap()).abs() < 1e-9);
    let folder = inspect(&place.path("run"));
    assert_eq!((&folder["kind"], &folder["progress"]["step"]), (&"encoder".into(), &12.into()));
    assert_eq!(folder["recipe"]["loss"]["name"], "contrastive");
    assert_eq!(folder["parameters"], checkpoint["parameters"]);
    // Four convolutions of 8 filters, three of them on 8 channels, with norms.
    let convolutions = 8 * 3 * 9 + 3 * 8 * 8 * 9;
    let counted = folder["parameters"].as_u64().unwrap();
    assert!(counted > convolutions && counted < convolutions + 2000, "{counted}");
    let text = String::from_utf8(succeed(dml("inspect").arg(place.path("run"))).stdout).unwrap();
    assert!(text.contains("small: contrastive on folder, seed 0") && text.contains("step        12"), "{text}");

    let [whole, cut] = ["values.safetensors", "cut.safetensors"].map(|name| place.path(name));
    let values = [1.0f32, 3.0, f32::NAN, -1.0, f32::INFINITY, 1.0].map(f32::to_le_bytes).concat();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, 3], &values).unwrap();
    safetensors::serialize_to_file([("x", view)], None, &whole).unwrap();
    let found = inspect(&whole);
    let tensor = &found["tensors"][0];
    assert_eq!(
        (&tensor["shape"], &tensor["not_finite"], &found["not_finite"]),
        (&json(b"[2, 3]"), &2.into(), &2.into())
    );
    assert_eq!((&tensor["mean"], &tensor["min"], &tensor["max"]), (&1.0.into(), &(-1.0).into(), &3.0.into()));
    assert!((tensor["std"].as_f64().unwrap() - 2f64.sqrt()).abs() < 1e-12);
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 1]).unwrap();
    let message = refusal(dml("inspect").arg(&cut));
    assert!(message.contains("cut.safetensors") && message.contains("no whole .safetensors file"), "{message}");
    assert!(refusal(dml("inspect").arg(place.path("images"))).contains("recipe.toml"));
    assert!(refusal(dml("inspect").arg(place.path("recipe.toml"))).contains(".safetensors, .npy and .parquet"));
}

#[test]
fn completions_know_the_commands_of_each_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = String::from_utf8(succeed(dml("completions").arg(shell)).stdout).unwrap();
        for task in ["train", "evaluate", "embed", "inspect", "completions", "run-dir"] {
            assert!(script.contains(task), "{shell}: no {task}");
        }
    }
    assert!(refusal(dml("completions").arg("tcsh")).contains("bash"));
}
