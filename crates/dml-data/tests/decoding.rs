//! Image files of every kind, whole and mutilated.

use dml_data::image::{Decoder, JpegLibrary, Pipeline, Unreadable};
use dml_data::rng::{Purpose, stream};
use dml_data::{Error, Image};
use dml_testkit::{Case, load_goldens};
use proptest::prelude::*;
use rand::RngCore;
use std::path::Path;
use std::sync::LazyLock;

fn case(name: &str) -> Case {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/transforms.safetensors");
    load_goldens(&path).unwrap().into_iter().find(|case| case.name == name).unwrap()
}

fn bytes(case: &Case, name: &str) -> Vec<u8> {
    case.tensor(name).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn pixels(case: &Case, name: &str) -> Image {
    let tensor = case.tensor(name).unwrap();
    let (height, width) = (tensor.dims()[0], tensor.dims()[1]);
    Image::new(width, height, 3, bytes(case, name)).unwrap()
}

fn names(case: &Case) -> Vec<String> {
    serde_json::from_value(case.description["files"].clone()).unwrap()
}

fn decode(bytes: &[u8]) -> dml_data::Result<Image> {
    Decoder::default().decode(Path::new("photos/wren/7"), bytes)
}

fn differences(got: &Image, want: &Image) -> (f64, u8) {
    let each = || got.pixels.iter().zip(&want.pixels).map(|(got, want)| got.abs_diff(*want));
    (each().map(f64::from).sum::<f64>() / want.pixels.len() as f64, each().max().unwrap())
}

#[test]
fn files_are_read_as_pillow_reads_them() {
    let case = case("decode");
    for name in names(&case) {
        let (got, want) =
            (decode(&bytes(&case, &format!("{name}/file"))).unwrap(), pixels(&case, &format!("{name}/pixels")));
        assert_eq!(got.shape(), want.shape(), "{name}");
        let (mean, most) = differences(&got, &want);
        // Lossy formats leave some rounding to the reader.
        let allowed = match name.as_str() {
            "jpeg_cmyk" => (0.6, 4),
            // Colours of half the sides are spread by another rule.
            "jpeg_420" | "jpeg_progressive" => (0.5, 8),
            name if name.starts_with("jpeg") => (0.1, 3),
            "webp_lossy" => (0.5, 4),
            _ => (0.0, 0),
        };
        assert!(mean <= allowed.0 && most <= allowed.1, "{name}: off by {mean:.3} on average, {most} at most");
    }
}

#[test]
fn grey_is_what_pillow_calls_grey() {
    let case = case("decode");
    let grey = Decoder { channels: 1, ..Decoder::default() };
    let read = |name: &str| grey.decode(Path::new("x"), &bytes(&case, &format!("{name}/file"))).unwrap();
    let rgb = pixels(&case, "png_rgb/pixels");
    let luma = |pixel: &[u8]| {
        let [red, green, blue] = [0, 1, 2].map(|channel| f64::from(pixel[channel]));
        0.299 * red + 0.587 * green + 0.114 * blue
    };
    let got = read("png_rgb");
    assert_eq!(got.channels, 1);
    let worst = got.pixels.iter().zip(rgb.pixels.chunks(3)).map(|(&got, pixel)| (f64::from(got) - luma(pixel)).abs());
    assert!(worst.fold(0.0, f64::max) <= 0.51);
    let stored: Vec<u8> = pixels(&case, "png_grey/pixels").pixels.iter().step_by(3).copied().collect();
    assert_eq!(read("png_grey").pixels, stored);
    assert!(Decoder { channels: 2, ..grey }.decode(Path::new("x"), &bytes(&case, "png_rgb/file")).is_err());
}

#[test]
fn photographs_are_turned_upright_when_asked() {
    let case = case("orientation");
    for name in (1..=8).map(|value| format!("png_{value}")).chain(["jpeg_6".into()]) {
        let file = bytes(&case, &format!("{name}/file"));
        let (got, want) = (decode(&file).unwrap(), pixels(&case, &format!("{name}/pixels")));
        assert_eq!(got.shape(), want.shape(), "{name}");
        let (mean, most) = differences(&got, &want);
        let allowed = if name.starts_with("jpeg") { (0.1, 3) } else { (0.0, 0) };
        assert!(mean <= allowed.0 && most <= allowed.1, "{name}: off by {mean:.3} on average, {most} at most");
        let stored = Decoder { orient: false, ..Decoder::default() }.decode(Path::new("x"), &file).unwrap();
        assert_eq!((stored.width, stored.height), (23, 20), "{name} as stored");
    }
}

#[test]
fn what_is_cut_off_is_named_and_left_out_if_allowed() {
    let case = case("decode");
    for name in names(&case) {
        let file = bytes(&case, &format!("{name}/file"));
        for kept in [file.len() / 2, file.len() * 9 / 10] {
            let error = match decode(&file[..kept]) {
                Err(error) => error,
                Ok(_) => panic!("{name}: {kept} of {} bytes are an image", file.len()),
            };
            let said = error.to_string();
            assert!(said.contains("photos/wren/7") && said.contains("replace or remove it"), "{said}");
            let mut skipped = Vec::new();
            assert!(matches!(Unreadable::Skip.settle(Err::<(), _>(error), &mut skipped), Ok(None)));
            let [error @ Error::Format { .. }] = &skipped[..] else { panic!("{skipped:?}") };
            assert_eq!(error.to_string(), said);
        }
        let (whole, mut skipped) = (decode(&file), Vec::new());
        assert!(Unreadable::Fail.settle(whole, &mut skipped).unwrap().is_some() && skipped.is_empty());
    }
    assert!(Unreadable::Fail.settle(decode(b"GIF89a"), &mut Vec::new()).is_err());
    // What is wrong with the program and not with a file is never skipped.
    let mistake = Err::<(), _>(Error::Invalid("channels".into()));
    assert!(Unreadable::Skip.settle(mistake, &mut Vec::new()).is_err());
}

#[test]
fn more_pixels_than_allowed_are_refused_before_they_are_made() {
    let case = case("decode");
    for name in names(&case) {
        let file = bytes(&case, &format!("{name}/file"));
        let small = Decoder { max_pixels: 23 * 20 - 1, ..Decoder::default() };
        let error = small.decode(Path::new("bomb"), &file).unwrap_err().to_string();
        assert!(error.contains("bomb") && error.contains("23x20") && error.contains("459 pixels"), "{name}: {error}");
        assert!(Decoder { max_pixels: 23 * 20, ..small }.decode(Path::new("x"), &file).is_ok(), "{name}");
    }
    // A header that promises 60,000 x 60,000 pixels.
    assert!(decode(b"P6 60000 60000 255 ").is_err());
}

static FILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let case = case("decode");
    names(&case).iter().map(|name| bytes(&case, &format!("{name}/file"))).collect()
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn mutilated_files_are_read_or_refused(
        file in 0usize..15, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = FILES[file].clone();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        // A changed header may promise much: little is allowed here.
        let limits = Decoder { max_pixels: 1 << 20, ..Decoder::default() };
        match limits.decode(Path::new("x"), &bytes) {
            Ok(image) => prop_assert_eq!(image.pixels.len(), image.width * image.height * 3),
            Err(error) => prop_assert!(matches!(error, Error::Format { .. }), "{}", error),
        }
    }

    #[test]
    fn noise_behind_a_magic_number_is_read_or_refused(
        magic in prop::sample::select(vec![
            &b""[..], b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x10\0\0\0WEBPVP8 ", b"RIFF\x10\0\0\0WEBPVP8L",
            b"BM",
            b"P1 ", b"P2 ", b"P5 ", b"P6 3 3 255\n", b"P7\n",
        ]),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let limits = Decoder { max_pixels: 1 << 20, ..Decoder::default() };
        let _ = limits.decode(Path::new("x"), &[magic, &noise].concat());
    }
}

/// A JPEG file of 637 × 479 pixels: waves, edges and noise.
static LARGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let picture = image::RgbImage::from_fn(637, 479, |x, y| {
        let wave = |period: f32, shift: f32| ((x as f32 + shift * y as f32) / period).sin();
        let edge = if (x / 90 + y / 70) % 2 == 0 { 12.0 } else { -12.0 };
        let noise = (x * 7919 + y * 104_729) % 31;
        let value = |period, shift| (128.0 + 50.0 * wave(period, shift) + edge + noise as f32 - 15.0) as u8;
        image::Rgb([value(31.0, 0.3), value(47.0, 1.0), value(80.0, -0.5)])
    });
    let mut file = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut file, 90).encode_image(&picture).unwrap();
    file
});

fn load(steps: &str, reduce: bool, bytes: &[u8], seed: u64) -> (dml_data::Result<Image>, u64) {
    let pipeline: Pipeline = serde_json::from_str(steps).unwrap();
    let decoder = Decoder { reduce, ..Decoder::default() };
    let mut rng = stream(seed, Purpose::Augment, (0, 0));
    (pipeline.load(&decoder, Path::new("photos/wren/7"), bytes, &mut rng), rng.next_u64())
}

#[test]
fn reduced_files_give_nearly_the_same_images_from_the_same_draws() {
    let mut other = 0;
    for (steps, reduces) in [
        (r#"[{"resize": 40}, {"center_crop": 32}]"#, true),
        (r#"[{"resize": [80, 110]}]"#, true),
        (r#"[{"resize": [100, 120]}]"#, false),
        (
            r#"[{"random_resized_crop": {"size": 20, "scale": [0.2, 1], "filter": "bicubic"}}, {"vertical_flip": 1}]"#,
            true,
        ),
        (r#"[{"random_resized_crop": {"size": 224, "scale": [0.2, 1]}}]"#, false),
        (r#"[{"horizontal_flip": 0.5}, {"resize": 40}]"#, false),
    ] {
        for seed in 0..8 {
            let (whole, whole_next) = load(steps, false, &LARGE, seed);
            let (reduced, next) = load(steps, true, &LARGE, seed);
            let (whole, reduced) = (whole.unwrap(), reduced.unwrap());
            assert_eq!((whole.shape(), whole_next), (reduced.shape(), next), "{steps}");
            let (mean, most) = differences(&reduced, &whole);
            assert!(mean <= 1.2 && most <= 8, "{steps}: off by {mean:.3} on average, {most} at most");
            assert!(reduces || mean == 0.0, "{steps} needs the whole");
            other += usize::from(mean > 0.0);
        }
    }
    assert!(other >= 24, "reduced decoding was taken {other} times");
}

/// Photographs of the bench, of which colours have half the sides, and `LARGE`.
fn large_files() -> Vec<(&'static str, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/bench/photographs");
    vec![("photograph", std::fs::read(folder.join("1.jpg")).unwrap()), ("waves", LARGE.clone())]
}

/// That a decoder reads of each file no more than a crop takes, and gives what it gives of the whole.
fn parts_are_those_of_the_whole(jpeg: JpegLibrary) {
    for (name, file) in large_files() {
        for channels in [1, 3] {
            let decoder = Decoder { jpeg, channels, ..Decoder::default() };
            let whole = decoder.decode(Path::new("x"), &file).unwrap();
            for (steps, seed) in [
                r#"[{"random_resized_crop": 64}, {"horizontal_flip": 0.5}]"#,
                r#"[{"random_resized_crop": {"size": 90, "scale": [0.01, 0.2], "filter": "bicubic"}}]"#,
                r#"[{"random_resized_crop": {"size": 90, "scale": [0.01, 0.3], "filter": "nearest"}}]"#,
                r#"[{"resize": 100}]"#,
            ]
            .iter()
            .flat_map(|steps| (0..12).map(move |seed| (steps, seed)))
            {
                let pipeline: Pipeline = serde_json::from_str(steps).unwrap();
                let rng = || stream(seed, Purpose::Sample, (0, 0));
                let (mut one, mut other) = (rng(), rng());
                let part = pipeline.load(&decoder, Path::new("x"), &file, &mut one).unwrap();
                let all = pipeline.apply(whole.clone(), &mut other).unwrap();
                assert!(
                    part == all,
                    "{name}, {channels} channels, {steps}, seed {seed}: {:?}",
                    differences(&part, &all)
                );
                assert_eq!(one.next_u64(), other.next_u64());
            }
        }
    }
}

#[test]
fn what_a_crop_takes_of_a_file_is_as_in_the_whole() {
    parts_are_those_of_the_whole(JpegLibrary::Zune);
    // What it does not take is not read: bytes near the end may be wrong, while the end must be there.
    let (_, mut file) = large_files().remove(0);
    let steps = r#"[{"random_resized_crop": {"size": 64, "scale": [0.02, 0.1]}}]"#;
    let crops = |file: &[u8]| (0..40).map(|seed| load(steps, false, file, seed).0.ok()).collect::<Vec<_>>();
    let whole = crops(&file);
    let end = file.len();
    file[end - 9000..end - 2].fill(0);
    let same = crops(&file).iter().zip(&whole).filter(|(broken, whole)| broken == whole).count();
    assert!((20..40).contains(&same), "{same} of 40 crops lie above what is broken");
    assert!(load(steps, false, &file[..end - 2], 0).0.is_err());
}

#[cfg(feature = "turbojpeg")]
#[test]
fn libjpeg_turbo_gives_pillows_pixels_whole_and_in_parts() {
    let case = case("decode");
    let turbo = Decoder { jpeg: JpegLibrary::LibjpegTurbo, ..Decoder::default() };
    for name in names(&case).iter().filter(|name| name.starts_with("jpeg")) {
        let file = bytes(&case, &format!("{name}/file"));
        let got = turbo.decode(Path::new("x"), &file).unwrap();
        let (mean, _) = differences(&got, &pixels(&case, &format!("{name}/pixels")));
        // It has no colours for CMYK: the other library reads it.
        assert!(if name == "jpeg_cmyk" { mean < 0.6 } else { mean == 0.0 }, "{name}: off by {mean:.3} on average");
        assert!(turbo.decode(Path::new("x"), &file[..file.len() / 2]).is_err(), "{name}");
    }
    parts_are_those_of_the_whole(JpegLibrary::LibjpegTurbo);
}

#[cfg(not(feature = "turbojpeg"))]
#[test]
fn a_library_that_is_not_built_in_is_refused() {
    let turbo = Decoder { jpeg: JpegLibrary::LibjpegTurbo, ..Decoder::default() };
    let error = turbo.decode(Path::new("x"), &LARGE).unwrap_err().to_string();
    assert!(error.contains("libjpeg_turbo") && error.contains("feature turbojpeg"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn mutilated_files_in_reduced_size_are_read_or_refused(
        changes in prop::collection::vec((0usize..700, any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = LARGE.clone();
        for (at, value) in changes {
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        match load(r#"[{"resize": 40}]"#, true, &bytes, 0).0 {
            Ok(image) => prop_assert_eq!(image.width.min(image.height), 40),
            Err(error) => prop_assert!(matches!(error, Error::Format { .. }), "{}", error),
        }
    }
}
