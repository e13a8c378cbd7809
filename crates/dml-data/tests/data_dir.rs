//! The data folder under environments that the tests choose. They ask processes of their own: a process's environment is
//! shared by all its threads.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "how a process answers the test that started it")]

use std::env;
use std::process::Command;

#[test]
#[ignore = "the process that the other test asks"]
fn answers() {
    match dml_data::data_dir() {
        Ok(folder) => println!("<{}>", folder.display()),
        Err(error) => println!("<{error}>"),
    }
}

/// What a process says whose environment has these variables only.
fn answer(variables: &[(&str, &str)]) -> String {
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--ignored", "--exact", "answers", "--nocapture"]).env_clear().envs(variables.iter().copied());
    let said = String::from_utf8(process.output().unwrap().stdout).unwrap();
    let (_, answer) = said.split_once('<').unwrap_or_else(|| panic!("no answer: {said}"));
    answer.split_once('>').unwrap().0.to_owned()
}

#[test]
fn the_variable_comes_first_then_the_platforms_folder() {
    let home = ("HOME", "/ada");
    assert_eq!(answer(&[("DML_DATA_DIR", "sets"), ("XDG_DATA_HOME", "/large"), home]), "sets");
    assert_eq!(answer(&[("DML_DATA_DIR", ""), ("XDG_DATA_HOME", "/large"), home]), "/large/dml");
    assert_eq!(answer(&[home]), "/ada/.local/share/dml");
    assert_eq!(answer(&[("XDG_DATA_HOME", "relative"), home]), "/ada/.local/share/dml");
    let homeless = answer(&[("HOME", "here")]);
    assert!(homeless.contains("home is not known") && homeless.contains("DML_DATA_DIR"), "{homeless}");
}
