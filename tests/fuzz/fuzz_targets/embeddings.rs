//! Embeddings in `.npy` and `.safetensors` files. What is read was in the file.
#![no_main]

use dml_eval::input::{check_finite, open_vectors, zero_rows};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for name in ["x.npy", "x.safetensors"] {
        if let Ok(x) = open_vectors(dml_fuzz::file(name, bytes), None) {
            let values = x.block(0..x.rows()).expect("all rows").len();
            assert!(values <= bytes.len() && Some(values) == x.rows().checked_mul(x.dim()));
            let _ = check_finite(&*x);
            zero_rows(&*x).expect("all rows");
        }
    }
});
