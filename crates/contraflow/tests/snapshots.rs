//! Every verb in human and in JSON form: exit code, stdout and stderr, kept as text.
//!
//! `CONTRAFLOW_BLESS=1` writes what is said now. Only what differs from run to run is masked:
//! the folder, process ids, times, rates and random names.

mod failing;
mod verbs;

use std::fmt::Write as _;
use std::path::Path;

use crate::desk::{Desk, Done};

/// What was asked and answered, in order.
struct Script<'d> {
    desk: &'d Desk,
    text: String,
}

impl<'d> Script<'d> {
    fn new(desk: &'d Desk) -> Script<'d> {
        let text = String::new();
        Script { desk, text }
    }

    /// One command, in the form in which it is typed.
    fn run(&mut self, line: &str) {
        let args: Vec<&str> = line.split(' ').filter(|arg| !arg.is_empty()).collect();
        let done = self.desk.run(&args);
        self.said(line, &done);
    }

    /// A command that changes nothing, in both forms.
    fn both(&mut self, line: &str) {
        self.run(line);
        self.run(&format!("{line} --json"));
    }

    fn said(&mut self, line: &str, done: &Done) {
        let Done { code, out, err } = done;
        let folder = self.desk.folder().canonicalize().unwrap();
        let mask = |text: &str| masked(text, &folder);
        writeln!(self.text, "$ contraflow {line}").unwrap();
        self.text.push_str(&mask(out));
        for line in mask(err).lines() {
            writeln!(self.text, "{}", format!("! {line}").trim_end()).unwrap();
        }
        writeln!(self.text, "exit {code}\n").unwrap();
    }

    /// Compares with the file of that name, or writes it.
    #[track_caller]
    fn kept_as(self, name: &str) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("CONTRAFLOW_BLESS").is_some() {
            std::fs::write(&path, &self.text).unwrap();
            return;
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = kept.lines().zip(self.text.lines()).enumerate();
        let first = differs.into_iter().find(|(_, (kept, now))| kept != now);
        assert!(
            kept == self.text,
            "{name}: first difference {first:?}; look at it, then CONTRAFLOW_BLESS=1.\n{}",
            self.text
        );
    }
}

/// Numbers and names of JSON that differ from run to run.
const NUMBERS: [&str; 5] = ["at_ms", "beat_ms", "since_ms", "started", "pid"];
const NAMES: [&str; 2] = ["run", "ledger"];

fn masked(text: &str, folder: &Path) -> String {
    let text = text.replace(folder.to_str().unwrap(), "[DIR]");
    let mut within = false;
    let mut all = String::new();
    for line in text.lines().filter(|line| !is_progress(line)) {
        let starts = line.trim_start().starts_with("\"progress\": {");
        let ends = within && line.trim_start().starts_with('}');
        if starts {
            all.push_str("  \"progress\": [PROGRESS],\n");
        } else if !within {
            all.push_str(&masked_line(line));
            all.push('\n');
        }
        within = (within || starts) && !ends;
    }
    all
}

/// A line of progress, of which there are as many as there was time.
fn is_progress(line: &str) -> bool {
    line.contains(" changes, ") && !line.contains("progress ")
}

fn masked_line(line: &str) -> String {
    let trimmed = line.trim_start();
    let indent = &line[..line.len() - trimmed.len()];
    let comma = if line.ends_with(',') { "," } else { "" };
    if let Some((key, value)) = trimmed.split_once(": ") {
        let key = key.trim_matches('"');
        if NUMBERS.contains(&key) && value.starts_with(|c: char| c.is_ascii_digit()) {
            return format!("{indent}\"{key}\": [N]{comma}");
        }
        let random = value.trim_matches([',', '"']);
        if NAMES.contains(&key) && random.len() == 32 {
            return format!("{indent}\"{key}\": \"[NAME]\"{comma}");
        }
    }
    if let Some((before, after)) = line.split_once(" ago: ") {
        let label = before.find("history").map_or(0, |at| at + 11);
        return format!("{}[TIME] ago: {after}", &line[..label]);
    }
    if let Some(rest) = trimmed.strip_prefix("run by     process ") {
        let after = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        return format!("{indent}run by     process [PID]{after}");
    }
    match trimmed.starts_with("progress ") {
        true => format!("{indent}progress   [PROGRESS]"),
        false => line.to_owned(),
    }
}
