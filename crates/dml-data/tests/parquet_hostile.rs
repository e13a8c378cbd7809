//! What a damaged Parquet table can do: nothing but give an error.
#![cfg(feature = "parquet")]

use dml_data::sources::table;
use proptest::prelude::*;
use std::fs;
use std::path::Path;

/// Reads `bytes` as a table; whatever comes of it names the file.
fn read(bytes: &[u8]) -> Result<usize, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("birds.parquet");
    fs::write(&path, bytes).unwrap();
    let outcome = table::open(&path, None).map(|catalog| catalog.len()).map_err(|error| error.to_string());
    if let Err(message) = &outcome {
        assert!(message.contains("birds"), "{message}");
    }
    outcome
}

fn whole() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data/birds.parquet")).unwrap()
}

#[test]
fn a_table_is_read_whole_and_not_by_halves() {
    let whole = whole();
    assert!(read(&whole).unwrap() > 2);
    for cut in [0, 4, 8, whole.len() / 2, whole.len() - 8, whole.len() - 1] {
        let message = read(&whole[..cut]).unwrap_err();
        assert!(message.contains("save the table anew"), "{cut} bytes: {message}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), footer: u8) {
        prop_assert!(read(&bytes).is_err());
        // The mark of the format, around a footer of any length.
        let footer = u32::from(footer).to_le_bytes();
        prop_assert!(read(&[b"PAR1", bytes.as_slice(), &footer, b"PAR1"].concat()).is_err());
    }

    #[test]
    fn an_altered_table_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = whole();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let _ = read(&bytes);
    }
}
