//! A problem of a change file, with the line it stands in.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use contraflow_core::error::{Place, Problem, Severity};

use super::visible::visible;
use crate::config::ChangeFile;

pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const FRAME: Style = AnsiColor::Blue.on_default().bold();

/// What stands before the next step.
pub(super) const HINT: &str = " hint: ";

/// The longest line that is shown: longer ones hide the mark below them.
const LINE_CHARS_MAX: usize = 160;

/// `error[CF0003]`, styled.
pub(super) fn head(word: &str, style: Style) -> String {
    format!("{style}{word}{style:#}")
}

/// The whole block for one problem, with an empty line after it.
pub(super) fn rendered(file: &ChangeFile, problem: &Problem) -> String {
    let (word, style) = match problem.severity {
        Severity::Error => ("error", ERROR),
        Severity::Warning => ("warning", WARNING),
    };
    let head = head(&format!("{word}[{}]", problem.code), style);
    let mut text = format!("{head}: {}\n", visible(&problem.message));
    match problem.place {
        Some(place) => text.push_str(&excerpt(file, place, style)),
        None => {
            let path = visible(&file.path.display().to_string());
            let side = problem
                .side
                .map_or(String::new(), |side| format!(" ({side} end)"));
            push(
                &mut text,
                format_args!("  {FRAME}-->{FRAME:#} {path}{side}"),
            );
        }
    }
    match &problem.hint {
        Some(hint) => push(&mut text, format_args!("{HINT}{}", visible(hint))),
        None => push(
            &mut text,
            format_args!("{HINT}`contraflow explain {}`", problem.code),
        ),
    }
    text.push('\n');
    text
}

fn excerpt(file: &ChangeFile, place: Place, style: Style) -> String {
    let Place { line, column } = place;
    let path = visible(&file.path.display().to_string());
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let mut text = String::new();
    push(
        &mut text,
        format_args!("{margin}{FRAME}-->{FRAME:#} {path}:{line}:{column}"),
    );
    let index = usize::try_from(line)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let source = file.text.trim_start_matches('\u{feff}').lines().nth(index);
    let Some(source) = source.filter(|source| source.chars().count() <= LINE_CHARS_MAX) else {
        return text;
    };
    // A hidden password moves what stands after it, so the mark is placed by the shown text.
    let before = usize::try_from(column)
        .unwrap_or(usize::MAX)
        .saturating_sub(1);
    let before: String = source.chars().take(before).collect();
    let indent = " ".repeat(visible(&before).chars().count());
    let source = visible(source);
    push(&mut text, format_args!("{margin} {FRAME}|{FRAME:#}"));
    push(
        &mut text,
        format_args!("{FRAME}{number} |{FRAME:#} {source}"),
    );
    push(
        &mut text,
        format_args!("{margin} {FRAME}|{FRAME:#} {indent}{style}^{style:#}"),
    );
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes every line");
}
