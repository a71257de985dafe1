use super::{Ask, Effect, Hold, Input, Mode, Phase, State, Step, decide};
use crate::code::Code;
use crate::lease::{Epoch, Ownership};
use crate::side::{Direction, Side};

fn state(phase: Phase) -> State {
    State {
        phase,
        held: None,
        epoch: Epoch::FIRST,
        asked: None,
    }
}

fn phases() -> Vec<Phase> {
    let mut all = vec![
        Phase::Declared,
        Phase::Expand,
        Phase::Backfill,
        Phase::Follow,
        Phase::Reverse,
        Phase::Contract,
        Phase::Abort,
        Phase::Done,
        Phase::Aborted,
    ];
    for to in Side::BOTH {
        for step in [
            Step::Judge,
            Step::Fence,
            Step::Drain,
            Step::Compare,
            Step::Seal,
            Step::Flip,
            Step::Lift,
        ] {
            all.push(Phase::Turn { to, step });
        }
    }
    all
}

fn hold() -> Hold {
    Hold {
        code: Some(1),
        reason: "because".into(),
        hint: None,
    }
}

/// Performs every discrete effect successfully until the change rests.
fn settle(mode: Mode, mut now: State, mut effects: Vec<Effect>) -> State {
    for _ in 0..20 {
        let discrete = effects
            .iter()
            .find(|e| !matches!(e, Effect::Carry { .. } | Effect::Standby { .. }));
        let Some(&effect) = discrete else { return now };
        let next = decide(mode, &now, &Input::Done(effect)).unwrap();
        (now, effects) = (next.state, next.effects);
    }
    panic!("{now:?} does not come to rest");
}

fn ask(now: &State, ask: Ask) -> State {
    let next = decide(Mode::Tables, now, &Input::Asked(ask)).unwrap();
    settle(Mode::Tables, next.state, next.effects)
}

#[test]
fn a_change_runs_through_every_phase_to_done() {
    let start = decide(Mode::Tables, &State::declared(), &Input::Run).unwrap();
    let mut now = settle(Mode::Tables, start.state, start.effects);
    assert_eq!(now.phase, Phase::Backfill);
    now = decide(Mode::Tables, &now, &Input::Backfilled)
        .unwrap()
        .state;
    assert_eq!(now.phase, Phase::Follow);
    for flips in 0..3 {
        now = ask(&now, Ask::Cutover { accept_loss: false });
        assert_eq!(
            (now.phase, now.epoch),
            (Phase::Reverse, Epoch(2 + 2 * flips))
        );
        now = ask(&now, Ask::Rollback { accept_loss: false });
        assert_eq!(
            (now.phase, now.epoch),
            (Phase::Follow, Epoch(3 + 2 * flips))
        );
    }
    now = ask(&now, Ask::Cutover { accept_loss: false });
    assert_eq!(ask(&now, Ask::Contract).phase, Phase::Done);
}

#[test]
fn topics_never_flip_back() {
    let asked = Input::Asked(Ask::Rollback { accept_loss: false });
    assert!(decide(Mode::Topics, &state(Phase::Reverse), &asked).is_err());
    assert!(decide(Mode::Tables, &state(Phase::Reverse), &asked).is_ok());
}

#[test]
fn abort_is_refused_once_authority_has_moved() {
    for phase in [
        Phase::Declared,
        Phase::Expand,
        Phase::Backfill,
        Phase::Follow,
    ] {
        assert_eq!(ask(&state(phase), Ask::Abort).phase, Phase::Aborted);
    }
    let rolled_back = State {
        epoch: Epoch(3),
        ..state(Phase::Follow)
    };
    assert!(decide(Mode::Tables, &rolled_back, &Input::Asked(Ask::Abort)).is_err());
    assert!(
        decide(
            Mode::Tables,
            &state(Phase::Reverse),
            &Input::Asked(Ask::Abort)
        )
        .is_err()
    );
}

#[test]
fn a_turn_that_fails_before_the_seal_ends_where_it_began() {
    for (to, home) in [(Side::New, Phase::Follow), (Side::Old, Phase::Reverse)] {
        for step in [Step::Judge, Step::Fence, Step::Drain, Step::Compare] {
            let now = state(Phase::Turn { to, step });
            let next = decide(Mode::Tables, &now, &Input::Failed(hold())).unwrap();
            let fenced = next.effects.contains(&Effect::Lift { side: to.other() });
            assert_eq!(fenced, step != Step::Judge);
            let rest = settle(Mode::Tables, next.state, next.effects);
            assert_eq!((rest.phase, rest.epoch), (home, Epoch::FIRST));
        }
    }
}

/// Writers that stopped by themselves may go on after a turn that failed, fenced or not.
#[test]
fn what_was_said_of_writers_is_void_after_a_turn_that_failed() {
    let now = state(Phase::Turn {
        to: Side::New,
        step: Step::Judge,
    });
    let next = decide(Mode::Topics, &now, &Input::Failed(hold())).unwrap();
    assert!(next.effects.contains(&Effect::Lift { side: Side::Old }));
    let rest = settle(Mode::Topics, next.state, next.effects);
    assert_eq!((rest.phase, rest.epoch), (Phase::Follow, Epoch::FIRST));
}

#[test]
fn late_writes_are_carried_after_the_flip_and_hold_it_no_more() {
    let late = Input::Asked(Ask::Late {
        give_up: Vec::new(),
    });
    let held = |code| State {
        held: Some(Hold {
            code: Some(code),
            ..hold()
        }),
        ..state(Phase::Reverse)
    };
    let after = |held: &State| decide(Mode::Topics, held, &late).unwrap().state.held;
    assert_eq!(after(&held(Code::ROGUE_WRITE.0)), None);
    assert_eq!(
        after(&held(Code::FEED_LOST.0)).and_then(|hold| hold.code),
        Some(Code::FEED_LOST.0)
    );
    assert!(decide(Mode::Topics, &state(Phase::Follow), &late).is_err());
    assert!(decide(Mode::Tables, &state(Phase::Reverse), &late).is_err());
}

#[test]
fn a_turn_whose_answer_was_lost_asks_the_ends() {
    for step in [Step::Seal, Step::Flip, Step::Lift] {
        let now = state(Phase::Turn {
            to: Side::New,
            step,
        });
        let next = decide(Mode::Tables, &now, &Input::Failed(hold())).unwrap();
        assert!(next.effects.contains(&Effect::Observe));
    }
}

#[test]
fn the_ends_outrank_every_phase() {
    let epoch = Epoch(4);
    for phase in phases() {
        let observed = |ownership| decide(Mode::Tables, &state(phase), &Input::Observed(ownership));
        assert!(observed(Ownership::Ambiguous).is_err());
        let sealed = observed(Ownership::Sealed {
            gaining: Side::New,
            epoch,
        })
        .unwrap();
        assert_eq!(
            sealed.state.phase,
            Phase::Turn {
                to: Side::New,
                step: Step::Flip
            }
        );
        for by in Side::BOTH {
            let held = observed(Ownership::Held {
                by,
                epoch,
                fenced: true,
            })
            .unwrap()
            .state;
            assert_eq!(held.epoch, epoch);
            if let Some(direction) = held.carries() {
                assert_eq!(
                    direction.source(),
                    by,
                    "{phase:?} must not carry the wrong way"
                );
            }
        }
    }
}

#[test]
fn both_directions_never_run_and_nothing_runs_while_sealed_or_held() {
    for phase in phases() {
        let mut now = state(phase);
        if let Phase::Turn {
            step: Step::Seal | Step::Flip,
            ..
        } = phase
        {
            assert_eq!(now.carries(), None);
        }
        let carried = now.carries();
        assert!(matches!(
            carried,
            None | Some(Direction::Forward | Direction::Reverse)
        ));
        now.held = Some(hold());
        assert_eq!(now.carries(), None);
    }
}

#[test]
fn a_hold_is_a_pause_and_resume_goes_on_where_it_was() {
    for phase in [Phase::Backfill, Phase::Follow, Phase::Reverse] {
        let held = ask(
            &state(phase),
            Ask::Hold {
                reason: "lunch".into(),
            },
        );
        assert_eq!((held.phase, held.carries()), (phase, None));
        let resumed = ask(&held, Ask::Resume);
        assert_eq!(resumed, state(phase));
    }
}

#[test]
fn every_phase_answers_every_input_without_a_dead_end() {
    let asks = [
        Ask::Cutover { accept_loss: false },
        Ask::Rollback { accept_loss: false },
        Ask::Contract,
        Ask::Abort,
        Ask::Hold {
            reason: String::new(),
        },
        Ask::Resume,
        Ask::Verify { keys: false },
    ];
    for phase in phases() {
        let granted = asks
            .iter()
            .filter(|ask| {
                decide(Mode::Tables, &state(phase), &Input::Asked((*ask).clone())).is_ok()
            })
            .count();
        assert_eq!(granted == 0, phase.is_over(), "{phase:?}");
        for input in [Input::Run, Input::Backfilled, Input::Failed(hold())] {
            decide(Mode::Tables, &state(phase), &input).unwrap();
        }
    }
}
