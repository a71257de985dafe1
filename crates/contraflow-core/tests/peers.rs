//! Bugs of other tools, as tests of ours.

use contraflow_core::mapping::Law;
use contraflow_core::record::Key;
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;

use crate::flow::{down, edit, image, int, list, mapping, record, same, text, up};

/// panproto #245.
#[test]
fn names_are_swapped_at_once() {
    let lines = "
        - rename: {from: a, to: b}
        - rename: {from: b, to: a}
    ";
    let mapping = mapping(lines, "id int64, a text, b text");
    let row = image(vec![int(1), text("a"), text("b")]);
    let new = up(&mapping, &row);
    let names: Vec<&str> = mapping
        .shape(Side::New)
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["id", "b", "a"]);
    same(&new.row.0, &row.row.0);
    assert_eq!(mapping.law(), Law::Iso);
    assert_eq!(down(&mapping, &new), row);
}

/// Cambria matched paths by prefix: renaming `ab` also renamed `abc`.
#[test]
fn a_name_that_begins_like_another_is_another() {
    let lines = "
        - rename: {from: ab, to: x}
        - remove: {field: abc}
    ";
    let mapping = mapping(lines, "id int64, ab text, abc text?");
    let row = image(vec![int(1), text("1"), text("2")]);
    let new = up(&mapping, &row);
    same(&new.row.0, &[int(1), text("1")]);
    assert_eq!(down(&mapping, &new).row, row.row);
}

/// Cambria's `head` reversed: the value was added to the list a second time.
#[test]
fn a_first_item_put_back_is_not_doubled() {
    let mapping = mapping(
        "- unwrap: {field: tags, into: tag}",
        "id int64, tags list of text",
    );
    let row = image(vec![int(1), list(vec![text("a"), text("b")])]);
    let new = up(&mapping, &row);
    same(&new.row.0, &[int(1), text("a")]);
    assert_eq!(down(&mapping, &new).row, row.row);
    let edited = down(&mapping, &edit(&new, 1, text("c")));
    same(&edited.row.0, &[int(1), list(vec![text("c"), text("b")])]);
}

/// Cambria's hoist failed on a host that is not there.
#[test]
fn a_record_that_is_not_there_can_be_hoisted() {
    let mapping = mapping(
        "- hoist: {from: home}",
        "id int64, home record(street text, no int32)?",
    );
    let row = image(vec![int(1), Value::Null]);
    let new = up(&mapping, &row);
    same(&new.row.0, &[int(1), Value::Null, Value::Null]);
    assert_eq!(down(&mapping, &new).row, row.row);
    let edited = down(&mapping, &edit(&new, 1, text("Main St")));
    same(
        &edited.row.0,
        &[int(1), record(vec![text("Main St"), Value::Null])],
    );
}

/// An edit of one field must not forget the history of another.
#[test]
fn spellings_are_remembered_field_by_field() {
    let lines = "
        - convert: {field: a, to: int64, on_fail: {up: {value: 0}}}
        - convert: {field: b, to: int64, on_fail: {up: {value: 0}}}
    ";
    let mapping = mapping(lines, "id int64, a text, b text");
    let new = up(&mapping, &image(vec![int(1), text("007"), text("+1-555")]));
    same(&new.row.0, &[int(1), int(7), int(0)]);
    same(
        &down(&mapping, &new).row.0,
        &[int(1), text("007"), text("+1-555")],
    );
    let edited = edit(&new, 1, int(8));
    same(
        &down(&mapping, &edited).row.0,
        &[int(1), text("8"), text("+1-555")],
    );
    let edited = edit(&new, 2, int(5));
    same(
        &down(&mapping, &edited).row.0,
        &[int(1), text("007"), text("5")],
    );
}

/// A note moves with its item and dies with it.
#[test]
fn notes_of_list_items_follow_them() {
    let lines =
        "- at: {path: \"tags[]\", do: [{convert: {field: value, to: int64, on_fail: letter}}]}";
    let mapping = mapping(lines, "id int64, tags list of text");
    let row = image(vec![int(1), list(vec![text("01"), text("2"), text("003")])]);
    let new = up(&mapping, &row);
    same(&new.row.0, &[int(1), list(vec![int(1), int(2), int(3)])]);
    assert_eq!(down(&mapping, &new).row, row.row);
    let moved = edit(&new, 1, list(vec![int(3), int(9), int(1)]));
    let expected = list(vec![text("003"), text("9"), text("01")]);
    same(&down(&mapping, &moved).row.0, &[int(1), expected]);
}

/// panproto #254: notes are found by the number of their step, so a step that notes nothing does
/// not shift the others.
#[test]
fn a_removed_field_comes_back_beside_fields_that_left_nothing() {
    let lines = "
        - remove: {field: a}
        - remove: {field: b}
        - rename: {from: id, to: number}
    ";
    let mapping = mapping(lines, "id int64, a text?, b text?");
    let row = image(vec![int(1), Value::Null, text("b")]);
    assert_eq!(down(&mapping, &up(&mapping, &row)).row, row.row);
    let key = mapping.key(Direction::Forward, &Key(vec![int(1)])).unwrap();
    assert_eq!(key, Key(vec![int(1)]));
}

#[test]
fn garbage_beside_a_row_is_refused() {
    let mapping = mapping("- remove: {field: a}", "id int64, a text?");
    let mut row = image(vec![int(1)]);
    row.complement.0 = vec![255, 1, 2];
    let error = mapping
        .map(Direction::Reverse, row, &mut Vec::new())
        .unwrap_err();
    assert_eq!(error.path, "complement");
}

/// An undeclared field may have the name that the other side gives to a declared one.
#[test]
fn an_undeclared_field_that_clashes_waits_beside_the_row() {
    let lines = "- at: {path: \"cs[]\", do: [{add: {field: email, type: text, default: x}}]}";
    let mapping = mapping(lines, "id int64, cs list of record(name text)");
    let Value::Record(mut item) = record(vec![text("a")]) else {
        panic!()
    };
    item.extras.push(("email".into(), Value::Json("1".into())));
    let row = image(vec![int(1), list(vec![Value::Record(item)])]);
    let new = up(&mapping, &row);
    same(
        &new.row.0[1..],
        &[list(vec![record(vec![text("a"), text("x")])])],
    );
    assert_eq!(down(&mapping, &new).row, row.row);
}

/// An old writer who edits one field of what is a record elsewhere keeps the rest of that record.
#[test]
fn undeclared_fields_of_a_nested_record_survive_an_edit() {
    let mapping = mapping(
        "- nest: {fields: [a, b], into: r}",
        "id int64, a text, b text?",
    );
    let Value::Record(mut odd) = record(vec![text("a"), text("b")]) else {
        panic!()
    };
    odd.extras.push(("kept".into(), Value::Json("1.10".into())));
    let there = down(&mapping, &image(vec![int(1), Value::Record(odd.clone())]));
    same(&there.row.0, &[int(1), text("a"), text("b")]);
    let back = up(&mapping, &edit(&there, 1, text("c")));
    odd.fields[0] = text("c");
    same(&back.row.0, &[int(1), Value::Record(odd)]);
}
