//! Which values to try next.

use super::space::{Distribution, Parameter, Space, Values};
use crate::{Error, Result};
use rand_ten::rngs::ChaCha8Rng;
use rand_ten::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use tpe::TpeOptimizer;

/// How values are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// Each by itself, whatever the others have brought (Bergstra & Bengio, *Random Search for Hyper-Parameter Optimization*, 2012).
    Random,
    /// Tree-structured Parzen estimator (Bergstra et al., *Algorithms for Hyper-Parameter Optimization*, 2011), by the crate `tpe`: of
    /// each key, of 24 values drawn where the best tenth of the trials lie, the one that is likeliest there and unlikeliest where the
    /// others lie. The first [`STARTUP`] trials are random.
    #[default]
    Tpe,
}

/// Trials that are random before any is drawn by what they have brought.
pub const STARTUP: u64 = 10;

impl Sampler {
    /// Values for trial number `trial`, after the trials of `history`, each with what it achieved: more is better. A function of these
    /// and `seed` alone.
    ///
    /// # Errors
    /// When `history` has values that are not of this space.
    pub fn suggest(self, space: &Space, seed: u64, trial: u64, history: &[(&Values, f64)]) -> Result<Values> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&trial.to_le_bytes());
        let rng = &mut ChaCha8Rng::from_seed(key);
        let mut values = Values::new();
        for parameter in space.parameters() {
            let x = match self == Self::Random || trial < STARTUP {
                true => random(&parameter.distribution, rng),
                false => parzen(parameter, history, rng)?,
            };
            values.insert(parameter.key.clone(), parameter.distribution.at(x));
        }
        Ok(values)
    }
}

fn random(distribution: &Distribution, rng: &mut ChaCha8Rng) -> f64 {
    let [low, high] = distribution.range();
    rng.random_range(low..high)
}

fn parzen(parameter: &Parameter, history: &[(&Values, f64)], rng: &mut ChaCha8Rng) -> Result<f64> {
    let Parameter { key, distribution } = parameter;
    let [low, high] = distribution.range();
    let refuse = |problem: String| Error::Recipe(format!("{key}: {problem}"));
    let estimator = match distribution {
        Distribution::Choice(_) => tpe::histogram_estimator(),
        _ => tpe::parzen_estimator(),
    };
    let range = tpe::range(low, high).map_err(|e| refuse(e.to_string()))?;
    let mut optimizer = TpeOptimizer::new(estimator, range);
    for (values, achieved) in history {
        let x = values.get(key).and_then(|value| distribution.coordinate(value));
        let x =
            x.ok_or_else(|| refuse("an earlier trial has no value of this space: use another --run-dir".to_owned()))?;
        // It minimises.
        optimizer.tell(x, -achieved).map_err(|e| refuse(e.to_string()))?;
    }
    optimizer.ask(rng).map_err(|e| refuse(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The best value that `trials` trials reach.
    fn best(sampler: Sampler, space: &Space, seed: u64, trials: u64, achieved: impl Fn(&Values) -> f64) -> f64 {
        let mut history: Vec<(Values, f64)> = Vec::new();
        for trial in 0..trials {
            let known: Vec<(&Values, f64)> = history.iter().map(|(values, achieved)| (values, *achieved)).collect();
            let values = sampler.suggest(space, seed, trial, &known).unwrap();
            let found = achieved(&values);
            history.push((values, found));
        }
        history.into_iter().map(|(_, achieved)| achieved).fold(f64::NEG_INFINITY, f64::max)
    }

    fn median_regret(sampler: Sampler, space: &Space, most: f64, achieved: impl Fn(&Values) -> f64 + Copy) -> f64 {
        let mut regrets: Vec<f64> = (0..31).map(|seed| most - best(sampler, space, seed, 60, achieved)).collect();
        regrets.sort_unstable_by(f64::total_cmp);
        regrets[regrets.len() / 2]
    }

    /// Branin's function, whose least value is 0.397887 (Dixon & Szegö 1978).
    fn branin(values: &Values) -> f64 {
        let [x, y] = ["x", "y"].map(|key| values[key].as_f64().unwrap());
        let pi = std::f64::consts::PI;
        let bowl = y - 5.1 / (4.0 * pi * pi) * x * x + 5.0 / pi * x - 6.0;
        -(bowl * bowl + 10.0 * (1.0 - 1.0 / (8.0 * pi)) * x.cos() + 10.0)
    }

    /// As losses are: a learning rate that must be right, a choice, a number of classes.
    fn like_a_loss(values: &Values) -> f64 {
        let lr = (values["lr"].as_f64().unwrap() / 3e-3).ln();
        let loss = if values["loss"] == json!("good") { 0.0 } else { 1.0 };
        let classes = (values["classes"].as_f64().unwrap() - 12.0) / 8.0;
        -(lr * lr + loss + classes * classes)
    }

    #[test]
    fn tpe_finds_what_chance_does_not() {
        let plane = Space::parse("x.uniform = [-5, 10]\ny.uniform = [0, 15]").unwrap();
        let mixed = Space::parse(
            "lr.log_uniform = [1e-6, 1.0]\nloss.choice = ['bad', 'good', 'worse', 'worst']\nclasses.log_int = [2, 64]",
        )
        .unwrap();
        let regrets = |space, most, f: fn(&Values) -> f64| {
            [Sampler::Random, Sampler::Tpe].map(|sampler| median_regret(sampler, space, most, f))
        };
        let [random, tpe] = regrets(&plane, -0.397_887, branin);
        // Its variables act together, which one density for each does not see.
        assert!(tpe < 0.9 * random && tpe >= 0.0, "Branin: {tpe} by TPE, {random} by chance");
        let [random, tpe] = regrets(&mixed, 0.0, like_a_loss);
        assert!(tpe < 0.5 * random && tpe >= 0.0, "mixed: {tpe} by TPE, {random} by chance");
    }

    #[test]
    fn chance_covers_the_space_evenly_and_follows_from_the_seed() {
        let space = Space::parse("x.log_uniform = [1e-4, 1.0]\nc.choice = ['a', 'b']\nn.int = [1, 3]").unwrap();
        let draws = |seed: u64| -> Vec<Values> {
            (0..600).map(|trial| Sampler::Random.suggest(&space, seed, trial, &[]).unwrap()).collect()
        };
        let drawn = draws(0);
        let share = |holds: &dyn Fn(&Values) -> bool| drawn.iter().filter(|v| holds(v)).count() as f64 / 600.0;
        for (share, want) in [
            (share(&|v| v["x"].as_f64().unwrap() < 1e-3), 0.25),
            (share(&|v| v["x"].as_f64().unwrap() < 1e-2), 0.5),
            (share(&|v| v["c"] == json!("a")), 0.5),
            (share(&|v| v["n"] == json!(1)), 1.0 / 3.0),
            (share(&|v| v["n"] == json!(3)), 1.0 / 3.0),
        ] {
            // Four standard errors.
            assert!((share - want).abs() < 4.0 * (want * (1.0 - want) / 600.0).sqrt(), "{share} for {want}");
        }
        assert_eq!(drawn, draws(0));
        assert_ne!(drawn[0], draws(1)[0]);
    }
}
