//! Texts that go with the classes of another set, such as the names or captions of what its images show.

use crate::Texts;
use crate::rng::{Purpose, stream};
use rand::Rng;
use std::collections::HashMap;
use std::sync::Arc;

/// The texts of each class of another set, by the names of classes.
#[derive(Debug, Clone)]
pub struct ClassTexts {
    texts: Arc<Texts>,
    of_class: Vec<Vec<u32>>,
}

impl ClassTexts {
    /// Those of `texts` whose class is one of `class_names`. In which part of `texts` they are does not matter.
    pub fn new(texts: Arc<Texts>, class_names: &[String]) -> Self {
        let numbers: HashMap<&str, usize> =
            class_names.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let mut of_class = vec![vec![]; class_names.len()];
        for (text, &class) in texts.labels().iter().enumerate() {
            if let Some(&number) = numbers.get(texts.class_names()[class as usize].as_str()) {
                of_class[number].push(text as u32);
            }
        }
        Self { texts, of_class }
    }

    /// Whether class `label` has a text.
    pub fn has(&self, label: u32) -> bool {
        self.of_class.get(label as usize).is_some_and(|texts| !texts.is_empty())
    }

    /// Texts of all classes together.
    pub fn count(&self) -> usize {
        self.of_class.iter().map(Vec::len).sum()
    }

    /// All texts with the classes that they go with, class by class.
    pub fn all(&self) -> (Vec<&str>, Vec<u32>) {
        let of = |(label, texts): (usize, &'_ Vec<u32>)| -> Vec<(u32, u32)> {
            texts.iter().map(|&text| (text, label as u32)).collect()
        };
        let (texts, labels): (Vec<u32>, Vec<u32>) = self.of_class.iter().enumerate().flat_map(of).unzip();
        (texts.into_iter().map(|text| self.texts.text(text as usize)).collect(), labels)
    }

    /// A text for each sample of a batch of these classes, drawn from (seed, step, place in the batch). A class comes with as many
    /// different texts as it has before one comes again. Of a class without texts there is none.
    pub fn draw(&self, seed: u64, step: u64, labels: &[u32]) -> Vec<&str> {
        let mut left: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut drawn = Vec::with_capacity(labels.len());
        for (place, &label) in labels.iter().enumerate().filter(|(_, label)| self.has(**label)) {
            let all = &self.of_class[label as usize];
            let left = left.entry(label).or_default();
            if left.is_empty() {
                left.clone_from(all);
            }
            let which = stream(seed, Purpose::Text, (step, place as u64)).random_range(0..left.len());
            drawn.push(self.texts.text(left.swap_remove(which) as usize));
        }
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CatalogBuilder, Membership, Strings};
    use std::collections::HashSet;

    fn texts() -> ClassTexts {
        let mut builder = CatalogBuilder::new("texts", "texts.csv", Strings::default());
        for (class, text) in [("cat", "a cat"), ("dog", "a dog"), ("cat", "kitty"), ("owl", "an owl"), ("cat", "tom")] {
            builder.add(Membership::new(class, "train"), text).unwrap();
        }
        ClassTexts::new(Arc::new(builder.finish()), &["dog", "cat", "fox"].map(str::to_owned))
    }

    #[test]
    fn texts_go_with_the_classes_of_the_other_set() {
        let texts = texts();
        assert_eq!([0, 1, 2, 3].map(|label| texts.has(label)), [true, true, false, false]);
        assert_eq!(texts.all(), (vec!["a dog", "a cat", "kitty", "tom"], vec![0, 1, 1, 1]));
        assert_eq!(texts.count(), 4);
    }

    #[test]
    fn a_batch_has_other_texts_of_a_class_first_and_is_the_same_again() {
        let (texts, labels) = (texts(), [1, 0, 1, 1, 0]);
        let mut firsts = HashSet::new();
        for step in 0..50 {
            let drawn = texts.draw(7, step, &labels);
            assert_eq!([drawn[1], drawn[4]], ["a dog"; 2]);
            assert_eq!(HashSet::from([drawn[0], drawn[2], drawn[3]]), HashSet::from(["a cat", "kitty", "tom"]));
            assert_eq!(drawn, texts.draw(7, step, &labels));
            firsts.insert(drawn[0]);
        }
        assert_eq!(firsts.len(), 3);
        assert!((0..20).any(|step| texts.draw(7, step, &labels) != texts.draw(8, step, &labels)));
    }
}
