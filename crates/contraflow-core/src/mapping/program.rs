//! A compiled mapping: steps over numbered registers, run forwards or backwards.

use crate::error::Place;
use crate::mapping::memory::Notes;
use crate::mapping::{Law, MapError, index};
use crate::side::{Direction, Side};
use crate::value::Value;

/// What an operation does to registers, in both directions.
pub(super) trait Step: Send + Sync {
    /// Moves values from the registers of the direction's source to those of its target.
    fn carry(&self, direction: Direction, work: &mut Work<'_>) -> Result<(), MapError>;
}

/// What a step works on.
pub(super) struct Work<'w> {
    /// All registers of the program.
    pub(super) registers: &'w mut [Value],
    step: u32,
    recalled: &'w mut Notes,
    kept: &'w mut Notes,
}

impl Work<'_> {
    /// The note that the opposite direction kept for this step.
    pub(super) fn recall(&mut self) -> Option<Vec<Value>> {
        self.recalled.recall(self.step)
    }

    /// Keeps a note for the opposite direction.
    pub(super) fn keep(&mut self, note: Vec<Value>) {
        self.kept.keep(self.step, note);
    }

    /// Moves the values of some registers out.
    pub(super) fn take(&mut self, registers: &[usize]) -> Vec<Value> {
        let values = registers
            .iter()
            .map(|&register| self.registers[register].take());
        values.collect()
    }

    /// Moves values into some registers.
    pub(super) fn put(&mut self, registers: &[usize], values: Vec<Value>) {
        for (register, value) in registers.iter().zip(values) {
            self.registers[*register] = value;
        }
    }
}

/// One operation as planned: its step, what it touches and what it promises.
pub(super) struct Planned {
    /// What the operation promises.
    pub(super) law: Law,
    /// Registers it reads on the old side.
    pub(super) reads: Vec<usize>,
    /// Registers it writes on the new side.
    pub(super) writes: Vec<usize>,
    /// What it does; a rename does nothing.
    pub(super) step: Option<Box<dyn Step>>,
    /// Where it stands.
    pub(super) place: Option<Place>,
}

impl Planned {
    pub(super) fn new(
        law: Law,
        reads: Vec<usize>,
        writes: Vec<usize>,
        step: impl Step + 'static,
    ) -> Planned {
        Planned {
            law,
            reads,
            writes,
            step: Some(Box::new(step)),
            place: None,
        }
    }

    /// An operation that only changes names.
    pub(super) fn named() -> Planned {
        Planned {
            law: Law::Iso,
            reads: Vec::new(),
            writes: Vec::new(),
            step: None,
            place: None,
        }
    }
}

/// Steps in order, and the registers that hold the fields of each side.
pub(super) struct Program {
    registers: usize,
    fields: [Vec<usize>; 2],
    steps: Vec<(u32, Box<dyn Step>)>,
    touched: Vec<bool>,
    links: Vec<Link>,
}

/// What an operation reads on the old side and writes on the new one.
struct Link {
    reads: Vec<usize>,
    writes: Vec<usize>,
    opaque: bool,
}

impl Program {
    /// A program over planned operations, whose numbers are their places in the list.
    pub(super) fn new(registers: usize, fields: [Vec<usize>; 2], planned: Vec<Planned>) -> Program {
        let mut touched = vec![false; registers];
        let mut steps = Vec::new();
        let mut links = Vec::new();
        for (number, planned) in (0..).zip(planned) {
            for &register in planned.reads.iter().chain(&planned.writes) {
                touched[register] = true;
            }
            steps.extend(planned.step.map(|step| (number, step)));
            links.push(Link {
                reads: planned.reads,
                writes: planned.writes,
                opaque: planned.law == Law::Opaque,
            });
        }
        Program {
            registers,
            fields,
            steps,
            touched,
            links,
        }
    }

    /// The same program, where these registers do not count as untouched.
    pub(super) fn touching(mut self, registers: &[usize]) -> Program {
        registers
            .iter()
            .for_each(|&register| self.touched[register] = true);
        self
    }

    /// Old fields from which operations lose something on purpose.
    pub(super) fn opaque(&self) -> Vec<usize> {
        let mut lost = vec![false; self.registers];
        for link in self.links.iter().rev() {
            if link.opaque || link.writes.iter().any(|&register| lost[register]) {
                link.reads
                    .iter()
                    .for_each(|&register| lost[register] = true);
            }
        }
        (0..self.fields[0].len())
            .filter(|&field| lost[field])
            .collect()
    }

    /// The old fields that a new field is made from.
    pub(super) fn origins(&self, new_field: usize) -> Vec<usize> {
        let mut made = vec![false; self.registers];
        made[self.fields[1][new_field]] = true;
        for link in self.links.iter().rev() {
            if link.writes.iter().any(|&register| made[register]) {
                link.reads
                    .iter()
                    .for_each(|&register| made[register] = true);
            }
        }
        (0..self.fields[0].len())
            .filter(|&field| made[field])
            .collect()
    }

    /// Empty registers.
    pub(super) fn registers(&self) -> Vec<Value> {
        vec![Value::Absent; self.registers]
    }

    /// Whether a field of a side keeps its register on the other side and no step touches it.
    pub(super) fn untouched(&self, side: Side, field: usize) -> bool {
        let register = self.fields[index(side)].get(field);
        register.is_some_and(|register| {
            !self.touched[*register] && self.fields[index(side.other())].contains(register)
        })
    }

    /// Carries the fields of the source to the fields of the target.
    pub(super) fn run(
        &self,
        direction: Direction,
        mut row: Vec<Value>,
        recalled: &mut Notes,
        kept: &mut Notes,
    ) -> Result<Vec<Value>, MapError> {
        let [from, to] =
            [direction.source(), direction.target()].map(|side| &self.fields[index(side)]);
        if row.len() != from.len() {
            return Err(MapError::unmappable(
                "row",
                "the number of fields differs from the shape",
            ));
        }
        let (mut registers, mut spare) = match direction {
            // The old side's registers are 0 to n, so the row becomes the registers.
            Direction::Forward => {
                row.resize(self.registers, Value::Absent);
                (row, Vec::with_capacity(to.len()))
            }
            Direction::Reverse => {
                let mut registers = self.registers();
                for (register, value) in from.iter().zip(row.drain(..)) {
                    registers[*register] = value;
                }
                (registers, row)
            }
        };
        let mut perform = |(number, step): &(u32, Box<dyn Step>)| {
            let mut work = Work {
                registers: &mut registers,
                step: *number,
                recalled,
                kept,
            };
            step.carry(direction, &mut work)
        };
        match direction {
            Direction::Forward => self.steps.iter().try_for_each(&mut perform)?,
            Direction::Reverse => self.steps.iter().rev().try_for_each(&mut perform)?,
        }
        spare.extend(to.iter().map(|&register| registers[register].take()));
        Ok(spare)
    }

    /// Performs only the steps with these numbers, which keep no notes.
    pub(super) fn run_only(
        &self,
        direction: Direction,
        numbers: &[usize],
        registers: &mut [Value],
    ) -> Result<(), MapError> {
        let chosen = |(number, _): &&(u32, Box<dyn Step>)| numbers.contains(&(*number as usize));
        let mut steps: Vec<_> = self.steps.iter().filter(chosen).collect();
        if direction == Direction::Reverse {
            steps.reverse();
        }
        for (number, step) in steps {
            let mut work = Work {
                registers: &mut *registers,
                step: *number,
                recalled: &mut Notes::default(),
                kept: &mut Notes::default(),
            };
            step.carry(direction, &mut work)?;
        }
        Ok(())
    }
}
