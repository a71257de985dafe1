use contraflow_core::ledger::RunnerMark;

use super::{is_alive, started};

fn process(started: u64) -> RunnerMark {
    RunnerMark {
        run: "run".to_owned(),
        pid: std::process::id(),
        started,
        file: 0,
        brief: false,
        beat_ms: 0,
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_id_that_was_given_out_again_is_not_the_run_that_had_it() {
    let now = started(std::process::id()).unwrap();
    assert!(now > 0);
    assert!(is_alive(&process(now)));
    assert!(!is_alive(&process(now - 1)), "another process had the id");
    assert!(
        !is_alive(&process(0)),
        "it is ours, and we did not start it"
    );
}
