//! Measures of retrieval as a table.

use crate::report::{MetricRow, MetricTable};
use crate::retrieval::{Measured, Measurements};

pub(super) fn table(title: &str, found: &Measurements) -> MetricTable {
    let row = |measured: &Measured| {
        let interval = measured.micro_bootstrap.or(measured.wilson).or(measured.student);
        MetricRow {
            name: measured.measure.title(),
            value: measured.micro_mean,
            low: interval.map(|i| i.low),
            high: interval.map(|i| i.high),
            percent: true,
            definition: format!("{}. Mean over classes: {:.4}.", measured.measure.definition(), measured.macro_mean),
            n: Some(measured.values.len()),
        }
    };
    let (queries, lone) = (found.queries.len(), found.lone_queries);
    MetricTable {
        title: title.to_owned(),
        rows: found.measured.iter().map(row).collect(),
        note: format!(
            "Means over {queries} queries; {lone} have no answer in the gallery (policy {:?}). Intervals: 95 %, {}.",
            found.policy.lone,
            if found.measured.iter().any(|measured| measured.micro_bootstrap.is_some()) {
                "classes drawn again"
            } else {
                "of queries as if they were independent (Wilson, Student)"
            }
        ),
    }
}
