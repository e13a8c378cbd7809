//! Manifests, and the command to fetch what they name.
#![no_main]

use dml_data::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(manifest) = Manifest::parse(text) {
        let command = manifest.fetch_command();
        assert!(command.contains(&manifest.name), "{command}");
        assert!(manifest.folder("data".as_ref()).parent() == Some("data".as_ref()), "{}", manifest.name);
    }
});
