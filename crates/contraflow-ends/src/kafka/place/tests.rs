use super::{TopicPlace, decode, encode, reached};
use crate::kafka::native::TopicId;

fn at(id: u8, next: &[i64]) -> TopicPlace {
    TopicPlace {
        topic: format!("topic-{id}"),
        id: TopicId([id; 16]),
        next: next.to_vec(),
    }
}

#[test]
fn a_position_is_read_as_it_was_written() {
    let places = vec![at(1, &[0, 7, i64::MAX]), at(2, &[]), at(3, &[5])];
    assert_eq!(decode(&encode(&places)), Some(places));
}

#[test]
fn every_partition_must_have_passed_and_be_of_the_same_topic() {
    let goal = encode(&[at(1, &[3, 4])]);
    assert!(reached(&encode(&[at(1, &[3, 9])]), &goal));
    assert!(!reached(&encode(&[at(1, &[9, 3])]), &goal));
    assert!(!reached(&encode(&[at(2, &[9, 9])]), &goal));
    assert!(!reached(&encode(&[at(1, &[9])]), &goal));
}
