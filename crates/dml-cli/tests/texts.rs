//! Recipes over texts and over pairs of texts, as users write them: from scratch and from a sentence encoder's folder, killed,
//! on other threads, with mistakes. The texts are names of emoji in twenty languages.

mod place;

use dml_data::sources::emoji_names;
use place::{Place, refusal, succeed};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

const MODEL: &str = r#"
[model]
architecture = "bert"
[model.bert]
vocab_size = 1000
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 64
max_position_embeddings = 24
"#;

const TEXTS: &str = r#"
name = "texts"
[data]
set = "texts"
root = "ROOT"
tokenizer = "TOKENIZER"
validation = 0.2
[loss]
name = "nt_xent"
params = { temperature = 0.1 }
[sampler]
classes = 24
per_class = 4
[optimizer]
lr = 5e-3
[train]
steps = 60
checkpoint_every = 4
validate_every = 15
"#;

const PAIRS: &str = r#"
name = "pairs"
[data]
set = "pairs"
root = "ROOT"
tokenizer = "TOKENIZER"
positive_score = 1
[loss]
name = "nt_xent"
params = { temperature = 0.05 }
[sampler]
kind = "no_duplicates"
classes = 32
per_class = 1
[optimizer]
lr = 5e-3
[train]
steps = 40
checkpoint_every = 4
validate_every = 10
evaluate = "best_on_validation"
"#;

/// A place with the recipe `text` over the table `rows`.
fn place(text: &str, rows: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("tokenizer.json"), emoji_names::TOKENIZER).unwrap();
    fs::write(place.path("rows.csv"), rows).unwrap();
    let path = |name: &str| place.path(name).display().to_string();
    let text = text.replace("ROOT", &path("rows.csv")).replace("TOKENIZER", &path("tokenizer.json"));
    fs::write(place.path("recipe.toml"), text + MODEL).unwrap();
    place
}

/// Names of the classes that come first; every second class is for the test.
fn texts() -> Place {
    let names = emoji_names::load().unwrap();
    let mut rows = "text,label,split\n".to_owned();
    for (index, &label) in names.labels().iter().enumerate().filter(|(_, label)| **label < 240) {
        let (text, class) = (names.text(index), &names.class_names()[label as usize]);
        writeln!(rows, "\"{}\",{class},{}", text.replace('"', "\"\""), ["train", "test"][label as usize % 2]).unwrap();
    }
    place(TEXTS, &rows)
}

/// The first name of a class with each of its others, alike; to measure by, with those of the next class too, which are not.
fn pairs() -> Place {
    let names = emoji_names::load().unwrap();
    let mut all = vec![vec![]; 200];
    names
        .labels()
        .iter()
        .enumerate()
        .filter(|(_, label)| **label < 200)
        .for_each(|(i, &label)| all[label as usize].push(i));
    let quoted = |index: usize| format!("\"{}\"", names.text(index).replace('"', "\"\""));
    let mut rows = "left,right,score,split\n".to_owned();
    for (class, own) in all.iter().enumerate() {
        let split = if class < 120 { "train" } else { ["validation", "test"][class % 2] };
        for (i, &other) in own.iter().enumerate().skip(1) {
            writeln!(rows, "{},{},1,{split}", quoted(own[0]), quoted(other)).unwrap();
            let next = &all[(class + 1) % all.len()];
            writeln!(rows, "{},{},0,{split}", quoted(own[0]), quoted(next[i % next.len()])).unwrap();
        }
    }
    place(PAIRS, &rows)
}

#[test]
fn texts_are_learned_and_nothing_is_lost() {
    let place = texts();
    place.check_that_nothing_is_lost(&["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"]);
    succeed(place.train("still").args(["--set", "optimizer.lr=1e-12", "--set", "train.validate_every=0"]));
    let recall = |run: &str, part: &str| place.evaluation(run)[part]["retrieval"]["recall_at"][0][1].as_f64().unwrap();
    // Of bf16 it learns too, to other weights, which are the same on any number of threads.
    for (run, threads) in [("half", "1"), ("half_three", "3")] {
        succeed(place.train(run).env("RAYON_NUM_THREADS", threads).args(["--set", "train.precision=bf16"]));
    }
    let weights = |run: &str| place.read(&format!("{run}/encoder.safetensors"));
    assert!(weights("half") == weights("half_three") && weights("half") != weights("whole"));
    for (part, run) in [("validation", "whole"), ("test", "whole"), ("validation", "half"), ("test", "half")] {
        let (before, after) = (recall("still", part), recall(run, part));
        assert!(after > before + 0.03, "{run}, {part}: R@1 {before} before training, {after} after it");
    }
    let measured = place.evaluation("whole");
    assert!(measured["test"]["verification"]["eer"].as_f64().unwrap() < 0.5);
    assert!(measured["open_set"].is_object() && measured["correlation"].is_null());
    let embed = |out: &str| {
        let mut dml = Command::new(env!("CARGO_BIN_EXE_dml"));
        dml.args(["embed", "--run-dir"]).arg(place.path("whole")).arg("--out").arg(place.path(out));
        succeed(&mut dml);
        place.read(out)
    };
    let bytes = embed("e.safetensors");
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let queries = measured["test"]["retrieval"]["queries"].as_u64().unwrap();
    assert_eq!(header.info("embeddings").unwrap().shape, [queries as usize, 32]);
}

#[test]
fn pairs_are_learned_and_nothing_is_lost() {
    let place = pairs();
    let files = ["encoder.safetensors", "evaluation.json", "checkpoint.safetensors", "best.safetensors"];
    place.check_that_nothing_is_lost(&files);
    let still = ["--set", "optimizer.lr=1e-12"];
    succeed(place.train("still").args(still));
    let spearman = |run: &str| place.evaluation(run)["correlation"]["test"]["spearman"].as_f64().unwrap();
    let before = spearman("still");
    assert!(spearman("whole") > before + 0.02, "{} after training, {before} before", spearman("whole"));
    let log = String::from_utf8(place.read("whole/metrics.jsonl")).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"validated_pairs\"")).count(), 4);
    // In chunks, both ways, and by degree.
    succeed(place.train("chunks").args(["--set", "train.chunk=10"]));
    assert!((spearman("chunks") - spearman("whole")).abs() < 0.02);
    succeed(place.train("clip").args(["--set", "loss={name='clip'}", "--set", "sampler.kind=random"]));
    let recipe = String::from_utf8(place.read("recipe.toml")).unwrap().replace("positive_score = 1\n", "");
    fs::write(place.path("recipe.toml"), recipe).unwrap();
    succeed(place.train("graded").args(["--set", "loss={name='cosent'}"]));
    assert!(spearman("graded") > before + 0.02, "{} by degree, {before} before", spearman("graded"));
}

#[test]
fn pairs_have_seeds_and_a_search_that_chooses_by_their_correlation() {
    let place = pairs();
    let correlation = |run: &str, part: &str| place.evaluation(run)["correlation"][part]["spearman"].as_f64();
    let short = ["--set", "train.steps=10"];
    succeed(place.train("seeds").args(short).args(["--seeds", "2"]));
    let summary: Value = serde_json::from_slice(&place.read("seeds/summary.json")).unwrap();
    for (key, part) in [("spearman", "test"), ("validation_spearman", "validation")] {
        let figures = summary["rows"][0]["figures"].as_array().unwrap();
        let figure = figures.iter().find(|figure| figure["key"] == key).unwrap();
        let wanted = [0, 1].map(|seed| correlation(&format!("seeds/seed-{seed}"), part).unwrap());
        assert_eq!(figure["values"], serde_json::json!(wanted));
        // Student's t of one degree of freedom, 12.706, times half of the difference.
        let interval = 12.7062 * (wanted[0] - wanted[1]).abs() / 2.0;
        assert!((figure["ci95"].as_f64().unwrap() - interval).abs() < 1e-4, "{figure}");
    }
    fs::write(place.path("space.toml"), "optimizer.lr = { choice = [1e-12, 5e-3] }").unwrap();
    let mut search = Command::new(env!("CARGO_BIN_EXE_dml"));
    search.arg("search").arg(place.path("recipe.toml")).arg("--space").arg(place.path("space.toml"));
    search.arg("--run-dir").arg(place.path("search")).args(["--trials", "4"]).args(short);
    let said = String::from_utf8(succeed(&mut search).stdout).unwrap();
    assert!(said.contains("| trial | validation Spearman | optimizer.lr |"), "{said}");
    let trials = String::from_utf8(place.read("search/trials.jsonl")).unwrap();
    let trials: Vec<Value> = trials.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (i, trial) in trials.iter().enumerate() {
        let run = format!("search/trial-{i:03}");
        assert_eq!(trial["achieved"].as_f64(), correlation(&run, "validation"));
        assert_eq!((correlation(&run, "test"), &trial["judged_by"]), (None, &"validation_spearman".into()));
    }
    let drawn: Vec<f64> = trials.iter().map(|trial| trial["values"]["optimizer.lr"].as_f64().unwrap()).collect();
    assert!(drawn.contains(&1e-12) && drawn.contains(&5e-3), "{drawn:?}");
    assert!(String::from_utf8(place.read("search/best.toml")).unwrap().contains("lr = 0.005"));
    // Two tokens, the first and the last, are those of all texts, and by the cosine all numbers of one sign are alike: such a trial
    // is lost and no end.
    fs::write(place.path("space.toml"), "model.head.dim = { choice = [1, 8] }").unwrap();
    let alike = ["--set", "data.max_length=2"];
    let mut lost = Command::new(env!("CARGO_BIN_EXE_dml"));
    lost.arg("search").arg(place.path("recipe.toml")).arg("--space").arg(place.path("space.toml"));
    lost.arg("--run-dir").arg(place.path("lost")).args(["--trials", "4", "--set", "train.steps=1"]);
    succeed(lost.args(alike).args(["--set", "train.validate_every=0", "--set", "train.evaluate=last"]));
    let trials = String::from_utf8(place.read("lost/trials.jsonl")).unwrap();
    let trials: Vec<Value> = trials.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_lost = |trial: &Value| trial["achieved"].is_null();
    assert!(trials.iter().all(|trial| is_lost(trial) == (trial["values"]["model.head.dim"] == 1)), "{trials:?}");
    assert!(trials.iter().any(is_lost), "{trials:?}");
    let message = refusal(place.train("alike").args(alike).args(["--set", "model.head.dim=1"]));
    assert!(message.contains("all as close") && message.contains("after step 10: lower optimizer.lr"), "{message}");
    // Without pairs to choose by.
    let rows = String::from_utf8(place.read("rows.csv")).unwrap().replace(",validation\n", ",test\n");
    fs::write(place.path("rows.csv"), rows).unwrap();
    let whole = ["--set", "train.validate_every=0", "--set", "train.evaluate=last"];
    let message = refusal(search.args(whole));
    assert!(message.contains("give pairs a part `validation`"), "{message}");
}

#[test]
fn a_sentence_encoders_folder_says_what_it_is() {
    let place = texts();
    succeed(&mut place.train("first"));
    let folder = place.path("published");
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    let write = |file: &str, text: &str| fs::write(folder.join(file), text).unwrap();
    let part =
        |kind: &str, path: &str| format!(r#"{{"path": "{path}", "type": "sentence_transformers.models.{kind}"}}"#);
    write("modules.json", &format!("[{}, {}]", part("Transformer", ""), part("Pooling", "1_Pooling")));
    write(
        "config.json",
        r#"{"model_type": "bert", "vocab_size": 1000, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 64, "max_position_embeddings": 24, "type_vocab_size": 2}"#,
    );
    write("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    write("sentence_bert_config.json", r#"{"max_seq_length": 24}"#);
    write("tokenizer.json", emoji_names::TOKENIZER);
    fs::copy(place.path("first/encoder.safetensors"), folder.join("model.safetensors")).unwrap();
    // The same recipe without a word of the model or the tokenizer.
    let recipe = String::from_utf8(place.read("recipe.toml")).unwrap();
    let recipe: Vec<&str> = recipe.split("\n[model]").next().unwrap().lines().collect();
    let recipe: Vec<&str> = recipe.into_iter().filter(|line| !line.starts_with("tokenizer")).collect();
    let weights = folder.display().to_string();
    fs::write(place.path("recipe.toml"), format!("{}\n[model]\nweights = \"{weights}\"\n", recipe.join("\n"))).unwrap();
    let short = ["--set", "train.steps=1", "--set", "train.validate_every=0", "--set", "optimizer.lr=1e-12"];
    succeed(place.train("second").args(short));
    let echo = String::from_utf8(place.read("second/recipe.toml")).unwrap();
    assert!(echo.contains("architecture = \"bert\"") && echo.contains("hidden_size = 32"), "{echo}");
    let of = |run: &str| place.evaluation(run)["test"]["retrieval"]["map_at_r"].as_f64().unwrap();
    assert!((of("first") - of("second")).abs() < 1e-3, "{} {}", of("first"), of("second"));
    succeed(Command::new(env!("CARGO_BIN_EXE_dml")).args(["evaluate", "--run-dir"]).arg(place.path("second")));
    // Of the finished run the folder may be gone, and of one that was interrupted.
    let snapshots = place.path("home/hub/models--owner--name/snapshots");
    fs::create_dir_all(&snapshots).unwrap();
    fs::rename(folder, snapshots.join("c0ffee")).unwrap();
    let finished = place.evaluation("second");
    succeed(place.train("second").args(short));
    fs::remove_file(place.path("second/evaluation.json")).unwrap();
    succeed(place.train("second").args(short));
    assert_eq!(place.evaluation("second"), finished);
    assert!(refusal(place.train("second").args(short).args(["--seed", "1"])).contains("which does not exist"));
    // From the hub the same.
    let text = String::from_utf8(place.read("recipe.toml")).unwrap();
    fs::write(place.path("recipe.toml"), text.replace(&weights, "hf://owner/name@c0ffee")).unwrap();
    let hub = || {
        let mut train = place.train("third");
        train.args(short).env("HF_HUB_OFFLINE", "1").env("HF_HOME", place.path("home"));
        train
    };
    succeed(&mut hub());
    fs::remove_dir_all(snapshots).unwrap();
    succeed(&mut hub());
    assert!(refusal(hub().args(["--seed", "1"])).contains("is not to be had"));
    // The run's folder has all that it is used by, its tokenizer too; as has that of a folder which is gone.
    for run in ["second", "third"] {
        let of_run = |arguments: &[&str]| {
            let mut dml = Command::new(env!("CARGO_BIN_EXE_dml"));
            dml.args(arguments).arg("--run-dir").arg(place.path(run));
            dml.env("HF_HUB_OFFLINE", "1").env("HF_HOME", place.path("home"));
            dml
        };
        let again: Value = serde_json::from_slice(&succeed(&mut of_run(&["evaluate"])).stdout).unwrap();
        assert_eq!(again["test"], place.evaluation(run)["test"]);
        succeed(&mut of_run(&["report"]));
        succeed(of_run(&["embed"]).arg("--out").arg(place.path("embedded.npy")));
    }
    // A run of old did not write out how long its texts may be.
    let echo = String::from_utf8(place.read("third/recipe.toml")).unwrap();
    assert!(echo.contains("max_length = 24\n"), "{echo}");
    fs::write(place.path("third/recipe.toml"), echo.replace("max_length = 24\n", "max_length = 0\n")).unwrap();
    succeed(&mut hub());
    // One that goes on does so with its own tokenizer, whatever has become of that which it began with.
    fs::copy(place.path("first/recipe.toml"), place.path("recipe.toml")).unwrap();
    fs::remove_file(place.path("tokenizer.json")).unwrap();
    let (first, evaluation) = (place.evaluation("first"), place.path("first/evaluation.json"));
    fs::remove_file(&evaluation).unwrap();
    succeed(&mut place.train("first"));
    assert_eq!(place.evaluation("first"), first);
    // Without a checkpoint it would begin anew, and must not with another.
    fs::write(place.path("tokenizer.json"), format!("\n{}", emoji_names::TOKENIZER)).unwrap();
    fs::remove_file(evaluation).unwrap();
    for checkpoint in ["checkpoint", "checkpoint.1"] {
        fs::remove_file(place.path(&format!("first/{checkpoint}.safetensors"))).unwrap();
    }
    assert!(refusal(&mut place.train("first")).contains("began with another tokenizer than there is now"));
}

#[test]
fn texts_are_enrolled_and_known_again_and_strangers_are_not() {
    let place = texts();
    succeed(place.train("run").args(["--set", "train.steps=20", "--set", "train.validate_every=0"]));
    let dml = |arguments: &[&str]| {
        let mut dml = Command::new(env!("CARGO_BIN_EXE_dml"));
        let path = |name: &&str| match name.starts_with('@') {
            true => place.path(&name[1..]).display().to_string(),
            false => (*name).to_owned(),
        };
        dml.args(arguments.iter().map(path));
        dml
    };
    fs::write(place.path("known.csv"), "text,label\nred apple,apple\ngreen apple,apple\n\"dog, barking\",dog\n")
        .unwrap();
    fs::write(place.path("asked.txt"), "green apple\ndog, barking\n").unwrap();
    succeed(&mut dml(&["gallery", "create", "@staff", "--run-dir", "@run"]));
    let said = succeed(&mut dml(&["enroll", "@staff", "@known.csv", "--run-dir", "@run", "--json"])).stdout;
    let said: Value = serde_json::from_slice(&said).unwrap();
    assert_eq!((&said["new_identities"], &said["samples"]), (&2.into(), &3.into()));
    let ask = ["identify", "@staff", "@asked.txt", "--run-dir", "@run", "--threshold", "0.999", "--json"];
    let answers = String::from_utf8(succeed(&mut dml(&ask)).stdout).unwrap();
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let best = |i: usize| answers[i]["candidates"][0]["name"].as_str().unwrap().to_owned();
    assert_eq!((best(0), best(1)), ("apple".to_owned(), "dog".to_owned()));
    assert_eq!((&answers[1]["probe"], &answers[1]["decision"]), (&"dog, barking".into(), &"accepted".into()));
    for (input, text, wanted) in [
        ("empty.txt", "", "holds no texts"),
        ("blank.txt", "one\n\ntwo\n", "text 2 is empty"),
        ("names.md", "one\n", "one on each line"),
        ("table.csv", "word,label\na,b\n", "text"),
    ] {
        fs::write(place.path(input), text).unwrap();
        let input = format!("@{input}");
        let message = refusal(&mut dml(&["identify", "@staff", &input, "--run-dir", "@run"]));
        assert!(message.contains(wanted), "{input}: {message}");
    }
}

#[test]
fn what_does_not_go_together_is_refused_with_the_mend() {
    let (of_texts, of_pairs) = (texts(), pairs());
    let cases: &[(&Place, &str, &str)] = &[
        (&of_texts, "model.architecture=conv4", "bert or distil_bert"),
        (&of_texts, "model.bert.vocab_size=50", "raise vocab_size"),
        (&of_texts, "data.max_length=40", "places for 24"),
        (&of_texts, "data.tokenizer=nowhere.json", "nowhere.json"),
        (&of_texts, "data.views=2", "data.views is 2 but data.set \"texts\" holds no images: leave it out"),
        (&of_texts, "data.root=nowhere.csv", "nowhere.csv"),
        (&of_texts, "data.set=banking77", "cargo xtask dataset fetch banking77"),
        (&of_texts, "data.set=emoji", "embeds texts"),
        (&of_texts, "sampler.kind=no_duplicates", "holds no pairs"),
        (&of_texts, "loss={name='vic_reg'}", "compares two views"),
        (
            &of_texts,
            "warm_up={steps=1,loss={name='vic_reg'}}",
            "warm_up.loss.name is \"vic_reg\", which compares two views",
        ),
        (&of_texts, "model.weights=.", "modules.json"),
        (&of_pairs, "sampler.kind=pk", "no_duplicates"),
        (&of_pairs, "loss={name='proxy_anchor'}", "second view"),
        (&of_pairs, "loss={name='nt_xent',memory={size=64}}", "without a memory"),
        (&of_pairs, "warm_up={steps=1}", "warm_up.loss.name \"normalized_softmax\" takes no second view"),
        (&of_pairs, "loss={name='cosent'}", "leave data.positive_score out"),
        (&of_pairs, "data.positive_score=3", "data.positive_score is 3"),
        (&of_pairs, "sampler.classes=9999", "9999"),
    ];
    for (place, set, wanted) in cases {
        let message = refusal(place.train("bad").args(["--set", set]));
        assert!(message.starts_with("error: ") && message.contains(wanted), "{set}: {message}");
        assert!(!place.path("bad/recipe.toml").exists(), "{set}");
    }
    let recipe = String::from_utf8(of_texts.read("recipe.toml")).unwrap();
    let without = recipe.lines().filter(|line| !line.starts_with("tokenizer")).collect::<Vec<_>>().join("\n");
    fs::write(of_texts.path("recipe.toml"), without).unwrap();
    let message = refusal(&mut of_texts.train("bad"));
    assert!(message.contains("give data.tokenizer"), "{message}");
}
