//! Writes some small files that are right for each target to `corpus/`, which cargo-fuzz begins with and alters:
//!
//!     cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds --no-default-features

#[path = "../src/seeds.rs"]
mod seeds;

use dml_fuzz::place;
use std::fs;
use std::path::Path;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, bytes) in seeds::all(&root.join("../golden")) {
        let path = root.join("corpus").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder below this one");
        fs::write(path, bytes).expect("a file there");
    }
}
