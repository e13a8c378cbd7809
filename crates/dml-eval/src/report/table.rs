//! Tables that people read.

use std::fmt::Write;

use super::text::escape;

/// A table with a title.
#[derive(Clone, Debug)]
pub struct Table {
    /// Title.
    pub title: String,
    /// Column heads.
    pub columns: Vec<String>,
    /// Rows of cells, as many as columns.
    pub rows: Vec<Vec<String>>,
    /// A line below the table.
    pub note: String,
}

impl Table {
    /// The table as Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("## {}\n\n{}", self.title, line(&self.columns));
        text += &line(&vec!["---".to_owned(); self.columns.len()]);
        self.rows.iter().for_each(|row| text += &line(row));
        let _ = writeln!(text, "\n{}", self.note);
        text
    }

    /// The table as HTML.
    pub fn html(&self) -> String {
        let cells = |tag: &str, cells: &[String]| {
            cells.iter().map(|c| format!("<{tag}>{}</{tag}>", escape(c))).collect::<String>()
        };
        let rows: String = self.rows.iter().map(|r| format!("<tr>{}</tr>\n", cells("td", r))).collect();
        format!(
            "<h2>{}</h2>\n<table>\n<tr>{}</tr>\n{rows}</table>\n<p>{}</p>\n",
            escape(&self.title),
            cells("th", &self.columns),
            escape(&self.note)
        )
    }
}

/// A page of tables that stands alone, readable on light and dark screens.
pub fn html_page(title: &str, tables: &[Table]) -> String {
    let body: String = tables.iter().map(Table::html).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>:root{{color-scheme:light dark}}body{{font:16px/1.5 sans-serif;max-width:70rem;margin:2rem auto;\
         padding:0 1rem}}table{{border-collapse:collapse;display:block;overflow-x:auto}}td,th{{padding:.3rem .7rem;text-align:right;\
         border-bottom:1px solid #8884;white-space:nowrap}}td:first-child,th:first-child{{text-align:left}}</style></head>\n\
         <body><h1>{title}</h1>\n{body}</body></html>\n",
        title = escape(title)
    )
}
