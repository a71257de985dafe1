use super::*;

const REST: Duration = Duration::from_millis(70);

/// What somebody finds who looks for so long at a feed that gets so many events per millisecond,
/// of which its socket holds so many: how many, the most that were behind, and the looks.
fn look(events_per_ms: u64, held: u64, looks: u32) -> (u64, u64, u64) {
    let mut gather = Gather::resting(REST);
    let (mut behind, mut found, mut most, mut ms) = (0, 0, 0, 0);
    for _ in 0..looks {
        let seen = behind.min(held);
        behind -= seen;
        found += seen;
        let pause = gather.after(seen);
        let passed = u64::try_from(pause.as_millis()).unwrap();
        behind += events_per_ms * passed;
        most = most.max(behind);
        ms += passed;
    }
    (found, most, ms)
}

#[test]
fn whatever_the_size_of_events_nothing_stays_behind() {
    // Large rows fill a socket with few events, small ones with many.
    for held in [3, 26, 90, 270, 4_000] {
        for events_per_ms in [0, 1, 2, 3] {
            if events_per_ms >= held {
                continue;
            }
            let (found, most, ms) = look(events_per_ms, held, 2_000);
            let rest = REST.as_millis() as u64;
            assert!(
                most <= 2 * events_per_ms * rest,
                "{held} {events_per_ms}: {most}"
            );
            assert!(found + most >= events_per_ms * ms, "{held} {events_per_ms}");
        }
    }
}

#[test]
fn most_of_the_time_nobody_looks() {
    let (.., ms) = look(3, 90, 2_000);
    assert!(ms / 2_000 > 10, "a look every {} ms", ms / 2_000);
}
