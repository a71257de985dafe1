//! One error type for all libraries: what kind, where, which code, and what to do next.

use std::fmt;

use serde::Serialize;

use crate::code::Code;
use crate::side::Side;

/// What kind of failure this is: a new kind exists only where the operator would act differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The declaration is wrong; nothing was touched.
    Config,
    /// The world does not meet what the change needs; nothing was touched.
    Precondition,
    /// A passing fault: a busy end, a lost connection.
    Transient,
    /// A single row or value cannot be carried.
    Data,
    /// Going on could lose data; the change stops here until a human has looked.
    Hold,
    /// Another process took over; this one must not write again.
    Fenced,
    /// The ends cannot say who has authority.
    Ambiguous,
    /// A broken invariant of this program.
    Internal,
}

/// Whether and how the same act may be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Try again by itself, with backoff.
    Backoff,
    /// Not before somebody has changed something.
    AfterAction,
    /// Never in this process.
    Never,
}

/// The retry class and the one sentence for the operator, for each kind.
#[must_use]
pub fn remedy(kind: Kind) -> (Retry, &'static str) {
    match kind {
        Kind::Config => (
            Retry::AfterAction,
            "correct the change file and run the verb again",
        ),
        Kind::Precondition => (
            Retry::AfterAction,
            "meet the named precondition, then run again",
        ),
        Kind::Transient => (Retry::Backoff, "nothing to do: it is tried again by itself"),
        Kind::Data => (
            Retry::AfterAction,
            "correct the row at its source, or the mapping",
        ),
        Kind::Hold => (
            Retry::AfterAction,
            "look at the named cause, then `contraflow resume`",
        ),
        Kind::Fenced => (
            Retry::Never,
            "nothing to do: another process carries the change",
        ),
        Kind::Ambiguous => (Retry::Never, "find out which end the application writes to"),
        Kind::Internal => (Retry::Never, "report this; no data was moved after it"),
    }
}

/// A failure, for a person and for a program.
///
/// `Display` prints the message only; the renderer adds detail, hint and the chain of sources.
/// Messages never carry row values.
#[derive(Debug)]
pub struct Error {
    /// What the operator does about it.
    pub kind: Kind,
    /// The number under which it is documented.
    pub code: Code,
    /// The end it happened at, when it happened at one.
    pub side: Option<Side>,
    /// What failed and where: lowercase, names in backticks, no final period.
    pub message: String,
    /// Numbers and circumstances, in whole sentences.
    pub detail: Option<String>,
    /// The next command or statement, in a whole sentence.
    pub hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error without detail, hint or source.
    #[must_use]
    pub fn new(kind: Kind, code: Code, message: impl Into<String>) -> Error {
        let message = message.into();
        Error {
            kind,
            code,
            side: None,
            message,
            detail: None,
            hint: None,
            source: None,
        }
    }

    /// Says at which end it happened.
    #[must_use]
    pub fn at(mut self, side: Side) -> Error {
        self.side = Some(side);
        self
    }

    /// Adds circumstances.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps the cause in the chain.
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.source = Some(Box::new(source));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What libraries of this workspace return.
pub type Result<T> = std::result::Result<T, Error>;

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; nothing is refused because of it.
    Warning,
    /// Nothing runs until it is gone.
    Error,
}

/// One thing that is wrong with a declaration or with the world it names. A check reports all of
/// them at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The number under which it is documented.
    pub code: Code,
    /// Whether it stops the change.
    pub severity: Severity,
    /// Where in the change file, when it has a place there.
    pub place: Option<Place>,
    /// The end it was seen at, when it was seen at one.
    pub side: Option<Side>,
    /// What is wrong: lowercase, names in backticks, no final period.
    pub message: String,
    /// The fixing statement or the next command.
    pub hint: Option<String>,
}

/// A place in a change file, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

impl Problem {
    /// A problem that stops the change.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Problem {
        let severity = Severity::Error;
        Problem {
            code,
            severity,
            place: None,
            side: None,
            message: message.into(),
            hint: None,
        }
    }

    /// A problem that does not stop the change.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Warning,
            ..Problem::error(code, message)
        }
    }

    /// Says where in the change file.
    #[must_use]
    pub fn place(mut self, place: Option<Place>) -> Problem {
        self.place = place;
        self
    }

    /// Says at which end.
    #[must_use]
    pub fn at(mut self, side: Side) -> Problem {
        self.side = Some(side);
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}
