//! The command line of Contraflow.
//!
//! * [`config`]: finds and reads the change file.
//! * [`session`]: binds it to its ends.
//! * [`request`]: asks something of a change, whoever runs it.
//! * [`watch`]: shows a run.
//! * [`cmd`]: one module per verb.
//! * [`demo`]: the story that shows it all.
//! * [`output`]: the only place that prints.
//! * [`surroundings`]: time, chance, signals, other processes.

pub mod config;

pub mod session;

pub mod request;

pub mod watch;

pub mod cmd;

pub mod demo;

pub mod output;

pub mod surroundings;

/// What a verb answers to the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Yes: it was done, or it is so.
    Yes,
    /// An expected no: a gate is closed, the ends differ, a wait timed out.
    No,
    /// An error, or a wrong use of the command line.
    Error,
    /// Nobody can say which end has authority: a human decides.
    Ambiguous,
    /// Interrupted from the terminal.
    Interrupted,
}

impl Exit {
    /// The exit code of the process.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Yes => 0,
            Exit::No => 1,
            Exit::Error => 2,
            Exit::Ambiguous => 3,
            Exit::Interrupted => 130,
        }
    }
}
