//! What several runs say together.

use crate::evaluation::Evaluation;
use crate::figures::{FIGURES, Figure, cell};
use crate::recipe::Evaluated;
use crate::{Error, Result};
use dml_eval::report::Table;
use dml_eval::statistics::{ci95, mean};
use serde::{Deserialize, Serialize};

/// Every figure of several runs: `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the recipe.
    pub name: String,
    /// The seeds; the order of all values.
    pub seeds: Vec<u64>,
    /// Folds of each seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// Which weights were measured.
    pub weights: Evaluated,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// The figures of one kind of result, over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Those figures that every seed has.
    pub figures: Vec<FigureSummary>,
}

/// A figure over the seeds, as shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FigureSummary {
    /// Its name: `map_at_r`.
    pub key: String,
    /// Mean.
    pub mean: f64,
    /// Half-width of the 95 % confidence interval of the mean, by Student's t; nothing of one seed.
    pub ci95: Option<f64>,
    /// The figure of each seed.
    pub values: Vec<f64>,
}

impl Row {
    /// The figures of `runs`, one for each seed.
    pub fn new(name: &str, runs: &[Evaluation]) -> Self {
        Self::over(name, runs.iter().map(std::slice::from_ref))
    }

    /// The figures of each seed's `runs`, over which they are averaged first.
    pub fn over<'a>(name: &str, seeds: impl Iterator<Item = &'a [Evaluation]> + Clone) -> Self {
        let of_seed = |figure: &Figure, runs: &[Evaluation]| {
            let values: Option<Vec<f64>> = runs.iter().map(|run| figure.of(run)).collect();
            Some(mean(&values?))
        };
        let summary = |figure: &Figure| {
            let values: Vec<f64> = seeds.clone().map(|runs| of_seed(figure, runs)).collect::<Option<_>>()?;
            let interval = (values.len() > 1).then(|| ci95(&values));
            Some(FigureSummary { key: figure.key.to_owned(), mean: mean(&values), ci95: interval, values })
        };
        Self { name: name.to_owned(), figures: FIGURES.iter().filter_map(summary).collect() }
    }

    /// The figure called `key`.
    pub fn figure(&self, key: &str) -> Option<&FigureSummary> {
        self.figures.iter().find(|figure| figure.key == key)
    }
}

impl Summary {
    /// As JSON.
    ///
    /// # Errors
    /// When a figure has no JSON form.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|e| Error::Recipe(format!("{}: {e}", self.name)))
    }

    /// As a table in percent, with the figures that any row has.
    pub fn table(&self) -> Table {
        let shown: Vec<&Figure> =
            FIGURES.iter().filter(|figure| self.rows.iter().any(|row| row.figure(figure.key).is_some())).collect();
        let cells = |row: &Row| {
            let figures = shown.iter().map(|figure| cell(row.figure(figure.key).map_or(&[], |f| &f.values)));
            std::iter::once(row.name.clone()).chain(figures).collect()
        };
        let over = match self.seeds.len() {
            1 => "one seed".to_owned(),
            n => format!("mean over {n} seeds ± half-width of its 95 % confidence interval (Student's t)"),
        };
        let weights = match self.weights {
            Evaluated::Last => "last weights",
            Evaluated::BestOnValidation => "best weights on the validation classes or pairs",
            Evaluated::BestOnTest => "best weights on the test classes themselves, so too good",
        };
        let folds = match self.folds {
            None => String::new(),
            Some(n) => format!(
                "; {n} class folds, each chosen on its own classes: separated is the mean over their models, concatenated \
                 their embeddings joined into one"
            ),
        };
        Table {
            title: self.name.clone(),
            columns: std::iter::once("method").chain(shown.iter().map(|f| f.heading)).map(str::to_owned).collect(),
            rows: self.rows.iter().map(cells).collect(),
            note: format!("Percent; {over}; {weights}{folds}; nothing of it was in training."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dml_eval::OneShot;

    fn run(error: f64) -> Evaluation {
        let one_shot: OneShot = serde_json::from_value(serde_json::json!({
            "trials": 1, "error": error, "run_errors": [], "std": 0.0
        }))
        .unwrap();
        Evaluation { one_shot: Some(one_shot), ..Evaluation::default() }
    }

    #[test]
    fn folds_are_averaged_before_seeds() {
        let runs = [run(0.1), run(0.3), run(0.2), run(0.6)];
        let row = Row::over("separated", runs.chunks(2));
        let error = row.figure("one_shot_error").unwrap();
        assert_eq!(error.values, [0.2, 0.4]);
        assert!((error.mean - 0.3).abs() < 1e-12);
        // t of one degree of freedom, 12.706, times 0.1414 / √2.
        assert!((error.ci95.unwrap() - 1.2706).abs() < 1e-3);
        assert!(row.figure("map_at_r").is_none());
        let mut lacking = runs.to_vec();
        lacking[3].one_shot = None;
        assert!(Row::over("separated", lacking.chunks(2)).figures.is_empty());
    }
}
