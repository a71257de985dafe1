//! Messages as a server sends them, whole, cut and spoiled.

use super::*;

fn update_of_a_key() -> Vec<u8> {
    let mut bytes = vec![b'U'];
    bytes.extend(7_u32.to_be_bytes());
    bytes.push(b'K');
    bytes.extend(2_u16.to_be_bytes());
    bytes.extend([b't', 0, 0, 0, 1, b'1', b'n', b'N']);
    bytes.extend(3_u16.to_be_bytes());
    bytes.extend([b't', 0, 0, 0, 2, b'1', b'0', b'u', b'n']);
    bytes
}

#[test]
fn an_update_has_its_old_key_and_says_what_is_not_in_the_log() {
    let bytes = update_of_a_key();
    let expected = Message::Update {
        relation: 7,
        old: Some(vec![Cell::Text("1"), Cell::Null]),
        new: vec![Cell::Text("10"), Cell::Unchanged, Cell::Null],
    };
    assert_eq!(parse(&bytes), Some(expected));
}

#[test]
fn what_is_cut_or_too_long_is_no_message() {
    let bytes = update_of_a_key();
    for length in 0..bytes.len() {
        assert_eq!(parse(&bytes[..length]), None, "cut at {length}");
    }
    let longer = [bytes.as_slice(), b"x"].concat();
    assert_eq!(parse(&longer), None);
    assert_eq!(parse(b"?"), None, "another version's message");
}

#[test]
fn lengths_that_lie_are_refused() {
    let mut bytes = update_of_a_key();
    bytes[9..13].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(parse(&bytes), None);
}
