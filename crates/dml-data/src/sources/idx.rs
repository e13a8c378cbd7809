//! The idx format of MNIST and its kin: an array with its shape, plain or gzip-compressed.
//!
//! Two zero bytes, the type of a value (8: unsigned byte, 12: 32-bit integer), the number of dimensions, each dimension as
//! a big-endian 32-bit integer, then the values, the last dimension fastest.

use crate::{Error, ImageSet, Result};
use flate2::read::MultiGzDecoder;
use std::io::Read;
use std::path::Path;

/// Most bytes of values that are read: more is a mistake or an attack.
const MOST_BYTES: u64 = 1 << 33;

/// The array of an idx file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idx {
    /// Its dimensions, the slowest first.
    pub shape: Vec<usize>,
    /// Its values, the last dimension fastest.
    pub values: Values,
}

/// Values of an idx file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Type 8, unsigned bytes.
    Bytes(Vec<u8>),
    /// Type 12, 32-bit integers.
    Ints(Vec<i32>),
}

/// Reads an idx file held in `bytes`; gzip is recognised by its first bytes. `path` is for messages.
///
/// # Errors
/// When it is no idx file of bytes or 32-bit integers, has a side of 0, or fewer or more values than its shape says.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Idx> {
    match bytes {
        [0x1f, 0x8b, ..] => parse(path, MultiGzDecoder::new(bytes)),
        _ => parse(path, bytes),
    }
}

/// Images (`[n, height, width]` bytes) and labels (`[n]` bytes or integers) of two idx files as a set of grey images.
/// `class_names` names every class; without it the names are the numbers up to the largest label.
///
/// # Errors
/// As [`read`], when the two files do not fit each other, and when an unnamed label is not below the number of images.
pub fn image_set(
    name: &str,
    images: (&Path, &[u8]),
    labels: (&Path, &[u8]),
    class_names: Option<Vec<String>>,
) -> Result<ImageSet> {
    let pixels = read(images.0, images.1)?;
    let (&[n, height, width], Values::Bytes(values)) = (pixels.shape.as_slice(), pixels.values) else {
        return Err(Error::format(
            images.0,
            format!("has shape {:?}: images are bytes of shape [n, height, width]", pixels.shape),
        ));
    };
    let label_path = labels.0;
    let labels = read_labels(label_path, labels.1)?;
    let class_names = match (class_names, labels.iter().max()) {
        (Some(names), _) => names,
        // One damaged label would otherwise make names for billions of classes.
        (None, Some(&largest)) if largest as usize >= n => {
            let problem = format!("label {largest} is not below the {n} images: give class names or mend the label");
            return Err(Error::format(label_path, problem));
        }
        (None, largest) => (0..largest.map_or(0, |&largest| largest + 1)).map(|class| class.to_string()).collect(),
    };
    ImageSet::from_pixels(name, [1, height, width], values, labels, class_names)
}

fn read_labels(path: &Path, bytes: &[u8]) -> Result<Vec<u32>> {
    let Idx { shape, values } = read(path, bytes)?;
    if shape.len() != 1 {
        return Err(Error::format(path, format!("has shape {shape:?}: labels have one dimension")));
    }
    match values {
        Values::Bytes(labels) => Ok(labels.into_iter().map(u32::from).collect()),
        Values::Ints(labels) => {
            let label = |(i, &label): (usize, &i32)| {
                u32::try_from(label)
                    .map_err(|_| Error::format(path, format!("label {i} is {label}: labels count from 0")))
            };
            labels.iter().enumerate().map(label).collect()
        }
    }
}

fn parse(path: &Path, mut bytes: impl Read) -> Result<Idx> {
    let [zero, zero_too, kind, dimensions] = take(path, &mut bytes, "its header")?;
    let size: usize = match (zero, zero_too, kind) {
        (0, 0, 8) => 1,
        (0, 0, 12) => 4,
        (0, 0, _) => {
            return Err(Error::format(
                path,
                format!("idx values of type {kind}: only 8 (bytes) and 12 (32-bit integers) are read"),
            ));
        }
        _ => return Err(Error::format(path, "not an idx file: it must begin with two zero bytes")),
    };
    let mut shape = vec![];
    for _ in 0..dimensions {
        shape.push(u32::from_be_bytes(take(path, &mut bytes, "its shape")?) as usize);
    }
    if shape.contains(&0) {
        return Err(Error::format(path, format!("shape {shape:?} has a side of 0: replace the file")));
    }
    let expected = shape.iter().try_fold(size as u64, |bytes, &side| bytes.checked_mul(side as u64));
    let Some(expected) = expected.filter(|&bytes| bytes <= MOST_BYTES) else {
        return Err(Error::format(path, format!("shape {shape:?} is more than {MOST_BYTES} bytes: split the file")));
    };
    // Grows with what arrives: the shape alone allocates nothing.
    let mut values = vec![];
    bytes.take(expected + 1).read_to_end(&mut values).map_err(|error| unreadable(path, &error))?;
    let found = values.len() as u64;
    if found != expected {
        let found = if found > expected { "more".to_owned() } else { format!("{found} (truncated)") };
        return Err(Error::format(
            path,
            format!("shape {shape:?} needs {expected} bytes of values but there are {found}: replace the file"),
        ));
    }
    let values = match size {
        1 => Values::Bytes(values),
        _ => Values::Ints(values.chunks_exact(4).map(|v| i32::from_be_bytes([v[0], v[1], v[2], v[3]])).collect()),
    };
    Ok(Idx { shape, values })
}

fn take(path: &Path, bytes: &mut impl Read, what: &str) -> Result<[u8; 4]> {
    let mut four = [0; 4];
    match bytes.read_exact(&mut four) {
        Ok(()) => Ok(four),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::format(path, format!("ends within {what} (truncated): replace the file")))
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::format(path, format!("cannot be decompressed ({error}): replace the file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dataset;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    const IMAGES: [u8; 24] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
    const LABELS: [u8; 16] = [0, 0, 12, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0];

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(vec![], Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn message(bytes: &[u8]) -> String {
        read(Path::new("x-idx"), bytes).unwrap_err().to_string()
    }

    #[test]
    fn plain_and_compressed_are_the_same() {
        let images = read(Path::new("x"), &IMAGES).unwrap();
        assert_eq!(images, Idx { shape: vec![2, 2, 2], values: Values::Bytes((1..=8).collect()) });
        assert_eq!(images, read(Path::new("x"), &gz(&IMAGES)).unwrap());
        assert_eq!(read(Path::new("x"), &LABELS).unwrap(), Idx { shape: vec![2], values: Values::Ints(vec![1, 0]) });
    }

    #[test]
    fn two_files_make_a_set() {
        let (images, labels) = ((Path::new("i"), IMAGES.as_slice()), (Path::new("l"), LABELS.as_slice()));
        let set = image_set("toy", images, labels, None).unwrap();
        assert_eq!((set.labels(), set.shape(), set.pixels(1)), ([1, 0].as_slice(), [1, 2, 2], [5, 6, 7, 8].as_slice()));
        assert_eq!(set.class_names(), ["0", "1"]);
        let swapped = image_set("toy", labels, images, None).unwrap_err().to_string();
        assert_eq!(swapped, "l: has shape [2]: images are bytes of shape [n, height, width]");
        let one = [0, 0, 8, 1, 0, 0, 0, 1, 0];
        let error = image_set("toy", images, (Path::new("l"), &one), None).unwrap_err().to_string();
        assert!(error.contains("labels have length 1 but there are 2 images"), "{error}");
        let negative = [0, 0, 12, 1, 0, 0, 0, 1, 255, 255, 255, 255];
        let error = image_set("toy", images, (Path::new("l"), &negative), None).unwrap_err().to_string();
        assert_eq!(error, "l: label 0 is -1: labels count from 0");
        let high = [0, 0, 12, 1, 0, 0, 0, 2, 0, 0, 0, 0, 127, 255, 255, 255];
        let error = image_set("toy", images, (Path::new("l"), &high), None).unwrap_err().to_string();
        assert_eq!(error, "l: label 2147483647 is not below the 2 images: give class names or mend the label");
    }

    #[test]
    fn damage_is_named() {
        assert_eq!(message(&IMAGES[..3]), "x-idx: ends within its header (truncated): replace the file");
        assert_eq!(message(&IMAGES[..9]), "x-idx: ends within its shape (truncated): replace the file");
        assert!(message(&IMAGES[..23]).contains("shape [2, 2, 2] needs 8 bytes of values but there are 7 (truncated)"));
        assert!(message(&[IMAGES.as_slice(), &[9]].concat()).contains("but there are more"));
        assert!(message(b"PK\x03\x04").contains("not an idx file"));
        assert!(message(&[0, 0, 13, 1, 0, 0, 0, 0]).contains("type 13"));
        assert!(
            message(&[0, 0, 8, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255])
                .contains("split the file")
        );
        let flat = [0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 255];
        assert!(message(&flat).contains("shape [4294967295, 0, 4294967295] has a side of 0"));
        let compressed = gz(&IMAGES);
        assert!(read(Path::new("x"), &compressed[..compressed.len() - 9]).is_err());
        let mut altered = compressed;
        let last = altered.len() - 6;
        altered[last] ^= 1;
        assert!(message(&altered).contains("cannot be decompressed"), "{}", message(&altered));
    }
}
