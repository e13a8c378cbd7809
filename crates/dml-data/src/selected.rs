//! Some of the samples of a set, by their classes.

use crate::{ByteInputs, Draw, Error, Image, Inputs, Normalize, Result};
use std::sync::Arc;

/// The samples of some classes of other inputs, in their order; classes are numbered anew, in their order.
pub struct SelectedInputs<I: ?Sized = dyn Inputs> {
    inputs: Arc<I>,
    indices: Vec<usize>,
    labels: Vec<u32>,
    class_names: Vec<String>,
}

impl SelectedInputs {
    /// The samples of `inputs` whose class `keep` wants, by its name.
    ///
    /// # Errors
    /// When it wants none.
    pub fn of_classes(inputs: Arc<dyn Inputs>, keep: impl Fn(&str) -> bool) -> Result<Self> {
        let mut class_names = Vec::new();
        let mut number = |name: &String| {
            keep(name).then(|| {
                class_names.push(name.clone());
                class_names.len() as u32 - 1
            })
        };
        let numbers: Vec<Option<u32>> = inputs.class_names().iter().map(&mut number).collect();
        let kept = inputs.labels().iter().enumerate().filter_map(|(i, &label)| Some((i, numbers[label as usize]?)));
        let (indices, labels): (Vec<usize>, Vec<u32>) = kept.unzip();
        if indices.is_empty() {
            return Err(Error::Invalid(format!("{}: no sample is of a class that is wanted", inputs.name())));
        }
        Ok(Self { inputs, indices, labels, class_names })
    }
}

impl<I: ?Sized> SelectedInputs<I> {
    /// Where each sample is among the others' samples.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<I: Inputs + ?Sized> Inputs for SelectedInputs<I> {
    fn name(&self) -> &str {
        self.inputs.name()
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn shape(&self) -> [usize; 3] {
        self.inputs.shape()
    }

    fn id(&self, index: usize) -> String {
        self.inputs.id(self.indices[index])
    }

    fn picture(&self, index: usize) -> Result<Option<Image>> {
        self.inputs.picture(self.indices[index])
    }

    fn as_bytes(self: Arc<Self>) -> Option<Arc<dyn ByteInputs>> {
        let inputs = self.inputs.clone().as_bytes()?;
        let (indices, labels, class_names) = (self.indices.clone(), self.labels.clone(), self.class_names.clone());
        Some(Arc::new(SelectedInputs { inputs, indices, labels, class_names }))
    }

    fn check(&self) -> Result<()> {
        self.inputs.check()
    }

    fn write(&self, index: usize, draw: Option<Draw>, out: &mut [f32]) -> Result<()> {
        self.inputs.write(self.indices[index], draw, out)
    }
}

impl ByteInputs for SelectedInputs<dyn ByteInputs> {
    fn image(&self, index: usize, draw: Option<Draw>) -> Result<Image> {
        self.inputs.image(self.indices[index], draw)
    }

    fn normalize(&self) -> &Normalize {
        self.inputs.normalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Augment, AugmentedSet, ImageSet, Normalize};

    fn four() -> Arc<dyn Inputs> {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let set = ImageSet::from_pixels("four", [1, 1, 1], vec![10, 20, 30, 40], vec![0, 1, 2, 1], names).unwrap();
        Arc::new(AugmentedSet { dataset: Arc::new(set), augment: Augment::default(), normalize: Normalize::default() })
    }

    #[test]
    fn samples_are_those_of_the_wanted_classes() {
        let selected = SelectedInputs::of_classes(four(), |name| name != "a").unwrap();
        assert_eq!((selected.labels(), selected.indices()), (&[0, 1, 0][..], &[1, 2, 3][..]));
        assert_eq!(selected.class_names(), ["b", "c"]);
        assert_eq!((selected.id(2), selected.id(0)), (four().id(3), four().id(1)));
        let value = |inputs: &dyn Inputs, index| {
            let mut out = [0.0];
            inputs.write(index, None, &mut out).unwrap();
            out
        };
        assert_eq!(value(&selected, 2), value(four().as_ref(), 3));
        assert_ne!(value(&selected, 2), value(four().as_ref(), 2));
        assert!(Arc::new(selected).as_bytes().is_none(), "the others have no bytes");
    }

    #[test]
    fn none_at_all_is_refused() {
        let message = SelectedInputs::of_classes(four(), |_| false).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains("four: no sample"), "{message}");
    }
}
