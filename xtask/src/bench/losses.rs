//! `cargo xtask bench losses`.

use super::peers::Needs;
use super::table;
use super::versus::Contest;

pub(super) const CONTEST: Contest = Contest {
    name: "losses",
    folder: "bench",
    program: "time_losses",
    ours: "fused",
    script: "time_pml.py",
    peer: "pml",
    needs: Needs::Search,
    rounds: 2,
    anew: false,
    chosen_by: |case| &case.loss,
    markdown: table::markdown,
    summary: table::summary,
};
