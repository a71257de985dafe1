//! Files, functions and lines stay small enough to be read once.

use super::Findings;
use super::mask::Masked;
use super::repo::{File, Repo};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;

/// File, function and line lengths of every Rust file.
pub(super) fn files_functions_lines(repo: &Repo, findings: &mut Findings) {
    for (file, rust) in repo.rust() {
        let count = file.text.lines().count();
        if count > FILE_LINES_MAX {
            let message = format!("{count} lines, the limit is {FILE_LINES_MAX}");
            findings.add(&file.path, 1, message);
        }
        for function in functions(&rust.code) {
            let Function { name, line, lines } = function;
            if lines > FUNCTION_LINES_MAX {
                let message = format!(
                    "function `{name}` has {lines} lines, the limit is {FUNCTION_LINES_MAX}"
                );
                findings.add(&file.path, line, message);
            }
        }
        lines(file, rust, findings);
    }
}

/// Long lines, but for addresses and for raw data of tests.
fn lines(file: &File, rust: &Masked, findings: &mut Findings) {
    for (number, line) in file.lines() {
        let columns = line.chars().count();
        if columns <= LINE_COLUMNS_MAX || line.contains("://") {
            continue;
        }
        let code = rust.code.get(number - 1).map_or("", String::as_str);
        let written = code
            .chars()
            .filter(|letter| !letter.is_whitespace())
            .count();
        if file.is_test() && written < LINE_COLUMNS_MAX / 2 && written < columns / 2 {
            continue;
        }
        let message = format!("{columns} columns, the limit is {LINE_COLUMNS_MAX}");
        findings.add(&file.path, number, message);
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// The functions of a masked file, from `fn` to the closing brace.
pub(super) fn functions(code: &[String]) -> Vec<Function> {
    let letters: Vec<(usize, char)> = (1..)
        .zip(code)
        .flat_map(|(number, line)| line.chars().chain(['\n']).map(move |c| (number, c)))
        .collect();
    let mut found = Vec::new();
    for at in 0..letters.len() {
        let Some(name) = name_at(&letters, at) else {
            continue;
        };
        let line = letters[at].0;
        if let Some(end) = end_of_body(&letters[at..]) {
            let lines = end - line + 1;
            found.push(Function { name, line, lines });
        }
    }
    found
}

/// The name of the function that begins here.
fn name_at(letters: &[(usize, char)], at: usize) -> Option<String> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let next = |ahead: usize| letters.get(at + ahead).map(|(_, letter)| *letter);
    let starts = at == 0 || !is_word(letters[at - 1].1);
    if !starts || next(0) != Some('f') || next(1) != Some('n') || next(2) != Some(' ') {
        return None;
    }
    let rest = letters[at + 3..].iter().map(|(_, letter)| *letter);
    let name: String = rest.take_while(|letter| is_word(*letter)).collect();
    (!name.is_empty()).then_some(name)
}

/// The line of the brace that closes the first body; `None` for a function without one.
fn end_of_body(letters: &[(usize, char)]) -> Option<usize> {
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (line, letter) in letters {
        match letter {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            ';' if round == 0 && curly == 0 => return None,
            '{' if round == 0 || curly > 0 => curly += 1,
            '}' if curly > 0 => {
                curly -= 1;
                if curly == 0 {
                    return Some(*line);
                }
            }
            _ => {}
        }
    }
    None
}
