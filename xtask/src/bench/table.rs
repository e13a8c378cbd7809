//! The table of a run, and the statistics in it.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::losses::Measured;
use super::record::Record;

/// Load of each core above which a measurement is doubtful: the contestants want all cores.
const BUSY: f64 = 0.35;

/// Median; NaN of nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Lower and upper quartile.
pub(super) fn quartiles(values: &[f64]) -> (f64, f64) {
    (quantile(values, 0.25), quantile(values, 0.75))
}

/// Linear between the nearest two of the sorted values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Markdown of a run: the conditions, a row a case, and what was left out.
pub(super) fn markdown(record: &Record, rows: &[Measured]) -> String {
    let peers = rows.iter().any(|row| row.seconds.contains_key("pml"));
    let mut text = String::new();
    let programs: Vec<String> =
        record.programs.iter().filter_map(|p| Some(p["program"].as_str()?.to_owned())).collect();
    let _ = writeln!(
        text,
        "Forward and backward, from an embedding tensor to gradients on the host, float32, {} threads, {}; {}.",
        record.threads,
        record.cpu,
        programs.join("; ")
    );
    if let Some(load) = record.load_per_core.filter(|&load| load > BUSY) {
        let _ = writeln!(
            text,
            "**The machine was busy** (load average {load:.1} a core before the start): times are unsteady, ratios too."
        );
    }
    let _ = writeln!(
        text,
        "Median ± half the interquartile range, in ms. Floor: the matrix products that no implementation can avoid.\n"
    );
    let pml = |with: &'static str| if peers { with } else { "" };
    let _ = writeln!(
        text,
        "| loss | n | d | fused | composed |{} composed/fused |{} floor | fused/floor |",
        pml(" PML |"),
        pml(" PML/fused |")
    );
    let _ = writeln!(text, "|---|---:|---:|---:|---:|{}---:|{}---:|---:|", pml("---:|"), pml("---:|"));
    for row in rows {
        let cells = [
            Some(row.case.title.clone()),
            Some(row.case.n.to_string()),
            Some(row.case.d.to_string()),
            Some(milliseconds(row, "fused")),
            Some(milliseconds(row, "composed")),
            peers.then(|| milliseconds(row, "pml")),
            Some(ratio(row, "composed", "fused")),
            peers.then(|| ratio(row, "pml", "fused")),
            Some(milliseconds(row, "floor")),
            Some(ratio(row, "fused", "floor")),
        ];
        let cells: Vec<String> = cells.into_iter().flatten().collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
    for (contestant, name) in [("composed", "Composed"), ("pml", "PML")] {
        if let Some(mean) = geometric_mean(rows, contestant) {
            let _ = writeln!(text, "{name}/fused, geometric mean: {mean:.1}.");
        }
    }
    let reasons: BTreeSet<String> = rows
        .iter()
        .flat_map(|row| row.skipped.values().map(|why| format!("{} at n = {}: {why}", row.case.title, row.case.n)))
        .collect();
    for reason in reasons {
        let _ = writeln!(text, "\n– {reason}");
    }
    text
}

fn seconds(row: &Measured, contestant: &str) -> Option<f64> {
    Some(median(row.seconds.get(contestant)?))
}

fn milliseconds(row: &Measured, contestant: &str) -> String {
    let Some(seconds) = row.seconds.get(contestant) else { return "–".to_owned() };
    let (low, high) = quartiles(seconds);
    format!("{:.2} ± {:.2}", 1e3 * median(seconds), 1e3 * (high - low) / 2.0)
}

fn ratio(row: &Measured, above: &str, below: &str) -> String {
    match (seconds(row, above), seconds(row, below)) {
        (Some(above), Some(below)) => format!("{:.1}", above / below),
        _ => "–".to_owned(),
    }
}

/// Of the times of `contestant` over those of the fused kernels.
fn geometric_mean(rows: &[Measured], contestant: &str) -> Option<f64> {
    let logs: Vec<f64> =
        rows.iter().filter_map(|row| Some((seconds(row, contestant)? / seconds(row, "fused")?).ln())).collect();
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::super::worker::Case;
    use super::*;
    use serde_json::json;

    #[test]
    fn quantiles_of_known_numbers() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quartiles(&[1.0, 2.0, 3.0, 4.0, 5.0]), (2.0, 4.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_contestant_that_did_not_run_is_a_dash_with_its_reason() {
        let case = json!({"title": "triplet", "loss": "triplet", "params": {}, "n": 8, "d": 4, "classes": 2,
            "per_class": 4, "budget_s": 1.0});
        let row = Measured {
            case: serde_json::from_value::<Case>(case).unwrap(),
            seconds: [
                ("fused".to_owned(), vec![0.002]),
                ("pml".to_owned(), vec![0.02]),
                ("floor".to_owned(), vec![0.001]),
            ]
            .into(),
            skipped: [("composed".to_owned(), "too large".to_owned())].into(),
        };
        let rows = [row];
        let text = markdown(&Record::new(2, Some(1.75), vec![json!({"program": "ours 1"})], &rows), &rows);
        assert!(
            text.contains("| triplet | 8 | 4 | 2.00 ± 0.00 | – | 20.00 ± 0.00 | – | 10.0 | 1.00 ± 0.00 | 2.0 |"),
            "{text}"
        );
        assert!(text.contains("PML/fused, geometric mean: 10.0."), "{text}");
        assert!(text.contains("– triplet at n = 8: too large"), "{text}");
        assert!(text.contains("ours 1") && text.contains("load average 1.8 a core"), "{text}");
    }
}
