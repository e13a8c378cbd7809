//! Files to batches: catalogue, decoder, pipeline and loader together.

mod pictures;

use dml_data::image::{CenterCrop, Decoder, Extent, Pipeline, Region, Step, Unreadable, crop};
use dml_data::sampler::MPerClassSampler;
use dml_data::{
    Batch, BatchSampler, CatalogBuilder, Dataset, Draw, FileEntry, FileImages, Files, Inputs, Loader, LoaderOptions,
    Membership, Normalize, PkSampler, Result, input_batches,
};
use dml_testkit::load_goldens;
use pictures::{catalog, moving, still};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

fn images(root: &Path, pipeline: Pipeline) -> FileImages {
    FileImages::new(catalog(root), Decoder::default(), pipeline, Normalize::imagenet()).unwrap()
}

fn batches(inputs: &Arc<FileImages>, start: u64, count: usize, options: LoaderOptions) -> Vec<Result<Batch>> {
    let sampler = PkSampler::new(inputs.labels(), 3, 2, 5).unwrap();
    Loader::over(inputs.clone(), Box::new(sampler), (9, start), options).take(count).collect()
}

#[test]
fn files_become_the_same_batches_whoever_prepares_them() {
    let root = tempfile::tempdir().unwrap();
    let inputs = Arc::new(images(root.path(), moving()));
    assert_eq!(inputs.shape(), [3, 16, 16]);
    let of = |start, count, workers, ahead| -> Vec<Batch> {
        let options = LoaderOptions { workers, ahead, ..LoaderOptions::default() };
        batches(&inputs, start, count, options).into_iter().map(Result::unwrap).collect()
    };
    let all = of(0, 8, 1, 2);
    assert_eq!(all[0].shape, [6, 3, 16, 16]);
    assert_eq!(of(0, 8, 4, 5), all);
    assert_eq!(of(3, 4, 2, 1), all[3..7], "a run goes on within an epoch");
    // A sample looks the same wherever it stands in an epoch, and otherwise in the next.
    let mut twice = [vec![0f32; 768], vec![0f32; 768], vec![0f32; 768]];
    for (out, epoch) in twice.iter_mut().zip([2, 2, 3]) {
        inputs.write(7, Some(Draw { seed: 9, epoch, copy: 0 }), out).unwrap();
    }
    assert!(twice[0] == twice[1] && twice[0] != twice[2]);
}

#[test]
fn a_sample_that_an_epoch_deals_again_looks_another_way() {
    let root = tempfile::tempdir().unwrap();
    let inputs = Arc::new(images(root.path(), moving()));
    let per_class = inputs.labels().iter().filter(|&&label| label == 0).count();
    // More of each class than there is, in an epoch of several batches.
    let epoch_of = |start, count| -> Vec<Batch> {
        let sampler = MPerClassSampler::new(inputs.labels(), per_class + 2, 2 * (per_class + 2), 96, 5).unwrap();
        assert!(sampler.batches_per_epoch() > 3);
        let batches = Loader::over(inputs.clone(), Box::new(sampler), (9, start), LoaderOptions::default());
        batches.take(count).map(Result::unwrap).collect()
    };
    let mut dealt = HashMap::new();
    let mut own = vec![0f32; 768];
    let all = epoch_of(0, 4);
    for batch in &all {
        for (&index, pixels) in batch.indices.iter().zip(batch.pixels.chunks_exact(768)) {
            let copy = dealt.entry(index).or_insert(0);
            inputs.write(index, Some(Draw { seed: 9, epoch: 0, copy: *copy }), &mut own).unwrap();
            assert!(own == pixels, "sample {index}, copy {copy}");
            *copy += 1;
        }
    }
    assert!(dealt.values().any(|&copies| copies > 2));
    assert_eq!(epoch_of(2, 2), all[2..], "a run goes on within an epoch");
    let looks = |copy| inputs.image(3, Some(Draw { seed: 9, epoch: 0, copy })).unwrap();
    assert_ne!(looks(0), looks(1));
}

#[test]
fn boxes_are_cut_out_first() {
    let root = tempfile::tempdir().unwrap();
    let centre = Pipeline { steps: vec![Step::CenterCrop(CenterCrop::from(Extent::Square(20)))] };
    let inputs = images(root.path(), centre.clone());
    // A PNG file with a box: columns 10..34, rows 5..26 (the half row counts), of which the centre is 12..32 and 5..25.
    let index = (0..24).find(|&i| inputs.catalog().path(i) == "c0/3.png").unwrap();
    let image = inputs.image(index, None).unwrap();
    assert_eq!(image.pixels[..3], [12 * 5, 5 * 7, (index * 10) as u8]);
    let whole = inputs.catalog().clone().cut_to_boxes(false);
    let boxes: Vec<_> = (0..24).map(|i| (inputs.catalog().cut(i), whole.cut(i))).collect();
    assert!(boxes[index].0.is_some() && boxes.iter().all(|of| of.1.is_none()));
    let whole = FileImages::new(whole, Decoder::default(), centre, Normalize::default()).unwrap();
    assert_ne!(whole.image(index, None).unwrap(), image, "the centre of the picture is not that of the box");
    let mut builder = CatalogBuilder::new("toy", root.path(), Files::below(root.path()));
    let outside = FileEntry { bounding_box: Some([900.0, 0.0, 5.0, 5.0]), ..FileEntry::file("c0/1.png") };
    builder.add(Membership::new("c0", "train"), outside).unwrap();
    let lost = FileImages::new(builder.finish(), Decoder::default(), still(), Normalize::default()).unwrap();
    let error = lost.image(0, None).unwrap_err().to_string();
    assert!(error.contains("c0/1.png") && error.contains("900"), "{error}");
}

#[test]
fn a_box_is_of_the_image_that_the_decoder_gives() {
    let root = tempfile::tempdir().unwrap();
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/transforms.safetensors");
    let case = load_goldens(&goldens).unwrap().into_iter().find(|case| case.name == "orientation").unwrap();
    // Stored as 23 x 20 pixels with a quarter turn in its EXIF.
    let file: Vec<u8> = case.tensor("png_6/file").unwrap().flatten_all().unwrap().to_vec1().unwrap();
    std::fs::write(root.path().join("turned.png"), &file).unwrap();
    let bounding_box = Some([2.0, 3.0, 7.0, 5.0]);
    let pipeline = Pipeline { steps: vec![Step::CenterCrop(CenterCrop::from(Extent::Sides([5, 7])))] };
    let mut cut = vec![];
    for (orient, sides) in [(true, (20, 23)), (false, (23, 20))] {
        let mut builder = CatalogBuilder::new("toy", root.path(), Files::below(root.path()));
        let entry = FileEntry { bounding_box, ..FileEntry::file("turned.png") };
        builder.add(Membership::new("c0", "train"), entry).unwrap();
        let decoder = Decoder { orient, ..Decoder::default() };
        let images = FileImages::new(builder.finish(), decoder, pipeline.clone(), Normalize::default()).unwrap();
        let whole = decoder.decode(Path::new("x"), &file).unwrap();
        assert_eq!((whole.width, whole.height), sides);
        let region = Region { left: 2, top: 3, width: 7, height: 5 };
        cut.push(images.image(0, None).unwrap());
        assert_eq!(cut.last(), Some(&crop(&whole, region).unwrap()), "orient = {orient}");
    }
    assert_ne!(cut[0], cut[1]);
}

#[test]
fn decoded_once_they_are_what_is_read_each_time() {
    let root = tempfile::tempdir().unwrap();
    let inputs = images(root.path(), still());
    let set = inputs.decoded().unwrap();
    assert_eq!((set.len(), set.shape(), set.labels()), (24, [3, 16, 16], inputs.labels()));
    let read: Vec<Batch> = input_batches(&inputs, 10).map(Result::unwrap).collect();
    let kept: Vec<Batch> = dml_data::eval_batches(&set, &Normalize::imagenet(), 10).map(Result::unwrap).collect();
    assert_eq!(read, kept);
    assert_eq!(read.iter().map(|batch| batch.indices.len()).collect::<Vec<_>>(), [10, 10, 4]);
}

#[test]
fn broken_files_end_the_stream_or_are_left_out_and_named() {
    let root = tempfile::tempdir().unwrap();
    let inputs = Arc::new(images(root.path(), moving()));
    let broken = root.path().join("c2/1.png");
    let whole = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    let failing = batches(&inputs, 0, 30, LoaderOptions::default());
    let error = failing.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(failing.len() < 30 && error.contains("c2/1.png"), "{error}");
    let skipping = LoaderOptions { unreadable: Unreadable::Skip, workers: 2, ..LoaderOptions::default() };
    let mut left_out = 0;
    for batch in batches(&inputs, 0, 8, skipping) {
        let batch = batch.unwrap();
        assert_eq!(batch.indices.len() + batch.skipped.len(), 6);
        assert_eq!(batch.pixels.len(), batch.indices.len() * 768);
        let mut own = vec![0f32; 768];
        for ((&index, &label), pixels) in batch.indices.iter().zip(&batch.labels).zip(batch.pixels.chunks_exact(768)) {
            assert_eq!(label, inputs.labels()[index]);
            let draw = Draw { seed: 9, epoch: batch.step / 2, copy: 0 };
            inputs.write(index, Some(draw), &mut own).unwrap();
            assert!(own == pixels);
        }
        assert!(
            batch
                .skipped
                .iter()
                .all(|(index, why)| inputs.catalog().path(*index) == "c2/1.png" && why.contains("c2/1.png"))
        );
        left_out += batch.skipped.len();
    }
    assert!(left_out > 0);
}
