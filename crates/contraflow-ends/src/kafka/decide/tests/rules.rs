//! The rules of the protocol, each of which can be broken, and the steps that follow from them.

/// What somebody could forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// A lane takes its transactional id, then reads who has authority.
    ClaimTakesFirst,
    /// A lane asks who has authority at all.
    ClaimAsks,
    /// A claim of the way back without a checkpoint is refused.
    WayBackNeedsStart,
    /// Records and checkpoint are one transaction.
    CheckpointWithRecords,
    /// After a result that is not known, the lane is claimed anew and its checkpoint read.
    RereadWhenUnknown,
    /// Whoever moves authority takes the id of the coordinator, then reads how it stands.
    CoordinatorTakesFirst,
    /// All up to the fence is carried before the seal.
    DrainBeforeSeal,
    /// The seal looks once more at the end of the old topic.
    SealLooksAtEnds,
    /// Both sides are closed before the flip.
    SealBeforeFlip,
    /// The flip takes the ids of the forward lanes.
    Sweep,
    /// It does so before it is written.
    SweepBeforeFlip,
    /// The flip asks whether it is still wanted.
    FlipAsks,
    /// The flip, authority and the start of the way back are one transaction.
    FlipAtOnce,
    /// The way back begins where the new topic was compared.
    StartWhereCompared,
    /// A lift opens only what is open or fenced in its own epoch.
    LiftAsks,
    /// A change that has flipped never runs forward again, whatever stands in the control topic.
    NeverAgain,
}

impl Rule {
    pub(super) const ALL: [Rule; 16] = [
        Rule::ClaimTakesFirst,
        Rule::ClaimAsks,
        Rule::WayBackNeedsStart,
        Rule::CheckpointWithRecords,
        Rule::RereadWhenUnknown,
        Rule::CoordinatorTakesFirst,
        Rule::DrainBeforeSeal,
        Rule::SealLooksAtEnds,
        Rule::SealBeforeFlip,
        Rule::Sweep,
        Rule::SweepBeforeFlip,
        Rule::FlipAsks,
        Rule::FlipAtOnce,
        Rule::StartWhereCompared,
        Rule::LiftAsks,
        Rule::NeverAgain,
    ];
}

/// One step of somebody who moves authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Take,
    Decide,
    Sweep(usize),
    Send,
    /// Waits for the answer, and until everybody can see it.
    Receive,
    /// A second transaction, where one should do.
    SendRest,
}

/// The steps in which authority moves.
pub(super) fn moves(broken: Option<Rule>, flips: bool, lanes: usize) -> Vec<Step> {
    let mut steps = match broken {
        Some(Rule::CoordinatorTakesFirst) => vec![Step::Decide, Step::Take],
        _ => vec![Step::Take, Step::Decide],
    };
    let sweeps = (0..lanes).map(Step::Sweep);
    let writes = [Step::Send, Step::Receive];
    match broken {
        _ if !flips => steps.extend(writes),
        Some(Rule::Sweep) => steps.extend(writes),
        Some(Rule::SweepBeforeFlip) => steps.extend(writes.into_iter().chain(sweeps)),
        Some(Rule::FlipAtOnce) => {
            steps.extend(sweeps.chain(writes));
            steps.extend([Step::SendRest, Step::Receive]);
        }
        _ => steps.extend(sweeps.chain(writes)),
    }
    steps
}
