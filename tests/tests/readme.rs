//! The README against the code.

const README: &str = include_str!("../../README.md");

#[test]
fn every_loss_has_its_row() {
    for loss in dml_losses::LOSSES {
        let row = format!("| `{}` | {} | {} |", loss.name, loss.summary, loss.source);
        assert!(README.contains(&row), "README.md lacks the row\n{row}");
    }
}
