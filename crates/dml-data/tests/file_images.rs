//! Files to batches: catalogue, decoder, pipeline and loader together.

use dml_data::image::{
    CenterCrop, Decoder, Extent, HorizontalFlip, Pipeline, RandomResizedCrop, Resize, Size, Step, Unreadable,
};
use dml_data::{
    Batch, Catalog, CatalogBuilder, Dataset, Draw, FileEntry, FileImages, Files, Inputs, Loader, LoaderOptions,
    Membership, Normalize, PkSampler, Result, input_batches,
};
use std::path::Path;
use std::sync::Arc;

/// Six classes of four JPEG or PNG files, each of another size; the second half of each has a box.
fn catalog(root: &Path) -> Catalog {
    let mut builder = CatalogBuilder::new("toy", root, Files::below(root));
    for sample in 0..24u32 {
        let (class, number) = (sample % 6, sample / 6);
        let (width, height) = (40 + 3 * sample, 30 + 5 * number);
        let value = |x: u32, y: u32| [(x * 5) as u8, (y * 7) as u8, (sample * 10) as u8];
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(value(x, y)));
        let name = format!("c{class}/{number}.{}", if number % 2 == 0 { "jpg" } else { "png" });
        std::fs::create_dir_all(root.join(format!("c{class}"))).unwrap();
        picture.save(root.join(&name)).unwrap();
        let bounding_box = (number >= 2).then_some([10.0, 5.5, 24.0, 20.0]);
        let class = format!("c{class}");
        let entry = FileEntry { bounding_box, ..FileEntry::file(&name) };
        builder.add(Membership::new(&class, "train"), entry).unwrap();
    }
    builder.finish()
}

fn still() -> Pipeline {
    let center = CenterCrop::from(Extent::Square(16));
    Pipeline { steps: vec![Step::Resize(Resize::from(Size::Shorter(18))), Step::CenterCrop(center)] }
}

fn moving() -> Pipeline {
    let crop = RandomResizedCrop::from(Extent::Square(16));
    Pipeline { steps: vec![Step::RandomResizedCrop(crop), Step::HorizontalFlip(HorizontalFlip::from(0.5))] }
}

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
    for (out, (epoch, position)) in twice.iter_mut().zip([(2, 0), (2, 5), (3, 0)]) {
        inputs.write(7, Some(Draw { seed: 9, epoch, step: 40 + position as u64, position }), out).unwrap();
    }
    assert!(twice[0] == twice[1] && twice[0] != twice[2]);
}

#[test]
fn boxes_are_cut_out_first() {
    let root = tempfile::tempdir().unwrap();
    let inputs = images(root.path(), Pipeline { steps: vec![Step::CenterCrop(CenterCrop::from(Extent::Square(20)))] });
    // A PNG file with a box: columns 10..34, rows 5..26 (the half row counts), of which the centre is 12..32 and 5..25.
    let index = (0..24).find(|&i| inputs.catalog().path(i) == "c0/3.png").unwrap();
    let image = inputs.image(index, None).unwrap();
    assert_eq!(image.pixels[..3], [12 * 5, 5 * 7, (index * 10) as u8]);
    let mut builder = CatalogBuilder::new("toy", root.path(), Files::below(root.path()));
    let outside = FileEntry { bounding_box: Some([900.0, 0.0, 5.0, 5.0]), ..FileEntry::file("c0/1.png") };
    builder.add(Membership::new("c0", "train"), outside).unwrap();
    let lost = FileImages::new(builder.finish(), Decoder::default(), still(), Normalize::default()).unwrap();
    let error = lost.image(0, None).unwrap_err().to_string();
    assert!(error.contains("c0/1.png") && error.contains("900"), "{error}");
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
            let draw = Draw { seed: 9, epoch: batch.step / 2, step: batch.step, position: 0 };
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
