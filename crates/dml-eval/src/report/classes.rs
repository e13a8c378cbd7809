//! Numbers per class, worst first.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::read::named_numbers;
use super::text::{count, escape, markdown, name, number, script_json};

/// Rows that stand in the page itself; the rest is shown by JavaScript.
const SHOWN: usize = 100;

/// Numbers per class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClassTable {
    /// Title.
    pub title: String,
    /// Heads of the number columns.
    pub columns: Vec<String>,
    /// Class name and its numbers, as many as columns; worst first.
    #[serde(deserialize_with = "named_numbers")]
    pub rows: Vec<(String, Vec<f64>)>,
}

/// A class in the page data: name, numbers to sort by, cells to show.
type PageRow<'a> = (&'a str, Vec<Option<f64>>, Vec<String>);

/// One row's cells, as many as columns.
fn cells(numbers: &[f64], broken: &[bool]) -> Vec<String> {
    let cell = |(i, broken): (usize, &bool)| match numbers.get(i) {
        None => "–".to_owned(),
        Some(v) if *broken && (*v == 0.0 || v.abs() >= 1e-4) && v.is_finite() => format!("{v:.4}").replace('-', "−"),
        Some(v) => number(*v),
    };
    broken.iter().enumerate().map(cell).collect()
}

impl ClassTable {
    /// Whether each column holds small broken numbers, written with four decimals so that points stand below each other.
    fn broken(&self) -> Vec<bool> {
        let column = |i: usize| self.rows.iter().filter_map(move |r| r.1.get(i)).filter(|v| v.is_finite());
        let broken = |i| column(i).any(|v| v.fract() != 0.0) && column(i).all(|v| v.abs() < 10.0);
        (0..self.columns.len()).map(broken).collect()
    }

    pub(super) fn html(&self) -> crate::Result<String> {
        let broken = self.broken();
        let mut html = String::from(
            "<div class=\"classes\"><div class=\"tools\" hidden><input type=\"search\" placeholder=\"Filter classes\" \
             aria-label=\"Filter classes by name\"><span class=\"pages\"><button type=\"button\" aria-label=\"Previous page\">←\
             </button><output></output><button type=\"button\" aria-label=\"Next page\">→</button></span></div>\n\
             <div class=\"scroll\"><table><thead><tr><th scope=\"col\">Class</th>",
        );
        for column in &self.columns {
            let _ = write!(html, "<th scope=\"col\" class=\"num\">{}</th>", escape(column));
        }
        html += "</tr></thead><tbody>\n";
        for (class, numbers) in self.rows.iter().take(SHOWN) {
            let _ = write!(html, "<tr><th scope=\"row\">{}</th>", name(class));
            for cell in cells(numbers, &broken) {
                let _ = write!(html, "<td class=\"num\">{cell}</td>");
            }
            html += "</tr>\n";
        }
        html += "</tbody></table></div>\n";
        if self.rows.len() > SHOWN {
            let (shown, all) = (count(SHOWN), count(self.rows.len()));
            let _ = writeln!(
                html,
                "<noscript><p class=\"note\">The first {shown} of {all} classes. The rest needs JavaScript or report.json.</p></noscript>"
            );
        }
        // Six digits sort as well as all of them and keep a page of ten thousand classes small.
        let short = |v: &f64| if v.is_finite() { format!("{v:.6e}").parse().ok() } else { None::<f64> };
        let rows: Vec<PageRow> = self
            .rows
            .iter()
            .map(|(class, numbers)| (class.as_str(), numbers.iter().map(short).collect(), cells(numbers, &broken)))
            .collect();
        Ok(html + "<script type=\"application/json\">" + &script_json(&rows)? + "</script></div>\n")
    }

    pub(super) fn markdown(&self) -> String {
        let broken = self.broken();
        let mut text = String::from("| Class |");
        self.columns.iter().for_each(|c| {
            let _ = write!(text, " {} |", markdown(c));
        });
        text += "\n| --- |";
        text += &" ---: |".repeat(self.columns.len());
        text.push('\n');
        for (class, numbers) in self.rows.iter().take(SHOWN) {
            let _ = write!(text, "| {} |", markdown(class));
            for cell in cells(numbers, &broken) {
                let _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
        if self.rows.len() > SHOWN {
            let _ = write!(text, "\nThe first {SHOWN} of {} classes; report.json has all.\n", self.rows.len());
        }
        text
    }
}
