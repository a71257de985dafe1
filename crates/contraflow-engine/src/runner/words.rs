//! Effects and ownership in words, for the history.

use contraflow_core::lease::Ownership;
use contraflow_core::phase::Effect;

pub(super) fn describe(effect: Effect) -> String {
    match effect {
        Effect::Expand => "expand both ends".into(),
        Effect::Carry { direction } => format!("carry {direction}"),
        Effect::Standby { side } => format!("watch the {side} end"),
        Effect::Judge { to } => format!("judge the gates for {to}"),
        Effect::Fence { side } => format!("fence the {side} end"),
        Effect::Drain { side } => format!("drain the {side} end"),
        Effect::Compare { side } => format!("compare what changed at the {side} end"),
        Effect::Seal { side } => format!("seal the {side} end"),
        Effect::Flip { side } => format!("open the {side} end"),
        Effect::Lift { side } => format!("lift the fence of the {side} end"),
        Effect::Observe => "ask both ends who has authority".into(),
        Effect::Contract => "take the old end down".into(),
        Effect::Remove => "take down what expand made".into(),
    }
}

pub(super) fn say(ownership: Ownership) -> String {
    match ownership {
        Ownership::Unclaimed => "the change is not carried yet".into(),
        Ownership::Held {
            by,
            epoch,
            fenced: true,
        } => format!("{by}, epoch {epoch}, fenced"),
        Ownership::Held {
            by,
            epoch,
            fenced: false,
        } => format!("{by}, epoch {epoch}"),
        Ownership::Sealed { gaining, epoch } => format!("on its way to {gaining}, epoch {epoch}"),
        Ownership::Ambiguous => "impossible".into(),
    }
}
