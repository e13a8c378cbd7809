//! Which classes are taken for which.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::read::confused;
use super::text::{count, markdown, name, percent};

/// Classes beyond which a heat map can no longer be read.
const MOST_CLASSES: usize = 20;

/// Which classes are taken for which.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Confusions {
    /// Title.
    pub title: String,
    /// True class, the class it is taken for, how often, and as a share of the true class; most often first.
    #[serde(deserialize_with = "confused")]
    pub pairs: Vec<(String, String, usize, f64)>,
    /// Class names and counts, one row per true class; drawn up to 20 classes.
    pub matrix: Option<(Vec<String>, Vec<Vec<usize>>)>,
}

impl Confusions {
    pub(super) fn html(&self) -> String {
        let mut html = String::from("<div class=\"confusions\">");
        match &self.matrix {
            Some((classes, _)) if classes.len() > MOST_CLASSES => {
                let _ = writeln!(
                    html,
                    "<p class=\"note\">The matrix of {} classes is in report.json; a heat map is drawn up to {MOST_CLASSES}.</p>",
                    count(classes.len())
                );
            }
            Some((classes, counts)) if !classes.is_empty() => html += &heat_map(classes, counts),
            _ => (),
        }
        html += "<div class=\"scroll\"><table class=\"pairs\"><thead><tr><th scope=\"col\">True class</th><th scope=\"col\">Taken for\
                 </th><th scope=\"col\" class=\"num\">Times</th><th scope=\"col\" class=\"num\">Share</th></tr></thead><tbody>\n";
        for (truth, taken, times, share) in &self.pairs {
            let _ = writeln!(
                html,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"num\">{}</td><td class=\"num\">{}</td></tr>",
                name(truth),
                name(taken),
                count(*times),
                percent(*share)
            );
        }
        html + "</tbody></table></div></div>\n"
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::from("| True class | Taken for | Times | Share |\n| --- | --- | ---: | ---: |\n");
        for (truth, taken, times, share) in &self.pairs {
            let _ = writeln!(text, "| {} | {} | {times} | {} |", markdown(truth), markdown(taken), percent(*share));
        }
        if let Some((classes, counts)) = self.matrix.as_ref().filter(|(c, _)| c.len() <= MOST_CLASSES) {
            text += "\n| True \\\\ taken for |";
            classes.iter().for_each(|c| {
                let _ = write!(text, " {} |", markdown(c));
            });
            let _ = write!(text, "\n| --- |{}\n", " ---: |".repeat(classes.len()));
            for (class, row) in classes.iter().zip(counts) {
                let _ = write!(text, "| {} |", markdown(class));
                (0..classes.len()).for_each(|i| {
                    let _ = write!(text, " {} |", row.get(i).map_or("–".into(), ToString::to_string));
                });
                text.push('\n');
            }
        }
        text
    }
}

/// Each cell's shade is its share of the row.
fn heat_map(classes: &[String], counts: &[Vec<usize>]) -> String {
    let mut html = String::from(
        "<p class=\"note\">Rows: true class. Columns: taken for. Shade: share of the row.</p>\n\
         <div class=\"scroll\"><table class=\"heat\" aria-label=\"Confusion matrix\"><thead><tr><td></td>",
    );
    for class in classes {
        let _ = write!(html, "<th scope=\"col\">{}</th>", name(class));
    }
    html += "</tr></thead><tbody>\n";
    for (i, (class, row)) in classes.iter().zip(counts).enumerate() {
        let _ = write!(html, "<tr><th scope=\"row\">{}</th>", name(class));
        let all = row.iter().sum::<usize>().max(1) as f64;
        for j in 0..classes.len() {
            let Some(&times) = row.get(j) else {
                html += "<td>–</td>";
                continue;
            };
            let share = times as f64 / all;
            let kind = if i == j { "same" } else { "other" };
            let strong = if share > 0.75 { " strong" } else { "" };
            let text = if times == 0 { "·".to_owned() } else { count(times) };
            let _ = write!(html, "<td class=\"{kind}{strong}\" style=\"--v:{:.1}%\">{text}</td>", share * 100.0);
        }
        html += "</tr>\n";
    }
    html + "</tbody></table></div>\n"
}
