//! Tiny data sets laid out and packed as the owners do it.
#![allow(dead_code, reason = "each test file takes what it needs")]

use dml_data::image::{CenterCrop, Decoder, Extent, Pipeline, Step};
use dml_data::{
    Augment, AugmentedSet, Catalog, FileImages, ImageSet, Inputs, Loader, LoaderOptions, Manifest, Normalize, PkSampler,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use image::{GrayImage, ImageFormat, Luma};
use md5::{Digest, Md5};
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Files by name.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

/// A file of text.
pub(crate) fn text(name: &str, content: &str) -> (String, Vec<u8>) {
    (name.to_owned(), content.as_bytes().to_vec())
}

/// A grey picture of 8 × 8 whose first pixel is `value`, in the format of the name's ending.
pub(crate) fn picture(name: &str, value: u8) -> (String, Vec<u8>) {
    let format = match name.rsplit('.').next() {
        Some("pgm") => ImageFormat::Pnm,
        Some("png") => ImageFormat::Png,
        _ => ImageFormat::Jpeg,
    };
    let mut bytes = Cursor::new(vec![]);
    GrayImage::from_pixel(8, 8, Luma([value])).write_to(&mut bytes, format).unwrap();
    (name.to_owned(), bytes.into_inner())
}

pub(crate) fn tar(files: &Files) -> Vec<u8> {
    let mut builder = tar::Builder::new(vec![]);
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zip(files: &Files) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(vec![]));
    for (name, bytes) in files {
        writer.start_file(name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An idx file of `n` values in `dimensions`, all but the first of which are 1.
pub(crate) fn idx(dimensions: u8, n: u32, values: Vec<u8>) -> Vec<u8> {
    // Bytes, or integers of 32 bits.
    let kind = if values.len() == n as usize { 8 } else { 12 };
    let mut bytes = vec![0, 0, kind, dimensions];
    bytes.extend(n.to_be_bytes());
    (1..dimensions).for_each(|_| bytes.extend(1u32.to_be_bytes()));
    bytes.extend(values);
    gz(&bytes)
}

/// A mirror with a trimmed copy of a set, the set's manifest with the counts, sizes and checksums of the copy, and a data
/// folder that is to hold it.
pub(crate) struct Trimmed {
    mirror: TempDir,
    pub(crate) data: TempDir,
    pub(crate) manifest: Manifest,
}

impl Trimmed {
    /// The set `name` with `files` in place of the manifest's own, and the counts of `expected` (part, classes, samples).
    pub(crate) fn new(name: &str, files: Files, expected: &[(&str, usize, usize)]) -> Self {
        let mut manifest = Manifest::find(name).unwrap();
        let (mirror, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folder = mirror.path().join(manifest.mirror_path());
        fs::create_dir_all(&folder).unwrap();
        for file in &mut manifest.files {
            let (_, bytes) = files.iter().find(|(name, _)| *name == file.name).expect("every file of the manifest");
            fs::write(folder.join(&file.name), bytes).unwrap();
            file.bytes = Some(bytes.len() as u64);
            file.sha256 = None;
            file.md5 = Some(Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect());
        }
        manifest.expected = expected
            .iter()
            .map(|&(part, classes, samples)| {
                let counts = dml_data::Expected { classes: Some(classes), samples: Some(samples), per_class: None };
                (part.to_owned(), counts)
            })
            .collect();
        Self { mirror, data, manifest }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.manifest.folder(self.data.path())
    }

    /// Brings the files from the mirror, verifies them and unpacks the archives.
    pub(crate) fn ready(&self) -> &Path {
        self.bring();
        self.manifest.verify(self.data.path()).unwrap();
        dml_data::unpack::set(&self.manifest, self.data.path(), dml_data::unpack::Limits::default()).unwrap();
        self.data.path()
    }

    #[cfg(feature = "download")]
    fn bring(&self) {
        use dml_data::download::{Fetcher, Source};
        let source = Source::Mirror(self.mirror.path().to_string_lossy().into_owned());
        let brought = Fetcher::new(source).fetch(&self.manifest, self.data.path(), &mut |_| ()).unwrap();
        assert_eq!(brought, self.manifest.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>());
    }

    #[cfg(not(feature = "download"))]
    fn bring(&self) {
        fs::create_dir_all(self.folder()).unwrap();
        for file in &self.manifest.files {
            let of_mirror = self.mirror.path().join(self.manifest.mirror_path()).join(&file.name);
            fs::copy(of_mirror, self.folder().join(&file.name)).unwrap();
        }
    }
}

/// Writes `files` below `root`.
pub(crate) fn write(root: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// `cars_annos.mat` of (path, box, class, test) and the class names, uncompressed.
pub(crate) fn cars_annos(rows: &[(String, [u8; 4], u8, u8)], class_names: &[String]) -> Vec<u8> {
    const FIELDS: [&str; 7] = ["relative_im_path", "bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "test"];
    let mut values = element(5, &16u32.to_le_bytes());
    values.extend(element(1, &FIELDS.map(|field| format!("{field:\0<16}")).concat().into_bytes()));
    for (path, corners, class, test) in rows {
        values.extend(text_array("", path));
        for number in corners.iter().chain([class, test]) {
            values.extend(matrix(9, [1, 1], "", &element(2, &[*number])));
        }
    }
    let names: Vec<u8> = class_names.iter().flat_map(|name| text_array("", name)).collect();
    let mut bytes = vec![b' '; 124];
    bytes.extend([0, 1, b'I', b'M']);
    bytes.extend(matrix(2, [1, rows.len() as u32], "annotations", &values));
    bytes.extend(matrix(1, [1, class_names.len() as u32], "class_names", &names));
    bytes
}

fn element(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes
}

fn matrix(class: u32, dimensions: [u32; 2], name: &str, values: &[u8]) -> Vec<u8> {
    let flags = element(6, &[class.to_le_bytes(), [0; 4]].concat());
    let sides = element(5, &dimensions.map(u32::to_le_bytes).concat());
    element(14, &[flags, sides, element(1, name.as_bytes()), values.to_vec()].concat())
}

fn text_array(name: &str, text: &str) -> Vec<u8> {
    let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    matrix(4, [1, text.len() as u32], name, &element(17, &units))
}

/// The whole catalogue as (path, class, part).
pub(crate) fn rows(catalog: &Catalog) -> Vec<(&str, &str, &str)> {
    (0..catalog.len())
        .map(|i| (catalog.path(i), catalog.class_names()[catalog.labels()[i] as usize].as_str(), catalog.part_of(i)))
        .collect()
}

/// Opens every sample and checks that its picture is the one that the tiny set drew; then trains on them, as far as a loader
/// goes.
pub(crate) fn sampled(catalog: &Catalog, values: &[u8]) {
    catalog.check_files().unwrap();
    catalog.check_disjoint().unwrap();
    for (i, &value) in values.iter().enumerate() {
        let (path, bytes) = catalog.read(i).unwrap();
        let picture = dml_data::image::decode(&path, &bytes, 1).unwrap();
        assert!(picture.pixels[0].abs_diff(value) < 3, "{}: {} is not {value}", path.display(), picture.pixels[0]);
    }
    assert_eq!(catalog.len(), values.len());
    let pipeline = Pipeline { steps: vec![Step::CenterCrop(CenterCrop::from(Extent::Square(4)))] };
    let images = FileImages::new(catalog.clone(), Decoder::default(), pipeline, Normalize::default()).unwrap();
    batched(Arc::new(images), |i| values[i]);
}

/// Has a loader prepare two epochs of P×K batches and checks that each row is the picture, of one `value`, of its sample.
pub(crate) fn batched(inputs: Arc<dyn Inputs>, value: impl Fn(usize) -> u8) {
    let (labels, [channels, height, width]) = (inputs.labels().to_vec(), inputs.shape());
    let sampler = PkSampler::new(&labels, 2, 2, 0).unwrap();
    let epochs = 2 * dml_data::BatchSampler::batches_per_epoch(&sampler);
    let options = LoaderOptions { until: Some(epochs as u64), ..LoaderOptions::default() };
    let batches: Vec<_> = Loader::over(inputs, Box::new(sampler), (0, 0), options).collect::<Result<_, _>>().unwrap();
    assert_eq!(batches.len(), epochs);
    for batch in batches {
        assert_eq!(batch.shape, [4, channels, height, width]);
        assert_eq!(batch.labels, batch.indices.iter().map(|&i| labels[i]).collect::<Vec<_>>());
        assert!(batch.labels[0] == batch.labels[1] && batch.labels[2] == batch.labels[3]);
        assert_ne!(batch.labels[1], batch.labels[2], "two classes");
        for (row, &i) in batch.pixels.chunks(channels * height * width).zip(&batch.indices) {
            let right = |pixel: &f32| (pixel * 255.0 - f32::from(value(i))).abs() < 3.0;
            assert!(row.iter().all(right), "sample {i} is {row:?}, not {}", value(i));
        }
    }
}

/// Has a loader prepare batches of a set in memory whose images are of one value each.
pub(crate) fn in_memory(set: &ImageSet) {
    let (augment, normalize) = (Augment::default(), Normalize::default());
    let inputs = AugmentedSet { dataset: Arc::new(set.clone()), augment, normalize };
    batched(Arc::new(inputs), |i| set.pixels(i)[0]);
}
