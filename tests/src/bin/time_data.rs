//! Times the way from files to batches, and sampling. `cargo xtask bench data` drives it.
//! Called and asked as `dml_tests::timing` says; photographs and lists are what other contestants find in the folder.

use std::fmt::Write as _;
use std::fs;
use std::hint::black_box;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail};
use candle_core::Device;
use dml_data::image::{Decoder, JpegLibrary, Pipeline, Preset, RandomResizedCrop, Region, Step};
use dml_data::rng::{Purpose, stream};
use dml_data::sampler::{BatchSampler, CoveringPkSampler, RandomSampler, Short};
use dml_data::{
    Augment, AugmentedSet, CatalogBuilder, FileEntry, FileImages, Files, ImageSet, Inputs, Loader, LoaderOptions,
    Membership, Normalize, sources,
};
use dml_tests::timing::{self, Answer, Repeat};
use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;

/// As in the `dml` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// However long the first time takes.
const REPEAT: Repeat = Repeat { times: 5, unless_first_takes: f64::INFINITY };

type Case = timing::Case<Params>;

/// A photograph as networks take it.
const SIDE: usize = 224;
/// A character as MNIST has it.
const SMALL: usize = 28;
/// Stanford Online Products: list, classes, images.
const SOP: [(&str, usize, usize); 2] = [("Ebay_train.txt", 11_318, 59_551), ("Ebay_test.txt", 11_316, 60_502)];

/// What a case needs to know. `Case::loss` is `photographs`, `small`, `plan` or `open`.
#[derive(Default, Serialize, Deserialize)]
struct Params {
    /// Images of a batch.
    batch: usize,
    /// What reads the photographs.
    jpeg: JpegLibrary,
}

fn main() -> ExitCode {
    let serve = |folder: &Path| {
        timing::serve("dml-data", |line| {
            let case: Case = serde_json::from_str(&line)?;
            turn(&case, folder).with_context(|| case.title.clone())
        })
    };
    timing::run(|quick| print_cases(if quick { 8 } else { 1 }), serve)
}

/// All cases, with so many times fewer images.
fn print_cases(fewer: usize) -> Result<()> {
    let case = |title: &str, what: &str, (n, d): (usize, usize), classes: usize, batch: usize| {
        let (loss, params, per_class) = (what.to_owned(), Params { batch, ..Params::default() }, n / classes);
        Case { title: title.to_owned(), loss, params, n, d, classes, per_class, tile: 0, budget_s: 0.0 }
    };
    let print = |title, what, sides, classes, batch| case(title, what, sides, classes, batch).print();
    let title = "JPEG 500 × 375, random crop to 224, flip, batches of 64";
    let photographs = case(title, "photographs", (2048 / fewer, 3 * SIDE * SIDE), 16, 64);
    photographs.print()?;
    if cfg!(feature = "turbojpeg") {
        let params = Params { jpeg: JpegLibrary::LibjpegTurbo, ..photographs.params };
        Case { title: "the same, read by libjpeg-turbo".to_owned(), params, ..photographs }.print()?;
    }
    print("28 × 28 grey from memory, batches of 256", "small", (240_000 / fewer, SMALL * SMALL), 10, 256)?;
    print("plan of an epoch, 64 classes × 4", "plan", (10_000_000 / fewer, 0), 1_000_000 / fewer, 256)?;
    let (classes, images) = SOP.iter().fold((0, 0), |all, list| (all.0 + list.1, all.1 + list.2));
    print("Stanford Online Products opened", "open", (images, 0), classes, 0)?;
    Ok(())
}

fn turn(case: &Case, folder: &Path) -> Result<Value> {
    if case.params.batch > 0 && case.d > 0 {
        // Batches one after the other, as in the `dml` binary, which keeps freed memory. The memory of what is made once shows only
        // if it is given back.
        // SAFETY: each case has a process of its own, and no other thread runs in it yet; `mi_option_purge_delay`, never.
        unsafe { libmimalloc_sys::mi_option_set(15, -1) };
    }
    let mut answer = Answer::new(REPEAT);
    match case.loss.as_str() {
        "photographs" => photographs(case, &folder.join("photographs"), &mut answer)?,
        "small" => small(case, &mut answer)?,
        "plan" => plan(case, &mut answer)?,
        "open" => {
            write_lists(folder)?;
            answer.time("ours", || {
                let set = sources::open("stanford-online-products", folder)?;
                anyhow::ensure!(set.len() == case.n, "{} images were opened", set.len());
                Ok(())
            })?;
        }
        other => bail!("nothing is called {other:?}"),
    }
    Ok(serde_json::to_value(answer)?)
}

/// Training batches of an epoch from JPEG files, and the decoding and resizing that they cannot do without.
fn photographs(case: &Case, folder: &Path, answer: &mut Answer) -> Result<()> {
    write_photographs(case, folder)?;
    let paths: Vec<String> = (0..case.n).map(|i| photograph(case, i)).collect();
    let mut catalog = CatalogBuilder::new("photographs", folder, Files::below(folder));
    for path in &paths {
        let (class, _) = path.split_once('/').context("a path without a class")?;
        catalog.add(Membership::new(class, "train"), FileEntry::file(path))?;
    }
    let preset = Preset::named("imagenet")?;
    let decoder = Decoder { jpeg: case.params.jpeg, ..Decoder::default() };
    let images = Arc::new(FileImages::new(catalog.finish(), decoder, preset.train, preset.normalize)?);
    answer.time("ours", || epoch(images.clone(), case))?;
    let files = paths.iter().map(|path| fs::read(folder.join(path))).collect::<io::Result<Vec<_>>>()?;
    let crop = RandomResizedCrop::from(dml_data::image::Extent::Square(SIDE));
    let regions: Vec<Region> =
        (0..case.n as u64).map(|i| crop.draw([375, 500], &mut stream(0, Purpose::Sample, (0, i)))).collect();
    if decoder.jpeg == JpegLibrary::Zune {
        return answer.time("floor", || {
            files.par_iter().zip(&regions).try_for_each(|(file, &region)| decoded_and_resized(file, region))
        });
    }
    // Of this one there is no way around what dml-data makes of it.
    let crop = Pipeline { steps: vec![Step::RandomResizedCrop(crop)] };
    answer.time("floor", || {
        files.par_iter().enumerate().try_for_each(|(i, file)| {
            let mut rng = stream(0, Purpose::Sample, (0, i as u64));
            black_box(crop.load(&decoder, Path::new("photograph"), file, &mut rng)?);
            Ok(())
        })
    })
}

/// A whole file through the decoder, and a part of it through the resizer, alone.
fn decoded_and_resized(file: &[u8], region: Region) -> Result<()> {
    let mut decoder = JpegDecoder::new(ZCursor::new(file));
    let pixels = decoder.decode().map_err(|error| anyhow!("{error}"))?;
    let (width, height) = decoder.dimensions().context("no size")?;
    let whole = TypedImageRef::<U8x3>::from_buffer(width as u32, height as u32, &pixels)?;
    let [left, top, columns, rows] = [region.left, region.top, region.width, region.height].map(|side| side as u32);
    let part = TypedCroppedImage::from_ref(&whole, left, top, columns, rows)?;
    let mut out = TypedImage::<U8x3>::new(SIDE as u32, SIDE as u32);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize_typed(&part, &mut out, &options)?;
    black_box(&out);
    Ok(())
}

/// Training batches of an epoch from images in memory, and the writing of their values alone.
fn small(case: &Case, answer: &mut Answer) -> Result<()> {
    let pixels: Vec<u8> =
        (0..case.n * case.d).map(|i| (i as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let labels = (0..case.n).map(|i| (i % case.classes) as u32).collect();
    let names = (0..case.classes).map(|class| class.to_string()).collect();
    let dataset = Arc::new(ImageSet::from_pixels("small", [1, SMALL, SMALL], pixels, labels, names)?);
    let normalize = Normalize { mean: vec![0.1307], std: vec![0.3081], ..Normalize::default() };
    let inputs = Arc::new(AugmentedSet { dataset: dataset.clone(), augment: Augment::default(), normalize });
    answer.time("ours", || epoch(inputs.clone(), case))?;
    let order: Vec<usize> =
        RandomSampler::new(case.n, case.params.batch, 0)?.plan(0).indices().iter().map(|&i| i as usize).collect();
    let table: [f32; 256] = std::array::from_fn(|value| (value as f32 / 255.0 - 0.1307) / 0.3081);
    answer.time("floor", || {
        let mut batch = vec![0f32; case.params.batch * case.d];
        for indices in order.chunks(case.params.batch) {
            batch.par_chunks_exact_mut(case.d).zip(indices).for_each(|(out, &index)| {
                let values = dataset.pixels(index);
                out.iter_mut().zip(values).for_each(|(out, &value)| *out = table[usize::from(value)]);
            });
            black_box(&batch);
        }
        Ok(())
    })
}

/// Takes an epoch's batches as tensors.
fn epoch(inputs: Arc<dyn Inputs>, case: &Case) -> Result<()> {
    let sampler = RandomSampler::new(case.n, case.params.batch, 0)?;
    let options = LoaderOptions { until: Some(sampler.batches_per_epoch() as u64), ..LoaderOptions::default() };
    for batch in Loader::over(inputs, Box::new(sampler), (0, 0), options) {
        black_box(batch?.into_tensor(&Device::Cpu)?);
    }
    Ok(())
}

/// The batches of an epoch, planned.
fn plan(case: &Case, answer: &mut Answer) -> Result<()> {
    let labels: Vec<u32> = (0..case.n).map(|i| (i % case.classes) as u32).collect();
    let mut sampler = None;
    answer.time("sampler made", || {
        sampler = Some(CoveringPkSampler::new(&labels, case.params.batch / 4, 4, Short::Repeat, 0)?);
        Ok(())
    })?;
    let sampler = sampler.context("no sampler")?;
    answer.time("ours", || {
        black_box(sampler.plan(0));
        Ok(())
    })
}

/// Where photograph `i` lies: its class, and the file.
fn photograph(case: &Case, i: usize) -> String {
    format!("{:02}/{i:05}.jpg", i % case.classes)
}

/// Copies of those in the repository.
fn write_photographs(case: &Case, folder: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/photographs");
    let mut originals: Vec<_> = fs::read_dir(&source)?.collect::<io::Result<Vec<_>>>()?;
    originals.retain(|file| file.path().extension().is_some_and(|extension| extension == "jpg"));
    originals.sort_by_key(fs::DirEntry::path);
    anyhow::ensure!(!originals.is_empty(), "{} holds no photographs", source.display());
    let files = originals.iter().map(|file| fs::read(file.path())).collect::<io::Result<Vec<_>>>()?;
    for class in 0..case.classes {
        fs::create_dir_all(folder.join(format!("{class:02}")))?;
    }
    for i in 0..case.n {
        fs::write(folder.join(photograph(case, i)), &files[i % files.len()])?;
    }
    Ok(())
}

/// The lists of Stanford Online Products, with as many classes and images as published.
fn write_lists(folder: &Path) -> Result<()> {
    let below = folder.join("stanford-online-products/Stanford_Online_Products");
    fs::create_dir_all(&below)?;
    let (mut image, mut class) = (0, 0);
    for (name, classes, images) in SOP {
        let mut text = "image_id class_id super_class_id path\n".to_owned();
        for i in 0..images {
            let of = class + i % classes;
            image += 1;
            writeln!(text, "{image} {} {} kind{}_final/{of}_{i}.JPG", of + 1, of % 12 + 1, of % 12)?;
        }
        class += classes;
        fs::write(below.join(name), text)?;
    }
    Ok(())
}
