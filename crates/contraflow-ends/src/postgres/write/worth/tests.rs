//! When a shortcut is tried again.

use super::*;

/// How many statements go by before it is tried again.
fn left_out(pause: &mut Pause) -> u32 {
    let mut count = 0;
    while !pause.is_over() {
        count += 1;
    }
    count
}

#[test]
fn what_fails_is_left_out_for_longer_each_time_and_never_for_good() {
    let mut pause = Pause::default();
    assert_eq!(left_out(&mut pause), 0, "nothing is known yet");
    let mut counts = Vec::new();
    for _ in 0..9 {
        pause.learn(false);
        counts.push(left_out(&mut pause));
    }
    assert_eq!(counts, [4, 8, 16, 32, 64, 128, 256, 256, 256]);
    pause.learn(true);
    assert_eq!(left_out(&mut pause), 0, "it went well");
    pause.learn(false);
    assert_eq!(
        left_out(&mut pause),
        PAUSE_FIRST,
        "what was before is forgotten"
    );
}
