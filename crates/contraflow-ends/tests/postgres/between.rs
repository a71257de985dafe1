//! Two databases, and the product's own flow between them, step by step.

use std::sync::Arc;
use std::time::Duration;

use contraflow_core::change::history::Reach;
use contraflow_core::end::{Most, Range, Span};
use contraflow_core::lease::LaneId;
use contraflow_core::phase::Mode;
use contraflow_core::probe::Silent;
use contraflow_core::record::Key;
use contraflow_core::side::{Direction, Side};
use contraflow_engine::context::{Bound, Context, Limits, Pair};
use contraflow_engine::flow::{Carried as What, Flow, Pace, Prepared, Stepped};
use contraflow_engine::windows::Window;
use contraflow_testkit::mapping::mapping;

use super::carried::{Carried, MOST, PAIR};
use crate::clock::Real;

pub(super) struct Between {
    pub(super) old: Carried,
    pub(super) new: Carried,
    context: Arc<Context>,
}

/// A range that was read under a window that is still open.
pub(super) struct Read {
    window: Window,
    rows: Prepared,
    /// Where the next one begins.
    pub(super) through: Option<Key>,
}

impl Between {
    /// Carries the table `t` of a script as it is, into one of the same declaration.
    pub(super) fn new(table: &str, rows: &str) -> Between {
        let old = Carried::new(&format!("{table}; {rows}"), Side::Old);
        let new = Carried::new(table, Side::New);
        let mapping = mapping("[]", &old.role.tables[0].shape, None);
        let bound = |carried: &Carried| Bound {
            end: Arc::clone(&carried.end),
            role: Arc::clone(&carried.role),
        };
        let context = Arc::new(Context {
            change: old.role.change.clone(),
            mode: Mode::Tables,
            unmappable: Mode::Tables.rules().unmappable,
            mapping: mapping.digest(),
            consumers: Vec::new(),
            pairs: vec![Pair {
                old: "t".to_owned(),
                new: "t".to_owned(),
                mapping,
                history: Reach::All,
                keying: None,
            }],
            old: bound(&old),
            new: bound(&new),
            limits: Limits {
                fence_max: Duration::from_secs(5),
                lag_events_max: 1_000,
                writers_quiet: std::time::Duration::ZERO,
                readers_gone: std::time::Duration::ZERO,
                letters_max: 1_000,
                copy_share_percent: 100,
                backfill_rows_per_s: None,
            },
            clock: Arc::new(Real::start()),
            probe: Arc::new(Silent),
        });
        Between { old, new, context }
    }

    /// The end that a direction begins at.
    pub(super) fn source(&self, direction: Direction) -> &Carried {
        match direction.source() {
            Side::Old => &self.old,
            Side::New => &self.new,
        }
    }

    pub(super) fn flow(&self, direction: Direction) -> Flow {
        Flow::start(&self.context, direction, LaneId(0), Pace::Stepwise).unwrap()
    }

    /// Reads the range of so many rows behind a key, as the backfill does.
    pub(super) fn read(
        &self,
        flow: &Flow,
        (ordinal, after): (u64, Option<&Key>),
        rows: u64,
    ) -> Read {
        let direction = flow.direction();
        let mut scan = self.source(direction).scan();
        let window = flow.windows().open();
        let span = Span {
            after: after.cloned(),
            ..Span::whole(PAIR)
        };
        let most = Most { rows, ..MOST };
        let mut chunk = scan.read(&span, most, &window.received).unwrap();
        let through = chunk.cut.take();
        let range = Range {
            pair: PAIR,
            ordinal,
            after: span.after,
            through: through.clone(),
        };
        let rows = Prepared::map(&self.context, direction, chunk, What::Range(range));
        let rows = rows.unwrap();
        Read {
            window,
            rows,
            through,
        }
    }

    /// Whether both tables hold the same, byte by byte.
    pub(super) fn alike(&self) -> bool {
        let sql = "select coalesce(string_agg(t::text, E'\\n' order by t::text collate \"C\"), '')
                   from t";
        self.old.database.one(sql) == self.new.database.one(sql)
    }
}

pub(super) fn offer(flow: &mut Flow, read: Read) {
    flow.offer(read.window, read.rows);
}

/// Steps until everything that was written and read has been carried.
pub(super) fn settle(flow: &mut Flow) -> contraflow_core::error::Result<()> {
    loop {
        let stepped = flow.step()?;
        let is_idle = matches!(stepped, Stepped::Idle);
        if is_idle && flow.waiting() == 0 && flow.lag()? == 0 {
            return Ok(());
        }
    }
}
