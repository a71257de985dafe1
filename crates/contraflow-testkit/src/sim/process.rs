//! One process that carries the change: the product's flow, cut into steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::end::{Chunk, Most, Range, Span, Start};
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::lease::{LaneId, Ownership, ownership};
use contraflow_core::position::Position;
use contraflow_core::record::{Key, PairId};
use contraflow_core::side::{Direction, Side};
use contraflow_engine::context::Context;
use contraflow_engine::flow::{Carried, Flow, Pace, Prepared, Stepped, Totals};
use contraflow_engine::turn;
use contraflow_engine::windows::Window;

use crate::mutant::Watched;
use crate::trap::Trap;

const PAIR: PairId = PairId(0);
/// Ranges read ahead.
const AHEAD: usize = 3;
/// Rows whose size cuts a range short now and then.
const BYTES_MAX: u64 = 160;
/// How long a fence lasts.
const FENCE: Duration = Duration::from_millis(60);

pub(super) struct Process {
    pub(super) context: Arc<Context>,
    pub(super) trap: Arc<Trap>,
    pub(super) watched: [Watched; 2],
    pub(super) flow: Option<Flow>,
    reads: VecDeque<(Window, Chunk, Range)>,
    /// Where history goes on, and whether it is all read.
    cursor: Cursor,
    fence: Option<Position>,
    /// What the flows did that have ended.
    pub(super) totals: Totals,
}

#[derive(Default)]
struct Cursor {
    after: Option<Key>,
    ordinal: u64,
    read: bool,
    carried: bool,
}

impl Process {
    pub(super) fn new(context: Arc<Context>, trap: Arc<Trap>, watched: [Watched; 2]) -> Process {
        Process {
            context,
            trap,
            watched,
            flow: None,
            reads: VecDeque::new(),
            cursor: Cursor::default(),
            fence: None,
            totals: Totals::default(),
        }
    }

    /// Who has authority, as both ends say.
    pub(super) fn ownership(&self) -> Result<Ownership> {
        let old = self.context.old.switch()?.standing()?;
        let new = self.context.new.switch()?.standing()?;
        Ok(ownership(old.as_ref(), new.as_ref()))
    }

    /// Forgets everything that is not in the ends.
    pub(super) fn die(&mut self) {
        if let Some(flow) = self.flow.take() {
            let more = flow.totals();
            self.totals.events += more.events;
            self.totals.rows += more.rows;
            self.totals.superseded += more.superseded;
            self.totals.letters += more.letters;
        }
        self.reads.clear();
        self.fence = None;
    }

    /// Asks the ends who has authority, finishes a flip that was cut off, and starts the flow.
    pub(super) fn start(&mut self) -> Result<()> {
        if self.flow.is_some() {
            return Ok(());
        }
        if let Ownership::Sealed { gaining, epoch } = self.ownership()? {
            turn::flip(&self.context, gaining, epoch)?;
        }
        let Ownership::Held { by, .. } = self.ownership()? else {
            let message = "nobody can say who has authority";
            let code = Code::OWNERSHIP_AMBIGUOUS;
            return Err(Error::new(Kind::Ambiguous, code, message));
        };
        let flow = Flow::start(&self.context, by.direction(), LaneId(0), Pace::Stepwise)?;
        self.reads.clear();
        self.cursor = Cursor::default();
        if by == Side::New {
            self.cursor.read = true;
            self.cursor.carried = true;
        }
        for (_, last) in flow.resumed_chunks() {
            if let Some(range) = last {
                self.cursor.done(range);
                self.cursor.go_on(range);
            }
        }
        self.flow = Some(flow);
        Ok(())
    }

    /// One step of the flow, whose feed hands out at most so many events.
    pub(super) fn step(&mut self, events_max: u64) -> Result<Option<Stepped>> {
        let Some(flow) = self.flow.as_mut() else {
            return Ok(None);
        };
        let source = source(flow.direction());
        self.watched[source]
            .pause()
            .limit(usize::try_from(events_max).unwrap_or(1));
        let stepped = flow.step()?;
        if let Stepped::Copied(range) = &stepped {
            self.cursor.done(range);
        }
        Ok(Some(stepped))
    }

    /// Receives a batch that is applied at the next step.
    pub(super) fn receive(&mut self) -> Result<()> {
        match &self.flow {
            Some(flow) => self.watched[source(flow.direction())].pause().receive(),
            None => Ok(()),
        }
    }

    /// Reads the next range of history, if there is one. Says whether there was.
    pub(super) fn read(&mut self, rows: u64) -> Result<bool> {
        let Some(flow) = &self.flow else {
            return Ok(false);
        };
        if self.cursor.read || self.reads.len() >= AHEAD {
            return Ok(false);
        }
        let window = flow.windows().open();
        let mut scan = self.context.old.scan()?;
        let most = Most {
            rows,
            bytes: BYTES_MAX,
        };
        let span = Span {
            after: self.cursor.after.clone(),
            ..Span::whole(PAIR)
        };
        let mut chunk = scan.read(&span, most, &window.received)?;
        let range = Range {
            pair: PAIR,
            ordinal: self.cursor.ordinal,
            after: span.after,
            through: chunk.cut.take(),
        };
        self.cursor.go_on(&range);
        self.reads.push_back((window, chunk, range));
        Ok(true)
    }

    /// Hands what was read first to the flow. Says whether there was something.
    pub(super) fn offer(&mut self) -> bool {
        let (Some(flow), Some((window, chunk, range))) = (&mut self.flow, self.reads.pop_front())
        else {
            return false;
        };
        let rows = Prepared::map(
            &self.context,
            flow.direction(),
            chunk,
            Carried::Range(range),
        );
        flow.offer(window, rows.expect("rows of tables are at fault alone"));
        true
    }

    pub(super) fn recarry(&mut self, keys: Vec<Key>) -> Result<()> {
        match &mut self.flow {
            Some(flow) => flow.recarry(PAIR, keys),
            None => Ok(()),
        }
    }

    /// The next step of a turn: fence, then seal when the flow has drained. The flip is left to
    /// whoever starts next. Says whether the losing end was sealed.
    pub(super) fn turn(&mut self) -> Result<bool> {
        let Some(flow) = &self.flow else {
            return Ok(false);
        };
        let direction = flow.direction();
        let Ownership::Held { by, epoch, .. } = self.ownership()? else {
            return Ok(false);
        };
        if by != direction.source() || !self.cursor.carried {
            return Ok(false);
        }
        let Some(fence) = &self.fence else {
            let position = self.context.side(by).switch()?.fence(epoch, FENCE)?;
            self.fence = Some(position);
            return Ok(false);
        };
        let drained = self.context.side(by).end.reached(flow.applied(), fence);
        if !drained || turn::letters(&self.context, direction)? > 0 {
            return Ok(false);
        }
        let fence = fence.clone();
        self.fence = None;
        let mut gaining = self.context.side(by.other()).feed()?;
        gaining.open(&Start::Earliest)?;
        let (head, _) = gaining.head()?;
        match self.context.side(by).switch()?.seal(epoch, &fence, &head) {
            Ok(()) => {
                self.die();
                Ok(true)
            }
            Err(error) if error.code == Code::FENCE_EXPIRED => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn lift(&mut self) -> Result<()> {
        self.fence = None;
        if let Ownership::Held { by, epoch, .. } = self.ownership()? {
            self.context.side(by).switch()?.lift(epoch)?;
        }
        Ok(())
    }

    /// Whether everything that was there is carried, as far as this process knows.
    pub(super) fn is_calm(&self) -> bool {
        let waiting = self.flow.as_ref().map_or(0, Flow::waiting);
        self.cursor.carried && self.reads.is_empty() && waiting == 0
    }
}

impl Cursor {
    fn go_on(&mut self, range: &Range) {
        self.after.clone_from(&range.through);
        self.ordinal = range.ordinal + 1;
        self.read |= range.through.is_none();
    }

    fn done(&mut self, range: &Range) {
        self.carried |= range.through.is_none();
    }
}

fn source(direction: Direction) -> usize {
    match direction {
        Direction::Forward => 0,
        Direction::Reverse => 1,
    }
}
