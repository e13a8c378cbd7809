//! What holds for every sampler, over random sets of labels.

use dml_data::sampler::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Labels of classes with so many images each, interleaved and with gaps between the numbers.
fn labels(sizes: &[usize]) -> Vec<u32> {
    let largest = sizes.iter().max().copied().unwrap_or(0);
    let class = |round: usize| move |(class, &size): (usize, &usize)| (round < size).then_some(3 * class as u32 + 1);
    (0..largest).flat_map(|round| sizes.iter().enumerate().filter_map(class(round))).collect()
}

/// The images of a batch by class.
fn by_class(labels: &[u32], batch: &[u32]) -> BTreeMap<u32, Vec<u32>> {
    let mut images = BTreeMap::<u32, Vec<u32>>::new();
    batch.iter().for_each(|&image| images.entry(labels[image as usize]).or_default().push(image));
    images
}

/// Every sampler that keeps classes apart, over the same labels; batches of 2 classes or more.
fn class_samplers(labels: &[u32], seed: u64) -> Vec<Box<dyn BatchSampler>> {
    let supers: Vec<u32> = labels.iter().map(|label| label / 3 % 2).collect();
    let embeddings = (0..2 * labels.len()).map(|i| (i * i % 17) as f32).collect();
    let options = CoresetOptions { classes_per_batch: 3, samples_per_class: 2, pool: 5, rule: CoresetRule::D2 };
    vec![
        Box::new(PkSampler::new(labels, 3, 2, seed).unwrap()),
        Box::new(CoveringPkSampler::new(labels, 3, 2, Short::Repeat, seed).unwrap()),
        Box::new(CoveringPkSampler::new(labels, 2, 3, Short::Allow, seed).unwrap()),
        Box::new(MPerClassSampler::new(labels, 2, 6, 50, seed).unwrap()),
        Box::new(MPerClassSampler::whole_passes(labels, 2, 6, 50, seed).unwrap()),
        Box::new(HierarchicalSampler::new(labels, &supers, 8, 2, 2, 4, seed).unwrap()),
        Box::new(DistinctCategorySampler::new(labels, &supers, 2, 2, 2, 9, seed).unwrap()),
        Box::new(WeightedPkSampler::new(labels, 3, 2, 2.0, seed).unwrap()),
        Box::new(CoresetSampler::new(embeddings, labels, options, seed).unwrap()),
        Box::new(MinKSampler::new(labels, 5, 2, seed).unwrap()),
    ]
}

/// Every sampler there is, over the same labels.
fn samplers(labels: &[u32], seed: u64) -> Vec<Box<dyn BatchSampler>> {
    let pairs: Vec<[u32; 2]> = (0..labels.len() as u32).map(|row| [row / 2, 1000 + row]).collect();
    let loose: [Box<dyn BatchSampler>; 4] = [
        Box::new(RandomSampler::new(labels.len(), 7, seed).unwrap()),
        Box::new(WeightedSampler::new(&vec![1.0; labels.len()], 7, 1.0, seed).unwrap()),
        Box::new(EpisodicSampler::new(labels, 4, 1, 1, 5, seed).unwrap()),
        Box::new(NoDuplicatesSampler::new(&pairs, 2, seed).unwrap()),
    ];
    class_samplers(labels, seed).into_iter().chain(loose).collect()
}

proptest! {
    #[test]
    fn no_batch_is_degenerate(sizes in prop::collection::vec(2usize..9, 4..14), seed: u64, epoch in 0u64..9) {
        let labels = labels(&sizes);
        for (number, sampler) in class_samplers(&labels, seed).iter().enumerate() {
            let plan = sampler.plan(epoch);
            prop_assert_eq!(plan.len(), sampler.batches_per_epoch());
            prop_assert!(!plan.is_empty());
            for batch in plan.iter() {
                prop_assert!(batch.iter().all(|&image| (image as usize) < labels.len()));
                let classes = by_class(&labels, batch);
                prop_assert!(classes.len() >= 2, "sampler {} has a batch of one class: {:?}", number, batch);
                // The list of whole passes may be cut within a class.
                prop_assert!(number == 4 || classes.values().all(|images| images.len() >= 2), "sampler {}", number);
            }
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_plan(sizes in prop::collection::vec(4usize..9, 8..14), seed: u64) {
        let labels = labels(&sizes);
        let plans =
            |seed, epoch| -> Vec<Plan> { samplers(&labels, seed).iter().map(|sampler| sampler.plan(epoch)).collect() };
        prop_assert_eq!(plans(seed, 3), plans(seed, 3));
        for (other_seed, other_epoch) in [(seed, 4), (seed.wrapping_add(1), 3)] {
            let differ = plans(seed, 3).iter().zip(plans(other_seed, other_epoch)).all(|(a, b)| *a != b);
            prop_assert!(differ);
        }
    }

    #[test]
    fn shards_share_out_the_whole(
        sizes in prop::collection::vec(2usize..9, 4..14), seed: u64, epoch in 0u64..9, ranks in 1usize..5,
    ) {
        let labels = labels(&sizes);
        for (number, sampler) in samplers(&labels, seed).into_iter().enumerate() {
            let plan = sampler.plan(epoch);
            for rule in [ShardRule::Deal, ShardRule::Cut] {
                let shard = |rank| ShardSampler::new(samplers(&labels, seed).swap_remove(number), rule, rank, ranks);
                let too_few = match rule {
                    ShardRule::Deal => plan.len() < ranks,
                    ShardRule::Cut => sampler.plan(0).iter().any(|batch| batch.len() < ranks),
                };
                prop_assert_eq!(shard(0).is_err(), too_few, "sampler {}", number);
                if too_few {
                    continue;
                }
                let shards: Vec<_> = (0..ranks).map(|rank| shard(rank).unwrap()).collect();
                let parts: Vec<Plan> = shards.iter().map(|shard| shard.plan(epoch)).collect();
                prop_assert!(parts.iter().zip(&shards).all(|(part, shard)| part.len() == shard.batches_per_epoch()));
                prop_assert!(parts.iter().all(|part| part.len() == parts[0].len()));
                // Put together again, the parts are the plan up to the rest that the rule leaves out: no place is in two.
                let batches = |step: usize| parts.iter().map(move |part| part.get(step).unwrap());
                let together: Vec<&[u32]> = (0..parts[0].len()).flat_map(batches).collect();
                match rule {
                    ShardRule::Deal => {
                        let most = plan.len() - plan.len() % ranks;
                        prop_assert_eq!(together, plan.iter().take(most).collect::<Vec<_>>(), "sampler {}", number);
                    }
                    ShardRule::Cut => {
                        for (pieces, batch) in together.chunks(ranks).zip(plan.iter()) {
                            prop_assert!(pieces.iter().all(|piece| piece.len() == batch.len() / ranks));
                            prop_assert_eq!(pieces.concat(), &batch[..batch.len() - batch.len() % ranks]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn ranks_see_no_common_sample_where_none_comes_twice(
        batches in 2usize..9, batch in 2usize..7, seed: u64, epoch in 0u64..9, ranks in 2usize..5,
    ) {
        let rows: Vec<[u32; 2]> = (0..(batches * batch) as u32).map(|row| [row, 1000 + row]).collect();
        for rule in [ShardRule::Deal, ShardRule::Cut] {
            let seen = |rank| -> Result<Vec<u32>, dml_data::Error> {
                let random = RandomSampler::new(rows.len(), batch, seed)?;
                let pairs = NoDuplicatesSampler::new(&rows, batch, seed)?;
                let of_pairs = ShardSampler::new(pairs, rule, rank, ranks)?.plan(epoch).indices().to_vec();
                let of_random = ShardSampler::new(random, rule, rank, ranks)?.plan(epoch);
                Ok(of_random.indices().iter().copied().chain(of_pairs.into_iter().map(|row| 1000 + row)).collect())
            };
            let Ok(seen) = (0..ranks).map(seen).collect::<Result<Vec<_>, _>>() else { continue };
            let different: BTreeSet<u32> = seen.iter().flatten().copied().collect();
            prop_assert_eq!(different.len(), seen.iter().map(Vec::len).sum::<usize>());
        }
    }

    #[test]
    fn a_stream_goes_on_at_any_position(sizes in prop::collection::vec(2usize..9, 4..14), seed: u64, step in 0u64..40) {
        let sampler = PkSampler::new(&labels(&sizes), 3, 2, seed).unwrap();
        let per_epoch = sampler.batches_per_epoch();
        let mut all = batches_from(&sampler, Position::default()).unwrap();
        let before: Vec<_> = all.by_ref().take(step as usize).collect();
        prop_assert_eq!(before.len() as u64, step);
        prop_assert_eq!(all.position(), Position::at_step(step, per_epoch));
        prop_assert_eq!(all.position().step(per_epoch), step);
        let saved: Position = toml::from_str(&toml::to_string(&all.position()).unwrap()).unwrap();
        let resumed: Vec<_> = batches_from(&sampler, saved).unwrap().take(9).collect();
        prop_assert_eq!(resumed, all.take(9).collect::<Vec<_>>());
    }
}

#[test]
fn what_cannot_be_shared_or_resumed_is_refused() {
    let sampler = || RandomSampler::new(10, 5, 0).unwrap();
    let shard = |rule, rank, ranks| ShardSampler::new(sampler(), rule, rank, ranks).unwrap_err().to_string();
    assert!(shard(ShardRule::Deal, 2, 2).contains("rank = 2 of ranks = 2"));
    assert!(shard(ShardRule::Deal, 0, 3).contains("an epoch has only 2 batches for ranks = 3"));
    assert!(shard(ShardRule::Cut, 0, 6).contains("a batch has only 5 indices for ranks = 6"));
    let beyond = Position { epoch: 0, batch: 2 };
    let message = batches_from(&sampler(), beyond).unwrap_err().to_string();
    assert!(message.contains("position.batch = 2 but an epoch has 2 batches"), "{message}");
}

#[test]
fn a_plan_is_what_was_pushed() {
    let mut plan = Plan::default();
    assert!(plan.is_empty() && plan.get(0).is_none());
    plan.push([4, 2]);
    plan.push([]);
    plan.push([7]);
    assert_eq!(plan.iter().collect::<Vec<_>>(), [&[4, 2][..], &[], &[7]]);
    assert_eq!((plan.len(), plan.indices(), plan.get(3)), (3, &[4, 2, 7][..], None));
    let cut = Plan::in_batches_of(2, vec![1, 2, 3]);
    assert_eq!(cut.iter().collect::<Vec<_>>(), [&[1, 2][..], &[3]]);
    let sampler = RandomSampler::new(10, 4, 0).unwrap();
    let vectors: Vec<Vec<usize>> =
        sampler.plan(2).iter().map(|batch| batch.iter().map(|&index| index as usize).collect()).collect();
    assert_eq!(sampler.epoch(2), vectors);
}

#[test]
fn every_sample_comes_and_every_batch_is_full() {
    let sampler = RandomSampler::new(23, 5, 1).unwrap();
    for epoch in 0..20 {
        let plan = sampler.plan(epoch);
        assert_eq!(plan.len(), 5);
        assert!(plan.iter().all(|batch| batch.iter().collect::<BTreeSet<_>>().len() == 5));
        assert_eq!(plan.indices().iter().collect::<BTreeSet<_>>().len(), 23);
    }
    let refused = |samples, batch| RandomSampler::new(samples, batch, 0).unwrap_err().to_string();
    assert!(refused(23, 24).contains("sampler.batch = 24 but the split has 23 samples: lower sampler.batch to 23"));
    assert!(refused(23, 1).contains("sampler.batch = 1"));
}
