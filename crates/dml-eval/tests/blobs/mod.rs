//! Sets that recognition and few-shot are tried on.

/// Classes of 4 to 6 points about centres, by a generator of its own.
pub(crate) fn blobs(classes: usize, each: usize, d: usize, salt: u64) -> (Vec<f32>, Vec<u32>) {
    let mut state = salt;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32) / (1u32 << 24) as f32 - 0.5
    };
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for c in 0..classes {
        let centre: Vec<f32> = (0..d).map(|_| next()).collect();
        for _ in 0..each - c % 3 {
            values.extend(centre.iter().map(|m| m + 0.9 * next()));
            labels.push(7 * c as u32 + 1);
        }
    }
    (values, labels)
}
