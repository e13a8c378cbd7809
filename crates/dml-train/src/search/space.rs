//! Which keys of a recipe are searched, and where.

use crate::{Error, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The values of a trial, by key.
pub type Values = BTreeMap<String, serde_json::Value>;

/// What is searched: a file with the sections of a recipe, in which a value is a distribution.
///
/// ```toml
/// [optimizer]
/// lr = { log_uniform = [1e-4, 1e-1] }
/// [loss]
/// name = { choice = ["triplet", "contrastive"] }
/// [loss.params]
/// margin = { uniform = [0.0, 1.0] }
/// [sampler]
/// classes = { int = [4, 32] }      # both ends included; or log_int
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Space(Vec<Parameter>);

/// A key of a recipe, and where its value is looked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parameter {
    /// `optimizer.lr`.
    pub(super) key: String,
    pub(super) distribution: Distribution,
}

/// Where a value is looked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Distribution {
    /// From low to high.
    Uniform(f64, f64),
    /// The same for the logarithm.
    LogUniform(f64, f64),
    /// From low to high, both included.
    Int(i64, i64),
    /// The same for the logarithm.
    LogInt(i64, i64),
    /// One of these.
    Choice(Vec<serde_json::Value>),
}

impl Space {
    /// Reads a space.
    ///
    /// # Errors
    /// When the file cannot be read, or a distribution is not understood.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
        Self::parse(&text).map_err(|e| match e {
            Error::Recipe(problem) => Error::Recipe(format!("{}: {problem}", path.display())),
            other => other,
        })
    }

    /// As [`Space::read`], from text.
    ///
    /// # Errors
    /// When a distribution is not understood.
    pub fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| Error::Recipe(e.to_string()))?;
        let mut parameters = Vec::new();
        collect("", &table, &mut parameters)?;
        if parameters.is_empty() {
            return Err(Error::Recipe(
                "the space is empty: write e.g. optimizer.lr = { log_uniform = [1e-4, 1e-1] }".to_owned(),
            ));
        }
        parameters.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self(parameters))
    }

    /// The keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|parameter| parameter.key.as_str())
    }

    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.0
    }

    /// Values at both ends of every key, and each choice, so that a recipe that refuses one is known before anything has run.
    pub(super) fn corners(&self) -> Vec<Values> {
        let corner = |which: usize| -> Values {
            let value = |parameter: &Parameter| {
                let ends = parameter.distribution.ends();
                (parameter.key.clone(), ends[which % ends.len()].clone())
            };
            self.0.iter().map(value).collect()
        };
        let most = self.0.iter().map(|parameter| parameter.distribution.ends().len()).max().unwrap_or(0);
        (0..most).map(corner).collect()
    }
}

fn collect(prefix: &str, table: &toml::Table, into: &mut Vec<Parameter>) -> Result<()> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        let Some(inner) = value.as_table() else {
            return Err(Error::Recipe(format!(
                "{key} is {value}: a space wants a distribution, e.g. {{ uniform = [0.0, 1.0] }}, and fixed values belong in the recipe"
            )));
        };
        match inner.iter().next().filter(|_| inner.len() == 1).map(|(kind, of)| Distribution::parse(&key, kind, of)) {
            Some(Some(distribution)) => into.push(Parameter { key, distribution: distribution? }),
            _ => collect(&key, inner, into)?,
        }
    }
    Ok(())
}

impl Distribution {
    /// The distribution `kind` over `of`; nothing when there is none of this name.
    fn parse(key: &str, kind: &str, of: &toml::Value) -> Option<Result<Self>> {
        let refuse = |wanted: &str| Error::Recipe(format!("{key} = {{ {kind} = {of} }}: want {wanted}"));
        let real = |value: &toml::Value| value.as_float().or(value.as_integer().map(|v| v as f64));
        let ends = of.as_array().filter(|ends| ends.len() == 2);
        let reals = || Some([real(&ends?[0])?, real(&ends?[1])?]).filter(|[low, high]| low < high && high.is_finite());
        let ints = || Some([ends?[0].as_integer()?, ends?[1].as_integer()?]).filter(|[low, high]| low < high);
        let choices = || {
            let values = of.as_array().filter(|values| values.len() > 1)?;
            values.iter().map(|value| serde_json::to_value(value).ok()).collect::<Option<Vec<_>>>()
        };
        Some(match kind {
            "uniform" => reals().map(|[l, h]| Self::Uniform(l, h)).ok_or_else(|| refuse("[low, high], low < high")),
            "log_uniform" => reals()
                .filter(|[low, _]| *low > 0.0)
                .map(|[l, h]| Self::LogUniform(l, h))
                .ok_or_else(|| refuse("[low, high], 0 < low < high")),
            "int" => ints().map(|[l, h]| Self::Int(l, h)).ok_or_else(|| refuse("two whole numbers, low < high")),
            "log_int" => ints()
                .filter(|[low, _]| *low > 0)
                .map(|[l, h]| Self::LogInt(l, h))
                .ok_or_else(|| refuse("two whole numbers, 0 < low < high")),
            "choice" => choices().map(Self::Choice).ok_or_else(|| refuse("a list of two values or more")),
            _ => return None,
        })
    }

    /// The interval that coordinates are drawn from, the upper end excluded: of the value, of its logarithm, or of its place in the
    /// list of choices.
    pub(super) fn range(&self) -> [f64; 2] {
        match self {
            Self::Uniform(low, high) => [*low, *high],
            Self::LogUniform(low, high) => [low.ln(), high.ln()],
            // Each whole number has the same room, those at the ends too.
            Self::Int(low, high) => [*low as f64 - 0.5, *high as f64 + 0.5],
            Self::LogInt(low, high) => [(*low as f64 - 0.5).ln(), (*high as f64 + 0.5).ln()],
            Self::Choice(values) => [0.0, values.len() as f64],
        }
    }

    /// The value at a coordinate; real ones with four significant digits, as they are written in recipes.
    pub(super) fn at(&self, x: f64) -> serde_json::Value {
        let real = |value: f64, low: f64, high: f64| {
            let short: f64 = format!("{value:.3e}").parse().unwrap_or(value);
            short.clamp(low, high).into()
        };
        match self {
            Self::Uniform(low, high) => real(x, *low, *high),
            Self::LogUniform(low, high) => real(x.exp(), *low, *high),
            Self::Int(low, high) => (x.round() as i64).clamp(*low, *high).into(),
            Self::LogInt(low, high) => (x.exp().round() as i64).clamp(*low, *high).into(),
            Self::Choice(values) => values[(x.max(0.0) as usize).min(values.len() - 1)].clone(),
        }
    }

    /// The coordinate of a value of an earlier trial; nothing when it is not one.
    pub(super) fn coordinate(&self, value: &serde_json::Value) -> Option<f64> {
        let x = match self {
            Self::Uniform(..) => value.as_f64()?,
            Self::LogUniform(..) => value.as_f64()?.ln(),
            Self::Int(..) => value.as_i64()? as f64,
            Self::LogInt(..) => (value.as_i64()? as f64).ln(),
            Self::Choice(values) => values.iter().position(|choice| choice == value)? as f64,
        };
        let [low, high] = self.range();
        // What was rounded may lie at the end, or a hair beyond.
        Some(x.clamp(low, high.next_down()))
    }

    fn ends(&self) -> Vec<serde_json::Value> {
        match self {
            Self::Choice(values) => values.clone(),
            _ => self.range().iter().map(|&x| self.at(x)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SPACE: &str = "
[optimizer]
lr = { log_uniform = [1e-4, 1e-1] }
[loss]
name = { choice = ['triplet', 'contrastive', 'n_pairs'] }
[loss.params]
margin = { uniform = [0, 1] }
[sampler]
classes.int = [4, 6]
per_class.log_int = [1, 8]
";

    #[test]
    fn sections_are_those_of_a_recipe_and_coordinates_come_back() {
        let space = Space::parse(SPACE).unwrap();
        let keys: Vec<&str> = space.keys().collect();
        assert_eq!(keys, ["loss.name", "loss.params.margin", "optimizer.lr", "sampler.classes", "sampler.per_class"]);
        let same = Space::parse(
            "'optimizer.lr'.log_uniform = [1e-4, 1e-1]\n'loss.name'.choice = ['triplet', 'contrastive', 'n_pairs']\n\
             'loss.params.margin'.uniform = [0, 1]\n'sampler.classes'.int = [4, 6]\n'sampler.per_class'.log_int = [1, 8]",
        );
        assert_eq!(same.unwrap(), space);
        for Parameter { key, distribution } in space.parameters() {
            let [low, high] = distribution.range();
            let mut seen = Vec::new();
            for i in 0..1000 {
                let value = distribution.at(low + (high - low) * f64::from(i) / 1000.0);
                let back = distribution.coordinate(&value).unwrap();
                assert!((low..high).contains(&back), "{key}: {value}");
                assert_eq!(distribution.at(back), value, "{key}");
                if !seen.contains(&value) {
                    seen.push(value);
                }
            }
            match key.as_str() {
                "loss.name" => assert_eq!(seen, [json!("triplet"), json!("contrastive"), json!("n_pairs")]),
                "sampler.classes" => assert_eq!(seen, [json!(4), json!(5), json!(6)]),
                "sampler.per_class" => assert_eq!(seen.len(), 8),
                _ => assert!(seen.len() > 900, "{key}: {}", seen.len()),
            }
        }
        let corners = space.corners();
        assert_eq!(corners.len(), 3);
        assert_eq!(corners[1]["optimizer.lr"], json!(0.1));
        assert_eq!(corners[2]["loss.name"], json!("n_pairs"));
    }

    #[test]
    fn what_is_no_distribution_is_refused_with_the_mend() {
        for (text, wanted) in [
            ("", "the space is empty"),
            ("[optimizer]\nlr = 0.1", "optimizer.lr is 0.1"),
            ("[optimizer]\nlr.log_uniform = [0.0, 1.0]", "0 < low < high"),
            ("[optimizer]\nlr.uniform = [2, 1]", "low < high"),
            ("[optimizer]\nlr.uniform = [0, inf]", "low < high"),
            ("[optimizer]\nlr.uniform = [1]", "optimizer.lr = { uniform = [1] }"),
            ("[sampler]\nclasses.int = [1, 2.5]", "whole numbers"),
            ("[loss]\nname.choice = ['triplet']", "two values or more"),
            ("[optimizer]\nlr.normal = [0, 1]", "optimizer.lr.normal is [0, 1]"),
        ] {
            let message = Space::parse(text).unwrap_err().to_string();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }
}
