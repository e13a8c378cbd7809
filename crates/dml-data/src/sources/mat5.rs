//! The part of MATLAB's level 5 format that annotations need: numbers, texts, cells and structures, plain or compressed.
//!
//! After a header of 128 bytes come elements: a type, a size and that many bytes, filled up to a multiple of 8. An array is
//! an element of elements: flags, dimensions, name, then its values ("MAT-File Format", The MathWorks). Complex parts are
//! left out; sparse arrays and objects are refused.

use crate::{Error, Result};
use flate2::read::ZlibDecoder;
use std::io::Read;
use std::path::Path;

/// Most bytes the compressed elements of a file may have when they are unpacked, all together.
const MOST_UNPACKED: u64 = 1 << 25;
/// Most fields of a structure: a name of one byte would otherwise take fifty of memory.
const MOST_FIELDS: usize = 1 << 12;
/// Deepest nesting of arrays.
const DEEPEST: usize = 16;

/// The values of an array, column by column.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Array {
    Numbers(Vec<f64>),
    Text(String),
    Cells(Vec<Array>),
    /// Each field and its value in every element.
    Structures(Vec<(String, Vec<Array>)>),
}

/// What is wrong with some bytes.
type Parsed<T> = std::result::Result<T, String>;

/// The variables of a file, named.
pub(super) fn read(path: &Path, bytes: &[u8]) -> Result<Vec<(String, Array)>> {
    variables(bytes)
        .map_err(|problem| Error::format(path, format!("not a readable .mat file ({problem}): bring it anew")))
}

fn variables(bytes: &[u8]) -> Parsed<Vec<(String, Array)>> {
    let (header, rest) = bytes.split_at_checked(128).ok_or("ends within its header")?;
    let big_endian = match &header[124..] {
        [_, 1, b'I', b'M'] => false,
        [1, _, b'M', b'I'] => true,
        _ => return Err("its version is not 5".into()),
    };
    let mut elements = Elements { rest, big_endian };
    let mut variables = vec![];
    let mut left = MOST_UNPACKED;
    while let Some((kind, data)) = elements.next()? {
        match kind {
            MATRIX => variables.push(array(data, big_endian, 0)?),
            COMPRESSED => {
                let mut unpacked = vec![];
                ZlibDecoder::new(data)
                    .take(left + 1)
                    .read_to_end(&mut unpacked)
                    .map_err(|error| format!("cannot be decompressed: {error}"))?;
                left = left
                    .checked_sub(unpacked.len() as u64)
                    .ok_or_else(|| format!("arrays of more than {MOST_UNPACKED} bytes when unpacked"))?;
                match (Elements { rest: &unpacked, big_endian }).next()? {
                    Some((MATRIX, data)) => variables.push(array(data, big_endian, 0)?),
                    _ => return Err("a compressed element is no array".into()),
                }
            }
            // What MATLAB keeps for itself.
            _ => {}
        }
    }
    Ok(variables)
}

const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT16: u32 = 3;
const UINT16: u32 = 4;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;
const INT64: u32 = 12;
const UINT64: u32 = 13;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;
const UTF8: u32 = 16;
const UTF16: u32 = 17;

/// Elements one after the other.
struct Elements<'a> {
    rest: &'a [u8],
    big_endian: bool,
}

impl<'a> Elements<'a> {
    /// Type and content of the next element.
    fn next(&mut self) -> Parsed<Option<(u32, &'a [u8])>> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.word(0)?;
        // A small element has its size in the upper half and its content in the second word.
        let (kind, size, start) = match tag >> 16 {
            0 => (tag, self.word(4)? as usize, 8),
            size @ 1..=4 => (tag & 0xffff, size as usize, 4),
            size => return Err(format!("a small element of {size} bytes")),
        };
        let end = start + size;
        let data = self.rest.get(start..end).ok_or("ends within an element")?;
        let padded = if start == 4 {
            8
        } else if kind == COMPRESSED {
            end
        } else {
            end.next_multiple_of(8)
        };
        // The last one may come without its filling.
        self.rest = self.rest.get(padded..).unwrap_or_default();
        Ok(Some((kind, data)))
    }

    fn need(&mut self, what: &str) -> Parsed<(u32, &'a [u8])> {
        self.next()?.ok_or_else(|| format!("an array ends before its {what}"))
    }

    fn word(&self, at: usize) -> Parsed<u32> {
        let bytes = self.rest.get(at..at + 4).ok_or("ends within a tag")?;
        Ok(word(bytes, self.big_endian))
    }
}

fn word(bytes: &[u8], big_endian: bool) -> u32 {
    integer(bytes, big_endian) as u32
}

/// Up to eight bytes as an unsigned integer.
fn integer(bytes: &[u8], big_endian: bool) -> u64 {
    let shift = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
    if big_endian { bytes.iter().fold(0, shift) } else { bytes.iter().rev().fold(0, shift) }
}

/// Name and values of an array.
fn array(data: &[u8], big_endian: bool, depth: usize) -> Parsed<(String, Array)> {
    if depth > DEEPEST {
        return Err(format!("arrays within arrays, more than {DEEPEST} deep"));
    }
    if data.is_empty() {
        return Ok((String::new(), Array::Numbers(vec![])));
    }
    let mut parts = Elements { rest: data, big_endian };
    let (_, flags) = parts.need("flags")?;
    let class = word(flags.get(..4).ok_or("an array without flags")?, big_endian) & 0xff;
    let (_, dimensions) = parts.need("dimensions")?;
    let count = dimensions
        .chunks_exact(4)
        .try_fold(1usize, |count, side| count.checked_mul(word(side, big_endian) as usize))
        .ok_or("an array that is too large")?;
    let (_, name) = parts.need("name")?;
    let name = String::from_utf8_lossy(name).into_owned();
    let nested = |parts: &mut Elements<'_>| match parts.need("elements")? {
        (MATRIX, data) => Ok(array(data, big_endian, depth + 1)?.1),
        (kind, _) => Err(format!("an element of type {kind} where an array should be")),
    };
    let values = match class {
        1 => {
            // An array takes eight bytes at least: the dimensions alone allocate nothing.
            let mut cells = vec![];
            for _ in 0..count {
                cells.push(nested(&mut parts)?);
            }
            Array::Cells(cells)
        }
        2 => {
            let (_, length) = parts.need("length of field names")?;
            let length = word(length.get(..4).ok_or("no length of field names")?, big_endian) as usize;
            let (_, names) = parts.need("field names")?;
            if length == 0 {
                return Err("field names of no length".into());
            }
            if names.len() / length > MOST_FIELDS {
                return Err(format!("a structure of more than {MOST_FIELDS} fields"));
            }
            let names = names.chunks(length).map(|name| {
                let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
                String::from_utf8_lossy(&name[..end]).into_owned()
            });
            let mut fields: Vec<(String, Vec<Array>)> = names.map(|name| (name, vec![])).collect();
            if !fields.is_empty() {
                for _ in 0..count {
                    for (_, values) in &mut fields {
                        values.push(nested(&mut parts)?);
                    }
                }
            }
            Array::Structures(fields)
        }
        4 => {
            let (kind, text) = parts.need("text")?;
            Array::Text(match kind {
                UINT16 | UTF16 => {
                    let units: Vec<u16> = text.chunks_exact(2).map(|unit| integer(unit, big_endian) as u16).collect();
                    String::from_utf16_lossy(&units)
                }
                INT8 | UINT8 | UTF8 => String::from_utf8_lossy(text).into_owned(),
                _ => return Err(format!("a text of type {kind}")),
            })
        }
        6..=15 => {
            let (kind, data) = parts.need("values")?;
            Array::Numbers(numbers(kind, data, big_endian)?)
        }
        _ => return Err(format!("an array of class {class}: sparse or an object")),
    };
    Ok((name, values))
}

/// Values in whichever type they are stored: MATLAB takes the smallest that holds them.
fn numbers(kind: u32, data: &[u8], big_endian: bool) -> Parsed<Vec<f64>> {
    let size = match kind {
        INT8 | UINT8 => 1,
        INT16 | UINT16 => 2,
        INT32 | UINT32 | SINGLE => 4,
        DOUBLE | INT64 | UINT64 => 8,
        _ => return Err(format!("values of type {kind}")),
    };
    let value = |bytes: &[u8]| {
        let bits = integer(bytes, big_endian);
        match kind {
            INT8 => f64::from(bits as u8 as i8),
            INT16 => f64::from(bits as u16 as i16),
            INT32 => f64::from(bits as u32 as i32),
            INT64 => bits as i64 as f64,
            SINGLE => f64::from(f32::from_bits(bits as u32)),
            DOUBLE => f64::from_bits(bits),
            _ => bits as f64,
        }
    };
    Ok(data.chunks_exact(size).map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::ZlibEncoder;
    use proptest::prelude::*;
    use std::io::Write;

    /// An element with its filling.
    fn element(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn matrix(class: u32, dimensions: [u32; 2], name: &str, values: &[u8]) -> Vec<u8> {
        let flags = element(UINT32, &[class.to_le_bytes(), [0; 4]].concat());
        let sides = element(INT32, &dimensions.map(u32::to_le_bytes).concat());
        element(MATRIX, &[flags, sides, element(INT8, name.as_bytes()), values.to_vec()].concat())
    }

    fn file(elements: &[u8]) -> Vec<u8> {
        let mut bytes = vec![b' '; 124];
        bytes.extend([0, 1, b'I', b'M']);
        bytes.extend(elements);
        bytes
    }

    fn problem(bytes: &[u8]) -> String {
        variables(bytes).unwrap_err()
    }

    #[test]
    fn small_elements_and_narrow_types_are_read() {
        // -2 as one int8 in a small element, in an array of doubles.
        let small = [1, 0, 1, 0, 0xfe, 0, 0, 0];
        let read = variables(&file(&matrix(6, [1, 1], "x", &small))).unwrap();
        assert_eq!(read, [("x".to_owned(), Array::Numbers(vec![-2.0]))]);
        let text = element(UINT16, &[b'a', 0, 0xe9, 0]);
        let read = variables(&file(&matrix(4, [1, 2], "t", &text))).unwrap();
        assert_eq!(read[0].1, Array::Text("aé".into()));
    }

    #[test]
    fn damage_is_named() {
        assert_eq!(problem(b"PK"), "ends within its header");
        assert_eq!(problem(&[0; 200]), "its version is not 5");
        let whole = file(&matrix(6, [1, 1], "x", &element(DOUBLE, &1f64.to_le_bytes())));
        assert_eq!(problem(&whole[..whole.len() - 8]), "ends within an element");
        assert_eq!(problem(&file(&matrix(5, [1, 1], "x", &[]))), "an array of class 5: sparse or an object");
        // Dimensions alone must allocate nothing.
        let cells = matrix(1, [u32::MAX, 1 << 30], "x", &[]);
        assert_eq!(problem(&file(&cells)), "an array ends before its elements");
        let mut deep = matrix(6, [0, 0], "", &[]);
        for _ in 0..20 {
            deep = matrix(1, [1, 1], "", &deep);
        }
        assert!(problem(&file(&deep)).contains("more than 16 deep"));
    }

    #[test]
    fn little_bytes_never_become_much_memory() {
        let names = [element(INT32, &[1, 0, 0, 0]), element(INT8, &[b'x'; MOST_FIELDS + 1])].concat();
        assert_eq!(problem(&file(&matrix(2, [1, 1], "x", &names))), "a structure of more than 4096 fields");
        // Each of them alone is small enough.
        let zeros = matrix(4, [0, 0], "x", &element(UINT8, &vec![0; 3 << 22]));
        let mut encoder = ZlibEncoder::new(vec![], Compression::fast());
        encoder.write_all(&zeros).unwrap();
        let packed = encoder.finish().unwrap();
        let packed = [&COMPRESSED.to_le_bytes(), &(packed.len() as u32).to_le_bytes(), packed.as_slice()].concat();
        assert_eq!(variables(&file(&packed.repeat(2))).unwrap().len(), 2);
        assert_eq!(problem(&file(&packed.repeat(3))), "arrays of more than 33554432 bytes when unpacked");
    }

    proptest! {
        /// Bytes behind a right header, and arrays of any class with any content, never panic.
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..400), class in 0u32..20, sides: [u32; 2],
        ) {
            let _ = variables(&bytes);
            let _ = variables(&file(&bytes));
            let _ = variables(&file(&matrix(class, sides, "x", &bytes)));
            let _ = variables(&file(&matrix(2, [1, 2], "x", &[element(INT32, &[4, 0, 0, 0]), bytes].concat())));
        }
    }
}
