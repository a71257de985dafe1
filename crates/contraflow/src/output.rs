//! The only place that prints. stdout is data, stderr is everything else.
//!
//! Colour is decided by `anstream`: it honours `NO_COLOR`, `CLICOLOR_FORCE` and `TERM=dumb`, and
//! strips styles when nobody is looking. No meaning is carried by colour alone.

mod problem;
mod visible;

use std::io::{self, Write};
use std::path::Path;

use anstream::AutoStream;
use serde::Serialize;

use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Problem, remedy};
use contraflow_core::ledger::Answer;
use contraflow_core::side::Side;

use self::visible::visible;
use crate::Exit;
use crate::config::ChangeFile;

/// The form of a failure in JSON.
const ERROR_SCHEMA: &str = "contraflow.error/1";

/// How a verb answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Lines for a person.
    Human,
    /// One JSON document on stdout.
    Json,
}

/// The two streams of a command.
pub struct Output {
    form: Form,
    out: Box<dyn Write>,
    err: Box<dyn Write>,
}

/// The problems of a change file, as JSON.
#[derive(Serialize)]
struct Problems<'p> {
    schema: &'static str,
    file: &'p Path,
    problems: &'p [Problem],
}

/// A failure, as JSON.
#[derive(Serialize)]
struct Failure<'e> {
    schema: &'static str,
    code: Option<Code>,
    kind: Option<Kind>,
    side: Option<Side>,
    message: String,
    detail: Option<&'e str>,
    hint: Option<&'e str>,
    causes: Vec<String>,
}

impl Output {
    /// The streams of this process.
    #[must_use]
    pub fn standard(form: Form) -> Output {
        Output::to(
            form,
            Box::new(AutoStream::auto(io::stdout())),
            Box::new(AutoStream::auto(io::stderr())),
        )
    }

    /// Other streams, which receive styles as they are.
    #[must_use]
    pub fn to(form: Form, out: Box<dyn Write>, err: Box<dyn Write>) -> Output {
        Output { form, out, err }
    }

    /// How this command answers.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Data that is the same in every form, on stdout.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn data(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Data for a person, on stdout; nothing in the JSON form.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn human(&mut self, text: &str) -> io::Result<()> {
        match self.form {
            Form::Human => self.data(text),
            Form::Json => Ok(()),
        }
    }

    /// The JSON document of an answer, on stdout; nothing in the human form. The value names its
    /// own schema and version: `"schema": "contraflow.<what>/1"`.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn document(&mut self, value: &impl Serialize) -> io::Result<()> {
        match self.form {
            Form::Human => Ok(()),
            Form::Json => {
                let text = serde_json::to_string_pretty(value)?;
                self.data(&text)
            }
        }
    }

    /// A message for a person, on stderr.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.err, "{}", visible(text))
    }

    /// A wrong use of the command line, which has no code of its own.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn refuse(&mut self, message: &str, hint: &str) -> io::Result<Exit> {
        match self.form {
            Form::Human => {
                let head = problem::head("error", problem::ERROR);
                writeln!(self.err, "{head}: {}", visible(message))?;
                writeln!(self.err, "{}{}", problem::HINT, visible(hint))?;
            }
            Form::Json => self.document(&Failure {
                schema: ERROR_SCHEMA,
                code: None,
                kind: None,
                side: None,
                message: message.to_owned(),
                detail: None,
                hint: Some(hint),
                causes: Vec::new(),
            })?,
        }
        Ok(Exit::Error)
    }

    /// All problems of a change file: on stderr for a person, on stdout as JSON.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn problems(&mut self, file: &ChangeFile, problems: &[Problem]) -> io::Result<()> {
        match self.form {
            Form::Human => {
                for one in problems {
                    self.err
                        .write_all(problem::rendered(file, one).as_bytes())?;
                }
                self.err.flush()
            }
            Form::Json => self.document(&Problems {
                schema: "contraflow.problems/1",
                file: &file.path,
                problems,
            }),
        }
    }

    /// Problems that refuse nothing, on stderr; the JSON form carries them in its document.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn warnings(&mut self, file: &ChangeFile, problems: &[Problem]) -> io::Result<()> {
        match self.form {
            Form::Human => self.problems(file, problems),
            Form::Json => Ok(()),
        }
    }

    /// A request that was not granted, on stderr; the JSON form carries it in its document.
    ///
    /// # Errors
    ///
    /// When the stream is closed.
    pub fn refusal(&mut self, answer: &Answer) -> io::Result<()> {
        if self.form == Form::Json {
            return Ok(());
        }
        let word = answer
            .code
            .map_or("error".to_owned(), |code| format!("error[{}]", Code(code)));
        let head = problem::head(&word, problem::ERROR);
        writeln!(self.err, "{head}: {}", visible(&answer.text))?;
        if let Some(detail) = &answer.detail {
            writeln!(self.err, "  {}", visible(detail))?;
        }
        match &answer.hint {
            Some(hint) => writeln!(self.err, "{}{}", problem::HINT, visible(hint)),
            None => Ok(()),
        }
    }

    /// Reports why a verb failed, and what the shell is told.
    pub fn failed(&mut self, error: &anyhow::Error) -> Exit {
        let closed = error.downcast_ref::<io::Error>();
        if closed.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            return Exit::Yes;
        }
        let own = error.downcast_ref::<Error>();
        let reported = match self.form {
            Form::Human => self.failure(error, own),
            Form::Json => self.document(&Failure {
                schema: ERROR_SCHEMA,
                code: own.map(|own| own.code),
                kind: own.map(|own| own.kind),
                side: own.and_then(|own| own.side),
                message: error.to_string(),
                detail: own.and_then(|own| own.detail.as_deref()),
                hint: own.and_then(|own| own.hint.as_deref()),
                causes: error.chain().skip(1).map(ToString::to_string).collect(),
            }),
        };
        match own.map(|own| own.kind) {
            // Nobody is left to tell when the streams are closed; the exit code still tells.
            _ if reported.is_err() => Exit::Error,
            Some(Kind::Ambiguous) => Exit::Ambiguous,
            Some(_) | None => Exit::Error,
        }
    }

    fn failure(&mut self, error: &anyhow::Error, own: Option<&Error>) -> io::Result<()> {
        let word = own.map_or("error".to_owned(), |own| format!("error[{}]", own.code));
        let head = problem::head(&word, problem::ERROR);
        writeln!(self.err, "{head}: {}", visible(&error.to_string()))?;
        if let Some(side) = own.and_then(|own| own.side) {
            writeln!(self.err, "  end: {side}")?;
        }
        if let Some(detail) = own.and_then(|own| own.detail.as_deref()) {
            writeln!(self.err, "  {}", visible(detail))?;
        }
        let mut said = String::new();
        for cause in error.chain().skip(1) {
            let cause = cause.to_string();
            // A driver's error often repeats what the one above it says.
            if said.is_empty() || !cause.contains(&said) {
                writeln!(self.err, "  because: {}", visible(&cause))?;
            }
            said = cause;
        }
        let next = own.map(|own| match &own.hint {
            Some(hint) => hint.clone(),
            None => remedy(own.kind).1.to_owned(),
        });
        match next {
            Some(next) => writeln!(self.err, "{}{}", problem::HINT, visible(&next)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
