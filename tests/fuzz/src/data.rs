//! Targets that read what dml-data reads.

use crate::place::{self, Target};
use dml_data::image::{Decoder, Pipeline};
use dml_data::rng::{Purpose, stream};
use dml_data::sources::{
    banking77, cars, clinc150, cub, idx as idx_files, in_shop, inaturalist, lfw, mini_imagenet,
    own_texts as text_tables, sop, stsb, table as tables, tar_shards as shards, vehicle_id,
};
use dml_data::unpack::{Limits, archive};
use dml_data::{ByteInputs, CachedImages, Catalog, CatalogBuilder, FileEntry, Files, Inputs, Manifest, Membership};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// All of them by their names.
pub const TARGETS: [Target; 11] = [
    ("decoded_cache", decoded_cache),
    ("idx", idx),
    ("image", image),
    ("lfw_pairs", lfw_pairs),
    ("lists", lists),
    ("manifest", manifest),
    ("mat5", mat5),
    ("own_texts", own_texts),
    ("table", table),
    ("tar_shards", tar_shards),
    ("unpack", unpack),
];

/// Where the digest of a cache stands; what it leaves out are the pixels.
const SEAL: std::ops::Range<usize> = 32..64;

/// Caches of decoded images. They are sealed anew, so that what a right seal guards is looked at, too.
pub fn decoded_cache(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let _ = seal(&mut bytes);
    if let Ok(cache) = CachedImages::open(place::images(), place::file("x.cache", &bytes)) {
        for index in 0..cache.labels().len() {
            let _ = cache.image(index, None);
        }
    }
}

/// Writes the digest that belongs to `bytes`, if they go far enough to have one.
fn seal(bytes: &mut [u8]) -> Option<()> {
    let described = u32::from_le_bytes(*bytes.get(12..)?.first_chunk()?) as usize;
    let noted = u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?) as usize;
    let files = u64::from_le_bytes(*bytes.get(24..)?.first_chunk()?) as usize;
    let table = SEAL.end + described;
    let origin: serde_json::Value = serde_json::from_slice(bytes.get(SEAL.end..table)?).ok()?;
    let rows = (origin.get("samples")?.as_u64()? as usize).checked_add(files)?;
    let pixels = rows.checked_mul(16)?.checked_add(table)?;
    let notes = bytes.len().checked_sub(noted)?;
    let mut hasher = Sha256::new();
    for part in [bytes.get(..SEAL.start)?, bytes.get(SEAL.end..pixels)?, bytes.get(notes..)?] {
        hasher.update(part);
    }
    bytes[SEAL].copy_from_slice(&hasher.finalize());
    Some(())
}

/// Two images of one pixel, and their labels, as idx files.
const IMAGES: [u8; 18] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 7, 8];
const LABELS: [u8; 10] = [0, 0, 8, 1, 0, 0, 0, 2, 1, 0];

/// Arrays of idx files, plain and compressed, and sets made of two of them.
pub fn idx(bytes: &[u8]) {
    let path = Path::new("x");
    let _ = idx_files::read(path, bytes);
    let _ = idx_files::image_set("x", (path, bytes), (path, &LABELS), None);
    let _ = idx_files::image_set("x", (path, &IMAGES), (path, bytes), None);
}

const MOST_PIXELS: u64 = 1 << 16;

static SHRINK: LazyLock<Pipeline> =
    LazyLock::new(|| serde_json::from_str(r#"[{"resize": [4, 4]}]"#).expect("a pipeline of one step"));

/// Image files, whole and in reduced size. What is decoded has the pixels that its size says, and no more than allowed.
pub fn image(bytes: &[u8]) {
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
}

/// Three images each of Ann and Bob.
static PEOPLE: LazyLock<Catalog> = LazyLock::new(|| {
    let mut builder = CatalogBuilder::new("people", "", Files::below(""));
    for name in ["Ann", "Bob"] {
        for number in 1..=3 {
            let image = format!("{name}/{name}_{number:04}.jpg");
            builder.add(Membership::new(name, "all"), FileEntry::file(&image)).expect("a plain path");
        }
    }
    builder.finish()
});

/// Lists of pairs of a catalogue's images.
pub fn lfw_pairs(bytes: &[u8]) {
    if let Ok(pairs) = lfw::pairs(&place::file("pairs.txt", bytes), &PEOPLE) {
        assert!(pairs.iter().all(|pair| pair.left.max(pair.right) < PEOPLE.len()));
    }
}

const CUB: [&str; 5] =
    ["classes.txt", "images.txt", "image_class_labels.txt", "bounding_boxes.txt", "train_test_split.txt"];

/// The lists of published sets. The first byte says which set; then its lists, parted by zero bytes.
pub fn lists(bytes: &[u8]) {
    let Some((set, lists)) = bytes.split_first() else { return };
    let files = place::files;
    let _ = match set {
        b'b' => cub::classification(&files(&CUB, lists)).map(drop),
        b'c' => cub::read(&files(&CUB, lists)).map(drop),
        b'f' => {
            let root = files(&["people.txt", "peopleDevTrain.txt", "peopleDevTest.txt"], lists);
            lfw::read(&root, &root).map(drop)
        }
        b'k' => banking77::read(&files(&["train.csv", "test.csv"], lists)).map(drop),
        b'l' => clinc150::read(&files(&["data_full.json", "domains.json"], lists)).map(drop),
        b'm' => {
            let root = files(&["train.csv", "val.csv", "test.csv"], lists);
            mini_imagenet::from_lists(&root, &root).map(drop)
        }
        b'n' => {
            inaturalist::read(&files(&["Inaturalist_train_set1.txt", "Inaturalist_test_set1.txt"], lists)).map(drop)
        }
        b'p' => sop::read(&files(&["Ebay_train.txt", "Ebay_test.txt"], lists)).map(drop),
        b's' => in_shop::read(&files(&["list_eval_partition.txt", "list_bbox_inshop.txt"], lists)).map(drop),
        b't' => stsb::read(&files(&["stsb-en-train.csv", "stsb-en-dev.csv", "stsb-en-test.csv"], lists)).map(drop),
        b'v' => {
            fs::create_dir_all(place::path("train_test_split")).expect("a folder in that of this process");
            let lists = files(&["train_test_split/train_list.txt", "train_test_split/test_list_800.txt"], lists);
            vehicle_id::read(&lists, vehicle_id::TestSize::Small, 0).map(drop)
        }
        _ => return,
    };
}

/// Manifests, and the command to fetch what they name.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::parse(place::text(bytes)) {
        let command = manifest.fetch_command();
        assert!(command.contains(&manifest.name), "{command}");
        assert!(manifest.folder("data".as_ref()).parent() == Some("data".as_ref()), "{}", manifest.name);
    }
}

/// Annotations in MATLAB files.
pub fn mat5(bytes: &[u8]) {
    place::file("cars_annos.mat", bytes);
    let _ = cars::read(&place::path(""));
}

/// Tables of texts and of pairs of them: CSV and TSV.
pub fn own_texts(bytes: &[u8]) {
    for name in ["x.csv", "x.tsv"] {
        let path = place::file(name, bytes);
        let _ = text_tables::open(&path);
        let _ = text_tables::pairs(&path);
    }
}

/// Tables of images: CSV and TSV.
pub fn table(bytes: &[u8]) {
    for name in ["x.csv", "x.tsv"] {
        let _ = tables::open(&place::file(name, bytes), None);
    }
}

/// Tar archives that are read in place.
pub fn tar_shards(bytes: &[u8]) {
    let path = place::file("x.tar", bytes);
    if let Ok(catalog) = shards::classification("x", &[("all", &path)]) {
        for i in 0..catalog.len() {
            assert!(catalog.read(i).expect("samples lie within the archive").1.len() <= bytes.len());
        }
    }
}

const LIMITS: Limits = Limits { files: 16, bytes: 1 << 16 };

/// Archives that are unpacked: zip, tar, tar.gz. Nothing half done is left.
pub fn unpack(bytes: &[u8]) {
    let (path, target) = (place::file("archive", bytes), place::path("x"));
    match archive(&path, &target, LIMITS) {
        Ok(()) => fs::remove_dir_all(&target).expect("a folder was made"),
        Err(_) => assert!(!target.exists(), "a refused archive left something"),
    }
    assert!(!place::path("x.unpacking").exists(), "something half done was left");
}
