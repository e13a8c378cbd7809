//! P×K: which images and classes an epoch covers, and PML's rule.

use dml_data::sampler::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Class c has `sizes[c]` images, one class after another.
fn labels(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().zip(0u32..).flat_map(|(&size, class)| std::iter::repeat_n(class, size)).collect()
}

proptest! {
    #[test]
    fn every_image_comes_in_every_epoch(
        // One class may be larger than all others together.
        sizes in prop::collection::vec(prop_oneof![1usize..9, 1usize..80], 2..12),
        p in 2usize..6, k in 1usize..6, short in prop_oneof![Just(Short::Repeat), Just(Short::Allow), Just(Short::Drop)],
        seed: u64, epoch in 0u64..9,
    ) {
        let kept = |size: usize| short != Short::Drop || size >= k;
        let classes = sizes.iter().filter(|&&size| kept(size)).count();
        let labels = labels(&sizes);
        let sampler = CoveringPkSampler::new(&labels, p.min(classes), k, short, seed);
        prop_assume!(classes >= 2);
        let (sampler, p) = (sampler.unwrap(), p.min(classes));
        let plan = sampler.plan(epoch);

        let groups: Vec<usize> = sizes.iter().filter(|&&size| kept(size)).map(|size| size.div_ceil(k)).collect();
        let batches = groups.iter().sum::<usize>().div_ceil(p).max(*groups.iter().max().unwrap());
        prop_assert_eq!((plan.len(), sampler.batches_per_epoch()), (batches, batches));

        let seen: BTreeSet<u32> = plan.indices().iter().copied().collect();
        let wanted = (0..labels.len() as u32).filter(|&image| kept(sizes[labels[image as usize] as usize]));
        prop_assert_eq!(seen, wanted.collect::<BTreeSet<u32>>());
        for batch in plan.iter() {
            let mut images = BTreeMap::<u32, Vec<u32>>::new();
            batch.iter().for_each(|&image| images.entry(labels[image as usize]).or_default().push(image));
            prop_assert_eq!(images.len(), p, "P different classes");
            for (class, images) in images {
                let has = sizes[class as usize];
                prop_assert_eq!(images.len(), if short == Short::Allow { k.min(has) } else { k });
                prop_assert_eq!(images.iter().collect::<BTreeSet<_>>().len(), k.min(has), "no needless repeats");
            }
        }
    }
}

#[test]
fn classes_meet_most_others() {
    // 16 groups of class 0, each beside 15 others of 99 classes: at random 90 of them are met. Groups laid out in turn
    // and never swapped would meet about 30.
    let labels = labels(&[64; 100]);
    let plan = CoveringPkSampler::new(&labels, 16, 4, Short::Repeat, 3).unwrap().plan(0);
    assert_eq!(plan.len(), 100);
    let with_class_0 = plan.iter().filter(|batch| batch.iter().any(|&image| labels[image as usize] == 0));
    let met: BTreeSet<u32> = with_class_0.flatten().map(|&image| labels[image as usize]).collect();
    assert!(met.len() > 75, "{} classes met", met.len());
}

#[test]
fn what_cannot_be_covered_is_refused() {
    let labels = labels(&[4, 3, 5]);
    let covering = |p, k, short| CoveringPkSampler::new(&labels, p, k, short, 0).unwrap_err().to_string();
    assert!(covering(1, 2, Short::Repeat).contains("sampler.classes = 1: a batch of one class has no negatives"));
    assert!(covering(2, 0, Short::Repeat).contains("sampler.per_class = 0"));
    assert!(covering(4, 2, Short::Allow).contains("lower sampler.classes to 3"));
    let message = covering(3, 4, Short::Drop);
    assert!(message.contains("classes with 4 images or more") && message.contains("the split has 2"), "{message}");
    assert!(CoveringPkSampler::new(&[], 2, 1, Short::Repeat, 0).is_err());
}

#[test]
fn lengths_are_pmls() {
    // (classes, m, batch_size, length_before_new_iter) and the list of PML 2.9.0's MPerClassSampler, from its `__iter__`.
    for (classes, m, batch, length, list) in [
        (10, 4, 32, 100_000, 100_000),
        (10, 4, 40, 100, 80),
        (3, 4, 12, 12, 12),
        (100, 5, 100, 1000, 1000),
        (100, 5, 100, 1099, 1000),
    ] {
        let sampler = MPerClassSampler::new(&labels(&vec![5; classes]), m, batch, length, 0).unwrap();
        assert_eq!(sampler.batches_per_epoch(), list / batch);
        assert_eq!(sampler.plan(0).indices().len(), list);
    }
    // With batch_size = None: passes over all classes, cut by a loader with drop_last.
    for (classes, m, batch, length, list) in
        [(10, 4, 20, 100, 80), (10, 4, 16, 30, 40), (10, 4, 40, 40, 40), (10, 4, 16, 119, 80)]
    {
        let sampler = MPerClassSampler::whole_passes(&labels(&vec![10; classes]), m, batch, length, 0).unwrap();
        assert_eq!(sampler.batches_per_epoch(), list / batch);
        assert_eq!(sampler.plan(0).indices().len(), list / batch * batch);
    }
}

#[test]
fn draws_are_pmls() {
    let sizes = [1, 2, 3, 8, 8];
    let labels = labels(&sizes);
    let sampler = MPerClassSampler::new(&labels, 4, 12, 6000, 1).unwrap();
    let mut repeats = BTreeMap::<u32, usize>::new();
    for batch in sampler.plan(0).iter() {
        let classes: BTreeSet<u32> = batch.iter().map(|&image| labels[image as usize]).collect();
        assert_eq!(classes.len(), 3);
        for images in batch.chunks(4) {
            let class = labels[images[0] as usize];
            assert!(images.iter().all(|&image| labels[image as usize] == class));
            let different = images.iter().collect::<BTreeSet<_>>().len();
            if sizes[class as usize] >= 4 {
                assert_eq!(different, 4, "without replacement where there are enough");
            } else if different < sizes[class as usize] {
                *repeats.entry(class).or_default() += 1;
            }
        }
    }
    // With replacement where there are not: an image may come again before another has come.
    assert!(repeats[&1] > 0 && repeats[&2] > 0, "{repeats:?}");

    let passes = MPerClassSampler::whole_passes(&labels, 2, 10, 100, 1).unwrap();
    for pass in passes.plan(0).iter() {
        assert_eq!(pass.iter().map(|&image| labels[image as usize]).collect::<BTreeSet<_>>().len(), 5, "every class");
    }
}

#[test]
fn what_pml_refuses_is_refused() {
    let labels = labels(&[5; 6]);
    let refused = |m, batch, length| MPerClassSampler::new(&labels, m, batch, length, 0).unwrap_err().to_string();
    assert!(refused(4, 18, 100).contains("sampler.batch = 18 is no multiple of sampler.per_class = 4: give 16"));
    assert!(refused(4, 28, 100).contains("= 7 classes but the split has 6"));
    assert!(refused(4, 16, 15).contains("sampler.length = 15"));
    assert!(refused(4, 4, 100).contains("sampler.batch = 4: a batch of one class has no negatives"));
    assert!(refused(0, 4, 100).contains("sampler.per_class = 0"));
    let passes = |m, batch, length| MPerClassSampler::whole_passes(&labels, m, batch, length, 0);
    assert!(passes(4, 8, 100).is_ok(), "batches lie within a pass");
    assert!(passes(4, 10, 100).unwrap_err().to_string().contains("a batch across two passes"));
    assert!(passes(4, 25, 10).unwrap_err().to_string().contains("sampler.length = 24"));
}
