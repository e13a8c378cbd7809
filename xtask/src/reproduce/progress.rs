//! How far all jobs together are: a bar in a terminal, a line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use super::job::{Job, Work};

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// Work is counted in training images: jobs differ in steps and in batch size.
pub(crate) struct Progress {
    bar: ProgressBar,
    jobs: Vec<JobProgress>,
    complete: usize,
    last_line: Instant,
    /// When the first job began to train; what is complete is looked at before.
    training_since: Option<Instant>,
    /// Images since then, without those that resumed and complete jobs had done before.
    trained: u64,
}

struct JobProgress {
    title: String,
    batch: u64,
    images: u64,
    done: u64,
    heard: bool,
}

impl JobProgress {
    fn new(job: &Job) -> Self {
        let (steps, batch) = match job.work {
            Work::Train { steps, batch, .. } => (steps, batch),
            Work::Baseline => (0, 0),
        };
        let images = steps * batch;
        let done = if job.was_complete() { images } else { 0 };
        Self { title: job.title(), batch, images, done, heard: false }
    }
}

impl Progress {
    pub(crate) fn new(jobs: &[&Job]) -> Self {
        let jobs: Vec<JobProgress> = jobs.iter().map(|job| JobProgress::new(job)).collect();
        // Hidden by indicatif itself where standard error is not a terminal.
        let bar = ProgressBar::new(jobs.iter().map(|job| job.images).sum());
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {elapsed} elapsed  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let progress = Self { bar, jobs, complete: 0, last_line: Instant::now(), training_since: None, trained: 0 };
        if !progress.jobs.is_empty() {
            let left = progress.total() - progress.done();
            progress.say(&format!("{} jobs, {left} training images to go", progress.jobs.len()));
        }
        progress
    }

    /// Job `job` has done `step` steps of its run.
    pub(crate) fn step(&mut self, job: usize, step: u64) {
        self.training_since.get_or_insert_with(Instant::now);
        let this = &mut self.jobs[job];
        let done = (step * this.batch).min(this.images);
        if this.heard {
            self.trained += done.saturating_sub(this.done);
        }
        (this.done, this.heard) = (done, true);
        self.show();
    }

    /// Job `job` is complete.
    pub(crate) fn complete(&mut self, job: usize) {
        self.complete += 1;
        self.jobs[job].done = self.jobs[job].images;
        self.say(&format!("{:>3}/{} {}", self.complete, self.jobs.len(), self.jobs[job].title));
        self.show();
    }

    /// Job `job` is not done: it lacks what `command` would bring.
    pub(crate) fn leave_out(&mut self, job: usize, command: &str) {
        self.complete += 1;
        (self.jobs[job].images, self.jobs[job].done) = (0, 0);
        self.bar.set_length(self.total());
        let title = &self.jobs[job].title;
        self.say(&format!("{:>3}/{} {title} skipped, it needs {command}", self.complete, self.jobs.len()));
    }

    /// All jobs are complete.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&mut self) {
        self.bar.set_position(self.done());
        self.bar.set_message(format!("{}/{} jobs, {}", self.complete, self.jobs.len(), self.eta()));
        if self.bar.is_hidden() && self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            let percent = 100 * self.done() / self.total().max(1);
            eprintln!("{percent:>3}%, {}/{} jobs, {}", self.complete, self.jobs.len(), self.eta());
        }
    }

    fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    fn eta(&self) -> String {
        let elapsed = self.training_since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        if self.trained == 0 || elapsed < 1.0 {
            return "ETA unknown yet".into();
        }
        let left = (self.total() - self.done()) as f64 * elapsed / self.trained as f64;
        format!("ETA {:#}", HumanDuration(Duration::from_secs_f64(left)))
    }

    fn done(&self) -> u64 {
        self.jobs.iter().map(|job| job.done).sum()
    }

    fn total(&self) -> u64 {
        self.jobs.iter().map(|job| job.images).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::tests::training;
    use super::*;

    #[test]
    fn what_was_complete_is_done_but_not_trained() {
        let out = tempfile::tempdir().unwrap();
        let (old, new, resumed) = (
            training(out.path(), "old", true),
            training(out.path(), "new", false),
            training(out.path(), "half", false),
        );
        let mut progress = Progress::new(&[&old, &new, &resumed]);
        assert_eq!((progress.done(), progress.total()), (40, 120));
        progress.complete(0);
        assert_eq!((progress.done(), progress.trained, progress.training_since), (40, 0, None));
        progress.step(2, 5);
        progress.step(1, 0);
        assert_eq!((progress.done(), progress.trained), (60, 0));
        progress.step(1, 3);
        progress.step(2, 6);
        assert_eq!((progress.done(), progress.trained), (76, 16));
    }

    #[test]
    fn the_time_left_goes_by_what_was_trained() {
        let out = tempfile::tempdir().unwrap();
        let (old, new) = (training(out.path(), "old", true), training(out.path(), "new", false));
        let mut progress = Progress::new(&[&old, &new]);
        assert_eq!(progress.eta(), "ETA unknown yet");
        progress.step(1, 0);
        progress.step(1, 5);
        progress.training_since = Instant::now().checked_sub(Duration::from_secs(60));
        assert_eq!(progress.eta(), "ETA 60s");
    }
}
