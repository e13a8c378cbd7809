//! What a report says, before it takes a form: sections of numbers, pictures and words.

use serde::{Deserialize, Serialize};

use super::{ClassTable, Confusions, Curves, Gallery, Histogram, MetricTable, Projection};

/// A report: a title, the facts of the run, warnings and sections in reading order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Title.
    pub title: String,
    /// Facts of the run as name and value: model, data, seed, counts.
    pub facts: Vec<(String, String)>,
    /// What a reader must know before trusting the numbers.
    pub warnings: Vec<String>,
    /// Sections in reading order.
    pub sections: Vec<Section>,
}

/// One section of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Section {
    /// Named numbers with intervals and definitions.
    Metrics(MetricTable),
    /// Curves in one frame.
    Curves(Curves),
    /// Densities over bins.
    Histogram(Histogram),
    /// Queries and the neighbours they found.
    Gallery(Gallery),
    /// Embeddings in the plane.
    Projection(Projection),
    /// Numbers per class.
    Classes(ClassTable),
    /// Which classes are taken for which.
    Confusions(Confusions),
    /// Words.
    Text(Text),
    /// Lines of a file.
    Listing(Listing),
}

/// Words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Text {
    /// Title.
    pub title: String,
    /// Paragraphs of plain text.
    pub paragraphs: Vec<String>,
}

/// Lines of a file, as they are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listing {
    /// Title.
    pub title: String,
    /// The lines.
    pub text: String,
}

impl Section {
    /// The section's title.
    pub fn title(&self) -> &str {
        match self {
            Self::Metrics(s) => &s.title,
            Self::Curves(s) => &s.title,
            Self::Histogram(s) => &s.title,
            Self::Gallery(s) => &s.title,
            Self::Projection(s) => &s.title,
            Self::Classes(s) => &s.title,
            Self::Confusions(s) => &s.title,
            Self::Text(s) => &s.title,
            Self::Listing(s) => &s.title,
        }
    }
}
