//! Embeddings in the plane.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::text::{count, escape, markdown, number, script_json};

/// Steps along each side of the picture: finer than any screen.
const STEPS: f32 = 4095.0;

/// Embeddings in the plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Projection {
    /// Title.
    pub title: String,
    /// How the plane was found, as "PCA" or "t-SNE, perplexity 30".
    pub method: String,
    /// One point per embedding.
    pub points: Vec<Point>,
    /// Name of class `c` at place `c`.
    pub classes: Vec<String>,
}

/// One embedding in the plane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Horizontal place.
    pub x: f32,
    /// Vertical place.
    pub y: f32,
    /// Class.
    pub class: u32,
    /// Which item of the set it is.
    pub id: String,
}

#[derive(Serialize)]
struct PageData<'a> {
    /// Names of the classes that have points.
    classes: Vec<String>,
    /// x, y, place in `classes`; flat.
    points: Vec<u32>,
    ids: Vec<&'a str>,
}

impl Projection {
    fn name(&self, class: u32) -> String {
        self.classes.get(class as usize).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// One unit is equally long along both axes; the cloud stands in the middle of a square.
    fn page_data(&self) -> PageData<'_> {
        let finite = || self.points.iter().filter(|p| p.x.is_finite() && p.y.is_finite());
        let range = |of: fn(&Point) -> f32| {
            finite().map(of).fold((f32::INFINITY, f32::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)))
        };
        let ((left, right), (low, high)) = (range(|p| p.x), range(|p| p.y));
        let side = (right - left).max(high - low).max(f32::MIN_POSITIVE);
        let step = |v: f32, low: f32, high: f32| {
            (((v - (low + high) / 2.0) / side + 0.5) * STEPS).round().clamp(0.0, STEPS) as u32
        };
        let mut places = BTreeMap::new();
        finite().for_each(|p| {
            places.insert(p.class, 0);
        });
        places.values_mut().enumerate().for_each(|(i, place)| *place = i as u32);
        let mut data =
            PageData { classes: places.keys().map(|c| self.name(*c)).collect(), points: vec![], ids: vec![] };
        for point in finite() {
            let place = places.get(&point.class).copied().unwrap_or(0);
            data.points.extend([step(point.x, left, right), STEPS as u32 - step(point.y, low, high), place]);
            data.ids.push(&point.id);
        }
        data
    }

    pub(super) fn html(&self) -> crate::Result<String> {
        let data = self.page_data();
        let (drawn, classes) = (data.ids.len(), data.classes.len());
        let mut caption = format!("{} points of {} classes", count(drawn), count(classes));
        if !self.method.is_empty() {
            caption = format!("{}; {caption}", escape(&self.method));
        }
        if drawn < self.points.len() {
            let _ = write!(caption, "; {} without a place are not drawn", count(self.points.len() - drawn));
        }
        Ok(format!(
            "<figure class=\"projection\"><noscript><p>The picture is drawn by JavaScript, which is switched off here. \
             The points are in report.json.</p></noscript><div class=\"plane\">\
             <canvas role=\"img\" aria-label=\"{}: {caption}\"></canvas><div class=\"picker\"><input type=\"search\" \
             placeholder=\"Find a class\" aria-label=\"Find a class to highlight\"><ul></ul></div></div>\
             <figcaption class=\"note\">{caption}. Hover to read a point, click to highlight its class.</figcaption>\
             <script type=\"application/json\">{}</script></figure>\n",
            escape(&self.title),
            script_json(&data)?
        ))
    }

    pub(super) fn markdown(&self) -> String {
        let mut classes: BTreeMap<u32, (usize, f64, f64)> = BTreeMap::new();
        for point in &self.points {
            let (n, x, y) = classes.entry(point.class).or_default();
            (*n, *x, *y) = (*n + 1, *x + f64::from(point.x), *y + f64::from(point.y));
        }
        let mut text = format!("{}: {} points of {} classes", markdown(&self.method), self.points.len(), classes.len());
        text += ". The first 50 classes:\n\n| Class | Points | Mean x | Mean y |\n| --- | ---: | ---: | ---: |\n";
        for (class, (n, x, y)) in classes.iter().take(50) {
            let (name, mean) = (markdown(&self.name(*class)), |sum: f64| number(sum / *n as f64));
            let _ = writeln!(text, "| {name} | {n} | {} | {} |", mean(*x), mean(*y));
        }
        text
    }
}
