//! Curves in one frame: ROC, DET, precision over recall, loss over steps.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::chart::{across, cut, down, inside, legend, look, svg};
use super::read;
use super::scale::Axis;
use super::text::{escape, markdown, number, script_json};

/// Curves in one frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// Title.
    pub title: String,
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The curves.
    pub series: Vec<Series>,
    /// Single points worth a name, as the equal error rate.
    pub marks: Vec<Mark>,
    /// A line below the picture.
    pub note: String,
}

/// One curve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Name.
    pub name: String,
    /// Points `(x, y)` in drawing order; a point with a NaN breaks the curve.
    #[serde(deserialize_with = "read::points")]
    pub points: Vec<(f64, f64)>,
    /// Whether it stands behind the others, thin and grey, as raw values do behind their mean.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub faint: bool,
}

/// A point with a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Mark {
    /// Name.
    pub label: String,
    /// Horizontal value.
    #[serde(deserialize_with = "read::number")]
    pub x: f64,
    /// Vertical value.
    #[serde(deserialize_with = "read::number")]
    pub y: f64,
}

/// A drawn point: place in tenths of a unit, then the values as text.
type Drawn = (i32, i32, String, String);

impl Curves {
    pub(super) fn html(&self) -> crate::Result<String> {
        let mut body = String::new();
        let mut page_data: Vec<(&str, Vec<Drawn>)> = Vec::new();
        for (i, series) in self.series.iter().enumerate() {
            let (path, drawn) = self.path(series);
            let _ = writeln!(body, "<path {} data-series=\"{i}\" d=\"{path}\"/>", look(i, series.faint));
            page_data.push((&series.name, drawn));
        }
        let mut body = cut(&body);
        for mark in &self.marks {
            let place = across(&self.x, mark.x).zip(down(&self.y, mark.y));
            if let Some((x, y)) = place.filter(|(x, y)| inside(*x, *y)) {
                // A label near the right edge grows to the left.
                let (class, at) = if x > 420.0 { ("end", x - 8.0) } else { ("start", x + 8.0) };
                let up = if y > 40.0 { y - 7.0 } else { y + 16.0 };
                let _ = writeln!(
                    body,
                    "<g class=\"mark\"><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/><text class=\"{class}\" x=\"{at:.1}\" \
                     y=\"{up:.1}\">{}</text></g>",
                    escape(&mark.label)
                );
            }
        }
        Ok(format!(
            "<figure class=\"plot\">{}{}<script type=\"application/json\">{}</script></figure>\n{}",
            svg(&self.title, &self.x, &self.y, &body),
            legend(self.series.iter().map(|s| (s.name.as_str(), s.faint))),
            script_json(&page_data)?,
            super::page::note(&self.note)
        ))
    }

    /// Points closer than a third of a unit to the last drawn one would not be seen and are left out.
    fn path(&self, series: &Series) -> (String, Vec<Drawn>) {
        let (mut path, mut drawn, mut last) = (String::new(), Vec::new(), None::<(f64, f64)>);
        let end = series.points.len().saturating_sub(1);
        for (i, &(vx, vy)) in series.points.iter().enumerate() {
            let (Some(x), Some(y)) = (across(&self.x, vx), down(&self.y, vy)) else {
                last = None;
                continue;
            };
            let near = last.is_some_and(|(px, py)| (px - x).abs() + (py - y).abs() < 0.34);
            if near && i != end {
                continue;
            }
            let _ = write!(path, "{}{x:.1} {y:.1}", if last.is_some() { "L" } else { "M" });
            if inside(x, y) {
                drawn.push(((x * 10.0) as i32, (y * 10.0) as i32, number(vx), number(vy)));
            }
            last = Some((x, y));
        }
        (path, drawn)
    }

    pub(super) fn markdown(&self) -> String {
        let (x, y) = (markdown(&self.x.label), markdown(&self.y.label));
        let mut text = format!("| Curve | Points | First ({x}, {y}) | Last ({x}, {y}) |\n| --- | ---: | --- | --- |\n");
        let show = |p: Option<&(f64, f64)>| p.map_or("–".into(), |p| format!("{}, {}", number(p.0), number(p.1)));
        for series in &self.series {
            let (name, points) = (markdown(&series.name), &series.points);
            let _ =
                writeln!(text, "| {name} | {} | {} | {} |", points.len(), show(points.first()), show(points.last()));
        }
        text.push('\n');
        for mark in &self.marks {
            let _ = writeln!(text, "- {}: {x} {}, {y} {}", markdown(&mark.label), number(mark.x), number(mark.y));
        }
        text + "\n" + &markdown(&self.note) + "\n"
    }
}
