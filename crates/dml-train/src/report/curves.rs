//! Curves of a training, from its log.

use crate::{Error, Event, Result};
use dml_eval::report::{Axis, Curves, Mark, Scale, Section, Series};
use std::path::Path;

/// Points of a raw curve that are drawn at most: the least and the most of each stretch.
const DRAWN: usize = 1200;

/// The events of the log at `path`. A last line that was not written to its end is left out.
///
/// # Errors
/// When the file cannot be read, or a line is no event.
pub(super) fn events(path: &Path) -> Result<Vec<Event>> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::file(path, e))?;
    let mut events = Vec::new();
    for (i, line) in text.lines().enumerate() {
        match serde_json::from_str(line) {
            Ok(event) => events.push(event),
            Err(_) if i + 1 == text.lines().count() && !text.ends_with('\n') => {}
            Err(e) => {
                return Err(Error::file(path, format!("line {} is no event of a run ({e}): remove the line", i + 1)));
            }
        }
    }
    Ok(events)
}

/// Loss, learning rate, norm of the gradient, speed and validation over the steps.
pub(super) fn sections(events: &[Event]) -> Vec<Section> {
    let steps: Vec<[f64; 5]> = events
        .iter()
        .filter_map(|event| match *event {
            Event::Step { step, loss, lr, grad_norm, images_per_second, .. } => {
                Some([step as f64, loss.into(), lr, grad_norm, images_per_second])
            }
            _ => None,
        })
        .collect();
    let of = |column: usize| -> Vec<(f64, f64)> { steps.iter().map(|step| (step[0], step[column])).collect() };
    let mut found = vec![noisy("Loss", "loss", of(1))];
    found.extend(validation(events));
    found.push(drawn("Learning rate", "learning rate", vec![plain("of the head", of(2))], of(2).as_slice()));
    found.push(noisy("Gradient", "norm, before clipping", of(3)));
    found.push(noisy("Speed", "images/s", of(4)));
    found.retain(|curves| curves.series.iter().any(|series| !series.points.is_empty()));
    found.into_iter().map(Section::Curves).collect()
}

const BOTH_WAYS: &str = "MAP@R both ways, %";

/// Validation, the best marked.
fn validation(events: &[Event]) -> Option<Curves> {
    let measured: Vec<(f64, f64)> = events
        .iter()
        .filter_map(|event| match *event {
            Event::Validated { step, map_at_r, .. }
            | Event::ValidatedBothWays { step, map_at_r, .. }
            | Event::TestedBothWays { step, map_at_r, .. } => Some((step as f64, 100.0 * map_at_r)),
            Event::ValidatedPairs { step, spearman, .. } => Some((step as f64, 100.0 * spearman)),
            Event::Tested { step, recall_at_1, .. } => Some((step as f64, 100.0 * recall_at_1)),
            _ => None,
        })
        .collect();
    let [title, label, what] = events.iter().find_map(|event| match event {
        Event::Validated { .. } => Some(["Validation", "MAP@R, %", "classes held out of training"]),
        Event::ValidatedBothWays { .. } => Some(["Validation", BOTH_WAYS, "images and texts held out of training"]),
        Event::ValidatedPairs { .. } => Some(["Validation", "Spearman, %", "pairs held out of training"]),
        Event::Tested { .. } => Some(["Test, chosen by", "R@1, %", "the test classes themselves"]),
        Event::TestedBothWays { .. } => Some(["Test, chosen by", BOTH_WAYS, "the test images and texts themselves"]),
        _ => None,
    })?;
    // The first of equals, as the run keeps it.
    let best = *measured.iter().rev().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let mut curves = drawn(title, label, vec![plain(what, measured.clone())], &measured);
    // Room for the name above the best.
    curves.y.max += 0.15 * (curves.y.max - curves.y.min);
    curves.marks = vec![Mark { label: format!("best: {:.1} % at step {}", best.1, best.0), x: best.0, y: best.1 }];
    Some(curves)
}

/// Raw values behind their mean.
fn noisy(title: &str, label: &str, raw: Vec<(f64, f64)>) -> Curves {
    let window = (raw.len() / 50).max(5);
    let mean = smoothed(&raw, window);
    let mut curves = drawn(
        title,
        label,
        vec![
            plain(&format!("mean of {window} steps"), mean),
            Series { name: "each step".to_owned(), points: thinned(&raw), faint: true },
        ],
        &raw,
    );
    // Losses and gradients may fall by powers of ten.
    let (low, high) = span(raw.iter().map(|point| point.1));
    if low > 0.0 && high / low > 100.0 {
        curves.y = Axis { scale: Scale::Log, min: low * 0.9, max: high * 1.1, ..curves.y };
    }
    if raw.len() <= window {
        curves.series = vec![plain("each step", raw)];
    }
    curves
}

fn plain(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.to_owned(), points, faint: false }
}

/// The mean of the `window` values around each, of fewer at the ends.
fn smoothed(raw: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let mean = |i: usize| {
        let near = &raw[i.saturating_sub(window / 2)..raw.len().min(i + window / 2 + 1)];
        near.iter().map(|point| point.1).sum::<f64>() / near.len() as f64
    };
    let nth = raw.len().div_ceil(DRAWN).max(1);
    (0..raw.len()).filter(|&i| i.is_multiple_of(nth) || i + 1 == raw.len()).map(|i| (raw[i].0, mean(i))).collect()
}

/// The least and the most of each stretch, in their order: what is drawn looks like all of it.
fn thinned(raw: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if raw.len() <= DRAWN {
        return raw.to_vec();
    }
    let stretch = raw.len().div_ceil(DRAWN / 2);
    raw.chunks(stretch)
        .flat_map(|part| {
            let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
            let (least, most) = (part.iter().min_by(by), part.iter().max_by(by));
            let (Some(&least), Some(&most)) = (least, most) else { return vec![] };
            if least.0 < most.0 { vec![least, most] } else { vec![most, least] }
        })
        .collect()
}

/// Curves in a frame that holds all of `points`.
fn drawn(title: &str, label: &str, series: Vec<Series>, points: &[(f64, f64)]) -> Curves {
    let (low, high) = span(points.iter().map(|point| point.1));
    let (first, last) = span(points.iter().map(|point| point.0));
    let margin = match high - low {
        0.0 => (0.1 * high.abs()).max(1e-6),
        width => 0.05 * width,
    };
    let min = if low >= 0.0 { (low - margin).max(0.0) } else { low - margin };
    Curves {
        title: title.to_owned(),
        x: Axis { label: "step".to_owned(), scale: Scale::Linear, min: first.min(last - 1.0), max: last },
        y: Axis { label: label.to_owned(), scale: Scale::Linear, min, max: high + margin },
        series,
        ..Curves::default()
    }
}

fn span(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|v| v.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, loss: f32) -> Event {
        Event::Step { step, steps: 9000, loss, lr: 0.1, grad_norm: 1.0, images_per_second: 100.0 }
    }

    #[test]
    fn long_runs_are_drawn_in_few_points_with_their_peaks() {
        let events: Vec<Event> = (1..=9000).map(|i| step(i, if i == 4567 { 9.0 } else { 1.0 })).collect();
        let sections = sections(&events);
        let Section::Curves(loss) = &sections[0] else { panic!("{sections:?}") };
        let [mean, raw] = &loss.series[..] else { panic!("{loss:?}") };
        assert!(raw.faint && raw.points.len() <= DRAWN && mean.points.len() <= DRAWN + 1);
        assert!(raw.points.contains(&(4567.0, 9.0)));
        assert_eq!(mean.name, "mean of 180 steps");
        // 181 values around the peak, one of them 9.
        let near = mean.points.iter().find(|point| point.0 > 4500.0).unwrap();
        assert!((near.1 - (1.0 + 8.0 / 181.0)).abs() < 1e-12, "{near:?}");
        assert_eq!((mean.points[0].0, mean.points.last().unwrap().0), (1.0, 9000.0));
    }

    #[test]
    fn the_first_of_the_best_is_marked() {
        let validated = |step, map_at_r| Event::Validated { step, map_at_r, best: false };
        let sections = sections(&[step(1, 0.5), validated(1, 0.25), validated(2, 0.5), validated(3, 0.5)]);
        let Section::Curves(found) = &sections[1] else { panic!("{sections:?}") };
        assert_eq!(found.marks[0].label, "best: 50.0 % at step 2");
    }

    #[test]
    fn a_line_that_a_crash_has_cut_is_passed_over_and_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let line = serde_json::to_string(&step(1, 0.5)).unwrap();
        std::fs::write(&path, format!("{line}\n{}", &line[..20])).unwrap();
        assert_eq!(events(&path).unwrap().len(), 1);
        std::fs::write(&path, format!("{line}\nno event\n{line}\n")).unwrap();
        assert!(events(&path).unwrap_err().to_string().contains("line 2 is no event"));
    }
}
