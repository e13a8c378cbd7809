//! Frequencies against their laws by χ². Seeds are fixed; critical values are those of α = 0.001 (0.999 quantiles).

use dml_data::rng::{Purpose, stream};
use dml_data::sampler::*;
use std::collections::BTreeMap;

/// Σ (observed − expected)² / expected over all outcomes of `law` (probabilities); no other outcome may come.
fn chi_square<T: Ord + Copy + std::fmt::Debug>(law: &[(T, f64)], outcomes: impl Iterator<Item = T>) -> f64 {
    assert!((law.iter().map(|(_, p)| p).sum::<f64>() - 1.0).abs() < 1e-12);
    let mut observed = BTreeMap::<T, usize>::new();
    outcomes.for_each(|outcome| *observed.entry(outcome).or_default() += 1);
    let total: usize = observed.values().sum();
    let statistic = law.iter().map(|&(outcome, p)| {
        let expected = p * total as f64;
        assert!(expected >= 5.0, "too few draws for the test");
        (observed.remove(&outcome).unwrap_or(0) as f64 - expected).powi(2) / expected
    });
    let statistic: f64 = statistic.sum();
    assert!(observed.is_empty(), "outcomes outside of the law: {observed:?}");
    statistic
}

fn uniform<T: Copy>(outcomes: impl IntoIterator<Item = T>) -> Vec<(T, f64)> {
    let outcomes: Vec<T> = outcomes.into_iter().collect();
    outcomes.iter().map(|&outcome| (outcome, 1.0 / outcomes.len() as f64)).collect()
}

/// Class c has `sizes[c]` images, one class after another.
fn labels(sizes: &[usize]) -> Vec<u32> {
    sizes.iter().zip(0u32..).flat_map(|(&size, class)| std::iter::repeat_n(class, size)).collect()
}

/// Batch `batch` of each of `epochs` epochs.
fn batches(sampler: &dyn BatchSampler, batch: usize, epochs: u64) -> impl Iterator<Item = Vec<u32>> {
    (0..epochs).map(move |epoch| sampler.plan(epoch).get(batch).expect("a batch").to_vec())
}

/// Ordered pairs drawn one after the other without replacement by these weights.
fn successive(weights: &[f64]) -> Vec<((u32, u32), f64)> {
    let total: f64 = weights.iter().sum();
    let n = weights.len();
    let pairs = (0..n).flat_map(|a| (0..n).filter(move |&b| b != a).map(move |b| (a, b)));
    pairs.map(|(a, b)| ((a as u32, b as u32), weights[a] / total * weights[b] / (total - weights[a]))).collect()
}

#[test]
fn shuffled_samples_are_uniform_at_every_place() {
    let sampler = RandomSampler::new(20, 6, 1).unwrap();
    for batch in 0..3 {
        for place in [0, 5] {
            let drawn = batches(&sampler, batch, 4000).map(|batch| batch[place]);
            assert!(chi_square(&uniform(0..20), drawn) < 43.820, "19 degrees of freedom");
        }
    }
}

#[test]
fn pk_classes_and_images_are_uniform() {
    let labels = labels(&[4; 10]);
    let every_class = PkSampler::new(&labels, 3, 2, 2).unwrap();
    let every_image = CoveringPkSampler::new(&labels, 3, 2, Short::Repeat, 2).unwrap();
    // In the covering mode the epochs are independent, so images may be tested too; 4 epochs of the other are not.
    for sampler in [&every_class as &dyn BatchSampler, &every_image] {
        for place in [0, 2, 4] {
            let drawn = batches(sampler, 1, 4000).map(|batch| labels[batch[place] as usize]);
            assert!(chi_square(&uniform(0..10), drawn) < 27.877, "9 degrees of freedom");
        }
    }
    let images = batches(&every_image, 2, 8000).map(|batch| batch[1]);
    assert!(chi_square(&uniform(0..40), images) < 72.055, "39 degrees of freedom");
    let pairs = batches(&every_image, 0, 8000).map(|batch| {
        let (a, b) = (labels[batch[0] as usize], labels[batch[2] as usize]);
        (a.min(b), a.max(b))
    });
    let law = uniform((0..10).flat_map(|b| (0..b).map(move |a| (a, b))));
    assert!(chi_square(&law, pairs) < 78.750, "44 degrees of freedom");
}

#[test]
fn fill_is_uniform_over_classes() {
    // One class lies in all 12 batches and each of the 5 others, of one group, beside it once: 7 places are filled, by
    // each of the others at least once and by two of them twice.
    let mut sizes = [2; 6];
    sizes[0] = 24;
    let labels = labels(&sizes);
    let sampler = CoveringPkSampler::new(&labels, 2, 2, Short::Repeat, 6).unwrap();
    assert_eq!(sampler.batches_per_epoch(), 12);
    let partners = batches(&sampler, 3, 4000).map(|batch| {
        let classes = [labels[batch[0] as usize], labels[batch[2] as usize]];
        assert!(classes.contains(&0));
        classes[0].max(classes[1])
    });
    assert!(chi_square(&uniform(1..6), partners) < 18.467, "4 degrees of freedom");
}

#[test]
fn pml_draws_short_classes_with_replacement() {
    let labels = labels(&[2, 4]);
    let sampler = MPerClassSampler::new(&labels, 3, 6, 12_000, 3).unwrap();
    let plan = sampler.plan(0);
    let short = |images: &&[u32]| labels[images[0] as usize] == 0;
    let draws =
        plan.iter().flat_map(|batch| batch.chunks(3)).filter(short).map(|images| [images[0], images[1], images[2]]);
    let law = uniform((0..8u32).map(|bits| [bits & 1, bits >> 1 & 1, bits >> 2]));
    assert!(chi_square(&law, draws) < 24.322, "7 degrees of freedom");
    // Of the class of 4 each image is left out as often.
    let long = plan.iter().flat_map(|batch| batch.chunks(3)).filter(|images| !short(images));
    let missing = long.map(|images| (2..6).find(|image| !images.contains(image)).expect("three of four"));
    assert!(chi_square(&uniform(2..6), missing) < 16.266, "3 degrees of freedom");
}

#[test]
fn classes_of_at_least_k_join_by_their_images() {
    // Two classes of two images each: drawn one after the other by their sizes.
    let sizes = labels(&[2, 4, 6]);
    let sampler = MinKSampler::new(&sizes, 4, 2, 9).unwrap();
    let pairs = batches(&sampler, 1, 6000).map(|batch| (sizes[batch[0] as usize], sizes[batch[2] as usize]));
    assert!(chi_square(&successive(&[2.0, 4.0, 6.0]), pairs) < 20.515, "5 degrees of freedom");
    let images = batches(&sampler, 2, 9000).filter(|batch| sizes[batch[0] as usize] == 1);
    let images = images.map(|batch| (batch[0].min(batch[1]), batch[0].max(batch[1])));
    let law = uniform((2..6).flat_map(|b| (2..b).map(move |a| (a, b))));
    assert!(chi_square(&law, images) < 20.515, "5 degrees of freedom");

    // Of three classes of 8, two of which gave two images: the third has 8 of the 20 images that may come next. If another
    // comes, the last place goes to either class.
    let even = labels(&[8; 3]);
    let sampler = MinKSampler::new(&even, 6, 2, 9).unwrap();
    let joined = batches(&sampler, 1, 6000).map(|batch| {
        let mut counts = [0; 3];
        batch.iter().for_each(|&image| counts[even[image as usize] as usize] += 1);
        let first = even[batch[0] as usize] as usize;
        if counts.contains(&0) { 1 + counts[first] } else { 0 }
    });
    // 2 to 4 images of the first class: each of the last two places goes to it with probability ½.
    assert!(chi_square(&[(0, 0.4), (3, 0.15), (4, 0.3), (5, 0.15)], joined) < 16.266, "3 degrees of freedom");
}

#[test]
fn super_classes_deal_classes_and_images_alike() {
    // Super-class s has the classes 4s to 4s + 3, and each of these 3 images.
    let labels = labels(&[3; 16]);
    let supers: Vec<u32> = labels.iter().map(|label| label / 4).collect();
    let sampler = HierarchicalSampler::new(&labels, &supers, 4, 1, 2, 2, 10).unwrap();
    let tuples = batches(&sampler, 3, 4000).map(|batch| (supers[batch[0] as usize], supers[batch[2] as usize]));
    let law = uniform((0..4).flat_map(|b| (0..b).map(move |a| (a, b))));
    assert!(chi_square(&law, tuples) < 20.515, "5 degrees of freedom");
    let classes =
        batches(&sampler, 3, 4000).map(|batch| (labels[batch[0] as usize] % 4, labels[batch[1] as usize] % 4));
    assert!(chi_square(&successive(&[1.0; 4]), classes) < 31.264, "11 degrees of freedom");
    let images = batches(&sampler, 3, 4000).map(|batch| batch[0] % 3);
    assert!(chi_square(&uniform(0..3), images) < 13.816, "2 degrees of freedom");
}

#[test]
fn categories_deal_classes_and_images_alike() {
    let labels = labels(&[3; 16]);
    let categories: Vec<u32> = labels.iter().map(|label| label / 4).collect();
    let sampler = DistinctCategorySampler::new(&labels, &categories, 2, 2, 1, 3, 11).unwrap();
    let pairs = batches(&sampler, 0, 4000).map(|batch| {
        let (a, b) = (categories[batch[0] as usize], categories[batch[2] as usize]);
        (a.min(b), a.max(b))
    });
    let law = uniform((0..4).flat_map(|b| (0..b).map(move |a| (a, b))));
    assert!(chi_square(&law, pairs) < 20.515, "5 degrees of freedom");
    let classes =
        batches(&sampler, 0, 4000).map(|batch| (labels[batch[0] as usize] % 4, labels[batch[1] as usize] % 4));
    assert!(chi_square(&successive(&[1.0; 4]), classes) < 31.264, "11 degrees of freedom");
    let images = batches(&sampler, 0, 4000).map(|batch| batch[0] % 3);
    assert!(chi_square(&uniform(0..3), images) < 13.816, "2 degrees of freedom");
    // Where one class of three is unused, either of the two that came before joins it.
    let few = &labels[..18];
    let categories: Vec<u32> = few.iter().map(|label| label / 3).collect();
    let sampler = DistinctCategorySampler::new(few, &categories, 2, 2, 1, 2, 11).unwrap();
    let again = (0..4000).map(|epoch| {
        let plan = sampler.plan(epoch);
        let [before, now] = [0, 1].map(|batch| plan.get(batch).expect("a batch"));
        let again = few[now[1] as usize];
        before.iter().position(|&image| few[image as usize] == again).expect("it came before") % 2
    });
    assert!(chi_square(&uniform([0, 1]), again) < 10.828, "1 degree of freedom");
}

#[test]
fn episodes_draw_classes_and_images_alike() {
    let labels = labels(&[4; 5]);
    let sampler = EpisodicSampler::new(&labels, 3, 1, 1, 4, 12).unwrap();
    let classes = batches(&sampler, 1, 8000).map(|batch| (labels[batch[0] as usize], labels[batch[4] as usize]));
    assert!(chi_square(&successive(&[1.0; 5]), classes) < 43.820, "19 degrees of freedom");
    let images = batches(&sampler, 1, 8000).map(|batch| (batch[2] % 4, batch[3] % 4));
    assert!(chi_square(&successive(&[1.0; 4]), images) < 31.264, "11 degrees of freedom");
}

#[test]
fn pairs_are_dealt_as_they_were_shuffled() {
    let rows: Vec<[u32; 2]> = (0..20).map(|row| [row, 100 + row]).collect();
    let sampler = NoDuplicatesSampler::new(&rows, 6, 13).unwrap();
    for place in [0, 5] {
        let drawn = batches(&sampler, 2, 4000).map(|batch| batch[place]);
        assert!(chi_square(&uniform(0..20), drawn) < 43.820, "19 degrees of freedom");
    }
    // Rows 0 and 1 share a text: whichever of them comes first is followed by 2 or 3, these by any other.
    let sampler = NoDuplicatesSampler::new(&[[0, 1], [0, 2], [3, 4], [5, 6]], 2, 13).unwrap();
    let pairs = batches(&sampler, 0, 6000).map(|batch| (batch[0], batch[1]));
    let (few, many) = (1.0 / 12.0, 1.0 / 8.0);
    let of_shared = [(0, 2), (0, 3), (1, 2), (1, 3)].map(|pair| (pair, many));
    let of_others = [(2, 0), (2, 1), (2, 3), (3, 0), (3, 1), (3, 2)].map(|pair| (pair, few));
    let law: Vec<_> = of_shared.into_iter().chain(of_others).collect();
    assert!(chi_square(&law, pairs) < 27.877, "9 degrees of freedom");
}

#[test]
fn weights_and_temperature_give_their_law() {
    // 1, 4, 9, 16 at T = 2 are 1, 2, 3, 4; the sample of weight 0 never comes.
    let sampler = WeightedSampler::new(&[1.0, 4.0, 9.0, 16.0, 0.0], 2, 2.0, 4).unwrap();
    let law = successive(&[1.0, 2.0, 3.0, 4.0]);
    let pairs = batches(&sampler, 1, 6000).map(|batch| (batch[0], batch[1]));
    assert!(chi_square(&law, pairs) < 31.264, "11 degrees of freedom");
    // At T = ∞ all samples that have a weight are alike.
    let sampler = WeightedSampler::new(&[1.0, 4.0, 9.0, 0.0, 16.0], 2, f64::INFINITY, 4).unwrap();
    let first = batches(&sampler, 0, 4000).map(|batch| batch[0]);
    assert!(chi_square(&uniform([0, 1, 2, 4]), first) < 16.266, "3 degrees of freedom");

    let labels = labels(&[1, 4, 9, 16]);
    let sampler = WeightedPkSampler::new(&labels, 2, 1, 2.0, 5).unwrap();
    let pairs = batches(&sampler, 2, 6000).map(|batch| (labels[batch[0] as usize], labels[batch[1] as usize]));
    assert!(chi_square(&law, pairs) < 31.264, "11 degrees of freedom");
}

#[test]
fn weights_that_cannot_be_drawn_are_refused() {
    let refused = |weights: &[f32], batch, t| WeightedSampler::new(weights, batch, t, 0).unwrap_err().to_string();
    assert!(refused(&[1.0, -1.0], 2, 1.0).contains("the weight of sample 1 is -1"));
    assert!(refused(&[f32::NAN, 1.0], 2, 1.0).contains("the weight of sample 0 is NaN"));
    assert!(refused(&[1.0, 1.0, 0.0], 3, 1.0).contains("lower sampler.batch to 2"));
    assert!(refused(&[1.0, 1.0], 2, 0.0).contains("sampler.temperature = 0"));
    let classes = |p, t| WeightedPkSampler::new(&[0, 1, 1], p, 2, t, 0).unwrap_err().to_string();
    assert!(classes(3, 1.0).contains("the split has 2"));
    assert!(classes(2, f64::NAN).contains("sampler.temperature = NaN"));
    // However steep, P classes can be drawn.
    let steep = WeightedPkSampler::new(&labels(&[1, 1, 1, 999]), 4, 2, 1e-3, 0).unwrap();
    assert!(steep.plan(0).iter().all(|batch| batch.len() == 8));
}

#[test]
fn d2_sampling_follows_the_squared_distances() {
    // On the line 0, 1, 3.
    let law = [
        ((0, 1), 0.1 / 3.0),
        ((0, 2), 0.9 / 3.0),
        ((1, 0), 0.2 / 3.0),
        ((1, 2), 0.8 / 3.0),
        ((2, 0), 9.0 / 39.0),
        ((2, 1), 4.0 / 39.0),
    ];
    let mut rng = stream(8, Purpose::Deal, (0, 0));
    let pairs = (0..6000).map(|_| coreset(&[0.0, 1.0, 3.0], 1, 2, CoresetRule::D2, &mut rng).unwrap());
    assert!(chi_square(&law, pairs.map(|pair| (pair[0], pair[1]))) < 20.515, "5 degrees of freedom");
}
