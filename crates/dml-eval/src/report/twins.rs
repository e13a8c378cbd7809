//! The same report for other readers: Markdown for a terminal or a pull request, JSON for programs.

use std::fmt::Write;

use super::document::{Listing, Report, Section, Text};
use super::text::markdown;

impl Section {
    fn markdown(&self) -> String {
        match self {
            Self::Metrics(s) => s.markdown(),
            Self::Curves(s) => s.markdown(),
            Self::Histogram(s) => s.markdown(),
            Self::Gallery(s) => s.markdown(),
            Self::Projection(s) => s.markdown(),
            Self::Classes(s) => s.markdown(),
            Self::Confusions(s) => s.markdown(),
            // Indented by four: no fence that the text could close.
            Self::Listing(Listing { text, .. }) => text.lines().map(|line| format!("    {line}\n")).collect(),
            Self::Text(Text { paragraphs, .. }) => paragraphs.iter().map(|p| markdown(p) + "\n\n").collect(),
        }
    }
}

impl Report {
    /// The report as Markdown. Long tables are cut and say so.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n\n", markdown(&self.title));
        for (name, value) in &self.facts {
            let _ = writeln!(text, "- {}: {}", markdown(name), markdown(value));
        }
        for warning in &self.warnings {
            let _ = write!(text, "\n> **Warning.** {}\n", markdown(warning));
        }
        for section in &self.sections {
            let body = if section.is_empty() { "Nothing to show.\n".to_owned() } else { section.markdown() };
            let _ = write!(text, "\n## {}\n\n{}\n", markdown(section.title()), body.trim_end());
        }
        text
    }

    /// The report as JSON with every number unrounded; NaN and infinities become `null`.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if the report cannot be written as JSON.
    pub fn json(&self) -> crate::Result<String> {
        serde_json::to_string(self)
            .map_err(|e| crate::Error::Input(format!("the report cannot be written as JSON: {e}")))
    }
}
