//! `contraflow explain`: the page of an error code, from the documentation, offline.

use serde::Serialize;

use contraflow_core::code::Code;

use crate::Exit;
use crate::output::Output;

/// The pages of `docs/errors`, in order.
const PAGES: &[(u16, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// How many near codes are offered for one that does not exist.
const NEAR_MAX: usize = 3;

/// Explain an error code, or list them all.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A code: `CF0031`, `cf31` or `31`.
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

#[derive(Serialize)]
struct Explained {
    schema: &'static str,
    #[serde(flatten)]
    entry: Entry,
    page: &'static str,
}

#[derive(Serialize)]
struct Listed {
    schema: &'static str,
    codes: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    code: Code,
    title: &'static str,
}

/// Prints a page, or the list of all titles.
///
/// # Errors
///
/// When the answer cannot be written.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let Some(asked) = &args.code else {
        let codes: Vec<Entry> = PAGES.iter().map(entry).collect();
        for Entry { code, title } in &codes {
            out.human(&format!("{code}  {title}"))?;
        }
        out.document(&Listed {
            schema: "contraflow.codes/1",
            codes,
        })?;
        return Ok(Exit::Yes);
    };
    let Some(page) = parse(asked).and_then(find) else {
        let near: Vec<String> = near(asked)
            .into_iter()
            .map(|Entry { code, title }| format!("{code} ({title})"))
            .collect();
        let hint = match near.as_slice() {
            [] => "`contraflow explain` lists all codes.".to_owned(),
            near => format!("Did you mean {}?", near.join(" or ")),
        };
        return Ok(out.refuse(&format!("no error code `{asked}`"), &hint)?);
    };
    out.human(page.1.trim_end())?;
    out.document(&Explained {
        schema: "contraflow.explain/1",
        entry: entry(page),
        page: page.1,
    })?;
    Ok(Exit::Yes)
}

/// `CF0031`, `cf31` and `31` are one code.
fn parse(asked: &str) -> Option<u16> {
    let asked = asked.trim();
    let prefixed = asked.get(..2).is_some_and(|p| p.eq_ignore_ascii_case("cf"));
    let digits = if prefixed { &asked[2..] } else { asked };
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    number.then(|| digits.parse().ok()).flatten()
}

fn find(number: u16) -> Option<&'static (u16, &'static str)> {
    PAGES.iter().find(|(known, _)| *known == number)
}

fn entry((number, page): &(u16, &'static str)) -> Entry {
    let first = page.lines().next().unwrap_or_default();
    let title = first.split_once(": ").map_or(first, |(_, title)| title);
    let code = Code(*number);
    Entry { code, title }
}

/// Codes close to a number, or whose title has the word.
fn near(asked: &str) -> Vec<Entry> {
    if let Some(number) = parse(asked) {
        let mut pages: Vec<_> = PAGES.iter().collect();
        pages.sort_by_key(|(known, _)| known.abs_diff(number));
        return pages.into_iter().take(NEAR_MAX).map(entry).collect();
    }
    let word = asked.to_lowercase();
    let all = PAGES.iter().map(entry);
    all.filter(|entry| entry.title.to_lowercase().contains(&word))
        .take(NEAR_MAX)
        .collect()
}

#[cfg(test)]
mod tests;
