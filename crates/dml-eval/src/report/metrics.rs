//! Named numbers with their intervals, counts and definitions.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::read;
use super::text::{count, escape, markdown, number, percent};

/// A table of metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricTable {
    /// Title.
    pub title: String,
    /// One row per metric.
    pub rows: Vec<MetricRow>,
    /// A line below the table.
    pub note: String,
}

/// One metric.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricRow {
    /// Name.
    pub name: String,
    /// Value; NaN where the metric is not defined.
    #[serde(deserialize_with = "read::number")]
    pub value: f64,
    /// Lower end of the interval.
    pub low: Option<f64>,
    /// Upper end of the interval.
    pub high: Option<f64>,
    /// Whether the value is a share of one, shown as a percentage with a bar.
    pub percent: bool,
    /// What is counted over what.
    pub definition: String,
    /// How many queries, pairs or trials the value rests on.
    pub n: Option<usize>,
}

impl MetricRow {
    fn show(&self, value: f64) -> String {
        if self.percent { percent(value) } else { number(value) }
    }

    fn interval(&self) -> Option<String> {
        let bare = |v: f64| self.show(v).replace("\u{a0}%", "");
        self.low.zip(self.high).map(|(low, high)| format!("{} – {}", bare(low), bare(high)))
    }

    fn bar(&self) -> String {
        // A bar runs from 0: it cannot show a difference that may lie below.
        let below = self.value < 0.0 || self.low.is_some_and(|low| low < 0.0);
        if !self.percent || !self.value.is_finite() || below {
            return String::new();
        }
        let share = |v: f64| if v.is_finite() { v.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
        let whisker = self.low.zip(self.high).map_or_else(String::new, |(low, high)| {
            let (low, high) = (share(low), share(high));
            format!("<b style=\"left:{low:.2}%;width:{:.2}%\"></b>", (high - low).max(0.0))
        });
        let width = share(self.value);
        format!("<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{width:.2}%\"></i>{whisker}</span>")
    }
}

impl MetricTable {
    pub(super) fn html(&self) -> String {
        let mut html = String::from(
            "<div class=\"scroll\"><table class=\"metrics\"><thead><tr><th scope=\"col\">Metric</th>\
             <th scope=\"col\" class=\"num\">Value</th><th scope=\"col\" class=\"num\">n</th></tr></thead><tbody>\n",
        );
        for row in &self.rows {
            let interval = row.interval().map_or_else(String::new, |i| format!("<small class=\"ci\">{i}</small>"));
            let _ = writeln!(
                html,
                "<tr><th scope=\"row\">{}<small>{}</small></th><td class=\"num\"><strong>{}</strong>{}{interval}</td>\
                 <td class=\"num\">{}</td></tr>",
                escape(&row.name),
                escape(&row.definition),
                row.show(row.value),
                row.bar(),
                row.n.map_or_else(|| "–".to_owned(), count),
            );
        }
        html + "</tbody></table></div>\n" + &super::page::note(&self.note)
    }

    pub(super) fn markdown(&self) -> String {
        let mut text =
            String::from("| Metric | Value | Interval | n | Definition |\n| --- | ---: | ---: | ---: | --- |\n");
        for row in &self.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                markdown(&row.name),
                row.show(row.value),
                row.interval().unwrap_or_else(|| "–".to_owned()),
                row.n.map_or_else(|| "–".to_owned(), |n| n.to_string()),
                markdown(&row.definition)
            );
        }
        text + "\n" + &markdown(&self.note) + "\n"
    }
}
