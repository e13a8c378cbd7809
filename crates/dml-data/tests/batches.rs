//! What samplers deal and loaders deliver.

use dml_data::{
    Augment, AugmentedSet, Batch, BatchSampler, Dataset, EpisodicSampler, ImageSet, Loader, LoaderOptions, Normalize,
    PkSampler,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Labels of classes with so many images each, interleaved and with gaps between the numbers.
fn labels(sizes: &[usize]) -> Vec<u32> {
    let largest = sizes.iter().max().copied().unwrap_or(0);
    let class = |round: usize| move |(class, &size): (usize, &usize)| (round < size).then_some(3 * class as u32 + 1);
    (0..largest).flat_map(|round| sizes.iter().enumerate().filter_map(class(round))).collect()
}

/// The images of a batch by class.
fn by_class(labels: &[u32], batch: &[usize]) -> BTreeMap<u32, Vec<usize>> {
    let mut images = BTreeMap::<u32, Vec<usize>>::new();
    batch.iter().for_each(|&image| images.entry(labels[image]).or_default().push(image));
    images
}

proptest! {
    #[test]
    fn pk_batches_have_p_classes_with_k_images(
        sizes in prop::collection::vec(1usize..7, 2..12), p in 2usize..12, k in 1usize..5, seed: u64, epoch in 0u64..9,
    ) {
        let (labels, p) = (labels(&sizes), p.min(sizes.len()));
        let sampler = PkSampler::new(&labels, p, k, seed).unwrap();
        let batches = sampler.epoch(epoch);
        prop_assert_eq!(batches.len(), sampler.batches_per_epoch());
        prop_assert_eq!(batches.len(), sizes.len().div_ceil(p));
        let mut seen = BTreeSet::new();
        for batch in &batches {
            let classes = by_class(&labels, batch);
            prop_assert_eq!(classes.len(), p);
            for (class, images) in classes {
                prop_assert_eq!(images.len(), k);
                // A class with fewer than K images gives all of them before one comes again.
                let different: BTreeSet<_> = images.iter().collect();
                prop_assert_eq!(different.len(), k.min(sizes[class as usize / 3]));
                seen.insert(class);
            }
        }
        prop_assert_eq!(seen.len(), sizes.len(), "every class in every epoch");
        prop_assert_eq!(PkSampler::new(&labels, p, k, seed).unwrap().epoch(epoch), batches);
    }

    #[test]
    fn episodes_have_different_images(
        sizes in prop::collection::vec(4usize..9, 2..12), ways in 2usize..12, support in 1usize..3, query in 1usize..3,
        seed: u64, epoch in 0u64..9,
    ) {
        let (labels, ways) = (labels(&sizes), ways.min(sizes.len()));
        let sampler = EpisodicSampler::new(&labels, ways, support, query, 3, seed).unwrap();
        let episodes = sampler.epoch(epoch);
        prop_assert_eq!((episodes.len(), sampler.batches_per_epoch()), (3, 3));
        for episode in &episodes {
            prop_assert_eq!(episode.iter().collect::<BTreeSet<_>>().len(), ways * (support + query));
            let classes = by_class(&labels, episode);
            prop_assert_eq!(classes.len(), ways);
            prop_assert!(classes.values().all(|images| images.len() == support + query));
            // Class by class, so that support and query images are found by position.
            prop_assert!(episode.chunks(support + query).all(|images| by_class(&labels, images).len() == 1));
        }
        prop_assert_eq!(sampler.epoch(epoch), episodes);
    }
}

#[test]
fn a_class_deals_all_its_images_before_one_comes_again() {
    let labels = labels(&[6, 6, 6]);
    let sampler = PkSampler::new(&labels, 3, 2, 5).unwrap();
    for round in 0..4 {
        let images: BTreeSet<usize> =
            (3 * round..3 * round + 3).flat_map(|epoch| sampler.epoch(epoch).concat()).collect();
        assert_eq!(images.len(), labels.len(), "three epochs of two images are the six of each class");
    }
}

#[test]
fn seeds_and_epochs_differ() {
    let labels = labels(&[4; 20]);
    let pk = |seed, epoch| PkSampler::new(&labels, 4, 2, seed).unwrap().epoch(epoch);
    let episodes = |seed, epoch| EpisodicSampler::new(&labels, 4, 1, 1, 5, seed).unwrap().epoch(epoch);
    assert!(pk(0, 0) != pk(1, 0) && pk(0, 0) != pk(0, 1));
    assert!(episodes(0, 0) != episodes(1, 0) && episodes(0, 0) != episodes(0, 1));
}

#[test]
fn what_cannot_be_drawn_is_refused_with_the_recipes_keys() {
    let labels = labels(&[4, 3, 5]);
    let pk = |p, k| PkSampler::new(&labels, p, k, 0).unwrap_err().to_string();
    let message = pk(99, 2);
    assert!(message.contains("sampler.classes = 99") && message.contains("lower sampler.classes to 3"), "{message}");
    for p in [0, 1] {
        let message = pk(p, 2);
        let expected = format!("sampler.classes = {p}: a batch of one class has no negatives; give 2 or more");
        assert!(message.contains(&expected), "{message}");
    }
    assert!(pk(2, 0).contains("sampler.per_class = 0: a class gives no images; give 1 or more"));
    let episodes = |ways, support, query, episodes| {
        EpisodicSampler::new(&labels, ways, support, query, episodes, 0).unwrap_err().to_string()
    };
    assert!(
        episodes(4, 1, 1, 1).contains("sampler.classes = 4 classes but the split has 3: lower sampler.classes to 3")
    );
    assert!(episodes(1, 1, 1, 1).contains("sampler.classes = 1: an episode of one class has nothing to tell apart"));
    assert!(episodes(2, 0, 1, 1).contains("sampler.support = 0: a class has no prototype; give 1 or more"));
    assert!(episodes(2, 2, 0, 1).contains("sampler.support = 2 leaves no image"));
    assert!(episodes(2, 2, 0, 1).contains("raise sampler.per_class to 3"));
    assert!(episodes(2, 1, 1, 0).contains("episodes = 0: an epoch is empty"));
    let message = episodes(2, 2, 2, 1);
    assert!(message.contains("sampler.per_class = 4") && message.contains("lower sampler.per_class to 3"), "{message}");
    assert!(PkSampler::new(&[], 2, 1, 0).is_err());
    // The size of a label is no size of memory.
    assert!(PkSampler::new(&[u32::MAX, 0], 2, 1, 0).is_ok());
}

fn toy() -> Arc<ImageSet> {
    let labels: Vec<u32> = (0..28).map(|image| image % 7).collect();
    let pixels = (0..28 * 3 * 8 * 8u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let names = (0..7).map(|class| class.to_string()).collect();
    Arc::new(ImageSet::from_pixels("toy", [3, 8, 8], pixels, labels, names).unwrap())
}

fn batches(seed: u64, start: u64, count: usize) -> Vec<Batch> {
    batches_by(seed, start, count, LoaderOptions::default())
}

fn batches_by(seed: u64, start: u64, count: usize, options: LoaderOptions) -> Vec<Batch> {
    let set = toy();
    let sampler = PkSampler::new(set.labels(), 3, 2, 1).unwrap();
    let normalize = Normalize::measure(set.as_ref()).unwrap();
    let augment = Augment {
        rotate: 20.0,
        scale: [0.8, 1.2],
        shear: 10.0,
        translate: 0.1,
        horizontal_flip: 0.5,
        elastic: 0.05,
        brightness: 0.2,
        contrast: 0.2,
        saturation: 0.2,
        erase: 0.5,
        ..Augment::default()
    };
    let inputs = AugmentedSet { dataset: set, augment, normalize };
    let loader = Loader::over(Arc::new(inputs), Box::new(sampler), (seed, start), options);
    loader.take(count).collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_loader_goes_on_at_any_step() {
    // Three batches are an epoch: the starts lie at its beginning, within it and epochs later.
    let all = batches(4, 0, 12);
    for start in [1, 3, 5, 9] {
        assert_eq!(batches(4, start, 3), all[start as usize..start as usize + 3]);
    }
    assert_eq!(all.iter().map(|batch| batch.step).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    let other = batches(5, 0, 1);
    assert_eq!(other[0].indices, all[0].indices, "the sampler has a seed of its own");
    assert_ne!(other[0].pixels, all[0].pixels);
}

#[test]
fn a_loader_ends_where_it_is_told_to() {
    let all = batches(4, 2, 5);
    for (workers, ahead) in [(1, 1), (2, 2), (3, 7)] {
        let options = LoaderOptions { workers, ahead, until: Some(7), ..LoaderOptions::default() };
        assert_eq!(batches_by(4, 2, usize::MAX, options), all, "{workers} workers");
    }
    assert!(batches_by(4, 2, 1, LoaderOptions { until: Some(2), ..LoaderOptions::default() }).is_empty());
}

#[test]
fn workers_change_no_bit_of_a_batch() {
    let all = batches(4, 2, 14);
    for (workers, ahead) in [(2, 1), (3, 7), (5, 3)] {
        assert_eq!(
            batches_by(4, 2, 14, LoaderOptions { workers, ahead, ..LoaderOptions::default() }),
            all,
            "{workers} workers"
        );
    }
}

#[test]
fn a_misfit_is_the_only_item() {
    let set = toy();
    let normalize = Normalize::measure(set.as_ref()).unwrap();
    let augment = Augment { rotate: 999.0, ..Augment::default() };
    let inputs = Arc::new(AugmentedSet { dataset: set.clone(), augment, normalize });
    // Also of a run that has no step left.
    for until in [None, Some(9), Some(4), Some(0)] {
        let sampler = Box::new(PkSampler::new(set.labels(), 3, 2, 1).unwrap());
        let options = LoaderOptions { until, ..LoaderOptions::default() };
        let mut loader = Loader::over(inputs.clone(), sampler, (0, 4), options);
        assert!(loader.next().unwrap().unwrap_err().to_string().contains("augment.rotate = 999"), "{until:?}");
        assert!(loader.next().is_none(), "{until:?}");
    }
}
