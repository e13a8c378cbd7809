//! Embeddings in the plane: the same points in one map or several.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::read;
use super::sketch::sketch;
use super::text::{count, escape, markdown, number, script_json};

/// Steps along each side of a map: finer than any screen.
pub(super) const STEPS: i32 = 4095;

/// Embeddings in the plane. What is picked in one map stands out in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Projection {
    /// Title.
    pub title: String,
    /// The embeddings that are drawn.
    pub points: Vec<Point>,
    /// Name of class `c` at place `c`.
    pub classes: Vec<String>,
    /// Where the points are, in each way of drawing them.
    pub maps: Vec<PlaneMap>,
    /// Which embeddings these are, and how to read the maps.
    pub note: String,
}

/// One embedding that is drawn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Class.
    pub class: u32,
    /// Which item of the set it is.
    pub id: String,
}

/// Places of all points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlaneMap {
    /// Name, as "PCA".
    pub name: String,
    /// How it was made, and what it keeps.
    pub method: String,
    /// x and y of each point. A point whose place is missing or is no number is not drawn.
    #[serde(deserialize_with = "read::places")]
    pub places: Vec<[f32; 2]>,
}

#[derive(Serialize)]
struct PageData<'a> {
    /// Names of the classes that have points.
    classes: Vec<String>,
    /// For each point its place in `classes`.
    of: &'a [usize],
    ids: Vec<&'a str>,
    /// For each map x and y of each point, flat; −1 where it is not drawn.
    maps: &'a [Vec<i32>],
}

impl PlaneMap {
    /// x and y of `n` points in steps, flat, y downwards; −1 for a point without a place. One unit is equally long along both
    /// axes; the cloud stands in the middle of a square.
    fn steps(&self, n: usize) -> Vec<i32> {
        let finite = |at: &&[f32; 2]| at.iter().all(|v| v.is_finite());
        let range = |axis: usize| {
            let along = self.places.iter().take(n).filter(finite).map(|at| f64::from(at[axis]));
            along.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let ends = [range(0), range(1)];
        let side = ends.iter().fold(f64::MIN_POSITIVE, |side, (low, high)| side.max(high - low));
        let step = |at: &[f32; 2], axis: usize| {
            let (low, high) = ends[axis];
            let place = (f64::from(at[axis]) - (low + high) / 2.0) / side + 0.5;
            (place.clamp(0.0, 1.0) * f64::from(STEPS)).round() as i32
        };
        let place = |i: usize| {
            let at = self.places.get(i).filter(finite);
            at.map_or([-1, -1], |at| [step(at, 0), STEPS - step(at, 1)])
        };
        (0..n).flat_map(place).collect()
    }
}

impl Projection {
    fn name(&self, class: u32) -> String {
        self.classes.get(class as usize).cloned().unwrap_or_else(|| format!("class {class}"))
    }

    /// Names of the classes that have points, and for each point which of them is its own.
    fn present(&self) -> (Vec<String>, Vec<usize>) {
        let mut present: Vec<u32> = self.points.iter().map(|point| point.class).collect();
        present.sort_unstable();
        present.dedup();
        let of = |point: &Point| present.partition_point(|&class| class < point.class);
        (present.iter().map(|&class| self.name(class)).collect(), self.points.iter().map(of).collect())
    }

    pub(super) fn html(&self) -> crate::Result<String> {
        let n = self.points.len();
        let (classes, of) = self.present();
        let maps: Vec<Vec<i32>> = self.maps.iter().map(|map| map.steps(n)).collect();
        let size = format!("{} points of {} classes", count(n), count(classes.len()));
        let mut figures = String::new();
        for (map, steps) in self.maps.iter().zip(&maps) {
            let missing = steps.chunks_exact(2).filter(|at| at[0] < 0).count();
            let mut method = escape(&map.method);
            if missing > 0 {
                let _ = write!(method, " {} without a place are not drawn.", count(missing));
            }
            let name = escape(&map.name);
            let _ = write!(
                figures,
                "<div class=\"map\"><h3>{name}</h3><div class=\"ground\"><noscript>{}</noscript>\
                 <canvas role=\"img\" aria-label=\"{}, {name}: {size}\" hidden></canvas><i class=\"ring\" hidden></i></div>\
                 <p class=\"note\">{method}</p></div>",
                sketch(&of, steps),
                escape(&self.title),
            );
        }
        let note = if self.note.is_empty() { String::new() } else { format!(" {}", escape(&self.note)) };
        let data = PageData { classes, of: &of, ids: self.points.iter().map(|p| p.id.as_str()).collect(), maps: &maps };
        Ok(format!(
            "<figure class=\"projection\"><div class=\"plane\"><div class=\"maps\">{figures}</div><div class=\"picker\" hidden>\
             <input type=\"search\" placeholder=\"Find a class\" aria-label=\"Find a class to highlight\"><ul></ul></div></div>\
             <figcaption class=\"note\">{size}.{note}<span class=\"hint\" hidden> Hover to read a point, click to highlight its \
             class.</span></figcaption><script type=\"application/json\">{}</script></figure>\n",
            script_json(&data)?
        ))
    }

    pub(super) fn markdown(&self) -> String {
        /// Classes listed.
        const LISTED: usize = 50;
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (i, point) in self.points.iter().enumerate() {
            classes.entry(point.class).or_default().push(i);
        }
        let mut text =
            format!("{} points of {} classes. {}\n\n", self.points.len(), classes.len(), markdown(&self.note));
        for map in &self.maps {
            let _ = writeln!(text, "- {}: {}", markdown(&map.name), markdown(&map.method));
        }
        let listed =
            if classes.len() > LISTED { format!("the first {LISTED} of the classes") } else { "each class".to_owned() };
        let _ = write!(text, "\nThe middle of {listed}:\n\n| Class | Points |");
        for map in &self.maps {
            let name = markdown(&map.name);
            let _ = write!(text, " {name} x | {name} y |");
        }
        let _ = writeln!(text, "\n| --- | ---: |{}", " ---: | ---: |".repeat(self.maps.len()));
        for (class, members) in classes.iter().take(LISTED) {
            let _ = write!(text, "| {} | {} |", markdown(&self.name(*class)), members.len());
            for map in &self.maps {
                let places = members.iter().filter_map(|&i| map.places.get(i));
                let (n, x, y) =
                    places.fold((0.0, 0.0, 0.0), |(n, x, y), at| (n + 1.0, x + f64::from(at[0]), y + f64::from(at[1])));
                let _ = write!(text, " {} | {} |", number(x / n), number(y / n));
            }
            text.push('\n');
        }
        text
    }
}
