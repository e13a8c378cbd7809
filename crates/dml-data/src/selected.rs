//! Some of the samples of a set, by their classes or one by one.

use crate::{ByteInputs, Draw, Error, Image, Inputs, Normalize, Result};
use std::sync::Arc;

/// Some samples of other inputs, in their order; the classes that are left are numbered anew, in their order.
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
        let kept: Vec<bool> = inputs.class_names().iter().map(|name| keep(name)).collect();
        let wanted: Vec<bool> = inputs.labels().iter().map(|&label| kept[label as usize]).collect();
        if !wanted.contains(&true) {
            return Err(Error::Invalid(format!("{}: no sample is of a class that is wanted", inputs.name())));
        }
        Ok(Self::of(inputs, &kept, &wanted))
    }

    /// The samples of `inputs` that `keep` wants, by their number. Classes without any are left out.
    ///
    /// # Errors
    /// When it wants none.
    pub fn of_samples(inputs: Arc<dyn Inputs>, keep: impl Fn(usize) -> bool) -> Result<Self> {
        let wanted: Vec<bool> = (0..inputs.labels().len()).map(keep).collect();
        let mut kept = vec![false; inputs.class_names().len()];
        for (&label, _) in inputs.labels().iter().zip(&wanted).filter(|(_, wanted)| **wanted) {
            kept[label as usize] = true;
        }
        if !wanted.contains(&true) {
            return Err(Error::Invalid(format!("{}: no sample is wanted", inputs.name())));
        }
        Ok(Self::of(inputs, &kept, &wanted))
    }

    /// The samples that are `wanted`, of the classes that are `kept`.
    fn of(inputs: Arc<dyn Inputs>, kept: &[bool], wanted: &[bool]) -> Self {
        let mut class_names = Vec::new();
        let mut numbers = vec![0; kept.len()];
        for (class, name) in inputs.class_names().iter().enumerate().filter(|(class, _)| kept[*class]) {
            numbers[class] = class_names.len() as u32;
            class_names.push(name.clone());
        }
        let of_each = inputs.labels().iter().enumerate().filter(|(i, _)| wanted[*i]);
        let (indices, labels) = of_each.map(|(i, &label)| (i, numbers[label as usize])).unzip();
        Self { inputs, indices, labels, class_names }
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
    fn samples_may_be_wanted_one_by_one() {
        let selected = SelectedInputs::of_samples(four(), |index| index >= 2).unwrap();
        assert_eq!((selected.labels(), selected.indices()), (&[1, 0][..], &[2, 3][..]));
        assert_eq!(selected.class_names(), ["b", "c"]);
        assert!(SelectedInputs::of_samples(four(), |_| false).err().unwrap().to_string().contains("four: no sample"));
    }

    #[test]
    fn none_at_all_is_refused() {
        let message = SelectedInputs::of_classes(four(), |_| false).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(message.contains("four: no sample"), "{message}");
    }
}
