//! Transformations of images against Pillow and torchvision, and pipelines as recipes say them.

use dml_data::image::warp::{Sampling, center, inverse_affine, rotate, warp};
use dml_data::image::{
    CenterCrop, Extent, Fill, Filter, Op, Pipeline, RandomErasing, RandomResizedCrop, Region, Resize, Size, Step,
    enhance, gaussian_blur, resample, resample_region,
};
use dml_data::rng::{Purpose, stream};
use dml_data::{Image, Normalize};
use dml_testkit::{Case, load_goldens};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Deserialize;
use std::path::Path;

fn case(name: &str) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/transforms.safetensors");
    load_goldens(&path).unwrap().into_iter().find(|case| case.name == name).unwrap()
}

fn image(case: &Case, name: &str) -> Image {
    let tensor = case.tensor(name).unwrap();
    let pixels = tensor.flatten_all().unwrap().to_vec1().unwrap();
    let (height, width) = (tensor.dims()[0], tensor.dims()[1]);
    Image::new(width, height, tensor.dims().get(2).copied().unwrap_or(1), pixels).unwrap()
}

fn picture(name: &str) -> Image {
    image(&case("pictures"), name)
}

fn described<T: for<'de> Deserialize<'de>>(case: &Case, key: &str) -> T {
    serde_json::from_value(case.description[key].clone()).unwrap()
}

fn generator(position: u64) -> ChaCha8Rng {
    stream(1, Purpose::Augment, (position, 0))
}

/// Asserts equal sides, values that differ by at most `most`, and by at most `mean` on average.
#[track_caller]
fn assert_near(what: &str, got: &Image, want: &Image, mean: f64, most: u8) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    let differences = || got.pixels.iter().zip(&want.pixels).map(|(got, want)| got.abs_diff(*want));
    let sum: f64 = differences().map(f64::from).sum();
    let (average, worst) = (sum / want.pixels.len() as f64, differences().max().unwrap());
    assert!(average <= mean && worst <= most, "{what}: off by {average:.4} on average, {worst} at most");
}

#[test]
fn scaled_images_are_pillows() {
    let (rgb, grey) = (picture("rgb"), picture("grey"));
    for (name, filter, mean, most) in [
        ("nearest", Filter::Nearest, 0.0, 0),
        ("bilinear", Filter::Bilinear, 0.2, 1),
        // Pillow goes along rows first: single pixels whose overshoot is cut off come out otherwise.
        ("bicubic", Filter::Bicubic, 0.3, 16),
        ("lanczos", Filter::Lanczos, 0.35, 24),
    ] {
        let case = case(&format!("resize_{name}"));
        for [height, width] in described::<Vec<[usize; 2]>>(&case, "sides") {
            let (what, want) = (format!("{name} {height}x{width}"), image(&case, &format!("rgb_{height}x{width}")));
            assert_near(&what, &resample(&rgb, [height, width], filter).unwrap(), &want, mean, most);
        }
        assert_near(name, &resample(&grey, [12, 20], filter).unwrap(), &image(&case, "grey_12x20"), mean, most);
        let shorter = Pipeline { steps: vec![Step::Resize(Resize { size: Size::Shorter(16), filter })] };
        let scaled = shorter.apply(rgb.clone(), &mut generator(0)).unwrap();
        assert_near(name, &scaled, &image(&case, "shorter_16"), mean, most);
        let [top, left, height, width] = described(&case, "region");
        let region = Region { left, top, width, height };
        let scaled = resample_region(&rgb, region, [14, 14], filter).unwrap();
        assert_near(name, &scaled, &image(&case, "region"), mean, most);
    }
}

#[test]
fn middles_are_torchvisions() {
    let (case, small) = (case("center_crop"), picture("small"));
    for [height, width] in described::<Vec<[usize; 2]>>(&case, "sizes") {
        let step = CenterCrop::from(Extent::Sides([height, width]));
        let pipeline = Pipeline { steps: vec![Step::CenterCrop(step)] };
        let got = pipeline.apply(small.clone(), &mut generator(0)).unwrap();
        assert_near("center crop", &got, &image(&case, &format!("{height}x{width}")), 0.0, 0);
    }
}

type Change = (&'static str, fn(&mut Image, f64));

#[test]
fn colours_change_as_pillows_to_the_bit() {
    let (case, small) = (case("enhance"), picture("small"));
    let changes: [Change; 5] = [
        ("brightness", |image, factor| enhance::brightness(image, factor as f32)),
        ("contrast", |image, factor| enhance::contrast(image, factor as f32)),
        ("saturation", |image, factor| enhance::saturation(image, factor as f32)),
        ("sharpness", |image, factor| enhance::sharpness(image, factor as f32)),
        ("hue", enhance::hue),
    ];
    for (name, change) in changes {
        for (at, factor) in described::<Vec<f64>>(&case, name).into_iter().enumerate() {
            let mut changed = small.clone();
            change(&mut changed, factor);
            assert_near(&format!("{name} {factor}"), &changed, &image(&case, &format!("{name}_{at}")), 0.0, 0);
        }
    }
    let mut grey = small;
    enhance::grayscale(&mut grey);
    let luma: Vec<u8> = grey.pixels.iter().step_by(3).copied().collect();
    assert_eq!(luma, image(&case, "grey").pixels);
}

#[test]
fn blurs_are_torchvisions() {
    let case = case("blur");
    for (at, (kernel, sigma)) in described::<Vec<(usize, f64)>>(&case, "settings").into_iter().enumerate() {
        let mut blurred = picture("rgb");
        gaussian_blur(&mut blurred, kernel, sigma);
        // Sums in another order: a half may fall on the other side.
        assert_near(&format!("blur {kernel} {sigma}"), &blurred, &image(&case, &at.to_string()), 0.005, 1);
    }
}

#[derive(Deserialize)]
struct Map {
    angle: f64,
    translate: [f64; 2],
    scale: f64,
    shear: [f64; 2],
}

#[test]
fn warps_are_pillows_to_the_bit() {
    let (case, small) = (case("affine"), picture("small"));
    let fill = Fill::Rgb(described(&case, "fill"));
    for (name, sampling) in [("nearest", Sampling::Nearest), ("bilinear", Sampling::Bilinear)] {
        for (at, map) in described::<Vec<Map>>(&case, "settings").into_iter().enumerate() {
            let matrix = inverse_affine(center(&small), map.angle, map.translate, map.scale, map.shear);
            let what = format!("{name}_{at}");
            assert_near(&what, &warp(&small, matrix, sampling, fill), &image(&case, &what), 0.0, 0);
        }
        let what = format!("{name}_rotate");
        let turned = rotate(&small, described(&case, "rotate"), sampling, fill);
        assert_near(&what, &turned, &image(&case, &what), 0.0, 0);
    }
}

#[test]
fn rand_augments_operations_are_torchvisions_to_the_bit() {
    let (case, small) = (case("rand_augment"), picture("small"));
    let names: Vec<String> = described(&case, "ops");
    assert_eq!(names, Op::ALL.map(|op| format!("{op:?}")));
    for (at, (magnitude, negative)) in described::<Vec<(u32, bool)>>(&case, "strengths").into_iter().enumerate() {
        for op in Op::ALL {
            let got = op.apply(small.clone(), magnitude, negative, Sampling::Nearest, Fill::default());
            assert_near(&format!("{op:?} {magnitude}"), &got, &image(&case, &format!("{op:?}_{at}")), 0.0, 0);
        }
    }
}

#[test]
fn a_test_pipeline_gives_torchvisions_tensor() {
    let pipeline =
        Pipeline { steps: vec![Step::Resize(Size::Shorter(24).into()), Step::CenterCrop(Extent::Square(20).into())] };
    let mut out = vec![0.0; 3 * 20 * 20];
    pipeline.apply_normalized(picture("rgb"), &mut generator(0), &Normalize::imagenet(), &mut out).unwrap();
    let want = case("evaluation").numbers("input").unwrap();
    let difference = |i: usize| (f64::from(out[i]) - want[i]).abs();
    let mean = (0..out.len()).map(difference).sum::<f64>() / out.len() as f64;
    // One step of 255 is 0.0175 of the deviation.
    assert!(mean < 0.2 * 0.0175 && (0..out.len()).all(|i| difference(i) < 0.018), "off by {mean} on average");
}

/// Asserts that means and deviations of our draws are those of `want` `[2, columns]`, but for chance.
fn assert_same_distribution(what: &str, rows: &[[f64; 4]], want: &[f64], draws: usize) {
    let columns = want.len() / 2;
    for column in 0..columns {
        let n = rows.len() as f64;
        let mean = rows.iter().map(|row| row[column]).sum::<f64>() / n;
        let deviation = (rows.iter().map(|row| (row[column] - mean).powi(2)).sum::<f64>() / n).sqrt();
        let (want_mean, want_deviation) = (want[column], want[columns + column]);
        // Four and a half standard errors of the difference of two samples.
        let chance = 4.5 * want_deviation * (1.0 / n + 1.0 / draws as f64).sqrt();
        assert!(
            (mean - want_mean).abs() <= chance,
            "{what}, column {column}: mean {mean}, want {want_mean} ± {chance}"
        );
        assert!((deviation - want_deviation).abs() <= chance, "{what}, column {column}: {deviation}, {want_deviation}");
    }
}

#[derive(Deserialize)]
struct Draw {
    sides: Option<[usize; 2]>,
    scale: [f64; 2],
    ratio: [f64; 2],
}

#[test]
fn random_crops_are_distributed_as_torchvisions() {
    let case = case("crops");
    for (at, draw) in described::<Vec<Draw>>(&case, "settings").into_iter().enumerate() {
        let crop = RandomResizedCrop { scale: draw.scale, ratio: draw.ratio, ..Extent::Square(8).into() };
        let sides = draw.sides.unwrap();
        let mut rng = generator(at as u64);
        let numbers = |region: Region| [region.width, region.height, region.left, region.top].map(|x| x as f64);
        let rows: Vec<_> = (0..20_000).map(|_| numbers(crop.draw(sides, &mut rng))).collect();
        let want = case.numbers(&at.to_string()).unwrap();
        assert_same_distribution(&format!("crops {at}"), &rows, &want, described(&case, "draws"));
    }
}

#[test]
fn erased_rectangles_are_distributed_as_torchvisions() {
    let case = case("erasings");
    let [height, width]: [usize; 2] = described(&case, "sides");
    for (at, draw) in described::<Vec<Draw>>(&case, "settings").into_iter().enumerate() {
        let step = RandomErasing { probability: 1.0, scale: draw.scale, ratio: draw.ratio, value: Some(Fill::Grey(9)) };
        let pipeline = Pipeline { steps: vec![Step::RandomErasing(step)] };
        let mut rng = generator(at as u64);
        let rows: Vec<_> = (0..5_000)
            .map(|_| {
                let image = Image::new(width, height, 1, vec![0; width * height]).unwrap();
                let erased = pipeline.apply(image, &mut rng).unwrap();
                let places: Vec<usize> = (0..width * height).filter(|&place| erased.pixels[place] == 9).collect();
                let area = places.len().max(1) as f64;
                let middle = |of: fn(usize, usize) -> usize| {
                    places.iter().map(|&place| of(place, width) as f64 + 0.5).sum::<f64>() / area
                };
                [places.len() as f64, middle(|place, width| place % width), middle(|place, width| place / width), 0.0]
            })
            .collect();
        let want = case.numbers(&at.to_string()).unwrap();
        assert_same_distribution(&format!("erasings {at}"), &rows, &want, described(&case, "draws"));
    }
}

#[derive(Debug, Deserialize)]
struct Recipe {
    transforms: Pipeline,
}

fn recipe(steps: &str) -> Result<Pipeline, String> {
    let recipe: Recipe = toml::from_str(&format!("transforms = [{steps}]")).map_err(|error| error.to_string())?;
    recipe.transforms.check().map_err(|error| error.to_string())?;
    Ok(recipe.transforms)
}

const ALL_STEPS: &str = r#"
    { resize = [40, 50] }, { random_affine = { degrees = 10, translate = [0.1, 0.1], scale = [0.9, 1.1], fill = 127 } },
    { random_crop = { size = [36, 44], padding = 2 } }, { random_resized_crop = { size = 24, scale = [0.2, 1] } },
    { horizontal_flip = 0.5 }, { vertical_flip = 0.5 }, { rand_augment = { magnitude = 15 } },
    { color_jitter = { brightness = 0.4, contrast = 0.4, saturation = 0.4, hue = 0.1, probability = 0.8 } },
    { grayscale = 0.2 }, { gaussian_blur = { kernel = 5, probability = 0.5 } }, { random_erasing = {} },
    { center_crop = 20 }"#;

#[test]
fn the_same_seed_gives_the_same_images_on_any_number_of_threads() {
    let pipeline = recipe(ALL_STEPS).unwrap();
    assert_eq!(pipeline.output_shape(3).unwrap(), [3, 20, 20]);
    for picture in [picture("rgb"), picture("grey")] {
        let all = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let one = |position| pipeline.apply(picture.clone(), &mut generator(position)).unwrap();
            pool.install(|| (0..40u64).into_par_iter().map(one).collect::<Vec<_>>())
        };
        let images = all(1);
        assert_eq!(images, all(3));
        assert!(images.iter().all(|image| image.shape() == [picture.channels, 20, 20]));
        assert_ne!(images[0], images[1]);
    }
}

#[test]
fn a_recipe_comes_back_as_it_was_written() {
    let pipeline = recipe(ALL_STEPS).unwrap();
    let written = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&written).unwrap(), pipeline);
}

#[test]
fn mistakes_are_named_with_their_mend() {
    for (steps, says) in [
        ("{ resize = 0 }", "transforms[0].resize: size = [0]: give sides in 1..=16384"),
        ("{ resize = 9 }, { horizontal_flip = 1.5 }", "transforms[1].horizontal_flip: probability = 1.5: give"),
        (
            "{ random_resized_crop = { size = 9, scale = [0, 1] } }",
            "random_resized_crop: scale = [0.0, 1.0]: give shares",
        ),
        ("{ random_resized_crop = { size = 9, sacle = [0, 1] } }", "unknown field `sacle`"),
        ("{ gaussian_blur = { kernel = 4 } }", "gaussian_blur: kernel = 4: give an odd number"),
        ("{ color_jitter = { hue = 0.6 } }", "color_jitter: hue = 0.6: give a number in 0..=0.5"),
        ("{ rand_augment = { magnitude = 31 } }", "rand_augment: magnitude = 31: give a strength in 0..=30"),
        ("{ center_crop = [1, 2, 3] }", "a side in pixels or [height, width]"),
        ("{ resise = 9 }", "unknown variant `resise`"),
    ] {
        let error = recipe(steps).unwrap_err();
        assert!(error.contains(says), "{steps}: {error}");
    }
    let open = recipe("{ resize = 256 }, { horizontal_flip = 0.5 }").unwrap().output_sides().unwrap_err().to_string();
    assert!(open.contains("[\"resize\", \"horizontal_flip\"]") && open.contains("add center_crop"), "{open}");
    let empty = Image::new(0, 0, 3, vec![]).unwrap();
    assert!(Pipeline::train_224().apply(empty, &mut generator(0)).is_err());
}
