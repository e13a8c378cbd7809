//! Batches of bytes on a GPU. Needs a build with the feature `cuda` or `metal`, and a GPU; skips without.
#![cfg(feature = "candle")]
#![allow(clippy::print_stdout, reason = "a test that skips says why")]

use dml_data::{ByteBatch, Image, Normalize};
use dml_testkit::gpu;

#[test]
fn bytes_are_normalised_on_a_gpu_as_on_the_host() {
    let device = match gpu() {
        Ok(device) => device,
        Err(why) => return println!("skipped: {why}"),
    };
    let (height, width) = (37, 41);
    let pixels: Vec<u8> =
        (0..4 * height * width * 3).map(|i| ((i as u32).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let shape = [4, height, width, 3];
    let batch = ByteBatch { step: 0, indices: (0..4).collect(), labels: vec![0; 4], shape, pixels, skipped: vec![] };
    for normalize in [Normalize::imagenet(), Normalize::half(), Normalize::bgr_255()] {
        let mut want = vec![0f32; batch.pixels.len()];
        let size = height * width * 3;
        for (pixels, out) in batch.pixels.chunks(size).zip(want.chunks_mut(size)) {
            normalize.write(&Image::new(width, height, 3, pixels.to_vec()).unwrap(), out).unwrap();
        }
        let tensor = batch.to_tensor(&normalize, &device).unwrap();
        assert_eq!(tensor.dims(), [4, 3, height, width]);
        assert!(tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap() == want, "{normalize:?}");
    }
}
