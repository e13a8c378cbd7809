//! TensorBoard's event files of a run that was killed and went on: read by the format's definition, and by TensorBoard where it is
//! installed.

mod place;

use place::{Place, succeed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

type Scalars = BTreeMap<String, Vec<(u64, f32)>>;

/// A run of which some steps were done twice, its first file cut inside a record.
fn killed_run() -> Place {
    let place = Place::new();
    // So few checkpoints that it cannot be killed just after one. The record that is cut is not that of the only step behind it.
    let sets = ["--set", "train.validate_every=20", "--set", "train.checkpoint_every=60"];
    place.kill_while(place.train("run").args(sets), "run", &["\"event\":\"step\",\"step\":63,"], || {
        !String::from_utf8(place.read("run/metrics.jsonl")).unwrap().contains("\"step\":120,")
    });
    let files = event_files(&place);
    assert_eq!(files.len(), 1);
    let bytes = std::fs::read(&files[0]).unwrap();
    std::fs::write(&files[0], &bytes[..bytes.len() - 3]).unwrap();
    succeed(place.train("run").args(sets));
    place
}

fn event_files(place: &Place) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place.path("run")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.display().to_string().contains("tfevents")).collect();
    files.sort();
    files
}

/// What the log says, as event files hold it.
fn logged(place: &Place) -> Scalars {
    let mut scalars = Scalars::new();
    for line in String::from_utf8(place.read("run/metrics.jsonl")).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        for (event_kind, prefix, keys) in [
            ("step", "train", &["loss", "lr", "grad_norm", "images_per_second"][..]),
            ("validated", "validation", &["map_at_r"]),
        ] {
            for key in keys.iter().filter(|_| event["event"] == event_kind) {
                let (step, value) = (event["step"].as_u64().unwrap(), event[key].as_f64().unwrap());
                scalars.entry(format!("{prefix}/{key}")).or_default().push((step, value as f32));
            }
        }
    }
    assert!(scalars["train/loss"].len() == 120 && scalars["validation/map_at_r"].len() == 6);
    scalars
}

#[test]
fn records_are_whole_and_hold_each_step_of_the_log_once() {
    let place = killed_run();
    let files = event_files(&place);
    assert_eq!(files.len(), 2);
    let mut found = Scalars::new();
    let mut undone = 0;
    for (i, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file).unwrap();
        let (records, rest) = records(&bytes);
        assert_eq!(rest == 0, i > 0, "{rest} bytes behind the last record of file {i}");
        assert_eq!(text(field(records[0], 3).unwrap()), "brain.Event:2");
        for record in &records {
            let step = field(record, 2).map_or(0, number);
            if let Some(log) = field(record, 7) {
                assert_eq!(field(log.bytes(), 1).map(number), Some(1), "the only status is START");
                for values in found.values_mut() {
                    undone += values.iter().filter(|value| value.0 >= step).count();
                    values.retain(|value| value.0 < step);
                }
            }
            for value in field(record, 5).iter().flat_map(|summary| fields(summary.bytes())) {
                let value = value.1.bytes();
                let scalar = f32::from_bits(number(field(value, 2).unwrap()) as u32);
                found.entry(text(field(value, 1).unwrap())).or_default().push((step, scalar));
            }
            assert!(f64::from_bits(number(field(record, 1).unwrap())) > 1.7e9, "seconds since 1970");
        }
    }
    assert!(undone > 0, "no step was done twice: the test shows less than it says");
    assert_eq!(found, logged(&place));
}

#[test]
fn tensorboard_itself_reads_the_run() {
    let python = std::env::var("DML_TENSORBOARD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tensorboard/read.py");
    let place = killed_run();
    let read = Command::new(&python).arg(script).arg(place.path("run")).output();
    let said = read.as_ref().map_or_else(ToString::to_string, |o| String::from_utf8_lossy(&o.stderr).into_owned());
    if read.is_err() || said.contains("no tensorboard") {
        println!("skipped: {python}: {}; set DML_TENSORBOARD_PYTHON to a Python that has it", said.trim());
        return;
    }
    let read: Value = serde_json::from_slice(&read.unwrap().stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    println!("TensorBoard {}", read["version"]);
    let mut found: Scalars = BTreeMap::new();
    for (tag, values) in read["scalars"].as_object().unwrap() {
        let pair = |pair: &Value| (pair[0].as_u64().unwrap(), pair[1].as_f64().unwrap() as f32);
        found.insert(tag.clone(), values.as_array().unwrap().iter().map(pair).collect());
    }
    assert_eq!(found, logged(&place));
}

/// The messages of whole records, whose checksums are right, and how many bytes lie behind them.
fn records(mut bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let mut found = vec![];
    loop {
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return (found, bytes.len()) };
        let size = u64::from_le_bytes(*length) as usize;
        let Some((checks, _)) = rest.split_at_checked(size + 8) else { return (found, bytes.len()) };
        let word = |at: usize| u32::from_le_bytes(checks[at..at + 4].try_into().unwrap());
        assert_eq!(word(0), masked_crc(length), "of a length");
        let message = &checks[4..4 + size];
        assert_eq!(word(4 + size), masked_crc(message), "of a message");
        found.push(message);
        bytes = &rest[size + 8..];
    }
}

/// CRC-32C bit by bit (Castagnoli's polynomial, reflected), masked as TFRecord says.
fn masked_crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 * (crc & 1));
        }
    }
    let crc = !crc;
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A value of protocol buffers.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Number(_) => panic!("a number, no message"),
        }
    }
}

fn number(wire: Wire<'_>) -> u64 {
    match wire {
        Wire::Number(number) => number,
        Wire::Bytes(_) => panic!("a message, no number"),
    }
}

fn text(wire: Wire<'_>) -> String {
    String::from_utf8(wire.bytes().to_vec()).unwrap()
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 127) << shift;
        shift += 7;
        if byte & 128 == 0 {
            return value;
        }
    }
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(n);
    *bytes = rest;
    taken
}

/// Fields of a message by number.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Wire<'_>)> {
    let mut found = vec![];
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => Wire::Number(varint(&mut bytes)),
            1 => Wire::Number(u64::from_le_bytes(take(&mut bytes, 8).try_into().unwrap())),
            5 => Wire::Number(u32::from_le_bytes(take(&mut bytes, 4).try_into().unwrap()).into()),
            2 => {
                let length = varint(&mut bytes) as usize;
                Wire::Bytes(take(&mut bytes, length))
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

fn field(bytes: &[u8], wanted: u64) -> Option<Wire<'_>> {
    fields(bytes).into_iter().find(|(number, _)| *number == wanted).map(|(_, value)| value)
}
