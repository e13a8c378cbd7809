//! Arrays that numpy saved (`numpy.save`), format versions 1, 2 and 3.
//!
//! Source: numpy, "NEP 1, A simple file format for NumPy arrays".

use super::{
    elements::{Float, Integer},
    mapped::{VectorFile, map},
    refused,
};
use crate::Result;
use std::{ops::Range, path::Path};

/// No header that numpy writes for an array of numbers comes near it.
const LONGEST_HEADER: usize = 1 << 16;

/// What the header of an `.npy` file says, checked against the length of the file.
struct Header {
    descr: String,
    shape: Vec<usize>,
    data: Range<usize>,
}

impl VectorFile {
    /// Maps an `.npy` file of `<f2`, `<f4`, `<f8` or `>f4`, in C order.
    ///
    /// # Errors
    /// When the file cannot be opened, is no `.npy` file or is cut short, or its array is not `[n, d]`, `d > 0`, of floats
    /// in C order.
    pub fn npy(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = map(path)?;
        let (header, float) = header(path, &bytes, |descr| match descr {
            "<f2" => Some((Float::F16, 2)),
            "<f4" => Some((Float::F32, 4)),
            ">f4" => Some((Float::BigEndianF32, 4)),
            "<f8" => Some((Float::F64, 8)),
            _ => None,
        })?;
        let Some(float) = float else {
            let descr = header.descr;
            return Err(refused(
                path,
                format!("numbers of type {descr:?} are no embeddings: save them with x.astype(\"<f4\")"),
            ));
        };
        let [rows, dim] = header.shape[..] else {
            let n = header.shape.len();
            return Err(refused(path, format!("the array has {n} axes but embeddings have 2, [n, d]: reshape it")));
        };
        if dim == 0 {
            return Err(refused(
                path,
                format!("the array is [{rows}, 0], rows without values: save embeddings [n, d]"),
            ));
        }
        Self { path: path.to_owned(), start: header.data.start, bytes, rows, dim, float }.checked()
    }
}

/// The whole numbers of a 1-D array.
pub(super) fn integers(path: &Path) -> Result<Vec<i128>> {
    let bytes = map(path)?;
    let (header, integer) = header(path, &bytes, |descr| {
        let (order, kind) = descr.split_at_checked(1)?;
        let (kind, size) = kind.split_at_checked(1)?;
        let size = matches!(size, "1" | "2" | "4" | "8").then(|| size.parse().ok()).flatten()?;
        let known = matches!(order, "<" | ">" | "|") && (matches!(kind, "i" | "u") || (kind, size) == ("b", 1));
        known.then_some((Integer { size, signed: kind == "i", big_endian: order == ">" }, size))
    })?;
    let Some(integer) = integer else {
        let descr = header.descr;
        return Err(refused(
            path,
            format!("numbers of type {descr:?} are no labels: save whole numbers, y.astype(\"int64\")"),
        ));
    };
    if header.shape.len() != 1 {
        let n = header.shape.len();
        return Err(refused(path, format!("the array has {n} axes but labels have 1: save y.ravel()")));
    }
    Ok(integer.decode(&bytes[header.data]))
}

/// The header, and the type that `known` finds in it with its bytes; the data is measured only for a known type.
fn header<T>(path: &Path, bytes: &[u8], known: impl Fn(&str) -> Option<(T, usize)>) -> Result<(Header, Option<T>)> {
    let fail = |problem: &str| refused(path, problem);
    let Some(rest) = bytes.strip_prefix(b"\x93NUMPY") else {
        return Err(fail("this is no .npy file, it does not begin with \\x93NUMPY: write it with numpy.save"));
    };
    let cut = || fail("the file ends inside its header: copy or save it again");
    let (length, start) = match rest {
        [1, 0, a, b, ..] => (usize::from(u16::from_le_bytes([*a, *b])), 10),
        [2 | 3, 0, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        [1..=3, 0, ..] | [] | [_] => return Err(cut()),
        [major, minor, ..] => {
            return Err(fail(&format!("the format is version {major}.{minor}; versions 1.0, 2.0 and 3.0 are known")));
        }
    };
    if length > LONGEST_HEADER {
        return Err(fail(&format!(
            "the header says it has {length} bytes, {LONGEST_HEADER} at most are read: the file is damaged, save it again"
        )));
    }
    let text = bytes.get(start..start + length).ok_or_else(cut)?;
    let (descr, fortran, shape) = Literal(text).array().ok_or_else(|| {
        let text = String::from_utf8_lossy(text);
        let text: String = text.trim_end().chars().take(120).collect();
        fail(&format!("the header {text:?} is not that of a plain array of numbers: save it again with numpy.save"))
    })?;
    // In one dimension, or none, both orders are the same.
    if fortran && shape.len() > 1 {
        return Err(fail("the array is in Fortran order: save numpy.ascontiguousarray(x)"));
    }
    let start = start + length;
    let mut header = Header { descr, shape, data: start..start };
    let Some((kind, size)) = known(&header.descr) else { return Ok((header, None)) };
    let wanted = header.shape.iter().try_fold(size, |product, &n| product.checked_mul(n));
    let held = bytes.len() - start;
    if wanted != Some(held) {
        let wanted = wanted.map_or("more bytes than can be counted".to_owned(), |n| format!("{n} bytes"));
        let shape = &header.shape;
        return Err(fail(&format!(
            "an array {shape:?} of {} is {wanted} but the file holds {held}: copy or save it again, one array a file",
            header.descr
        )));
    }
    header.data = start..bytes.len();
    Ok((header, Some(kind)))
}

/// What is left to read of a Python literal.
struct Literal<'a>(&'a [u8]);

impl Literal<'_> {
    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, its keys in any order, each once.
    fn array(mut self) -> Option<(String, bool, Vec<usize>)> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect(b"{")?;
        while self.expect(b"}").is_none() {
            let key = self.string()?;
            self.expect(b":")?;
            match key.as_str() {
                "descr" if descr.is_none() => descr = Some(self.string()?),
                "fortran_order" if fortran.is_none() => fortran = Some(self.truth()?),
                "shape" if shape.is_none() => shape = Some(self.tuple()?),
                _ => return None,
            }
            if self.expect(b",").is_none() {
                self.expect(b"}")?;
                break;
            }
        }
        self.0.trim_ascii().is_empty().then_some(())?;
        Some((descr?, fortran?, shape?))
    }

    fn expect(&mut self, token: &[u8]) -> Option<()> {
        self.0 = self.0.trim_ascii_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<String> {
        let (quote, rest) = self.0.trim_ascii_start().split_first().filter(|(q, _)| matches!(q, b'\'' | b'"'))?;
        let end = rest.iter().position(|b| b == quote)?;
        let text = str::from_utf8(&rest[..end]).ok().filter(|text| !text.contains('\\'))?;
        self.0 = &rest[end + 1..];
        Some(text.to_owned())
    }

    fn truth(&mut self) -> Option<bool> {
        if self.expect(b"True").is_some() {
            return Some(true);
        }
        self.expect(b"False").map(|()| false)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut values = Vec::new();
        self.expect(b"(")?;
        while self.expect(b")").is_none() {
            self.0 = self.0.trim_ascii_start();
            let end = self.0.iter().position(|b| !b.is_ascii_digit())?;
            values.push(str::from_utf8(&self.0[..end]).ok()?.parse().ok()?);
            self.0 = &self.0[end..];
            if self.expect(b",").is_none() {
                // (3) is a number in brackets, no tuple.
                (values.len() > 1).then_some(())?;
                self.expect(b")")?;
                break;
            }
        }
        Some(values)
    }
}
