//! Rust text without what is written in comments and literals, so that a rule finds code only.
//!
//! Not a parser: it knows strings, raw strings, characters, lifetimes and comments, and replaces
//! what is inside by blanks. Lines and columns stay.

/// A Rust file, three ways.
#[derive(Debug, Default)]
pub(super) struct Masked {
    /// Lines without comments and without the text of literals.
    pub(super) code: Vec<String>,
    /// Lines without the text of literals, comments kept.
    pub(super) prose: Vec<String>,
    /// The texts of string literals, with the line each begins on.
    pub(super) literals: Vec<(usize, String)>,
}

/// Reads a Rust file.
pub(super) fn mask(text: &str) -> Masked {
    let mut masker = Masker {
        chars: text.chars().collect(),
        at: 0,
        line: 1,
        code: String::with_capacity(text.len()),
        prose: String::with_capacity(text.len()),
        literals: Vec::new(),
    };
    while masker.at < masker.chars.len() {
        masker.step();
    }
    Masked {
        code: masker.code.lines().map(str::to_owned).collect(),
        prose: masker.prose.lines().map(str::to_owned).collect(),
        literals: masker.literals,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Code,
    Comment,
    Literal,
}

struct Masker {
    chars: Vec<char>,
    at: usize,
    line: usize,
    code: String,
    prose: String,
    literals: Vec<(usize, String)>,
}

impl Masker {
    fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.take(What::Comment);
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('r', '"' | '#') if self.begins_raw() => self.raw_string(),
            ('\'', next) if next == '\\' || self.peek(2) == '\'' => self.character(),
            _ => self.take(What::Code),
        }
    }

    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn take(&mut self, what: What) {
        let letter = self.peek(0);
        self.at += 1;
        self.line += usize::from(letter == '\n');
        let blank = if letter == '\n' { '\n' } else { ' ' };
        self.code
            .push(if what == What::Code { letter } else { blank });
        self.prose
            .push(if what == What::Literal { blank } else { letter });
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            let step = match (self.peek(0), self.peek(1)) {
                ('/', '*') => 1,
                ('*', '/') => -1,
                _ => 0,
            };
            depth += step;
            self.take(What::Comment);
            if step != 0 {
                self.take(What::Comment);
            }
            if depth == 0 {
                break;
            }
        }
    }

    fn string(&mut self) {
        let (line, start) = (self.line, self.at + 1);
        self.take(What::Code);
        while self.at < self.chars.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.take(What::Literal);
            }
            self.take(What::Literal);
        }
        self.literals.push((line, self.text(start, self.at)));
        self.take(What::Code);
    }

    fn begins_raw(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| self.chars[at]);
        let inside_word =
            before.is_some_and(|letter| letter.is_alphanumeric() && !"bc".contains(letter));
        let rest = self.chars[self.at + 1..].iter();
        let quote = rest.copied().find(|letter| *letter != '#');
        !inside_word && before != Some('_') && quote == Some('"')
    }

    fn raw_string(&mut self) {
        let line = self.line;
        self.take(What::Code);
        let mut hashes = 0;
        while self.peek(0) == '#' {
            hashes += 1;
            self.take(What::Code);
        }
        self.take(What::Code);
        let start = self.at;
        let ends = |masker: &Masker| {
            masker.peek(0) == '"' && (1..=hashes).all(|ahead| masker.peek(ahead) == '#')
        };
        while self.at < self.chars.len() && !ends(self) {
            self.take(What::Literal);
        }
        self.literals.push((line, self.text(start, self.at)));
        for _ in 0..=hashes {
            self.take(What::Code);
        }
    }

    fn character(&mut self) {
        self.take(What::Code);
        if self.peek(0) == '\\' {
            self.take(What::Literal);
        }
        self.take(What::Literal);
        while self.at < self.chars.len() && self.peek(0) != '\'' {
            self.take(What::Literal);
        }
        self.take(What::Code);
    }

    fn text(&self, start: usize, end: usize) -> String {
        let end = end.min(self.chars.len());
        self.chars[start.min(end)..end].iter().collect()
    }
}

#[cfg(test)]
mod tests;
