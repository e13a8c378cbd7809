//! Requests that nobody thought of: schemathesis, against our own description. It runs where `DML_SCHEMATHESIS` names the program
//! or it is on the path (`pip install schemathesis` in an environment of its own).

mod place;

use dml_serve::Takes;
use place::{KEY, Place};
use std::process::Command;
use std::time::Duration;

#[test]
fn schemathesis_finds_nothing() {
    let program = std::env::var("DML_SCHEMATHESIS").unwrap_or_else(|_| "schemathesis".to_owned());
    if !Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: {program} does not run here: name it by DML_SCHEMATHESIS");
        return;
    }
    // Some requests say that they have a body and bring none.
    let place = Place::with(Some(Takes::Image), |options| options.body_timeout = Duration::from_millis(500));
    let folder = tempfile::tempdir().unwrap();
    // Pictures of the encoder of these tests are lists of numbers, so most are unreadable: that is 400, whatever the schema says.
    let settings = "[checks.positive_data_acceptance]\nexpected-statuses = [200, 201, 204, 400, 404, 409]\n";
    std::fs::write(folder.path().join("schemathesis.toml"), settings).unwrap();
    let examples = std::env::var("DML_FUZZ_EXAMPLES").unwrap_or_else(|_| "40".to_owned());
    let output = Command::new(&program)
        .current_dir(folder.path())
        .args([
            "run",
            &format!("http://{}/openapi.json", place.client.address),
            "--checks",
            "all",
            "--max-examples",
            &examples,
        ])
        .args(["-H", &format!("Authorization: Bearer {KEY}"), "--seed", "1", "--no-color", "--continue-on-failure"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(place.client.get("/health").status, 200);
}
