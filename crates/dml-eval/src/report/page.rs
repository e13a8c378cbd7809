//! The page: head, facts, warnings, contents, sections.

use super::document::{Listing, Report, Section, Text};
use super::text::{escape, isolated};

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");

/// A small line below a table or picture; nothing where it is empty.
pub(super) fn note(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>\n", escape(text)) }
}

impl Section {
    fn html(&self) -> crate::Result<String> {
        Ok(match self {
            Self::Metrics(s) => s.html(),
            Self::Curves(s) => s.html()?,
            Self::Histogram(s) => s.html()?,
            Self::Gallery(s) => s.html(),
            Self::Projection(s) => s.html()?,
            Self::Classes(s) => s.html()?,
            Self::Confusions(s) => s.html(),
            Self::Text(s) => s.html(),
            Self::Listing(s) => s.html(),
        })
    }

    /// Whether nothing is in it to show.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Metrics(s) => s.rows.is_empty(),
            Self::Curves(s) => s.series.iter().all(|s| s.points.is_empty()),
            Self::Histogram(s) => s.edges.len() < 2 || s.series.is_empty(),
            Self::Gallery(s) => s.rows.is_empty(),
            Self::Projection(s) => s.points.is_empty() || s.maps.is_empty(),
            Self::Classes(s) => s.rows.is_empty(),
            Self::Confusions(s) => s.pairs.is_empty() && s.matrix.is_none(),
            Self::Text(s) => s.paragraphs.is_empty(),
            Self::Listing(s) => s.text.trim().is_empty(),
        }
    }

    fn is_chart(&self) -> bool {
        matches!(self, Self::Curves(_) | Self::Histogram(_))
    }
}

impl Text {
    fn html(&self) -> String {
        let paragraphs: String = self.paragraphs.iter().map(|p| format!("<p>{}</p>\n", escape(p))).collect();
        format!("<div class=\"prose\">{paragraphs}</div>")
    }
}

impl Listing {
    fn html(&self) -> String {
        let lines: Vec<String> = self.text.lines().map(escape).collect();
        format!("<pre class=\"listing\" tabindex=\"0\">{}</pre>\n", lines.join("\n"))
    }
}

impl Report {
    /// The report as one HTML page that stands alone: style, script, pictures and data are inside it.
    ///
    /// # Errors
    /// [`crate::Error::Input`] if the data of a picture cannot be written as JSON.
    pub fn html(&self) -> crate::Result<String> {
        let title = escape(&self.title);
        let facts: String = self
            .facts
            .iter()
            .map(|(k, v)| format!("<div><dt>{}</dt><dd>{}</dd></div>", escape(k), isolated(v)))
            .collect();
        let warnings: String = self.warnings.iter().map(|w| format!("<li>{}</li>", escape(w))).collect();
        let warnings = if warnings.is_empty() {
            warnings
        } else {
            format!(
                "<aside class=\"warnings\" aria-label=\"Warnings\"><strong>⚠ Read this first</strong><ul>{warnings}</ul></aside>\n"
            )
        };
        let contents: String = self
            .sections
            .iter()
            .enumerate()
            .map(|(i, s)| format!("<li><a href=\"#s{i}\">{}</a></li>", escape(s.title())))
            .collect();
        let mut html = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
             style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style></head>\n\
             <body><header><h1>{title}</h1>\n<dl class=\"facts\">{facts}</dl>\n{warnings}\
             <nav aria-label=\"Contents\"><ul>{contents}</ul></nav></header>\n<main>\n"
        );
        let mut open_pair = false;
        for (i, section) in self.sections.iter().enumerate() {
            // Two charts in a row stand side by side on a wide screen.
            let opens = !open_pair && section.is_chart() && self.sections.get(i + 1).is_some_and(Section::is_chart);
            let class = if opens || open_pair { " class=\"half\"" } else { "" };
            open_pair = opens;
            let body = if section.is_empty() {
                "<p class=\"empty\">Nothing to show.</p>\n".to_owned()
            } else {
                section.html()?
            };
            html += &format!(
                "<section id=\"s{i}\"{class} aria-labelledby=\"h{i}\"><h2 id=\"h{i}\">{}</h2>\n{body}</section>\n",
                escape(section.title())
            );
        }
        html += &format!(
            "</main>\n<div id=\"tip\" role=\"status\" hidden></div>\n<script>\n{SCRIPT}</script>\n</body></html>\n"
        );
        Ok(html)
    }
}
