//! Densities over bins: scores of right and wrong pairs.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::chart::{COLOURS, SPAN, across, cut, dash, down, inside, legend, svg};
use super::read;
use super::scale::{Axis, Scale};
use super::text::{escape, markdown, number, script_json};

/// Densities over shared bins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Title.
    pub title: String,
    /// What is binned.
    pub x_label: String,
    /// Edges of the bins in rising order, one more than there are densities.
    #[serde(deserialize_with = "read::numbers")]
    pub edges: Vec<f64>,
    /// Name and densities of each series.
    #[serde(deserialize_with = "read::named_numbers")]
    pub series: Vec<(String, Vec<f64>)>,
    /// Name and place of each upright line, as a threshold.
    #[serde(deserialize_with = "read::named_number")]
    pub lines: Vec<(String, f64)>,
    /// A line below the picture.
    pub note: String,
}

impl Histogram {
    fn axes(&self) -> (Axis, Axis) {
        let finite = || self.edges.iter().copied().filter(|e| e.is_finite());
        let (min, max) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
        let peak = self.series.iter().flat_map(|s| &s.1).copied().filter(|d| d.is_finite()).fold(0.0, f64::max);
        let x = Axis { label: self.x_label.clone(), scale: Scale::Linear, min, max };
        let max = if peak > 0.0 { peak * 1.06 } else { 1.0 };
        (x, Axis { label: "Density".to_owned(), scale: Scale::Linear, min: 0.0, max })
    }

    pub(super) fn html(&self) -> crate::Result<String> {
        let (x, y) = self.axes();
        let (top, foot) = SPAN;
        let mut body = String::new();
        let mut page_data = Vec::new();
        for (i, (name, densities)) in self.series.iter().enumerate() {
            let (mut path, mut drawn, mut end) = (String::new(), Vec::new(), None);
            for (bin, &density) in self.edges.windows(2).zip(densities) {
                let density_shown = if density.is_nan() { 0.0 } else { density };
                let (Some(left), Some(right), Some(height)) =
                    (across(&x, bin[0]), across(&x, bin[1]), down(&y, density_shown))
                else {
                    continue;
                };
                let start = if path.is_empty() { format!("M{left:.1} {foot}") } else { String::new() };
                let _ = write!(path, "{start}V{height:.1}H{right:.1}");
                let middle = ((left + right) * 5.0) as i32;
                let range = format!("{} to {}", number(bin[0]), number(bin[1]));
                drawn.push((middle, (height * 10.0) as i32, range, number(density)));
                end = Some(());
            }
            if end.is_some() {
                let _ = write!(path, "V{foot}");
            }
            let (colour, dashes) = (i % COLOURS, dash(i));
            let _ = writeln!(
                body,
                "<path class=\"area s{colour}\" data-series=\"{i}\" stroke-dasharray=\"{dashes}\" d=\"{path}\"/>"
            );
            page_data.push((name, drawn));
        }
        let mut body = cut(&body);
        for (row, (label, value)) in self.lines.iter().enumerate() {
            if let Some(at) = across(&x, *value).filter(|at| inside(*at, top)) {
                // The name stands left of its line where the frame ends or another line follows to the right.
                let others = self.lines.iter().filter_map(|l| across(&x, l.1));
                let crowded = others.into_iter().any(|o| o > at && o < at + 140.0) && at > 220.0;
                let left = crowded || at > 450.0;
                let (class, text_at) = if left { ("end", at - 5.0) } else { ("start", at + 5.0) };
                let _ = writeln!(
                    body,
                    "<g class=\"mark\"><path d=\"M{at:.1} {top}V{foot}\"/><text class=\"{class}\" x=\"{text_at:.1}\" y=\"{:.1}\">\
                     {}</text></g>",
                    top + 12.0 + 17.0 * (row % 6) as f64,
                    escape(label)
                );
            }
        }
        Ok(format!(
            "<figure class=\"plot\">{}{}<script type=\"application/json\">{}</script></figure>\n{}",
            svg(&self.title, &x, &y, &body),
            legend(self.series.iter().map(|s| (s.0.as_str(), false))),
            script_json(&page_data)?,
            super::page::note(&self.note)
        ))
    }

    pub(super) fn markdown(&self) -> String {
        let label = markdown(&self.x_label);
        let mut text = format!("| {label} from | to |");
        self.series.iter().for_each(|s| {
            let _ = write!(text, " {} |", markdown(&s.0));
        });
        text += "\n| ---: | ---: |";
        text += &" ---: |".repeat(self.series.len());
        text.push('\n');
        for (i, bin) in self.edges.windows(2).enumerate() {
            let _ = write!(text, "| {} | {} |", number(bin[0]), number(bin[1]));
            for (_, densities) in &self.series {
                let _ = write!(text, " {} |", densities.get(i).map_or("–".into(), |d| number(*d)));
            }
            text.push('\n');
        }
        text.push('\n');
        for (name, value) in &self.lines {
            let _ = writeln!(text, "- {}: {}", markdown(name), number(*value));
        }
        text + "\n" + &markdown(&self.note) + "\n"
    }
}
