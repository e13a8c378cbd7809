//! Batches of image files on their way to the device: as bytes or as floats the same, and without what cannot be read.

use candle_core::Device;
use dml_data::{Image, LoaderOptions};
use dml_models::Input;
use dml_train::examples::Streamed;
use dml_train::run::{RunFolder, run};
use dml_train::sets::{self, Sets};
use dml_train::{Event, Recipe};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use tempfile::TempDir;

const RECIPE: &str = r#"
name = "files"
[data]
set = "table"
root = "ROOT"
train_transforms = [{ random_resized_crop = { size = 16 } }, { horizontal_flip = 0.5 }]
eval_transforms = [{ resize = [16, 16] }]
[model.conv4]
filters = 4
[loss]
name = "contrastive"
[sampler]
classes = 3
per_class = 2
[train]
steps = 8
"#;

/// 4 classes × 4 images of 24×20 pixels; the last class is for the test.
fn files() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut table = "path,label,split\n".to_owned();
    for i in 0..16usize {
        let pixels = (0..24 * 20 * 3).map(|at| ((at * 31 + i * 57) % 251) as u8).collect();
        let png = Image::new(24, 20, 3, pixels).unwrap().thumbnail(24).unwrap();
        fs::write(folder.path().join(format!("{i}.png")), png).unwrap();
        writeln!(table, "{i}.png,c{},{}", i / 4, if i < 12 { "train" } else { "test" }).unwrap();
    }
    fs::write(folder.path().join("table.csv"), table).unwrap();
    folder
}

fn recipe(folder: &Path, overrides: &[String]) -> Recipe {
    let root = folder.join("table.csv").display().to_string();
    Recipe::parse(&RECIPE.replace("ROOT", &root), overrides).unwrap()
}

/// The views of 8 steps, one after the other.
fn views(recipe: &Recipe, sets: &Sets, bytes: bool) -> Vec<Vec<f32>> {
    let loader = LoaderOptions { until: Some(8), ..LoaderOptions::default() };
    let batches = sets.train.stream(sets.sampler(recipe).unwrap(), (5, 0), Streamed { loader, bytes });
    let flat = |input: Input| {
        let images = input.images("a test").unwrap();
        assert_eq!(images.dims(), [6, 3, 16, 16]);
        images.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    batches.flat_map(|batch| batch.unwrap().into_views(&Device::Cpu).unwrap()).map(flat).collect()
}

#[test]
fn bytes_become_what_floats_are() {
    let folder = files();
    for own in [vec![], vec!["data.views=2".to_owned()]] {
        let recipe = recipe(folder.path(), &own);
        let sets = sets::open(&recipe, None).unwrap();
        let (floats, bytes) = (views(&recipe, &sets, false), views(&recipe, &sets, true));
        assert_eq!(floats.len(), 8 * (1 + own.len()));
        assert!(floats == bytes);
        // Each view is augmented by itself.
        assert!(own.is_empty() || floats[0] != floats[1]);
    }
}

#[test]
fn two_views_want_something_to_be_drawn() {
    let folder = files();
    for steps in ["[]", "[{ horizontal_flip = 1.0 }, { grayscale = 0.0 }]"] {
        let steps = format!("data.train_transforms=[{{ resize = [16, 16] }}, {}", &steps[1..]);
        let of_two = recipe(folder.path(), &[steps, "data.views=2".to_owned()]);
        let message = sets::open(&of_two, None).err().unwrap().to_string();
        assert!(message.contains("both views would be equal: add a step to data.train_transforms"), "{message}");
    }
}

#[test]
fn what_cannot_be_read_ends_the_run_or_is_left_out_and_named() {
    let folder = files();
    fs::write(folder.path().join("5.png"), b"no picture").unwrap();
    let attempt = |name: &str, own: &[&str]| {
        let own: Vec<String> = own.iter().map(|&own| own.to_owned()).collect();
        let mut lost = vec![];
        let out = RunFolder::open(&folder.path().join(name)).unwrap();
        let mut hear = |event: &Event| {
            if let Event::Skipped { step, what } = event {
                lost.push((*step, what.clone()));
            }
        };
        let recipe = recipe(folder.path(), &own);
        let done = run(&recipe, &out, None, &Device::Cpu, &AtomicBool::new(false), &mut hear);
        (done.map(|_| ()).map_err(|error| error.to_string()), lost, out)
    };
    let (failed, lost, _) = attempt("fail", &[]);
    assert!(failed.unwrap_err().contains("5.png") && lost.is_empty());
    let (done, lost, out) = attempt("skip", &["data.unreadable=skip"]);
    done.unwrap();
    // In each step two of the four images of its class.
    assert!(!lost.is_empty() && lost.len() < 8, "{lost:?}");
    assert!(lost.iter().all(|(step, what)| (1..=8).contains(step) && what.len() == 1 && what[0].contains("5.png")));
    let page = fs::read_to_string(out.report()).unwrap();
    assert!(page.contains("training did without 1 images that cannot be read"));
    let log = fs::read_to_string(out.metrics()).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"skipped\"")).count(), lost.len());
    // The same with all that goes on around it: read from a cache or from files, what is left out is left out of both views.
    let all = ["data.unreadable=skip", "data.views=2", "train.accumulate=2", "loss.views=pooled"];
    let cache = format!("data.cache={}", folder.path().join("cache").display());
    let runs = [("files", None), ("cached", Some(cache.as_str()))].map(|(name, cache)| {
        let (done, lost, out) = attempt(name, &all.into_iter().chain(cache).collect::<Vec<_>>());
        done.unwrap();
        assert!(!lost.is_empty() && lost.len() < 16, "{lost:?}");
        assert!(lost.iter().all(|(step, what)| (1..=8).contains(step) && what.len() == 1 && what[0].contains("5.png")));
        let steps: Vec<u64> = lost.iter().map(|(step, _)| *step).collect();
        (steps, fs::read(out.encoder()).unwrap(), fs::read(out.checkpoint()).unwrap())
    });
    assert!(runs[0] == runs[1]);
    // A broken test image is no matter of choice.
    fs::write(folder.path().join("15.png"), b"no picture").unwrap();
    assert!(attempt("test", &["data.unreadable=skip"]).0.unwrap_err().contains("15.png"));
}
