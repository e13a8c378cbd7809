//! Samplers with rules of their own: hierarchy, categories, least number, text pairs, core-sets.

use dml_data::rng::{Purpose, stream};
use dml_data::sampler::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Class c has `sizes[c]` images, one class after another.
fn labels(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().zip(0u32..).flat_map(|(&size, class)| std::iter::repeat_n(class, size)).collect()
}

fn classes(labels: &[u32], batch: &[u32]) -> BTreeMap<u32, usize> {
    let mut count = BTreeMap::new();
    batch.iter().for_each(|&image| *count.entry(labels[image as usize]).or_default() += 1);
    count
}

#[test]
fn every_set_of_super_classes_comes_as_often() {
    // Super-classes 0 to 3 have 3, 4, 5 and 1 classes of 3 images.
    let supers_of: Vec<u32> = [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3].to_vec();
    let labels = labels(&[3; 13]);
    let supers: Vec<u32> = labels.iter().map(|&label| supers_of[label as usize]).collect();
    let sampler = HierarchicalSampler::new(&labels, &supers, 12, 2, 2, 3, 7).unwrap();
    assert_eq!(sampler.batches_per_epoch(), 18, "6 pairs, 3 batches each");
    let mut pairs = BTreeMap::<Vec<u32>, usize>::new();
    for batch in sampler.plan(4).iter() {
        let classes = classes(&labels, batch);
        assert!(classes.values().all(|&images| images == 2));
        let mut by_super = BTreeMap::<u32, usize>::new();
        classes.keys().for_each(|&class| *by_super.entry(supers_of[class as usize]).or_default() += 1);
        // Three classes of each super-class, or the one there is.
        assert!(by_super.iter().all(|(&super_class, &count)| count == if super_class == 3 { 1 } else { 3 }));
        *pairs.entry(by_super.into_keys().collect()).or_default() += 1;
    }
    let all = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]].map(|pair| (pair.to_vec(), 3));
    assert_eq!(pairs, BTreeMap::from(all));
    let triples = HierarchicalSampler::new(&labels, &supers, 12, 2, 3, 1, 7).unwrap();
    assert_eq!(triples.plan(0).len(), 4);

    let refused = |batch, per_class, supers_per_batch| {
        HierarchicalSampler::new(&labels, &supers, batch, per_class, supers_per_batch, 4, 0).unwrap_err().to_string()
    };
    assert!(
        refused(14, 2, 2).contains("sampler.batch = 14 is no multiple of") && refused(14, 2, 2).contains("give 16")
    );
    assert!(refused(20, 2, 5).contains("sampler.super_classes = 5 but the split has 4"));
    assert!(refused(12, 0, 2).contains("sampler.per_class = 0"));
    assert!(refused(4, 2, 1).contains("a super-class has one class only"));
    let mut torn = supers.clone();
    torn[1] = 2;
    let message = HierarchicalSampler::new(&labels, &torn, 12, 2, 2, 4, 0).unwrap_err().to_string();
    assert!(message.contains("class 0 lies in super-classes 0 (image 0) and 2 (image 1)"), "{message}");
    assert!(HierarchicalSampler::new(&labels, &supers[1..], 12, 2, 2, 4, 0).is_err());
}

proptest! {
    #[test]
    fn categories_follow_omls_rule(
        sizes in prop::collection::vec(2usize..9, 2..6), c in 1usize..4, p in 2usize..4, k in 1usize..4, seed: u64,
    ) {
        // Category g has `sizes[g]` classes of 3 images.
        let category_of = labels(&sizes);
        let labels = labels(&vec![3; category_of.len()]);
        let categories: Vec<u32> = labels.iter().map(|&label| category_of[label as usize]).collect();
        let (c, p) = (c.min(sizes.len()), p.min(*sizes.iter().min().unwrap()));
        let sampler = DistinctCategorySampler::new(&labels, &categories, c, p, k, 30, seed).unwrap();
        let all = || {
            let mut unused = BTreeMap::<u32, BTreeSet<u32>>::new();
            category_of.iter().zip(0..).for_each(|(&category, class)| _ = unused.entry(category).or_default().insert(class));
            unused
        };
        let mut unused = all();
        for batch in sampler.plan(1).iter() {
            if unused.len() < c {
                unused = all();
            }
            let mut drawn = BTreeMap::<u32, BTreeSet<u32>>::new();
            for (class, images) in classes(&labels, batch) {
                prop_assert_eq!(images, k);
                drawn.entry(category_of[class as usize]).or_default().insert(class);
            }
            prop_assert_eq!(drawn.len(), c);
            for (category, drawn) in drawn {
                prop_assert_eq!(drawn.len(), p);
                let left = unused.get_mut(&category).expect("a category with unused classes");
                let fresh = drawn.intersection(left).count();
                prop_assert_eq!(fresh, p.min(left.len()), "unused classes come first");
                left.retain(|class| !drawn.contains(class));
            }
            unused.retain(|_, classes| !classes.is_empty());
        }
    }

    #[test]
    fn no_class_is_alone(
        sizes in prop::collection::vec(prop_oneof![1usize..6, 1usize..60], 3..12), batch in 2usize..24, k in 1usize..5, seed: u64,
    ) {
        let labels = labels(&sizes);
        let batch = batch.max(2 * k);
        let large: Vec<usize> = sizes.iter().copied().filter(|&size| size >= k).collect();
        let sampler = MinKSampler::new(&labels, batch, k, seed);
        prop_assert_eq!(sampler.is_ok(), large.len() >= 2 && large.iter().sum::<usize>() >= batch);
        let Ok(sampler) = sampler else { return Ok(()) };
        for batch_images in sampler.plan(0).iter() {
            let classes = classes(&labels, batch_images);
            prop_assert!(classes.len() >= 2);
            prop_assert!(classes.values().all(|&images| images >= k));
            prop_assert_eq!(batch_images.iter().collect::<BTreeSet<_>>().len(), batch_images.len());
            prop_assert!(batch_images.len() <= batch && batch_images.len() > batch - k);
            if batch_images.len() < batch {
                prop_assert!(classes.iter().all(|(&class, &images)| images == sizes[class as usize]), "none was left");
            }
        }
    }

    #[test]
    fn no_text_comes_twice_in_a_batch(
        rows in prop::collection::vec([0u32..60, 40u32..400], 30..200), batch in 2usize..9, seed: u64, epoch in 0u64..9,
    ) {
        let Ok(sampler) = NoDuplicatesSampler::new(&rows, batch, seed) else { return Ok(()) };
        let plan = sampler.plan(epoch);
        prop_assert_eq!(plan.len(), sampler.batches_per_epoch());
        for batch_rows in plan.iter() {
            prop_assert_eq!(batch_rows.len(), batch, "always full");
            let texts: Vec<BTreeSet<u32>> = batch_rows.iter().map(|&row| rows[row as usize].into()).collect();
            let different: BTreeSet<u32> = texts.iter().flatten().copied().collect();
            prop_assert_eq!(different.len(), texts.iter().map(BTreeSet::len).sum::<usize>());
        }
        prop_assert_eq!(plan.indices().iter().collect::<BTreeSet<_>>().len(), plan.indices().len(), "once an epoch");
    }

    #[test]
    fn greedy_k_center_is_at_most_twice_the_best(
        points in prop::collection::vec(-9i32..9, 12..18), count in 1usize..4, seed: u64,
    ) {
        let points: Vec<f32> = points[..points.len() / 2 * 2].iter().map(|&x| x as f32).collect();
        let n = points.len() / 2;
        let distance = |a: usize, b: usize| (points[2 * a] - points[2 * b]).hypot(points[2 * a + 1] - points[2 * b + 1]);
        let radius = |centers: &[usize]| {
            let nearest = |point| centers.iter().map(|&center| distance(point, center)).fold(f32::INFINITY, f32::min);
            (0..n).map(nearest).fold(0.0, f32::max)
        };
        let mut rng = stream(seed, Purpose::Deal, (0, 0));
        let chosen = coreset(&points, 2, count, CoresetRule::KCenter, &mut rng).unwrap();
        prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), count);
        let subsets = (0u32..1 << n).filter(|set| set.count_ones() as usize == count);
        let best = subsets
            .map(|set| radius(&(0..n).filter(|point| set >> point & 1 == 1).collect::<Vec<_>>()))
            .fold(f32::INFINITY, f32::min);
        prop_assert!(radius(&chosen) <= 2.0 * best + 1e-4, "{} against {}", radius(&chosen), best);
    }
}

#[test]
fn what_has_no_least_number_is_refused() {
    let labels = labels(&[4, 1, 5]);
    let refused = |batch, k| MinKSampler::new(&labels, batch, k, 0).unwrap_err().to_string();
    assert!(refused(3, 2).contains("sampler.batch = 3: a batch of one class has no negatives; give 4 or more"));
    assert!(refused(10, 5).contains("1 classes have sampler.per_class = 5 images or more"));
    assert!(refused(10, 2).contains("sampler.batch = 10 but the split has 9 samples"));
    assert!(refused(10, 0).contains("sampler.per_class = 0"));
}

#[test]
fn categories_that_do_not_fit_are_refused() {
    let labels = labels(&[2; 5]);
    let categories: Vec<u32> = labels.iter().map(|&label| label / 3).collect();
    let refused = |c, p, k, batches| {
        DistinctCategorySampler::new(&labels, &categories, c, p, k, batches, 0).unwrap_err().to_string()
    };
    assert!(refused(3, 1, 2, 1).contains("sampler.categories = 3 but the split has 2"));
    assert!(refused(2, 3, 2, 1).contains("sampler.classes = 3 of each category but the smallest has 2"));
    assert!(refused(1, 1, 2, 1).contains("sampler.classes = 1: a batch of one class has no negatives"));
    assert!(refused(2, 2, 0, 1).contains("sampler.per_class = 0"));
    assert!(refused(2, 2, 2, 0).contains("sampler.batches = 0"));
}

#[test]
fn pairs_without_common_texts_all_come() {
    let rows: Vec<[u32; 2]> = (0..103).map(|row| [row, 1000 + row]).collect();
    let sampler = NoDuplicatesSampler::new(&rows, 10, 0).unwrap();
    assert_eq!(sampler.batches_per_epoch(), 10, "only the 3 rows that fill no batch are left out");

    // One anchor is in 20 of 200 pairs: 9 others of a batch can keep out 19 rows, so 18 batches of 10 are promised.
    let rows: Vec<[u32; 2]> = (0..200).map(|row| [if row < 20 { 0 } else { row }, 1000 + row]).collect();
    let sampler = NoDuplicatesSampler::new(&rows, 10, 0).unwrap();
    assert_eq!(sampler.batches_per_epoch(), 18);
    // Rows that wait come before fresh ones: of 20 more than 14 come in an epoch. Were they left out instead, a batch
    // would have one with probability 1 − 0.9¹⁰: 12 of 18.
    let common = |epoch: u64| sampler.plan(epoch).indices().iter().filter(|&&row| row < 20).count();
    assert!((0..9).map(common).sum::<usize>() > 9 * 14);

    // A positive that is another row's anchor counts; a row that repeats its own text is a row like others.
    let sampler = NoDuplicatesSampler::new(&[[0, 1], [1, 2], [3, 3], [4, 5]], 2, 3).unwrap();
    for batch in (0..50).flat_map(|epoch| sampler.epoch(epoch)) {
        assert!(!(batch.contains(&0) && batch.contains(&1)));
    }
    let message = NoDuplicatesSampler::new(&[[0, 1], [0, 2], [0, 3], [4, 5]], 3, 0).unwrap_err().to_string();
    assert!(
        message.contains("the most common text is in 3") && message.contains("lower sampler.batch to 2"),
        "{message}"
    );
    let message = NoDuplicatesSampler::new(&[[0, 1], [0, 2]], 2, 0).unwrap_err().to_string();
    assert!(message.contains("give more rows or fewer repeated texts"), "{message}");
}

#[test]
fn core_sets_reach_the_far_points() {
    let line = [0.0, 1.0, 10.0, 11.0];
    for seed in 0..20 {
        let mut rng = stream(seed, Purpose::Deal, (0, 0));
        let chosen = coreset(&line, 1, 2, CoresetRule::KCenter, &mut rng).unwrap();
        assert_eq!(chosen[1], if chosen[0] < 2 { 3 } else { 0 });
        // Points that coincide are still all different points.
        let same = coreset(&[5.0; 4], 1, 4, CoresetRule::D2, &mut rng).unwrap();
        assert_eq!(same.into_iter().collect::<BTreeSet<_>>().len(), 4);
    }
    let mut rng = stream(0, Purpose::Deal, (0, 0));
    let mut refused =
        |points: &[f32], dim, count| coreset(points, dim, count, CoresetRule::D2, &mut rng).unwrap_err().to_string();
    assert!(refused(&line, 3, 1).contains("4 values are no whole number of embeddings with 3 dimensions"));
    assert!(refused(&line, 0, 1).contains("0 dimensions"));
    assert!(refused(&line, 2, 3).contains("a core-set of 3 points but there are 2"));
    assert!(refused(&[0.0, f32::NAN], 1, 1).contains("embedding 1 has the value NaN"));
}

#[test]
fn core_set_batches_are_spread() {
    // Ten classes at 0 and ten at 100: of a pool of all classes each batch of two takes one of either.
    let labels = labels(&[3; 20]);
    let embeddings: Vec<f32> = labels.iter().map(|&label| if label < 10 { 0.0 } else { 100.0 }).collect();
    let options = CoresetOptions { classes_per_batch: 2, samples_per_class: 3, pool: 20, rule: CoresetRule::KCenter };
    let sampler = CoresetSampler::new(embeddings.clone(), &labels, options.clone(), 4).unwrap();
    assert_eq!(sampler.batches_per_epoch(), 10);
    for batch in sampler.plan(0).iter() {
        let classes = classes(&labels, batch);
        assert_eq!(classes.keys().filter(|&&class| class < 10).count(), 1);
        assert!(classes.values().all(|&images| images == 3));
        assert_eq!(batch.iter().collect::<BTreeSet<_>>().len(), 6, "all images of a class of 3");
    }
    let refused =
        |values: &[f32], options| CoresetSampler::new(values.to_vec(), &labels, options, 0).unwrap_err().to_string();
    let small = CoresetOptions { pool: 1, ..options.clone() };
    assert!(refused(&embeddings, small).contains("sampler.pool = 1"));
    assert!(refused(&embeddings[1..], options).contains("59 values"));
}

#[test]
fn episodes_are_split_by_class() {
    let labels = labels(&[5; 6]);
    let sampler = EpisodicSampler::new(&labels, 3, 1, 2, 4, 0).unwrap();
    for episode in sampler.plan(0).iter() {
        let (support, query) = sampler.split(episode);
        assert_eq!((support.len(), query.len()), (3, 6));
        for (shot, queries) in support.iter().zip(query.chunks(2)) {
            assert!(queries.iter().all(|&image| image != *shot && labels[image as usize] == labels[*shot as usize]));
        }
        assert_eq!(classes(&labels, &support).len(), 3);
    }
}
