//! Image files, whole and in reduced size. What is decoded has the pixels that its size says, and no more than allowed.
#![no_main]

use dml_data::image::{Decoder, Pipeline};
use dml_data::rng::{Purpose, stream};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

const MOST_PIXELS: u64 = 1 << 16;

static SHRINK: LazyLock<Pipeline> =
    LazyLock::new(|| serde_json::from_str(r#"[{"resize": [4, 4]}]"#).expect("a pipeline of one step"));

fuzz_target!(|bytes: &[u8]| {
    let path = Path::new("x");
    for channels in [1, 3] {
        let decoder = Decoder { channels, max_pixels: MOST_PIXELS, reduce: true, ..Decoder::default() };
        if let Ok(image) = decoder.decode(path, bytes) {
            assert_eq!(image.pixels.len(), image.width * image.height * channels);
            assert!((image.width * image.height) as u64 <= MOST_PIXELS);
        }
        if let Ok(image) = SHRINK.load(&decoder, path, bytes, &mut stream(0, Purpose::Augment, (0, 0))) {
            assert_eq!(image.shape(), [channels, 4, 4]);
        }
    }
});
