//! Names as bytes of a tensor, since tensors hold no text: UTF-8, each name ended by a byte 0.

/// The names as bytes.
pub(super) fn to_bytes(names: &[String]) -> Vec<u8> {
    names.iter().flat_map(|name| name.bytes().filter(|&byte| byte != 0).chain([0])).collect()
}

/// The names in `bytes`, none where these are no names.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<Vec<String>> {
    let Some((0, names)) = bytes.split_last() else { return bytes.is_empty().then(Vec::new) };
    Some(str::from_utf8(names).ok()?.split('\0').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_and_other_bytes_are_no_names() {
        for names in [vec![], vec![""], vec!["a/ä.png", "", "line\nend"]] {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            assert_eq!(of_bytes(&to_bytes(&names)), Some(names));
        }
        assert_eq!((of_bytes(b"a"), of_bytes(b"\xff\0")), (None, None));
    }
}
