//! Batches of bytes that the device normalises, against batches normalised before.
#![cfg(feature = "candle")]

mod pictures;

use candle_core::Device;
use dml_data::image::{Decoder, Unreadable};
use dml_data::{
    ByteBatch, ByteInputs, ByteLoader, CachedImages, FileImages, Inputs, Loader, LoaderOptions, Normalize, PkSampler,
    SelectedInputs, byte_batches, input_batches,
};
use pictures::{catalog, moving};
use std::path::Path;
use std::sync::Arc;

fn images(root: &Path, channels: usize, normalize: Normalize) -> Arc<FileImages> {
    let decoder = Decoder { channels, ..Decoder::default() };
    Arc::new(FileImages::new(catalog(root), decoder, moving(), normalize).unwrap())
}

fn bits(tensor: &candle_core::Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn normalised_on_the_device_they_have_the_same_bits() {
    let root = tempfile::tempdir().unwrap();
    let colour = [Normalize::imagenet(), Normalize::half(), Normalize::bgr_255()].map(|normalize| (3, normalize));
    for (channels, normalize) in colour.into_iter().chain([(1, Normalize::half())]) {
        let inputs = images(root.path(), channels, normalize);
        let sampler = || Box::new(PkSampler::new(inputs.labels(), 3, 2, 5).unwrap());
        let floats = Loader::over(inputs.clone(), sampler(), (9, 1), LoaderOptions::default());
        let options = LoaderOptions { workers: 3, ahead: 4, ..LoaderOptions::default() };
        let bytes = Loader::bytes(inputs.clone(), sampler(), (9, 1), options);
        for (floats, bytes) in floats.zip(bytes).take(6) {
            let (floats, bytes) = (floats.unwrap(), bytes.unwrap());
            assert_eq!((floats.step, &floats.labels, &floats.indices), (bytes.step, &bytes.labels, &bytes.indices));
            assert_eq!(bytes.shape, [6, 16, 16, channels]);
            let (want, got) = (floats.to_tensor(&Device::Cpu), bytes.to_tensor(inputs.normalize(), &Device::Cpu));
            let (want, got) = (want.unwrap(), got.unwrap());
            assert_eq!(want.dims(), got.dims());
            assert!(bits(&want) == bits(&got), "{:?}", inputs.normalize());
        }
        let floats = input_batches(inputs.as_ref(), 10).map(|batch| batch.unwrap().to_tensor(&Device::Cpu).unwrap());
        let bytes = byte_batches(inputs.as_ref(), 10);
        let bytes = bytes.map(|batch| batch.unwrap().to_tensor(inputs.normalize(), &Device::Cpu).unwrap());
        assert!(floats.map(|batch| bits(&batch)).eq(bytes.map(|batch| bits(&batch))));
    }
}

#[test]
fn those_of_some_classes_are_the_same_both_ways() {
    let root = tempfile::tempdir().unwrap();
    let inputs = images(root.path(), 3, Normalize::imagenet());
    let some = Arc::new(SelectedInputs::of_classes(inputs.clone(), |name| name > "c1").unwrap());
    assert_eq!(some.class_names(), ["c2", "c3", "c4", "c5"]);
    let bytes = some.clone().as_bytes().unwrap();
    assert_eq!((bytes.labels(), bytes.class_names(), bytes.id(3)), (some.labels(), some.class_names(), some.id(3)));
    let sampler = || Box::new(PkSampler::new(some.labels(), 3, 2, 5).unwrap());
    let floats = Loader::over(some.clone(), sampler(), (9, 1), LoaderOptions::default());
    let loaded = Loader::bytes(bytes.clone(), sampler(), (9, 1), LoaderOptions::default());
    for (floats, loaded) in floats.zip(loaded).take(4) {
        let (floats, loaded) = (floats.unwrap(), loaded.unwrap());
        assert_eq!((&floats.labels, &floats.indices), (&loaded.labels, &loaded.indices));
        let (want, got) = (floats.to_tensor(&Device::Cpu), loaded.to_tensor(bytes.normalize(), &Device::Cpu));
        assert!(bits(&want.unwrap()) == bits(&got.unwrap()));
        for &index in &floats.indices {
            assert_eq!(bytes.image(index, None).unwrap(), inputs.image(some.indices()[index], None).unwrap());
        }
    }
    // Bytes of bytes are the same.
    assert_eq!(bytes.clone().as_bytes().unwrap().image(5, None).unwrap(), bytes.image(5, None).unwrap());
}

#[test]
fn every_value_is_normalised_as_on_the_host() {
    let shape = [1, 2, 128, 3];
    let pixels: Vec<u8> = (0..256u32).flat_map(|value| [value as u8, 255 - value as u8, (value * 7) as u8]).collect();
    let image = dml_data::Image::new(128, 2, 3, pixels.clone()).unwrap();
    let batch = ByteBatch { step: 0, indices: vec![0], labels: vec![0], shape, pixels, skipped: vec![] };
    for normalize in [Normalize::imagenet(), Normalize::clip(), Normalize::bgr_255(), Normalize::default()] {
        let mut want = vec![0f32; 768];
        normalize.write(&image, &mut want).unwrap();
        let want: Vec<u32> = want.into_iter().map(f32::to_bits).collect();
        assert!(bits(&batch.to_tensor(&normalize, &Device::Cpu).unwrap()) == want, "{normalize:?}");
    }
    let misfit = Normalize { mean: vec![0.5; 2], ..Normalize::default() };
    assert!(batch.to_tensor(&misfit, &Device::Cpu).unwrap_err().to_string().contains("normalize.mean has 2 values"));
}

#[test]
fn they_come_from_a_cache_too_and_leave_broken_files_out() {
    let root = tempfile::tempdir().unwrap();
    let inputs = images(root.path(), 3, Normalize::imagenet());
    std::fs::write(root.path().join("c2/1.png"), b"nothing").unwrap();
    let path = root.path().join("toy.cache");
    let cached = CachedImages::open_or_make(inputs.clone(), &path, Unreadable::Skip, &mut |_| ()).unwrap();
    let batches = |inputs: Arc<dyn ByteInputs>| -> Vec<ByteBatch> {
        let sampler = PkSampler::new(inputs.labels(), 3, 2, 5).unwrap();
        let options = LoaderOptions { unreadable: Unreadable::Skip, ..LoaderOptions::default() };
        ByteLoader::bytes(inputs, Box::new(sampler), (9, 0), options).take(8).map(Result::unwrap).collect()
    };
    let (from_files, from_cache) = (batches(inputs), batches(Arc::new(cached)));
    assert!(from_files == from_cache);
    assert!(from_files.iter().any(|batch| !batch.skipped.is_empty()));
    assert!(from_files.iter().all(|batch| batch.pixels.len() == batch.indices.len() * 768));
}
