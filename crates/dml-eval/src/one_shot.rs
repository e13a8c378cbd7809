//! Lake's one-shot classification: in each run every test image is given the class of the nearest of the run's training
//! images, one per class. Reported is the error over all trials (20 runs × 20 trials on Omniglot).

use crate::{Error, Result, check, statistics};
use dml_core::{Matrix, Metric, scores};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The distances and answers of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct OneShotTrials {
    distances: Vec<f64>,
    answers: Vec<u32>,
    classes: usize,
}

/// The error of a one-shot task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OneShot {
    /// Number of trials in all runs.
    pub trials: usize,
    /// Share of the trials that were answered wrongly.
    pub error: f64,
    /// The same for each run.
    pub run_errors: Vec<f64>,
    /// Sample standard deviation of `run_errors`.
    pub std: f64,
}

impl OneShotTrials {
    /// A run from its `distances`, `[test images, classes]` row by row, and for each test image the column that is right.
    ///
    /// # Errors
    /// When the counts do not fit, a distance is not a number, or an answer is no column.
    pub fn new(distances: Vec<f64>, answers: Vec<u32>) -> Result<Self> {
        let (count, trials) = (distances.len(), answers.len());
        if trials == 0 || count == 0 || !count.is_multiple_of(trials) {
            return Err(Error::Input(format!(
                "{count} distances do not make rows for {trials} answers: pass one row per answer"
            )));
        }
        let classes = count / trials;
        if let Some(i) = distances.iter().position(|distance| distance.is_nan()) {
            let (row, column) = (i / classes, i % classes);
            return Err(Error::Input(format!("distance [{row}, {column}] is not a number: check the embeddings")));
        }
        if let Some(answer) = answers.iter().find(|&&answer| answer as usize >= classes) {
            return Err(Error::Input(format!(
                "answer {answer} is not among the {classes} classes: answers count from 0"
            )));
        }
        Ok(Self { distances, answers, classes })
    }

    /// A run from `distance(test image, class)`, measured for all pairs in parallel.
    ///
    /// # Errors
    /// As [`OneShotTrials::new`].
    pub fn measure(answers: Vec<u32>, classes: usize, distance: impl Fn(usize, usize) -> f64 + Sync) -> Result<Self> {
        let pairs = (0..answers.len() * classes).into_par_iter();
        Self::new(pairs.map(|i| distance(i / classes, i % classes)).collect(), answers)
    }

    /// A run from the embeddings of its training images (`[classes, d]`) and test images (`[answers, d]`).
    ///
    /// # Errors
    /// When the counts do not fit, an embedding holds a value that is not finite, or an answer is no training image.
    pub fn from_embeddings(metric: Metric, train: Matrix<'_>, test: Matrix<'_>, answers: &[u32]) -> Result<Self> {
        check(test, answers)?;
        let mut table = vec![0f32; test.rows() * train.rows()];
        scores(metric, test, train, &mut table)?;
        let sign = if metric.is_similarity() { -1.0 } else { 1.0 };
        Self::new(table.into_iter().map(|score| sign * f64::from(score)).collect(), answers.to_vec())
    }

    /// The share of the trials whose nearest class is not the answer; of equal distances the first counts.
    pub fn error(&self) -> f64 {
        self.wrong() as f64 / self.answers.len() as f64
    }

    fn wrong(&self) -> usize {
        let rows = self.distances.chunks_exact(self.classes).zip(&self.answers);
        rows.filter(|(row, answer)| nearest(row) != **answer as usize).count()
    }
}

/// The error over all trials of `runs`.
///
/// # Errors
/// When there are no runs.
pub fn one_shot(runs: &[OneShotTrials]) -> Result<OneShot> {
    if runs.is_empty() {
        return Err(Error::Input("there are no one-shot runs: pass at least one".to_owned()));
    }
    let trials = runs.iter().map(|run| run.answers.len()).sum();
    let wrong: usize = runs.iter().map(OneShotTrials::wrong).sum();
    let run_errors: Vec<f64> = runs.iter().map(OneShotTrials::error).collect();
    Ok(OneShot { trials, error: wrong as f64 / trials as f64, std: statistics::std(&run_errors), run_errors })
}

fn nearest(row: &[f64]) -> usize {
    (1..row.len()).fold(0, |best, j| if row[j] < row[best] { j } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_counted_over_trials_and_runs() {
        let right = OneShotTrials::new(vec![0.0, 1.0, 1.0, 0.0], vec![0, 1]).unwrap();
        let half = OneShotTrials::new(vec![0.0, 1.0, 0.0, 1.0], vec![0, 1]).unwrap();
        let short = OneShotTrials::new(vec![3.0, 2.0], vec![0]).unwrap();
        let report = one_shot(&[right, half, short]).unwrap();
        assert_eq!((report.trials, report.error, report.run_errors), (5, 0.4, vec![0.0, 0.5, 1.0]));
        assert_eq!(report.std, 0.5);
        assert!(one_shot(&[]).is_err());
    }

    #[test]
    fn distances_are_measured_row_by_row() {
        let measured = OneShotTrials::measure(vec![0, 1], 3, |test, class| (10 * test + class) as f64).unwrap();
        assert_eq!(measured, OneShotTrials::new(vec![0.0, 1.0, 2.0, 10.0, 11.0, 12.0], vec![0, 1]).unwrap());
    }

    #[test]
    fn of_equal_distances_the_first_counts() {
        assert_eq!(OneShotTrials::new(vec![1.0, 1.0], vec![0]).unwrap().error(), 0.0);
        assert_eq!(OneShotTrials::new(vec![1.0, 1.0], vec![1]).unwrap().error(), 1.0);
    }

    #[test]
    fn similarities_are_turned_round() {
        let (train, test) = ([1.0, 0.0, 0.0, 2.0], [3.0, 1.0, 0.1, 0.2]);
        let (train, test) = (Matrix::new(&train, 2, 2).unwrap(), Matrix::new(&test, 2, 2).unwrap());
        for metric in Metric::ALL {
            let run = OneShotTrials::from_embeddings(metric, train, test, &[0, 1]).unwrap();
            let wrong = if matches!(metric, Metric::Cosine | Metric::Dot) { 0.0 } else { 0.5 };
            assert_eq!(run.error(), wrong, "{metric}");
        }
    }

    #[test]
    fn bad_input_is_named() {
        let message = |distances: Vec<f64>, answers| OneShotTrials::new(distances, answers).unwrap_err().to_string();
        assert!(message(vec![0.0; 3], vec![0, 0]).contains("3 distances do not make rows for 2 answers"));
        assert!(message(vec![], vec![]).contains("0 distances"));
        assert!(message(vec![0.0, 0.0, 0.0, f64::NAN], vec![0, 0]).contains("distance [1, 1] is not a number"));
        assert!(message(vec![0.0; 2], vec![2]).contains("answer 2 is not among the 2 classes"));
        let one = [1.0];
        let one = Matrix::new(&one, 1, 1).unwrap();
        assert!(OneShotTrials::from_embeddings(Metric::Dot, one, one, &[0, 0]).is_err());
    }
}
