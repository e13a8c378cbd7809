//! How many classes and samples a part should have, and which class is to blame when it has not.

use serde::Deserialize;

/// The counts of one part of a data set, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Expected {
    /// Classes with at least one sample.
    pub classes: Option<usize>,
    /// Samples; in a manifest also called `images`, `texts` or `pairs`.
    #[serde(alias = "images", alias = "texts", alias = "pairs")]
    pub samples: Option<usize>,
    /// Least and most samples of a class.
    pub per_class: Option<[usize; 2]>,
}

impl Expected {
    /// What is wrong with `counts[class]` samples of the classes `names`; nothing when all is as expected. `empty` is a
    /// class without samples in any part, if there is one: the likeliest culprit when classes are missing.
    pub(crate) fn problem(
        &self,
        part: &str,
        counts: &[usize],
        names: &[String],
        empty: Option<&str>,
    ) -> Option<String> {
        let there = || (0..counts.len()).filter(|&class| counts[class] > 0);
        if let Some([least, most]) = self.per_class
            && let Some(class) = there().find(|&class| !(least..=most).contains(&counts[class]))
        {
            let (name, got) = (&names[class], counts[class]);
            let range = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Some(format!("{part}: class `{name}` has {got} samples but the manifest says {range}"));
        }
        let classes = there().count();
        if let Some(expected) = self.classes.filter(|&expected| expected != classes) {
            let last = there().next_back().map(|class| names[class].as_str());
            let culprit = match (empty, last) {
                (Some(empty), _) => format!("class `{empty}` has no samples"),
                (None, Some(last)) => format!("the last is `{last}`"),
                (None, None) => "there are none".to_owned(),
            };
            return Some(format!("{part} has {classes} classes but the manifest says {expected}: {culprit}"));
        }
        let samples: usize = counts.iter().sum();
        let expected = self.samples.filter(|&expected| expected != samples)?;
        let least = there().min_by_key(|&class| counts[class]);
        let most = there().max_by_key(|&class| counts[class]);
        let culprit = match (least, most) {
            (Some(least), Some(most)) => format!(
                "from {} in class `{}` to {} in class `{}`",
                counts[least], names[least], counts[most], names[most]
            ),
            _ => "there are none".to_owned(),
        };
        Some(format!("{part} has {samples} samples but the manifest says {expected}: {culprit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_is_named() {
        let names = ["finch", "gull", "wren"].map(str::to_owned);
        let expected = Expected { classes: Some(2), samples: Some(7), per_class: Some([3, 4]) };
        let problem = |counts: [usize; 3]| expected.problem("train", &counts, &names, Some("wren"));
        assert_eq!(problem([3, 4, 0]), None);
        assert_eq!(problem([3, 2, 0]).unwrap(), "train: class `gull` has 2 samples but the manifest says 3 to 4");
        assert_eq!(
            problem([3, 0, 0]).unwrap(),
            "train has 1 classes but the manifest says 2: class `wren` has no samples"
        );
        assert_eq!(
            problem([3, 3, 0]).unwrap(),
            "train has 6 samples but the manifest says 7: from 3 in class `finch` to 3 in class `gull`"
        );
        assert_eq!(Expected::default().problem("train", &[1, 2, 3], &names, None), None);
    }
}
