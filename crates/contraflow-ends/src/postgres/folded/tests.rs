//! What is left of several changes of one key.

use super::*;

const PAIR: PairId = PairId(0);

fn key(n: i64) -> Key {
    Key(vec![Value::Int(n)])
}

fn by(lsn: u64) -> By {
    By {
        place: Place::at(lsn),
        ours: None,
    }
}

fn row(n: i64, text: &str) -> Vec<Value> {
    vec![Value::Int(n), Value::Text(text.to_owned())]
}

#[test]
fn a_value_that_is_not_in_the_log_is_taken_from_the_row_before() {
    let mut folded = Folded::default();
    folded.insert(PAIR, key(1), row(1, "large"), by(1));
    folded.update(PAIR, key(1), vec![Some(Value::Int(1)), None], by(2));
    folded.update(PAIR, key(2), vec![Some(Value::Int(2)), None], by(3));
    let [first, second] = folded.touched.as_slice() else {
        panic!("two keys");
    };
    assert!(matches!(&first.latest, Latest::Row(found) if *found == row(1, "large")));
    assert_eq!((first.op(), first.place), (Op::Put, Place::at(2)));
    assert!(matches!(second.latest, Latest::Partial));
}

#[test]
fn a_row_that_was_deleted_on_the_way_is_another_one() {
    let mut folded = Folded::default();
    folded.delete(PAIR, key(1), by(1));
    folded.insert(PAIR, key(1), row(1, "new"), by(2));
    folded.insert(PAIR, key(2), row(2, "short"), by(3));
    folded.delete(PAIR, key(2), by(4));
    let ops: Vec<Op> = folded.touched.iter().map(Touched::op).collect();
    assert_eq!(ops, [Op::Replace, Op::Delete]);
    assert_eq!(folded.changes, 4);
}
