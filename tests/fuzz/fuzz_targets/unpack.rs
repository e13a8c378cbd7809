//! Archives that are unpacked: zip, tar, tar.gz. Nothing half done is left.
#![no_main]

use dml_data::unpack::{Limits, archive};
use libfuzzer_sys::fuzz_target;
use std::fs;

const LIMITS: Limits = Limits { files: 16, bytes: 1 << 16 };

fuzz_target!(|bytes: &[u8]| {
    let (path, target) = (dml_fuzz::file("archive", bytes), dml_fuzz::place("x"));
    match archive(&path, &target, LIMITS) {
        Ok(()) => fs::remove_dir_all(&target).expect("a folder was made"),
        Err(_) => assert!(!target.exists(), "a refused archive left something"),
    }
    assert!(!dml_fuzz::place("x.unpacking").exists(), "something half done was left");
});
