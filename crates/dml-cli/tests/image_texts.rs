//! Recipes whose examples come in two views, as users write them: pictures with texts, and pictures drawn twice. The pictures
//! are emoji of 16×16 pixels, the texts their names.

mod place;

use dml_data::sources::emoji_names;
use place::{Place, refusal, succeed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

const RECIPE: &str = r#"
name = "pictures and names"
[data]
set = "folder"
root = "ROOT"
size = 16
texts = "TEXTS"
tokenizer = "TOKENIZER"
[model]
conv4 = { filters = 8 }
head = { dim = 16 }
[model.text]
architecture = "bert"
head = { dim = 16 }
[model.text.bert]
vocab_size = 1000
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 32
max_position_embeddings = 24
[loss]
name = "clip"
[sampler]
classes = 12
per_class = 1
[augment]
translate = 0.1
[optimizer]
lr = 5e-3
[train]
steps = 160
checkpoint_every = 4
validate_every = 80
"#;

/// Pictures of 32 classes, of which all but one have names, and the recipe.
fn place() -> Place {
    let place = Place::new();
    fs::write(place.path("tokenizer.json"), emoji_names::TOKENIZER).unwrap();
    let names = emoji_names::load().unwrap();
    let mut folders: Vec<String> = fs::read_dir(place.path("images"))
        .unwrap()
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    let mut rows = "text,label\n".to_owned();
    for (index, &label) in names.labels().iter().enumerate() {
        let class = &names.class_names()[label as usize];
        if folders[1..].contains(class) {
            writeln!(rows, "\"{}\",{class}", names.text(index).replace('"', "\"\"")).unwrap();
        }
    }
    fs::write(place.path("names.csv"), rows).unwrap();
    let path = |name: &str| place.path(name).display().to_string();
    let text = RECIPE.replace("ROOT", &path("images")).replace("TEXTS", &path("names.csv"));
    fs::write(place.path("recipe.toml"), text.replace("TOKENIZER", &path("tokenizer.json"))).unwrap();
    place
}

fn dml(place: &Place, arguments: &[&str]) -> Command {
    let mut dml = Command::new(env!("CARGO_BIN_EXE_dml"));
    let path = |name: &&str| match name.strip_prefix('@') {
        Some(name) => place.path(name).display().to_string(),
        None => (*name).to_owned(),
    };
    dml.args(arguments.iter().map(path));
    dml
}

#[test]
fn pictures_and_their_names_are_learned_and_nothing_is_lost() {
    let place = place();
    place.check_that_nothing_is_lost(&["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"]);
    succeed(place.train("still").args(["--set", "optimizer.lr=1e-12"]));
    let measured = place.evaluation("whole");
    let found = &measured["cross_modal"]["test"];
    let texts = found["text_to_image"]["queries"].as_u64().unwrap();
    assert!(texts > found["image_to_text"]["queries"].as_u64().unwrap(), "{found}");
    assert_eq!(found["examples"].as_array().unwrap().len(), 12);
    let report = String::from_utf8(place.read("whole/report.html")).unwrap();
    assert!(report.contains("Texts and the images they find") && report.contains("text to image, test"));
    // What is learned is not the test's classes: looked at where it was learned.
    let of = |run: &str| {
        succeed(&mut dml(&place, &["gallery", "create", &format!("@{run}-all"), "--run-dir", &format!("@{run}")]));
        let (all, run) = (format!("@{run}-all"), format!("@{run}"));
        succeed(&mut dml(&place, &["enroll", &all, "@images", "--run-dir", &run]));
        let asked = ["identify", &all, "@names.csv", "--run-dir", &run, "--threshold", "0", "--json"];
        let answers = String::from_utf8(succeed(&mut dml(&place, &asked)).stdout).unwrap();
        let table = String::from_utf8(place.read("names.csv")).unwrap();
        let right = answers.lines().zip(table.lines().skip(1)).filter(|(answer, row)| {
            let answer: Value = serde_json::from_str(answer).unwrap();
            answer["candidates"][0]["name"].as_str().is_some_and(|name| row.ends_with(&format!(",{name}")))
        });
        right.count() as f64 / answers.lines().count() as f64
    };
    let (before, after) = (of("still"), of("whole"));
    assert!(after > 2.0 * before + 0.1, "{after} of the names find their picture, {before} before training");
}

#[test]
fn ones_own_pictures_and_texts_are_embedded_into_a_file() {
    let place = place();
    let short = ["--set", "train.steps=2", "--set", "train.validate_every=0"];
    succeed(place.train("run").args(short));
    // Another begins with both of its towers.
    let weights = format!("model.weights={}", place.path("run/encoder.safetensors").display());
    succeed(place.train("next").args(short).args(["--set", &weights, "--set", "optimizer.lr=1e-30"]));
    let read = |run: &str| place.read(&format!("{run}/encoder.safetensors"));
    let tensors = |bytes: &[u8]| -> BTreeMap<String, Vec<u8>> {
        let tensors = safetensors::SafeTensors::deserialize(bytes).unwrap();
        let learned = tensors.tensors().into_iter().filter(|(name, _)| !name.contains("running"));
        learned.map(|(name, tensor)| (name, tensor.data().to_vec())).collect()
    };
    assert!(tensors(&read("next")) == tensors(&read("run")));
    fs::write(place.path("asked.txt"), "red apple\ndog\nred apple\n").unwrap();
    let embedded = |input: &str, out: &str| {
        let out_path = format!("@{out}");
        succeed(&mut dml(&place, &["embed", "--run-dir", "@run", "--input", input, "--out", &out_path]));
        let bytes = place.read(out);
        let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.info("embeddings").unwrap().shape[1], 16);
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let texts = |name: &str| -> Vec<String> {
            let text = String::from_utf8(tensors.tensor(name).unwrap().data().to_vec()).unwrap();
            text.split_terminator('\0').map(str::to_owned).collect()
        };
        let numbers = |name: &str| -> Vec<[u8; 4]> { tensors.tensor(name).unwrap().data().as_chunks().0.to_vec() };
        let labels: Vec<u32> = numbers("labels").into_iter().map(u32::from_le_bytes).collect();
        let values: Vec<f32> = numbers("embeddings").into_iter().map(f32::from_le_bytes).collect();
        (texts("ids"), labels, texts("class_names"), values)
    };
    let (ids, labels, _, values) = embedded("@asked.txt", "asked.safetensors");
    assert_eq!((&ids[..], &labels[..]), (&["red apple", "dog", "red apple"].map(str::to_owned)[..], &[0, 1, 2][..]));
    assert!(values[..16] == values[32..] && values[..16] != values[16..32]);
    let (ids, labels, names, values) = embedded("@images", "images.safetensors");
    assert_eq!((names.len(), values.len()), (32, 16 * ids.len()));
    assert!(ids.iter().zip(&labels).all(|(id, &label)| id.starts_with(&names[label as usize])));
    // As of the run's own part.
    succeed(&mut dml(&place, &["embed", "--run-dir", "@run", "--out", "@test.npy"]));
    let table = String::from_utf8(place.read("test.csv")).unwrap();
    let first = table.lines().nth(1).unwrap();
    let at = ids.iter().position(|id| first.contains(id.as_str())).unwrap();
    let of_test: Vec<f32> =
        place.read("test.npy")[128..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    assert_eq!(values[16 * at..][..16], of_test[..16]);
    let message = refusal(&mut dml(&place, &["embed", "--run-dir", "@run", "--input", "@nowhere", "--out", "@e.npy"]));
    assert!(message.contains("nowhere"), "{message}");
    assert!(!place.path("e.npy").exists());
}

#[test]
fn all_views_may_be_one_batch_and_images_may_be_drawn_twice() {
    let place = place();
    let loss = |run: &str| {
        let losses: Vec<f64> = place.events(run).iter().filter_map(|event| event["loss"].as_f64()).collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        (mean(&losses[..5]), mean(&losses[losses.len() - 5..]))
    };
    let pooled = "loss={name='normalized_softmax',views='pooled'}";
    succeed(place.train("pooled").args(["--set", pooled]));
    succeed(place.train("memory").args(["--set", "loss={name='contrastive',views='pooled',memory={size=48}}"]));
    let alone = String::from_utf8(place.read("recipe.toml")).unwrap();
    let (model, rest) = (alone.find("[model.text]").unwrap(), alone.find("[loss]").unwrap());
    let alone = format!("{}{}", &alone[..model], &alone[rest..]);
    let alone: Vec<&str> =
        alone.lines().filter(|l| !l.starts_with("texts =") && !l.starts_with("tokenizer =")).collect();
    fs::write(place.path("recipe.toml"), alone.join("\n").replace("size = 16", "size = 16\nviews = 2")).unwrap();
    for (run, loss) in [("twins", "loss={name='vic_reg'}"), ("no_labels", "loss={name='nt_xent',self_supervised={}}")] {
        let done = place.train(run).args(["--set", loss]).output().unwrap();
        assert!(done.status.success(), "{run}: {}", String::from_utf8_lossy(&done.stderr));
    }
    for run in ["pooled", "memory", "twins", "no_labels"] {
        let (first, last) = loss(run);
        assert!(last < first, "{run}: the loss was {first} and became {last}");
    }
    assert!(place.evaluation("twins")["cross_modal"].is_null());
    // Killed, both views go on where they were.
    let twins = ["--set", "loss={name='vic_reg'}"];
    place.kill_at(place.train("killed").args(twins), "killed", &["\"checkpoint\",\"step\":8}"]);
    succeed(place.train("killed").args(twins));
    for file in ["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"] {
        assert!(place.read(&format!("twins/{file}")) == place.read(&format!("killed/{file}")), "{file}");
    }
    for still in ["augment.translate=0", "augment={horizontal_flip=1.0}"] {
        let message = refusal(place.train("still").args(["--set", still]).args(twins));
        assert!(message.contains("both views would be equal: set augment, e.g."), "{still}: {message}");
    }
}

/// Few steps, after every second of which both ways are measured.
const SHORT: [&str; 6] = ["--set", "train.steps=4", "--set", "train.validate_every=2", "--set", "sampler.classes=6"];

#[test]
fn both_ways_of_retrieval_choose_in_folds_searches_and_on_the_test() {
    let place = place();
    let json = |file: &str| -> Value { serde_json::from_slice(&place.read(file)).unwrap() };
    let both = |found: &Value| {
        let way = |way: &str| found[way]["map_at_r"].as_f64().unwrap();
        f64::midpoint(way("image_to_text"), way("text_to_image"))
    };
    let best = |run: &str, what: &str| {
        let events = place.events(run);
        let measured: Vec<f64> =
            events.iter().filter(|e| e["event"] == what).map(|e| e["map_at_r"].as_f64().unwrap()).collect();
        assert_eq!(measured.len(), 2, "{run}");
        measured[0].max(measured[1])
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
    let chosen = ["--set", "train.evaluate=best_on_validation"];
    succeed(place.train("folds").args(SHORT).args(chosen).args(["--folds", "2"]));
    let ensemble = json("folds/ensemble.json");
    let together = &ensemble["evaluation"]["cross_modal"];
    for fold in ["folds/fold-0", "folds/fold-1"] {
        let found = &place.evaluation(fold)["cross_modal"];
        near(both(&found["validation"]), best(fold, "validated_both_ways"));
        for way in ["image_to_text", "text_to_image"] {
            assert_eq!(found["test"][way]["queries"], together["test"][way]["queries"]);
        }
    }
    assert!(ensemble["dim"] == 32 && together["validation"].is_null());
    assert_eq!(together["test"]["examples"].as_array().unwrap().len(), 12);
    let figures = &json("folds/summary.json")["rows"][1]["figures"];
    let figure = figures.as_array().unwrap().iter().find(|figure| figure["key"] == "cross_modal_map_at_r").unwrap();
    near(figure["mean"].as_f64().unwrap(), both(&together["test"]));

    // A finished run is measured and shown again, the same.
    let again = succeed(&mut dml(&place, &["evaluate", "--run-dir", "@folds/fold-0"])).stdout;
    assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), place.evaluation("folds/fold-0"));
    let page = place.read("folds/fold-0/report.html");
    fs::remove_file(place.path("folds/fold-0/report.html")).unwrap();
    succeed(&mut dml(&place, &["report", "--run-dir", "@folds/fold-0"]));
    assert!(page == place.read("folds/fold-0/report.html"));
    assert!(String::from_utf8(page).unwrap().contains("MAP@R both ways, %"));

    fs::write(place.path("space.toml"), "optimizer.lr = { choice = [1e-3, 5e-3] }").unwrap();
    let search = ["search", "@recipe.toml", "--space", "@space.toml", "--run-dir", "@search", "--trials", "2"];
    succeed(dml(&place, &search).args(SHORT));
    let trials = String::from_utf8(place.read("search/trials.jsonl")).unwrap();
    for (i, trial) in trials.lines().enumerate() {
        let trial: Value = serde_json::from_str(trial).unwrap();
        let found = place.evaluation(&format!("search/trial-{i:03}"));
        assert_eq!(trial["judged_by"], "validation_cross_modal_map_at_r");
        near(trial["achieved"].as_f64().unwrap(), both(&found["cross_modal"]["validation"]));
        assert!(found["test"].is_null() && found["cross_modal"]["test"].is_null(), "the test was looked at: {found}");
    }

    succeed(place.train("tested").args(SHORT).args(["--set", "train.evaluate=best_on_test"]));
    near(both(&place.evaluation("tested")["cross_modal"]["test"]), best("tested", "tested_both_ways"));
}

#[test]
fn what_does_not_go_together_is_refused_with_the_mend() {
    let place = place();
    for (set, wanted) in [
        ("data.views=2", "data.texts is the second view"),
        ("data.texts=nowhere.csv", "nowhere.csv"),
        ("model.text.head.dim=8", "set head.dim and text.head.dim"),
        ("model.text.architecture=conv4", "model.text.architecture Conv4 embeds images"),
        ("model.text.bert.vocab_size=50", "raise vocab_size under model.text.bert"),
        ("model.text.weights=hf://owner", "model.text.weights is \"hf://owner\""),
        ("model.text={}", "embeds images"),
        ("model.text.text={}", "none of its own"),
        ("loss={name='proxy_anchor'}", "views = \"pooled\""),
        ("loss={name='clip',memory={size=64}}", "views = \"pooled\""),
        ("loss={name='vic_reg',views='pooled'}", "leave loss.views out"),
        ("loss={name='contrastive',views='pooled',memory={size=20}}", "a batch has 24 embeddings"),
        ("data.set=emoji-names", "holds no images"),
    ] {
        let message = refusal(place.train("bad").args(["--set", set]));
        assert!(message.starts_with("error: ") && message.contains(wanted), "{set}: {message}");
        assert!(!place.path("bad/recipe.toml").exists(), "{set}");
    }
    fs::write(place.path("names.csv"), "text,label\na thing,nobody\n").unwrap();
    let message = refusal(&mut place.train("bad"));
    assert!(message.contains("labels there must be names of classes here") && message.contains("nobody"), "{message}");
    let recipe = String::from_utf8(place.read("recipe.toml")).unwrap();
    for (key, wanted) in [
        ("tokenizer =", "names.csv\" holds texts but nothing says how they become tokens: give data.tokenizer"),
        ("tokenizer =", "or a sentence encoder as model.text.weights"),
        ("texts =", "name them as data.texts"),
    ] {
        let without: Vec<&str> = recipe.lines().filter(|line| !line.starts_with(key)).collect();
        fs::write(place.path("recipe.toml"), without.join("\n")).unwrap();
        let message = refusal(&mut place.train("bad"));
        assert!(message.contains(wanted), "{message}");
    }
}
