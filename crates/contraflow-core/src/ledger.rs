//! Durable memory of what was decided and asked. Losing it loses history, never data or
//! authority: those live in the ends.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::gate::Evidence;
use crate::phase::{Ask, State};
use crate::sighting::{Mark, Marks, Sightings};

/// The state of a change as the ledger keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Grows with every commit; the next commit names the one it saw.
    pub version: u64,
    /// The state.
    pub state: State,
    /// Digest of the mapping that the change was started with.
    pub mapping: String,
}

/// One line of a change's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What kind of line: `intent`, `result`, `asked`, `held`, `note`.
    pub kind: String,
    /// What happened, in words. Never a row value.
    pub text: String,
}

/// A numbered request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Counts requests of a ledger.
    pub id: u64,
    /// What is asked.
    pub ask: Ask,
    /// The process that asked, if it is known.
    pub asker: Option<RunnerMark>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether it was granted.
    pub granted: bool,
    /// The number of the cause when it was not.
    pub code: Option<u16>,
    /// In words.
    pub text: String,
    /// Circumstances, in whole sentences.
    pub detail: Option<String>,
    /// The next command.
    pub hint: Option<String>,
    /// The result of the request, as a JSON document.
    pub data: Option<String>,
}

/// A process that runs a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerMark {
    /// A random name of this run.
    pub run: String,
    /// Its process id.
    pub pid: u32,
    /// When the system started that process, in its own unit; 0 when that is not known. A process
    /// id is given out again, together with this it is not.
    #[serde(default)]
    pub started: u64,
    /// A digest of the change file that it was started with; 0 when that is not known.
    #[serde(skip)]
    pub file: u64,
    /// Whether it runs the change only until a request of its own is answered.
    #[serde(skip)]
    pub brief: bool,
    /// When it last gave a sign of life, in milliseconds since 1970.
    pub beat_ms: u64,
}

/// Durable memory.
pub trait Ledger: Send {
    /// A random name given when the ledger was made; the ends remember it.
    fn id(&self) -> &str;

    /// The change, or `None` when nothing was saved yet.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn load(&mut self) -> Result<Option<Saved>>;

    /// Saves the state with a line of history, if `version` is still the newest.
    ///
    /// # Errors
    /// [`crate::code::Code::FENCED`] when another process has saved in between;
    /// [`crate::code::Code::NOT_CONFIRMED`] when the state takes a request that was withdrawn.
    fn commit(&mut self, version: u64, state: &State, mapping: &str, entry: &Entry) -> Result<u64>;

    /// Adds a line of history.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn record(&mut self, entry: &Entry) -> Result<()>;

    /// The newest lines of history, oldest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn history(&mut self, lines_max: u64) -> Result<Vec<Entry>>;

    /// Puts a request of a process and says its number.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn ask(&mut self, ask: &Ask, asker: &RunnerMark) -> Result<u64>;

    /// Takes a request back: it is answered as refused, unless it was answered or taken already.
    /// Says whether it was taken back; a run cannot take it afterwards.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn withdraw(&mut self, id: u64) -> Result<bool>;

    /// Requests without an answer, oldest first.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn requests(&mut self) -> Result<Vec<Request>>;

    /// Answers a request in the name of a run.
    ///
    /// # Errors
    /// [`crate::code::Code::FENCED`] when another process has the run: whoever was overtaken in the
    /// middle of its work must not answer for it. When the ledger cannot be written.
    fn answer(&mut self, run: &str, id: u64, answer: &Answer) -> Result<()>;

    /// The answer to a request, when there is one.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn answered(&mut self, id: u64) -> Result<Option<Answer>>;

    /// Takes or keeps the run: granted when nobody else has given a sign of life since
    /// `stale_before_ms`, or when `gone`, a run that is known to be dead, has it. Of several that
    /// saw the same run dead one takes its place. Says who has it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn beat(
        &mut self,
        mark: &RunnerMark,
        stale_before_ms: u64,
        gone: Option<&str>,
    ) -> Result<RunnerMark>;

    /// Gives the run back.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn leave(&mut self, run: &str) -> Result<()>;

    /// Who has the run.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn runner(&mut self) -> Result<Option<RunnerMark>>;

    /// Keeps the newest evidence of each rule, epoch and direction.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn prove(&mut self, evidence: &Evidence) -> Result<()>;

    /// All evidence.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn evidence(&mut self) -> Result<Vec<Evidence>>;

    /// Keeps what was seen of readers, instead of what was kept before.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn sight(&mut self, sightings: &Sightings) -> Result<()>;

    /// What was seen of readers.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn sighted(&mut self) -> Result<Sightings>;

    /// Keeps that a reader was said to have moved, or with `None` that it was not.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn mark(&mut self, reader: &str, mark: Option<&Mark>) -> Result<()>;

    /// Everybody who was said to have moved.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn marks(&mut self) -> Result<Marks>;

    /// Keeps the newest progress report, a JSON document.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    fn report(&mut self, progress: &str) -> Result<()>;

    /// The newest progress report.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    fn reported(&mut self) -> Result<Option<String>>;
}
