//! The report that people look at: one page that stands alone, with a Markdown and a JSON twin.
//!
//! A [`Report`] knows nothing of how its numbers were measured. Its sections hold numbers, names and pictures;
//! this module gives them a form.

mod chart;
mod classes;
mod confusions;
mod curves;
mod document;
mod gallery;
mod histogram;
mod metrics;
mod page;
mod projection;
mod read;
mod scale;
mod sketch;
mod table;
mod text;
mod twins;
mod write;

pub use classes::ClassTable;
pub use confusions::Confusions;
pub use curves::{Curves, Mark, Series};
pub use document::{Listing, Report, Section, Text};
pub use gallery::{Gallery, GalleryRow, Tile};
pub use histogram::Histogram;
pub use metrics::{MetricRow, MetricTable};
pub use projection::{PlaneMap, Point, Projection};
pub use scale::{Axis, Scale};
pub use table::{Table, html_page};
