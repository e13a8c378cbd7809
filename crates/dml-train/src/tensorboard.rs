//! The scalars of a run as TensorBoard reads them: `tensorboard --logdir RUN_FOLDER`.
//!
//! An event file is a sequence of records (TFRecord): the message's length as `u64`, the masked CRC-32C of these eight bytes, the
//! message, its masked CRC-32C; all little-endian. A message is an `Event` of protocol buffers. Sources: TensorFlow,
//! `core/lib/io/record_writer.cc`, `core/util/event.proto`, `core/framework/summary.proto`.
//!
//! Each start of a run begins a file of its own. Its first event says from which step on earlier files no longer hold (`SessionLog`,
//! `START`), so that steps which a crash has undone are not shown twice; what a crash has cut off ends the file that it is in.

use crate::{Error, Event, Result};
use prost::Message;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the readers look for in a name, and how all other writers begin it.
const PREFIX: &str = "events.out.tfevents.";

/// An event file that grows.
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// A new file in `folder`, behind those that are there: they are read in the order of their names.
    ///
    /// # Errors
    /// When the folder cannot be read or the file not be written.
    pub fn begin(folder: &Path) -> Result<Self> {
        let mut number = 0;
        for entry in std::fs::read_dir(folder).map_err(|e| Error::file(folder, e))? {
            let name = entry.map_err(|e| Error::file(folder, e))?.file_name();
            let name = name.to_string_lossy();
            let found = name.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next()?.parse::<u64>().ok());
            number = number.max(found.map_or(0, |found| found + 1));
        }
        let path = folder.join(format!("{PREFIX}{number:010}.dml"));
        let file = File::create_new(&path).map_err(|e| Error::unwritten(&path, &e))?;
        let mut begun = Self { file, path };
        begun.record(0, What::FileVersion("brain.Event:2".to_owned()))?;
        Ok(begun)
    }

    /// Adds what `event` has to show.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        match *event {
            // The first step to come, counted as steps done.
            Event::Start { step, .. } => self.record(step + 1, What::SessionLog(SessionLog { status: START })),
            Event::Step { step, loss, lr, grad_norm, images_per_second, .. } => {
                let values = [
                    ("train/loss", loss),
                    ("train/lr", lr as f32),
                    ("train/grad_norm", grad_norm as f32),
                    ("train/images_per_second", images_per_second as f32),
                ];
                self.scalars(step, &values)
            }
            Event::Validated { step, map_at_r, .. } => self.scalars(step, &[("validation/map_at_r", map_at_r as f32)]),
            Event::ValidatedBothWays { step, map_at_r, .. } => {
                self.scalars(step, &[("validation/map_at_r_both_ways", map_at_r as f32)])
            }
            Event::ValidatedPairs { step, spearman, .. } => {
                self.scalars(step, &[("validation/spearman", spearman as f32)])
            }
            Event::Tested { step, recall_at_1, .. } => self.scalars(step, &[("test/recall_at_1", recall_at_1 as f32)]),
            Event::TestedBothWays { step, map_at_r, .. } => {
                self.scalars(step, &[("test/map_at_r_both_ways", map_at_r as f32)])
            }
            _ => Ok(()),
        }
    }

    fn scalars(&mut self, step: u64, values: &[(&str, f32)]) -> Result<()> {
        let value = |&(tag, value): &(&str, f32)| Value { tag: tag.to_owned(), simple_value: Some(value) };
        self.record(step, What::Summary(Summary { value: values.iter().map(value).collect() }))
    }

    fn record(&mut self, step: u64, what: What) -> Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let message = Record { wall_time: since.as_secs_f64(), step: step as i64, what: Some(what) }.encode_to_vec();
        let length = (message.len() as u64).to_le_bytes();
        let bytes = [&length[..], &masked(&length), &message, &masked(&message)].concat();
        // In one piece: whoever reads meanwhile finds whole records, but for the last.
        self.file.write_all(&bytes).map_err(|e| Error::unwritten(&self.path, &e))
    }
}

/// The checksum of `bytes` as records hold it: turned and shifted, lest a checksum of data with checksums be weak.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// `Event` of event.proto, as far as it is wanted.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    /// Optional, or a 0 would not be written.
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SessionLog.START`.
const START: i32 = 1;
