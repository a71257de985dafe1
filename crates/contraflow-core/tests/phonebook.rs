//! The story of the product in miniature: numbered contacts become a list, in both directions.

use contraflow_core::mapping::{Law, Mapping};
use contraflow_core::side::Side;
use contraflow_core::value::Value;

use crate::flow::{down, edit, image, int, list, mapping, record, same, text, up};

const OLD: &str = "id int64, owner text, contact1_name text?, contact1_num text?, \
                   contact2_name text?, contact2_num text?";
const OPS: &str = "
    - group: {fields: \"contact{i}_{f}\", numbers: 1..2, \
      items: {name: name, num: phoneNumber}, into: contacts, count: count}
    - add: {field: email, type: text, nullable: true, default: null}
";

fn phonebook() -> Mapping {
    mapping(OPS, OLD)
}

fn contact(name: &str, number: &str) -> Value {
    record(vec![text(name), text(number)])
}

fn old(a: (&str, &str), b: (&str, &str)) -> Vec<Value> {
    vec![
        int(1),
        text("o"),
        text(a.0),
        text(a.1),
        text(b.0),
        text(b.1),
    ]
}

#[test]
fn the_new_shape_is_predicted() {
    let mapping = phonebook();
    let names: Vec<&str> = mapping
        .shape(Side::New)
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["id", "owner", "contacts", "count", "email"]);
    assert!(mapping.passes_through(Side::New, 0) && mapping.passes_through(Side::New, 1));
    assert!(!mapping.passes_through(Side::New, 2) && !mapping.passes_through(Side::Old, 2));
    assert_eq!(mapping.law(), Law::Restorable);
}

#[test]
fn full_slots_need_no_complement() {
    let row = image(old(("Ada", "1"), ("Bob", "2")));
    let new = up(&phonebook(), &row);
    let contacts = list(vec![contact("Ada", "1"), contact("Bob", "2")]);
    same(
        &new.row.0,
        &[int(1), text("o"), contacts, int(2), Value::Null],
    );
    assert!(new.complement.is_empty());
    assert_eq!(down(&phonebook(), &new), row);
}

#[test]
fn an_old_writer_edits_the_first_of_three_contacts() {
    let mapping = phonebook();
    let three = list(vec![
        contact("A", "1"),
        contact("B", "2"),
        contact("C", "3"),
    ]);
    let new = image(vec![int(1), text("o"), three, int(3), text("a@b")]);
    let there = down(&mapping, &new);
    same(&there.row.0, &old(("A", "1"), ("B", "2")));
    let back = up(&mapping, &edit(&there, 3, text("9")));
    let expected = list(vec![
        contact("A", "9"),
        contact("B", "2"),
        contact("C", "3"),
    ]);
    same(
        &back.row.0,
        &[int(1), text("o"), expected, int(3), text("a@b")],
    );
}

#[test]
fn undeclared_fields_of_an_edited_contact_stay_with_it() {
    let mapping = phonebook();
    let Value::Record(mut odd) = contact("B", "2") else {
        panic!()
    };
    odd.extras.push(("note".into(), text("n")));
    let contacts = list(vec![contact("A", "1"), Value::Record(odd.clone())]);
    let there = down(
        &mapping,
        &image(vec![int(1), text("o"), contacts, int(2), Value::Null]),
    );
    let back = up(&mapping, &edit(&there, 4, text("Bo")));
    odd.fields[0] = text("Bo");
    let expected = list(vec![contact("A", "1"), Value::Record(odd)]);
    same(&back.row.0[2..3], &[expected]);
}

#[test]
fn gaps_in_slots_stay_where_they_are() {
    let mapping = phonebook();
    let row = image(vec![
        int(1),
        text("o"),
        Value::Null,
        Value::Null,
        text("B"),
        text("2"),
    ]);
    let new = up(&mapping, &row);
    same(&new.row.0[2..4], &[list(vec![contact("B", "2")]), int(1)]);
    assert!(!new.complement.is_empty());
    assert_eq!(down(&mapping, &new).row, row.row);

    // The new application edits the contact: it stays in its slot.
    let edited = edit(&new, 2, list(vec![contact("B", "3")]));
    same(&down(&mapping, &edited).row.0[4..], &[text("B"), text("3")]);
    // It puts one in front: that one takes the gap.
    let edited = edit(&new, 2, list(vec![contact("A", "1"), contact("B", "2")]));
    same(&down(&mapping, &edited).row.0, &old(("A", "1"), ("B", "2")));
    // It puts one behind: both must fit, so the gap closes.
    let edited = edit(&new, 2, list(vec![contact("B", "2"), contact("C", "3")]));
    same(&down(&mapping, &edited).row.0, &old(("B", "2"), ("C", "3")));
}

#[test]
fn an_empty_text_in_a_slot_does_not_move() {
    let mapping = phonebook();
    let row = image(vec![
        int(1),
        text("o"),
        text("A"),
        Value::Null,
        text(""),
        Value::Null,
    ]);
    let new = up(&mapping, &row);
    same(&new.row.0[3..4], &[int(1)]);
    assert_eq!(down(&mapping, &new).row, row.row);
}

#[test]
fn an_old_writer_clears_a_slot_of_an_overflowing_list() {
    let mapping = phonebook();
    let three = list(vec![
        contact("A", "1"),
        contact("B", "2"),
        contact("C", "3"),
    ]);
    let there = down(
        &mapping,
        &image(vec![int(1), text("o"), three, int(3), Value::Null]),
    );
    let cleared = edit(&edit(&there, 2, Value::Null), 3, Value::Null);
    let new = up(&mapping, &cleared);
    same(
        &new.row.0[2..3],
        &[list(vec![contact("B", "2"), contact("C", "3")])],
    );
    let again = down(&mapping, &new);
    same(&again.row.0, &cleared.row.0);
    same(&up(&mapping, &again).row.0, &new.row.0);
}

#[test]
fn empty_items_and_missing_lists_survive_the_old_shape() {
    let mapping = phonebook();
    for contacts in [
        Value::Null,
        list(vec![]),
        list(vec![record(vec![Value::Null, Value::Null])]),
        list(vec![Value::Null, contact("A", "1")]),
        list(vec![record(vec![Value::Absent, text("1")])]),
        list(vec![contact("", ""), contact("", ""), contact("", "")]),
    ] {
        let new = image(vec![int(1), text("o"), contacts, int(0), Value::Null]);
        let back = up(&mapping, &down(&mapping, &new));
        same(&back.row.0[2..3], &new.row.0[2..3]);
    }
}
