//! The tables of a run, and the statistics in them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::record::Record;
use super::versus::Measured;

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

/// Whether a row is the product alone.
fn is_product(row: &Measured) -> bool {
    row.case.loss == "gemm"
}

/// The conditions of a run, of which the first are `what`.
pub(super) fn conditions(what: &str, record: &Record) -> String {
    let programs: Vec<&str> = record.programs.iter().filter_map(|p| p["program"].as_str()).collect();
    let mut text = format!("{what}{} threads, {}; {}.\n", record.threads, record.cpu, programs.join("; "));
    text.push_str(&busy(record));
    text
}

/// Those of losses.
const OF_LOSSES: &str = "Forward and backward, from an embedding tensor to gradients on the host, float32, ";

/// A warning, where others had work for the machine too.
fn busy(record: &Record) -> String {
    record.load_per_core.filter(|&load| load > BUSY).map_or_else(String::new, |load| {
        format!(
            "**The machine was busy** (load average {load:.1} a core before the start): times are unsteady, ratios too.\n"
        )
    })
}

/// Markdown of a run: the conditions, a row a case, and what was left out.
pub(super) fn markdown(record: &Record, rows: &[Measured]) -> String {
    let peers = rows.iter().any(|row| row.seconds.contains_key("pml"));
    let mut text = conditions(OF_LOSSES, record);
    let _ = writeln!(
        text,
        "Median ± half the interquartile range, in ms; peak memory beyond the inputs. Floor: normalisation and the matrix \
         products that no implementation can avoid.\n"
    );
    let pml = |with: &'static str| if peers { with } else { "" };
    let _ = writeln!(
        text,
        "| loss | n | d | fused | composed |{} composed/fused |{} floor | fused/floor | peak |{}",
        pml(" PML |"),
        pml(" PML/fused |"),
        pml(" peak of PML |")
    );
    let _ =
        writeln!(text, "|---|---:|---:|---:|---:|{}---:|{}---:|---:|---:|{}", pml("---:|"), pml("---:|"), pml("---:|"));
    for row in rows.iter().filter(|row| !is_product(row)) {
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
            Some(megabytes(row, "fused")),
            peers.then(|| megabytes(row, "pml")),
        ];
        let cells: Vec<String> = cells.into_iter().flatten().collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text.push('\n');
    text.push_str(&products(rows));
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

/// The product `X·Xᵀ` by everybody.
fn products(rows: &[Measured]) -> String {
    let mut text = String::new();
    let rows: Vec<&Measured> = rows.iter().filter(|row| is_product(row)).collect();
    if rows.is_empty() {
        return text;
    }
    let _ = writeln!(text, "| X·Xᵀ, GFLOP/s of 2n²d | n | d | half, copied | whole | candle | PyTorch |");
    let _ = writeln!(text, "|---|---:|---:|---:|---:|---:|---:|");
    for row in rows {
        let speed = |contestant: &str| {
            let flops = 2.0 * (row.case.n * row.case.n * row.case.d) as f64;
            seconds(row, contestant).map_or_else(|| "–".to_owned(), |s| format!("{:.0}", flops / s / 1e9))
        };
        let cells = ["fused", "floor", "candle", "torch"].map(speed).join(" | ");
        let _ = writeln!(text, "| | {} | {} | {cells} |", row.case.n, row.case.d);
    }
    text.push('\n');
    text
}

/// The table of the README: a line a loss, all its sizes beside each other.
pub(super) fn summary(record: &Record, rows: &[Measured]) -> String {
    let usual: Vec<&Measured> = rows.iter().filter(|row| !is_product(row) && row.case.n <= 4096).collect();
    let sizes: BTreeSet<usize> = usual.iter().map(|row| row.case.n).collect();
    let mut lines: BTreeMap<(&str, usize), BTreeMap<usize, &Measured>> = BTreeMap::new();
    for row in &usual {
        lines.entry((row.case.title.as_str(), row.case.classes)).or_default().insert(row.case.n, row);
    }
    let mut text = conditions(OF_LOSSES, record);
    let list = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join(" · ");
    let _ = writeln!(
        text,
        "Batches of {list} embeddings, length 512, 4 of a class; 1,000 proxies unless said. PML is pytorch-metric-learning; the \
         floor is normalisation and the matrix products that nobody can avoid.\n"
    );
    let _ = writeln!(text, "| loss | ms | times as fast as PML | times the floor |");
    let _ = writeln!(text, "|---|---|---|---|");
    for ((title, _), by_size) in &lines {
        let cells = |cell: &dyn Fn(&Measured) -> String| {
            let one = |n: &usize| by_size.get(n).map_or_else(|| "–".to_owned(), |row| cell(row));
            sizes.iter().map(one).collect::<Vec<_>>().join(" · ")
        };
        let time = |row: &Measured| seconds(row, "fused").map_or_else(|| "–".to_owned(), |s| digits(1e3 * s));
        let times = |above: &'static str, below: &'static str| {
            move |row: &Measured| match (seconds(row, above), seconds(row, below)) {
                (Some(above), Some(below)) => digits(above / below),
                _ => "–".to_owned(),
            }
        };
        let _ = writeln!(
            text,
            "| {title} | {} | {} | {} |",
            cells(&time),
            cells(&times("pml", "fused")),
            cells(&times("fused", "floor"))
        );
    }
    text.push('\n');
    text.push_str(&products(rows));
    if let Some(mean) = geometric_mean(rows, "pml") {
        let _ = writeln!(text, "As fast as PML, geometric mean over all that both have: {mean:.0} times.");
    }
    for row in rows.iter().filter(|row| row.case.n > 4096 || row.case.classes >= 1_000_000) {
        let _ = writeln!(
            text,
            "{}, n = {}, d = {}: {} s, peak {} beyond the inputs.",
            row.case.title,
            row.case.n,
            row.case.d,
            seconds(row, "fused").map_or_else(|| "–".to_owned(), digits),
            megabytes(row, "fused")
        );
    }
    text
}

/// Two digits that count.
pub(super) fn digits(x: f64) -> String {
    let decimals = [9.95, 0.995, 0.0995, 0.00995].iter().filter(|&&least| x < least).count();
    format!("{x:.decimals$}")
}

pub(super) fn seconds(row: &Measured, contestant: &str) -> Option<f64> {
    Some(median(row.seconds.get(contestant)?))
}

fn milliseconds(row: &Measured, contestant: &str) -> String {
    let Some(seconds) = row.seconds.get(contestant) else { return "–".to_owned() };
    let (low, high) = quartiles(seconds);
    format!("{:.2} ± {:.2}", 1e3 * median(seconds), 1e3 * (high - low) / 2.0)
}

pub(super) fn megabytes(row: &Measured, contestant: &str) -> String {
    match row.bytes.get(contestant) {
        Some(&bytes) if bytes > 0 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => "–".to_owned(),
    }
}

pub(super) fn ratio(row: &Measured, above: &str, below: &str) -> String {
    match (seconds(row, above), seconds(row, below)) {
        // With one decimal 1.03 times would be once.
        (Some(above), Some(below)) => format!("{:.2}", above / below),
        _ => "–".to_owned(),
    }
}

/// Of the times of `contestant` over those of the fused kernels.
fn geometric_mean(rows: &[Measured], contestant: &str) -> Option<f64> {
    let rows = rows.iter().filter(|row| !is_product(row));
    let logs: Vec<f64> =
        rows.filter_map(|row| Some((seconds(row, contestant)? / seconds(row, "fused")?).ln())).collect();
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
            bytes: [("fused".to_owned(), 2_000_000)].into(),
            recall: BTreeMap::new(),
            skipped: [("composed".to_owned(), "too large".to_owned())].into(),
        };
        let rows = [row];
        let record = Record::new("losses", 2, Some(1.75), vec![json!({"program": "ours 1"})], &rows);
        let text = markdown(&record, &rows);
        assert!(
            text.contains(
                "| triplet | 8 | 4 | 2.00 ± 0.00 | – | 20.00 ± 0.00 | – | 10.00 | 1.00 ± 0.00 | 2.00 | 2 MB | – |"
            ),
            "{text}"
        );
        assert!(text.contains("PML/fused, geometric mean: 10.0."), "{text}");
        assert!(text.contains("– triplet at n = 8: too large"), "{text}");
        assert!(text.contains("ours 1") && text.contains("load average 1.8 a core"), "{text}");
        let text = summary(&record, &rows);
        assert!(text.contains("| triplet | 2.0 | 10 | 2.0 |"), "{text}");
    }

    #[test]
    fn two_digits_count() {
        let numbers = [151.4, 9.96, 9.94, 0.996, 0.459, 0.0996, 0.0263, 0.0088];
        assert_eq!(numbers.map(digits), ["151", "10", "9.9", "1.0", "0.46", "0.10", "0.026", "0.0088"]);
    }
}
