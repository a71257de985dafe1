//! `contraflow plan`: exactly what a change will do, step by step. Touches nothing.

use std::path::PathBuf;

use contraflow_core::change::history::Reach;
use contraflow_core::change::quantity;
use contraflow_core::end::{Demands, Step};
use contraflow_core::phase::History;
use contraflow_core::side::Side;
use contraflow_engine::context::Pair;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::session::Session;

/// Show the exact statements, locks, grants and phases of a change. Touches nothing.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
}

#[derive(Serialize)]
struct Plan<'s> {
    schema: &'static str,
    change: &'s str,
    mapping: Vec<Mapped<'s>>,
    phases: Vec<Planned>,
}

#[derive(Serialize)]
struct Mapped<'s> {
    old: &'s str,
    new: &'s str,
    rows_estimated: u64,
    history: &'static str,
    operations: Vec<Operation>,
}

#[derive(Serialize)]
struct Operation {
    name: &'static str,
    law: &'static str,
    does: String,
    loses: Option<String>,
}

#[derive(Serialize)]
struct Planned {
    phase: &'static str,
    does: String,
    locks: String,
    steps: Vec<Statements>,
}

#[derive(Serialize)]
struct Statements {
    end: &'static str,
    address: String,
    who: String,
    statements: Vec<String>,
}

/// Shows the plan.
///
/// # Errors
/// When the stream is closed.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let session = match Session::open(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    if !session.warnings.is_empty() {
        out.warnings(&file, &session.warnings)?;
    }
    let plan = plan(&session)?;
    tell(&plan, out)?;
    out.document(&plan)?;
    Ok(Exit::Yes)
}

fn plan(session: &Session) -> anyhow::Result<Plan<'_>> {
    let context = &session.context;
    let mapping = context
        .pairs
        .iter()
        .map(|pair| Mapped {
            old: &pair.old,
            new: &pair.new,
            rows_estimated: context
                .old
                .end
                .inspect(&pair.old, &[])
                .ok()
                .flatten()
                .map_or(0, |found| found.rows_estimated),
            history: match pair.history {
                Reach::All => "every row is copied",
                Reach::Nothing => "no row is copied; the compare judges what the new table holds",
                Reach::Since { .. } => "rows from the bound on are copied, older ones once written",
            },
            operations: operations(pair),
        })
        .collect();
    Ok(Plan {
        schema: "contraflow.plan/1",
        change: &context.change,
        mapping,
        phases: possible(session)?,
    })
}

/// What a mapping does, the one of the keys of records behind it.
fn operations(pair: &Pair) -> Vec<Operation> {
    let keys = pair.keying.as_ref().and_then(|keying| keying.keys.as_ref());
    let keys = keys.map(|keys| ("in the key, ", keys.mapping()));
    let mappings = [("", &pair.mapping)].into_iter().chain(keys);
    let all = mappings.flat_map(|(of, mapping)| {
        let operations = mapping.operations().iter();
        operations.map(move |operation| Operation {
            name: operation.name,
            law: operation.law.name(),
            does: format!("{of}{}", operation.description),
            loses: operation.loses.clone(),
        })
    });
    all.collect()
}

/// What the phases lock, in words: of each end the old one first.
struct Locks {
    declaring: String,
    carrying: [String; 2],
    fenced: [String; 2],
}

fn locks(session: &Session) -> anyhow::Result<Locks> {
    let fence = quantity::show_duration(session.context.limits.fence_max);
    let demands =
        |side| Ok::<Demands, anyhow::Error>(session.context.side(side).structure()?.demands());
    let (old, new) = (demands(Side::Old)?, demands(Side::New)?);
    let fenced = |side: Side, end: Demands| {
        format!("writers of the {side} end {}, {fence} at most", end.fenced)
    };
    Ok(Locks {
        declaring: if old == new {
            format!("at each end {}", old.declaring)
        } else {
            format!("old: {}; new: {}", old.declaring, new.declaring)
        },
        carrying: [(Side::Old, old), (Side::New, new)]
            .map(|(side, end)| format!("at the {side} end {}", end.carrying)),
        fenced: [fenced(Side::Old, old), fenced(Side::New, new)],
    })
}

/// The phases that the mode has.
fn possible(session: &Session) -> anyhow::Result<Vec<Planned>> {
    let mut all = phases(session)?;
    let rolls_back = session.context.mode.rules().rolls_back;
    all.retain(|planned| rolls_back || planned.phase != "rollback");
    Ok(all)
}

fn phases(session: &Session) -> anyhow::Result<Vec<Planned>> {
    let Locks {
        declaring,
        carrying: [at_old, at_new],
        fenced: [old, new],
    } = locks(session)?;
    Ok(vec![
        Planned {
            phase: "expand",
            does: "creates the new tables, the bookkeeping of both ends, journal and guard".into(),
            locks: declaring.clone(),
            steps: vec![
                statements(session, Side::New, Step::Expand)?,
                statements(session, Side::Old, Step::Expand)?,
            ],
        },
        Planned {
            phase: "backfill",
            does: copies(session),
            locks: at_new.clone(),
            steps: Vec::new(),
        },
        Planned {
            phase: "follow",
            does: "carries every committed write of the old end".into(),
            locks: at_new,
            steps: Vec::new(),
        },
        Planned {
            phase: "cutover",
            does: "judges the gates, fences the old end, drains, compares, seals, opens the new"
                .into(),
            locks: old,
            steps: vec![
                statements(session, Side::Old, Step::Fence)?,
                statements(session, Side::Old, Step::Seal)?,
                statements(session, Side::New, Step::Flip)?,
            ],
        },
        Planned {
            phase: "reverse",
            does: "carries every committed write of the new end back, for readers of the old one"
                .into(),
            locks: at_old,
            steps: Vec::new(),
        },
        Planned {
            phase: "rollback",
            does: "the same turn the other way, any number of times".into(),
            locks: new,
            steps: vec![
                statements(session, Side::New, Step::Fence)?,
                statements(session, Side::New, Step::Seal)?,
                statements(session, Side::Old, Step::Flip)?,
            ],
        },
        Planned {
            phase: "contract",
            does: "drops the old tables and all bookkeeping, after showing evidence and asking"
                .into(),
            locks: declaring,
            steps: vec![
                statements(session, Side::Old, Step::Drop)?,
                statements(session, Side::Old, Step::Clean)?,
                statements(session, Side::New, Step::Clean)?,
            ],
        },
    ])
}

/// How history gets to the new end.
fn copies(session: &Session) -> String {
    match session.context.mode.rules().history {
        History::Ranges => {
            let share = session.context.limits.copy_share_percent;
            format!(
                "copies history range by range in key order, while every write is followed; its \
                 readers read {share} % of the time"
            )
        }
        History::Feed => {
            "reproduces the old end from its oldest record until it has caught up".into()
        }
        History::None => "there is no history".into(),
    }
}

fn statements(session: &Session, side: Side, step: Step) -> anyhow::Result<Statements> {
    let bound = session.context.side(side);
    let structure = bound.structure()?;
    Ok(Statements {
        end: side.name(),
        address: bound.end.address(),
        who: format!("this process; it needs {}", structure.demands().rights),
        statements: structure.statements(step),
    })
}

fn tell(plan: &Plan<'_>, out: &mut Output) -> anyhow::Result<()> {
    out.human(&format!("plan of change {}", plan.change))?;
    for pair in &plan.mapping {
        out.human(&format!(
            "\n{} -> {}  (about {} rows)",
            pair.old, pair.new, pair.rows_estimated
        ))?;
        out.human(&format!("  history  {}", pair.history))?;
        for operation in &pair.operations {
            out.human(&format!(
                "  {:<9}{:<12}{}",
                operation.name, operation.law, operation.does
            ))?;
            if let Some(loses) = &operation.loses {
                out.human(&format!("  {:<21}a round trip loses: {loses}", ""))?;
            }
        }
    }
    for phase in &plan.phases {
        out.human(&format!("\n{}: {}", phase.phase.to_uppercase(), phase.does))?;
        out.human(&format!("  locks: {}", phase.locks))?;
        for step in &phase.steps {
            out.human(&format!(
                "  at the {} end ({}), run by {}:",
                step.end, step.address, step.who
            ))?;
            for statement in &step.statements {
                out.human(&format!("    {};", statement.replace('\n', "\n    ")))?;
            }
        }
    }
    Ok(())
}
