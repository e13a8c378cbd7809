//! The frame that curves and histograms share: an SVG with axes, ticks and a legend.

use std::fmt::Write;

use super::scale::Axis;
use super::text::{escape, name};

/// Colours of the palette; series beyond them take the first again with another dash.
pub(super) const COLOURS: usize = 8;
const DASHES: [&str; 4] = ["", "7 4", "2 3", "9 3 2 3"];

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 350.0;
const LEFT: f64 = 68.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 52.0;

/// Horizontal place in the picture.
pub(super) fn across(axis: &Axis, value: f64) -> Option<f64> {
    axis.place(value).map(|p| LEFT + p * (WIDTH - LEFT - RIGHT))
}

/// Vertical place in the picture.
pub(super) fn down(axis: &Axis, value: f64) -> Option<f64> {
    axis.place(value).map(|p| HEIGHT - BOTTOM - p * (HEIGHT - TOP - BOTTOM))
}

/// Whether a place lies in the frame.
pub(super) fn inside(x: f64, y: f64) -> bool {
    (LEFT - 0.01..=WIDTH - RIGHT + 0.01).contains(&x) && (TOP - 0.01..=HEIGHT - BOTTOM + 0.01).contains(&y)
}

/// Shapes cut off at the frame.
pub(super) fn cut(shapes: &str) -> String {
    // A nested picture hides what leaves it, without the page-wide name that a clip path needs.
    let (left, top, width, height) = (LEFT - 1.0, TOP - 1.0, WIDTH - LEFT - RIGHT + 2.0, HEIGHT - TOP - BOTTOM + 2.0);
    format!(
        "<svg x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" viewBox=\"{left} {top} {width} {height}\">\n\
         {shapes}</svg>\n"
    )
}

/// Top and foot of the frame.
pub(super) const SPAN: (f64, f64) = (TOP, HEIGHT - BOTTOM);

/// Dash pattern of a series, so that colour is never the only difference.
pub(super) fn dash(index: usize) -> &'static str {
    DASHES[(index / COLOURS + index) % DASHES.len()]
}

/// How the line of a series looks.
pub(super) fn look(index: usize, faint: bool) -> String {
    match faint {
        true => "class=\"line faint\"".to_owned(),
        false => format!("class=\"line s{}\" stroke-dasharray=\"{}\"", index % COLOURS, dash(index)),
    }
}

/// The picture: grid, axes, then `body`.
pub(super) fn svg(title: &str, x: &Axis, y: &Axis, body: &str) -> String {
    let (right, foot) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" tabindex=\"0\" aria-label=\"{}: {} over {}\">\n\
         <g class=\"grid\">",
        escape(title),
        escape(&y.label),
        escape(&x.label)
    );
    for (value, label) in x.ticks() {
        if let Some(at) = across(x, value) {
            let _ = write!(
                svg,
                "<path d=\"M{at:.1} {TOP}V{foot}\"/><text x=\"{at:.1}\" y=\"{}\">{label}</text>",
                foot + 18.0
            );
        }
    }
    for (value, label) in y.ticks() {
        if let Some(at) = down(y, value) {
            let _ = write!(
                svg,
                "<path d=\"M{LEFT} {at:.1}H{right}\"/><text class=\"end\" x=\"{}\" y=\"{:.1}\">{label}</text>",
                LEFT - 7.0,
                at + 4.0
            );
        }
    }
    let (middle, centre) = ((LEFT + right) / 2.0, (TOP + foot) / 2.0);
    let _ = write!(
        svg,
        "</g>\n<path class=\"axis\" d=\"M{LEFT} {TOP}V{foot}H{right}\"/>\
         <text class=\"label\" x=\"{middle}\" y=\"{}\">{}</text>\
         <text class=\"label\" x=\"{centre}\" y=\"14\" transform=\"rotate(-90) translate({} 0)\">{}</text>\n{body}\
         <path class=\"cursor\" d=\"\"/></svg>\n",
        HEIGHT - 9.0,
        escape(&x.label),
        -2.0 * centre,
        escape(&y.label)
    );
    svg
}

/// Buttons that name each series, faint or not, and hide or show it.
pub(super) fn legend<'a>(names: impl Iterator<Item = (&'a str, bool)>) -> String {
    let items: String = names
        .enumerate()
        .map(|(i, (series, faint))| {
            format!(
                "<li><button type=\"button\" aria-pressed=\"true\" data-series=\"{i}\"><svg class=\"key\" viewBox=\"0 0 28 8\" \
                 aria-hidden=\"true\"><path {} d=\"M0 4H28\"/></svg>{}</button></li>",
                look(i, faint),
                name(series)
            )
        })
        .collect();
    format!("<ul class=\"legend\" aria-label=\"Series\">{items}</ul>\n")
}
