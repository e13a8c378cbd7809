//! Lists of pairs. What is read comes back from its own text.
#![no_main]

use dml_eval::verification::{LfwPairs, PairList};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(list) = LfwPairs::parse(text) {
        assert_eq!(LfwPairs::parse(&list.to_text()).expect("its own text"), list);
    }
    if let Ok(list) = PairList::parse(text) {
        assert_eq!(PairList::parse(&list.to_csv()).expect("its own text"), list);
    }
});
