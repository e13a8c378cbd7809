//! Queries of one kind and a gallery of another, as photographs from the street and from a shop: here emoji in their colours, and the
//! same with red, green and blue in another order.

mod place;

use place::{Place, refusal, succeed};
use std::collections::BTreeMap;
use std::fs;

const RECIPE: &str = r#"
name = "two kinds"
[data]
set = "table"
root = "ROOT"
two_streams = true
train_transforms = [{ resize = [16, 16] }, { horizontal_flip = 0.5 }]
eval_transforms = [{ resize = [16, 16] }]
[model.conv4]
filters = 8
[loss]
name = "contrastive"
[sampler]
classes = 8
per_class = 2
[optimizer]
lr = 5e-3
[train]
steps = 120
checkpoint_every = 4
"#;

/// Pictures and the same in other colours, 24 classes to learn from and 8 to report, in a table that says which are which.
fn place() -> Place {
    let place = Place::new();
    let mut classes: BTreeMap<String, Vec<std::path::PathBuf>> = BTreeMap::new();
    for folder in fs::read_dir(place.path("images")).unwrap().map(|folder| folder.unwrap()) {
        let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        classes.insert(folder.file_name().into_string().unwrap(), files);
    }
    let mut rows = "path,label,split,is_query,is_gallery\n".to_owned();
    for (i, (class, files)) in classes.iter().enumerate() {
        let split = if i < 24 { "train" } else { "test" };
        for file in files {
            let name = file.file_name().unwrap().to_str().unwrap();
            let mut picture = image::open(file).unwrap().into_rgb8();
            picture.pixels_mut().for_each(|pixel| pixel.0.rotate_left(1));
            picture.save(file.with_file_name(format!("turned-{name}"))).unwrap();
            rows += &format!("images/{class}/{name},{class},{split},0,1\n");
            rows += &format!("images/{class}/turned-{name},{class},{split},1,0\n");
        }
    }
    fs::write(place.path("table.csv"), rows).unwrap();
    let root = place.path("table.csv").display().to_string();
    fs::write(place.path("recipe.toml"), RECIPE.replace("ROOT", &root)).unwrap();
    place
}

#[test]
fn a_query_finds_its_class_in_a_gallery_of_another_kind_and_nothing_is_lost() {
    let place = place();
    place.check_that_nothing_is_lost(&["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"]);
    succeed(place.train("still").args(["--set", "optimizer.lr=1e-12"]));
    let found = |run: &str| {
        let retrieval = place.evaluation(run)["test"]["retrieval"].clone();
        // Half of the pictures are queries.
        let table = String::from_utf8(place.read("table.csv")).unwrap();
        assert_eq!(retrieval["queries"], table.lines().filter(|line| line.ends_with("test,1,0")).count());
        retrieval["map_at_r"].as_f64().unwrap()
    };
    let (before, after) = (found("still"), found("whole"));
    println!("MAP@R {before} before, {after} after");
    assert!(after > before + 0.1, "{before} before, {after} after");
    let losses: Vec<f64> = place.events("whole").iter().filter_map(|event| event["loss"].as_f64()).collect();
    assert!(losses[losses.len() - 10..].iter().sum::<f64>() < losses[..10].iter().sum::<f64>(), "{losses:?}");
}

#[test]
fn what_has_no_two_streams_is_refused_with_the_mend() {
    let place = place();
    let says = |sets: &[&str], parts: &[&str]| {
        let message = refusal(place.train("run").args(sets.iter().flat_map(|set| ["--set", set])));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert!(!place.path("run/recipe.toml").exists());
    };
    says(&["data.views=2"], &["data.two_streams is set but data.texts or data.views", "keep one"]);
    says(&["loss={name='normalized_softmax'}"], &["takes no second one"]);
    let root = format!("data.root={}", place.path("images").display());
    let folder = ["data.set=folder", &root];
    says(&folder, &["data.two_streams is set but data.set \"folder\" does not tell them", "is_query and is_gallery"]);
    // Of no class both are there.
    let table = fs::read_to_string(place.path("table.csv")).unwrap();
    let queries: Vec<&str> = table.lines().filter(|line| !line.ends_with("train,0,1")).collect();
    fs::write(place.path("table.csv"), queries.join("\n")).unwrap();
    says(&[], &["has a query and a gallery image for it"]);
}
