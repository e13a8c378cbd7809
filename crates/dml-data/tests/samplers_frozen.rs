//! The random streams of the samplers that runs depend on: a plan of yesterday is the plan of tomorrow.

use dml_data::{BatchSampler, EpisodicSampler, PkSampler};

/// FNV-1a over every index and every batch's length.
fn fingerprint(sampler: &dyn BatchSampler, epochs: u64) -> u64 {
    let words = (0..epochs).flat_map(|epoch| sampler.epoch(epoch)).flat_map(|batch| {
        let length = batch.len() as u64;
        std::iter::once(length).chain(batch.into_iter().map(|index| index as u64))
    });
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x100_0000_01b3))
}

/// 30 classes of 1 to 9 images, interleaved, with gaps between the labels.
fn labels() -> Vec<u32> {
    (0..9u32).flat_map(|round| (0..30).filter(move |class| class % 9 >= round).map(|class| 7 * class + 3)).collect()
}

#[test]
fn plans_are_those_of_the_first_release() {
    let labels = labels();
    let pk = PkSampler::new(&labels, 8, 4, 5).unwrap();
    assert_eq!(pk.epoch(0)[0][..8], [131, 140, 95, 137, 0, 0, 0, 0]);
    let one = PkSampler::new(&labels, 30, 1, 6).unwrap();
    let wide: Vec<u32> = labels.iter().copied().filter(|label| (label - 3) / 7 % 9 >= 4).collect();
    let episodes = EpisodicSampler::new(&wide, 5, 1, 3, 20, 7).unwrap();
    assert_eq!(
        [fingerprint(&pk, 12), fingerprint(&one, 12), fingerprint(&episodes, 4)],
        [5213310241823866696, 6994054486788615447, 11640816737855446307]
    );
}
