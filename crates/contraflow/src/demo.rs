//! The demo: a story in which three kinds of process play: the application, the change, and an
//! auditor that shares no code with the engine; and another one of [`topics`].

pub mod app;
mod audit;
mod program;
mod story;
pub mod topics;

pub use story::Story;

use serde::Serialize;

/// The file of the old end.
pub const OLD_FILE: &str = "app.db";
/// The file of the new end.
pub const NEW_FILE: &str = "app-v2.db";

/// What the demo has shown.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// Version of this document.
    pub schema: &'static str,
    /// Rows in the table at the end.
    pub rows: u64,
    /// Writes that the application had acknowledged.
    pub writes: u64,
    /// Writes that were refused by the guard and tried again.
    pub refused: u64,
    /// The longest time for which a write of the application had to be tried again, in ms.
    pub refused_ms_max: u64,
    /// Changes that the flow carried in both directions, as far as runs reported them.
    pub turns: u64,
    /// How often the change was killed with SIGKILL.
    pub kills: u64,
    /// Audits, each of every row at both ends.
    pub audits: u64,
    /// Rows that differed in any of them.
    pub divergence: u64,
}

impl Proof {
    /// Whether nothing diverged and everything was played.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.divergence == 0 && self.audits == 4 && self.kills == 2 && self.rows > 0
    }
}
