//! Shows a run: bars on a terminal, a line per interval otherwise.

use std::io::IsTerminal;
use std::time::Duration;

use contraflow_core::code::Code;
use contraflow_core::ledger::Entry;
use contraflow_core::phase::{Hold, State};
use contraflow_engine::progress::Progress;
use contraflow_engine::runner::Watcher;
use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressStyle};

use crate::output::{Form, Output};

/// Without a terminal, progress is a line per this time.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The display of one run.
pub struct Display<'o> {
    out: &'o mut Output,
    bar: Option<ProgressBar>,
    last_line: Option<u64>,
    held: Option<Hold>,
    quiet: bool,
}

impl<'o> Display<'o> {
    /// A display on stderr. `quiet` shows nothing but what a verb says itself.
    #[must_use]
    pub fn new(out: &'o mut Output, quiet: bool) -> Display<'o> {
        let shows = !quiet && out.form() == Form::Human && std::io::stderr().is_terminal();
        let bar = shows.then(|| {
            let bar = ProgressBar::new(0);
            let template = "{prefix:>12} [{bar:30}] {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Display {
            out,
            bar,
            last_line: None,
            held: None,
            quiet,
        }
    }

    fn say(&mut self, text: &str) {
        // A closed stderr must not end a run that moves data.
        match &self.bar {
            Some(bar) => bar.suspend(|| drop(self.out.say(text))),
            None => drop(self.out.say(text)),
        }
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watcher for Display<'_> {
    fn noted(&mut self, entry: &Entry) {
        if !self.quiet && entry.kind != "intent" {
            self.say(&format!("{:>12}  {}", entry.kind, entry.text));
        }
    }

    fn progressed(&mut self, state: &State, progress: &Progress) {
        if self.quiet {
            return;
        }
        let slot = progress.at_s / LINE_EVERY.as_secs();
        if self.held != state.held {
            self.held.clone_from(&state.held);
            if let Some(hold) = &state.held {
                // The line of history before this one says why.
                self.say(&format!("{:>12}  {}", "next", after_hold(hold)));
                self.last_line = Some(slot);
            }
        }
        let text = match &state.held {
            Some(hold) => format!("held: {}", hold.reason),
            None => line(progress),
        };
        if let Some(bar) = &self.bar {
            bar.set_prefix(state.phase.name());
            bar.set_length(progress.rows_estimated.max(progress.rows).max(1));
            let done = if state.phase.copies_history() {
                progress.rows
            } else {
                bar.length().unwrap_or(1)
            };
            bar.set_position(done);
            bar.set_message(text);
            return;
        }
        if self.last_line != Some(slot) {
            self.last_line = Some(slot);
            self.say(&format!("{:>12}  {text}", state.phase.name()));
        }
    }
}

/// What to do about a hold. A hint that names a command of ours says all there is to say.
#[must_use]
pub fn after_hold(hold: &Hold) -> String {
    match &hold.hint {
        Some(hint) if hint.contains("`contraflow ") => hint.clone(),
        Some(hint) => format!("{hint} Then `contraflow resume`"),
        None => match hold.code {
            Some(code) => format!(
                "see to the cause (`contraflow explain {}`), then `contraflow resume`",
                Code(code)
            ),
            None => "`contraflow resume`".to_owned(),
        },
    }
}

/// Progress in one line, as every display shows it.
#[must_use]
pub fn line(progress: &Progress) -> String {
    let mut parts = Vec::new();
    if progress.rows > 0 {
        let estimated = progress.rows_estimated.max(progress.rows);
        parts.push(format!("{} of about {estimated} rows", progress.rows));
        parts.push(HumanBytes(progress.bytes).to_string());
    }
    if progress.rows_per_s > 0 {
        parts.push(format!("{} rows/s", progress.rows_per_s));
    }
    if let Some(eta) = progress.eta_s {
        parts.push(format!(
            "about {} left",
            HumanDuration(Duration::from_secs(eta))
        ));
    }
    parts.push(format!("{} changes", progress.events));
    parts.push(match progress.lag_events {
        Some(events) => format!("{events} behind"),
        None => "lag unknown".to_owned(),
    });
    if let Some(fault) = &progress.trying_again {
        parts.push(format!("trying again: {fault}"));
    }
    parts.join(", ")
}
