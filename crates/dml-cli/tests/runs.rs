//! The `dml` binary as its users run it: on a folder of images, interrupted, on other threads, with mistakes.

mod place;

use place::{Place, refusal, succeed};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[test]
fn one_thread_or_three_give_the_same_weights_and_numbers() {
    let place = Place::new();
    for threads in ["1", "3"] {
        succeed(place.train(threads).env("RAYON_NUM_THREADS", threads));
    }
    assert_eq!(place.read("1/encoder.safetensors"), place.read("3/encoder.safetensors"));
    assert_eq!(place.read("1/evaluation.json"), place.read("3/evaluation.json"));
    assert_eq!(place.events("1"), place.events("3"));
    succeed(place.train("other").args(["--seed", "1"]));
    assert_ne!(place.read("1/encoder.safetensors"), place.read("other/encoder.safetensors"));
}

#[test]
fn a_killed_run_goes_on_and_ends_like_an_undisturbed_one() {
    let place = Place::new();
    succeed(&mut place.train("whole"));
    // Past a checkpoint and not at the end: some steps are lost and must be done again.
    place.kill_at(&mut place.train("killed"), "killed", &["{\"event\":\"checkpoint\",\"step\":10}"]);
    let resumed = succeed(&mut place.train("killed"));
    let first = String::from_utf8(resumed.stdout).unwrap().lines().next().unwrap().to_owned();
    let step: serde_json::Value = serde_json::from_str(&first).unwrap();
    assert!(step["step"].as_u64().unwrap() >= 10, "it began anew: {first}");
    for file in ["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"] {
        assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("killed/{file}")), "{file}");
    }
}

#[test]
fn a_killed_run_drops_what_it_would_have_dropped() {
    let place = Place::new();
    let dropout = ["--set", "model.head.dropout=0.3", "--set", "train.steps=40"];
    succeed(place.train("whole").args(dropout));
    place.kill_at(place.train("killed").args(dropout), "killed", &["\"checkpoint\",\"step\":10}"]);
    let resumed = succeed(place.train("killed").args(dropout));
    let said = String::from_utf8(resumed.stdout).unwrap();
    assert!(!said.contains("\"step\":9,"), "it began anew");
    assert_eq!(place.read("whole/encoder.safetensors"), place.read("killed/encoder.safetensors"));
    succeed(place.train("without").args(&dropout[2..]));
    let first_loss = |run: &str| place.events(run)[1]["loss"].clone();
    assert_ne!(first_loss("whole"), first_loss("without"));
}

/// Where a kill falls is drawn anew each time: the same weights must come out, wherever it was.
#[test]
fn killed_at_random_moments_a_run_ends_like_an_undisturbed_one() {
    let place = Place::new();
    let began = Instant::now();
    succeed(&mut place.train("whole"));
    let whole = began.elapsed();
    for round in 0..3 {
        let run = format!("killed-{round}");
        for _ in 0..4 {
            // The last digits of the clock; over the whole run, its measurement at the end too.
            let drawn = f64::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos() % 1_000_003);
            let moment = whole.mul_f64(drawn / 1_000_003.0);
            let mut process = place.train(&run).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(moment);
            process.kill().unwrap();
            process.wait().unwrap();
            println!("round {round}: killed after {} ms of {}", moment.as_millis(), whole.as_millis());
        }
        succeed(&mut place.train(&run));
        for file in ["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"] {
            assert_eq!(place.read(&format!("whole/{file}")), place.read(&format!("{run}/{file}")), "{file}");
        }
    }
}

#[test]
fn what_is_no_number_stops_a_run_and_names_step_and_examples() {
    let place = Place::new();
    let sets = ["optimizer.lr=1e30", "optimizer.backbone_frozen_steps=12", "schedule.kind='constant'"];
    let message = refusal(place.train("run").args(sets.iter().flat_map(|set| ["--set", set])));
    assert!(
        message.contains(" at step 14, of [\"") && message.contains(".png\"") && message.contains("optimizer.lr"),
        "{message}"
    );
    // The last one that is sound is kept, and nothing came after it.
    let saved: Vec<_> = place.events("run").into_iter().filter(|event| event["event"] == "checkpoint").collect();
    assert_eq!(saved.last().unwrap()["step"], 10);
    assert!(place.path("run/checkpoint.safetensors").exists());
}

#[test]
fn checkpoints_come_by_minutes_too_and_change_nothing() {
    let place = Place::new();
    succeed(&mut place.train("steps"));
    let sets = ["--set", "train.checkpoint_every=1000", "--set", "train.checkpoint_minutes=0.0002"];
    succeed(place.train("minutes").args(sets));
    let saved = |run: &str| place.events(run).iter().filter(|event| event["event"] == "checkpoint").count();
    assert_eq!(saved("steps"), 24);
    assert!(saved("minutes") > 2, "120 steps take more than 12 ms each time");
    assert_eq!(place.read("steps/encoder.safetensors"), place.read("minutes/encoder.safetensors"));
}

#[test]
fn a_finished_run_is_measured_again_and_another_begins_with_its_weights() {
    let place = Place::new();
    succeed(&mut place.train("run"));
    let dml = |task: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
        command.arg(task).arg("--run-dir").arg(place.path("run"));
        command
    };
    let again = succeed(&mut dml("evaluate")).stdout;
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
    assert_eq!(parse(&again), parse(&place.read("run/evaluation.json")));
    let weights = format!("model.weights={}", place.path("run/encoder.safetensors").display());
    succeed(place.train("next").args(["--set", &weights, "--set", "train.steps=1", "--set", "optimizer.lr=1e-9"]));
    // Which they were, and what became of each, is kept.
    let first = &place.events("next")[0];
    assert!(
        first["event"] == "weights" && first["file"].as_str().unwrap().ends_with("run/encoder.safetensors"),
        "{first}"
    );
    assert!(first["became"].as_str().unwrap().contains(" loaded, "), "{first}");
    assert!(first["sha256"].as_str().unwrap().len() == 64 && first["commit"].is_null(), "{first}");
}

#[test]
fn weights_that_are_not_to_be_had_are_named_and_nothing_is_left() {
    let place = Place::new();
    let mut train = place.train("run");
    train.env("HF_HUB_OFFLINE", "1").env("HF_HOME", place.path("hub"));
    let message = refusal(train.args(["--set", "model.weights=hf://owner/name/w.safetensors"]));
    // As the last line, by which `cargo xtask reproduce-paper` knows that it can do without.
    let last = message.lines().last().unwrap();
    assert!(last.starts_with("error: hub: owner/name@main/w.safetensors is not to be had: "), "{message}");
    assert!(!place.path("run/recipe.toml").exists());
}

#[test]
fn a_run_that_has_a_checkpoint_wants_its_first_weights_no_more() {
    let place = Place::new();
    let one_step = ["--set", "train.steps=1"];
    succeed(place.train("first").args(one_step));
    let snapshot = place.path("home/hub/models--owner--name/snapshots/c0ffee");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::copy(place.path("first/encoder.safetensors"), snapshot.join("w.safetensors")).unwrap();
    let train = |run: &str, more: &[&str]| {
        let mut train = place.train(run);
        train.env("HF_HUB_OFFLINE", "1").env("HF_HOME", place.path("home")).args(one_step).args(more);
        train.args(["--set", "model.weights=hf://owner/name@c0ffee/w.safetensors"]);
        train
    };
    let seeds = ["--seeds", "2"];
    succeed(&mut train("run", &[]));
    succeed(&mut train("seeds", &seeds));
    std::fs::remove_dir_all(place.path("home")).unwrap();
    succeed(&mut train("run", &[]));
    let said = String::from_utf8(succeed(&mut train("seeds", &seeds)).stdout).unwrap();
    assert!(said.contains("| R@1 |") && !said.contains("\"event\""), "{said}");
    let mut again = Command::new(env!("CARGO_BIN_EXE_dml"));
    let again = succeed(again.args(["evaluate", "--run-dir"]).arg(place.path("run")).env("HF_HUB_OFFLINE", "1")).stdout;
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&again).unwrap(), place.evaluation("run"));
    // Nor does one that was interrupted.
    let finished = place.evaluation("run");
    for run in ["run", "seeds/seed-1"] {
        std::fs::remove_file(place.path(run).join("evaluation.json")).unwrap();
    }
    succeed(&mut train("run", &[]));
    assert_eq!(place.evaluation("run"), finished);
    succeed(&mut train("seeds", &seeds));
    // But what has not come that far, or is another run's, is not taken for it.
    assert!(refusal(&mut train("run", &["--seed", "3"])).contains("is not to be had"));
    for gone in ["evaluation.json", "checkpoint.safetensors"] {
        std::fs::remove_file(place.path("run").join(gone)).unwrap();
    }
    assert!(refusal(&mut train("run", &[])).contains("is not to be had"));
}

/// A file system that takes no more than so many bytes of a file is one that is full, for the process alone.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_no_more_than_the_steps_since_the_last_checkpoint() {
    let place = Place::new();
    let steps = ["--set", "train.steps=60"];
    // What is only told is not worth the run.
    let nothing_fits = std::fs::File::options().write(true).open("/dev/full").unwrap();
    succeed(place.train("whole").args(steps).stdout(nothing_fits));
    let files = ["full/checkpoint.safetensors", "full/checkpoint.1.safetensors"];
    place.kill_while(place.train("full").args(steps), "full", &["\"checkpoint\",\"step\":10}"], || {
        // Not where one has just become the older one, and not where none is to come.
        let log = String::from_utf8(place.read("full/metrics.jsonl")).unwrap();
        files.iter().all(|file| place.path(file).exists()) && !log.contains("\"step\":55,")
    });
    let checkpoints = || files.map(|file| place.read(file));
    let before = checkpoints();
    // In blocks of 512 bytes, or of 1024 as some shells have it: either way more than the log and less than a checkpoint.
    let blocks = before[0].len() / 1024 - 1;
    let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let train = place.train("full");
    let mut full = Command::new("sh");
    full.arg("-c").arg(limited).arg(train.get_program()).args(train.get_args()).args(steps);
    let message = refusal(&mut full);
    let wanted = ["full/checkpoint.safetensors: cannot be written (", "make room, or see who may write there"];
    assert!(wanted.iter().all(|part| message.contains(part)), "{message}");
    assert!(checkpoints() == before && !place.path("full/checkpoint.safetensors.part").exists());
    let resumed = String::from_utf8(succeed(place.train("full").args(steps)).stdout).unwrap();
    assert!(!resumed.lines().next().unwrap().contains("\"step\":0,"), "it began anew");
    for file in ["encoder.safetensors", "evaluation.json", "checkpoint.safetensors"] {
        assert!(place.read(&format!("whole/{file}")) == place.read(&format!("full/{file}")), "{file}");
    }
    let steps = |run: &str| place.events(run).into_iter().filter(|e| e["event"] == "step").collect::<Vec<_>>();
    assert_eq!(steps("whole"), steps("full"));
}

#[test]
fn mistakes_are_named_with_the_value_and_the_mend_and_leave_nothing() {
    let place = Place::new();
    let cases: &[(&[&str], &[&str])] = &[
        (&["--set", "train.stepps=3"], &["stepps", "steps"]),
        (&["--set", "train.checkpoint_minutes=-1"], &["train.checkpoint_minutes is -1", "0 (off) or more"]),
        (&["--set", "train.steps=0"], &["train.steps is 0", "want 1 or more"]),
        (
            &["--set", "sampler.classes=99", "--set", "loss.memory.size=999"],
            &["sampler.classes = 99", "lower sampler.classes to 12"],
        ),
        (&["--set", "loss.name=tripplet"], &["tripplet", "triplet"]),
        (&["--set", "loss.params.marginn=1"], &["contrastive", "marginn", "neg_margin"]),
        (&["--set", "loss.metric=manhattan"], &["manhattan", "cosine"]),
        (&["--set", "optimizer.lr=-1"], &["optimizer.lr is -1", "more than 0"]),
        (&["--set", "augment.scale=[2.0,1.0]"], &["augment.scale"]),
        (&["--set", "data.root=nowhere"], &["nowhere"]),
        (&["--set", "data.set=cars"], &["\"cars\"", "emoji"]),
        (&["--set", "data.set=omniglot-small1"], &["no-sets/omniglot/", "cargo xtask dataset fetch omniglot"]),
        (
            &["--set", "data.set=omniglot-small1", "--data-dir", "nowhere"],
            &["nowhere", "cargo xtask dataset fetch omniglot"],
        ),
        (&["--set", "optimizer.eps=0.0"], &["optimizer.eps is 0", "more than 0"]),
        (&["--set", "schedule.warmup_steps=200"], &["schedule.warmup_steps is 200", "fewer than train.steps"]),
        (&["--set", "loss.memory.size=8"], &["loss.memory.size is 8", "18 embeddings"]),
        (&["--set", "data.hold_out=['Greek']"], &["data.hold_out", "folder"]),
        (&["--set", "model.weights=nowhere.safetensors"], &["nowhere.safetensors"]),
        (&["--set", "no-value"], &["no-value", "key=value"]),
        (&["--set", "loss.imprint=true"], &["loss.imprint", "contrastive", "no proxies"]),
        (&["--device", "tpu"], &["\"tpu\"", "cpu, cuda or metal"]),
    ];
    for (i, (arguments, wanted)) in cases.iter().enumerate() {
        let run = format!("bad-{i}");
        let message = refusal(place.train(&run).args(*arguments));
        assert!(message.starts_with("error: "), "{message}");
        for part in *wanted {
            assert!(message.contains(part), "{arguments:?} says {message:?}, without {part:?}");
        }
        // Nothing that the mended command would stumble over.
        assert!(!place.path(&run).join("recipe.toml").exists());
    }
}

#[test]
fn a_broken_image_and_another_recipe_in_the_same_folder_are_refused() {
    let place = Place::new();
    succeed(place.train("run").args(["--set", "train.steps=2"]));
    let message = refusal(place.train("run").args(["--set", "train.steps=3"]));
    assert!(message.contains("another recipe") && message.contains("--run-dir"), "{message}");
    let broken = first_image(&place.path("images"));
    std::fs::write(&broken, b"not an image").unwrap();
    let message = refusal(&mut place.train("new"));
    assert!(
        message.contains(broken.file_name().unwrap().to_str().unwrap()) && message.contains("replace"),
        "{message}"
    );
}

fn first_image(folder: &Path) -> PathBuf {
    let class = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::read_dir(class).unwrap().next().unwrap().unwrap().path()
}
