//! A folder to train in, and the `dml` program.
#![allow(dead_code, reason = "each test uses a part of it")]

use dml_data::Dataset;
use dml_data::sources::emoji;
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use tempfile::TempDir;

pub(crate) const RECIPE: &str = r#"
name = "small"

[data]
set = "folder"
root = "ROOT"
size = 16

[model.conv4]
filters = 8

[loss]
name = "contrastive"
memory = { size = 64, start_step = 3 }

[sampler]
classes = 6
per_class = 3

[augment]
rotate = 10
translate = 0.1

[train]
steps = 120
checkpoint_every = 5
"#;

/// What a process prints.
pub(crate) type Printed = Lines<BufReader<ChildStdout>>;

/// A folder with a recipe and 32 classes of emoji as image files.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let set = emoji::load().unwrap().train;
        for (i, &label) in set.labels().iter().enumerate().filter(|(_, label)| **label < 32) {
            let folder = place.path("images").join(&set.class_names()[label as usize]);
            std::fs::create_dir_all(&folder).unwrap();
            let image = image::RgbImage::from_raw(32, 32, set.pixels(i).to_vec()).unwrap();
            image.save(folder.join(format!("{i}.png"))).unwrap();
        }
        let root = place.path("images").display().to_string();
        std::fs::write(place.path("recipe.toml"), RECIPE.replace("ROOT", &root)).unwrap();
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn train(&self, run: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dml"));
        command.arg("train").arg(self.path("recipe.toml")).arg("--run-dir").arg(self.path(run));
        command.env("DML_DATA_DIR", self.path("no-sets"));
        command
    }

    /// The events of a run, but for how fast it was; checkpoints, which get to the disk some steps later, behind the others.
    pub(crate) fn events(&self, run: &str) -> Vec<serde_json::Value> {
        let log = String::from_utf8(self.read(&format!("{run}/metrics.jsonl"))).unwrap();
        let mut events: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for event in events.iter_mut().filter(|event| event["event"] == "step") {
            let rate = event.as_object_mut().unwrap().remove("images_per_second").unwrap();
            assert!(rate.as_f64().is_some_and(|rate| rate > 0.0 && rate.is_finite()), "{rate}");
        }
        events.sort_by_key(|event| event["event"] == "checkpoint");
        events
    }

    /// What a finished run has measured.
    pub(crate) fn evaluation(&self, run: &str) -> serde_json::Value {
        serde_json::from_slice(&self.read(&format!("{run}/evaluation.json"))).unwrap()
    }

    /// Runs whole, killed after a checkpoint and gone on, on one thread, and on three with other settings of the loader: the same.
    pub(crate) fn check_that_nothing_is_lost(&self, files: &[&str]) {
        succeed(&mut self.train("whole"));
        self.kill_at(&mut self.train("killed"), "killed", &["\"checkpoint\",\"step\":8"]);
        let resumed = succeed(&mut self.train("killed"));
        let first = String::from_utf8(resumed.stdout).unwrap().lines().next().unwrap().to_owned();
        assert!(!first.contains("\"step\":0"), "it began anew: {first}");
        succeed(self.train("one").env("RAYON_NUM_THREADS", "1"));
        for file in files {
            for run in ["killed", "one"] {
                assert!(
                    self.read(&format!("whole/{file}")) == self.read(&format!("{run}/{file}")),
                    "{run}/{file} differs"
                );
            }
        }
        let loader = ["--set", "data.workers=3", "--set", "data.ahead=5"];
        succeed(self.train("three").env("RAYON_NUM_THREADS", "3").args(loader));
        assert!(
            self.read("whole/encoder.safetensors") == self.read("three/encoder.safetensors"),
            "three threads differ"
        );
        assert_eq!(self.evaluation("whole"), self.evaluation("three"));
    }

    /// Kills the command once it prints a line with all of `signs`, while `run` goes on.
    pub(crate) fn kill_at(&self, command: &mut Command, run: &str, signs: &[&str]) {
        self.kill_while(command, run, signs, || !self.path(run).join("evaluation.json").exists());
    }

    /// Kills the command once it prints a line with all of `signs`. Where it was further than it should be by then, as it can be on a
    /// busy machine, that is done again, in a new folder.
    pub(crate) fn kill_while(&self, command: &mut Command, run: &str, signs: &[&str], in_time: impl Fn() -> bool) {
        for _ in 0..20 {
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            read_until(&mut child, signs);
            child.kill().unwrap();
            child.wait().unwrap();
            if in_time() {
                return;
            }
            let root = run.split('/').next().unwrap();
            std::fs::remove_dir_all(self.path(root)).unwrap();
        }
        panic!("{run} was never killed in time");
    }

    /// Interrupts the command, as Ctrl-C does, once `reached` comes back from watching it: what it printed after that, and what it
    /// wrote to standard error. Where it ended before that, as it can on a busy machine, that is done again, in a new `folder`.
    #[cfg(unix)]
    pub(crate) fn interrupt(
        &self,
        command: &mut Command,
        folder: &str,
        reached: impl Fn(&mut Child, &mut Printed) -> bool,
    ) -> (Vec<String>, String) {
        for _ in 0..20 {
            let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            if reached(&mut child, &mut lines) && child.try_wait().unwrap().is_none() {
                // Not by `kill`, which takes a while to begin.
                // SAFETY: two numbers go in. The process has not been waited for, so no other one has its number.
                let sent = unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
                assert_eq!(sent, 0);
            }
            let printed: Vec<String> = lines.map_while(Result::ok).collect();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            match output.status.code() {
                Some(130) => return (printed, said),
                Some(0) => std::fs::remove_dir_all(self.path(folder)).unwrap(),
                code => panic!("it ended with {code:?}: {said}"),
            }
        }
        panic!("{folder}: it was never interrupted in time");
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }
}

pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The message of a run that must fail.
pub(crate) fn refusal(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success(), "it was not refused");
    String::from_utf8(output.stderr).unwrap()
}

/// Reads what `child` prints up to a line with all of `signs`, and drops the rest.
pub(crate) fn read_until(child: &mut Child, signs: &[&str]) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let reached = lines.find(|line| signs.iter().all(|sign| line.contains(sign)));
    assert!(reached.is_some(), "it ended before it said {signs:?}");
    std::thread::spawn(move || lines.for_each(drop));
}
