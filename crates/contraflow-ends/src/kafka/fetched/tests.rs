use super::Said;

/// Statistics as the client writes them, of partition 0: where a leader's log ends as it says, and
/// what is fetched next.
fn statistics(end: i64, next: i64) -> Vec<u8> {
    format!(
        r#"{{"name":"x","topics":{{"t":{{"topic":"t","partitions":{{
            "0":{{"partition":0,"next_offset":{next},"eof_offset":{end},"ls_offset":{end}}},
            "-1":{{"partition":-1,"next_offset":-1001,"eof_offset":-1001,"ls_offset":-1001}}
        }}}}}}}}"#
    )
    .into_bytes()
}

fn handed_out(said: &Said) -> i64 {
    said.handed_out("t", 0)
}

/// The end was 9 when it was asked for. The leader that comes then believes in 7 for a while: a
/// reader that has reached that end has not reached 9.
#[test]
fn the_end_of_a_leader_that_lags_is_no_end() {
    let mut said = Said::default();
    said.hear(&statistics(7, 7));
    said.settle();
    assert_eq!(handed_out(&said), 7);
    said.hear(&statistics(9, 9));
    said.settle();
    assert_eq!(handed_out(&said), 9);
}

/// What was fetched and waits in the queue was not handed out.
#[test]
fn what_waits_in_the_queue_is_not_handed_out() {
    let mut said = Said::default();
    said.hear(&statistics(5, 5));
    assert_eq!(handed_out(&said), 0);
    said.settle();
    assert_eq!(handed_out(&said), 5);
}

#[test]
fn partitions_without_an_offset_say_nothing() {
    let mut said = Said::default();
    said.hear(&statistics(-1001, -1001));
    said.hear(b"no statistics");
    said.settle();
    assert_eq!(handed_out(&said), 0);
}
