//! Numbers per class, worst first.

use std::fmt::Write;

use serde::Serialize;

use super::text::{count, escape, markdown, name, number, script_json};

/// Rows that stand in the page itself; the rest is shown by JavaScript.
const SHOWN: usize = 100;

/// Numbers per class.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassTable {
    /// Title.
    pub title: String,
    /// Heads of the number columns.
    pub columns: Vec<String>,
    /// Class name and its numbers, as many as columns; worst first.
    pub rows: Vec<(String, Vec<f64>)>,
}

impl ClassTable {
    pub(super) fn html(&self) -> crate::Result<String> {
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
            for i in 0..self.columns.len() {
                let _ = write!(html, "<td class=\"num\">{}</td>", numbers.get(i).map_or("–".into(), |v| number(*v)));
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
        // Six digits are more than the page shows and keep a page of ten thousand classes small.
        let short = |v: &f64| if v.is_finite() { format!("{v:.6}").parse().ok() } else { None::<f64> };
        let rows: Vec<(&str, Vec<Option<f64>>, Vec<String>)> = self
            .rows
            .iter()
            .map(|(class, numbers)| {
                (class.as_str(), numbers.iter().map(short).collect(), numbers.iter().map(|v| number(*v)).collect())
            })
            .collect();
        Ok(html + "<script type=\"application/json\">" + &script_json(&rows)? + "</script></div>\n")
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("| Class |");
        self.columns.iter().for_each(|c| {
            let _ = write!(text, " {} |", markdown(c));
        });
        text += "\n| --- |";
        text += &" ---: |".repeat(self.columns.len());
        text.push('\n');
        for (class, numbers) in self.rows.iter().take(SHOWN) {
            let _ = write!(text, "| {} |", markdown(class));
            for i in 0..self.columns.len() {
                let _ = write!(text, " {} |", numbers.get(i).map_or("–".into(), |v| number(*v)));
            }
            text.push('\n');
        }
        if self.rows.len() > SHOWN {
            let _ = write!(text, "\nThe first {SHOWN} of {} classes; report.json has all.\n", self.rows.len());
        }
        text
    }
}
