//! Compiles the pages of `docs/errors` into the program, so that `explain` needs no network.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let pages = Path::new(&root).join("../../docs/errors").canonicalize()?;
    let mut table = String::from("&[\n");
    let mut files: Vec<_> = fs::read_dir(&pages)?.collect::<io::Result<_>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    for file in files {
        let path = file.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let number = name.and_then(|name| name.strip_prefix("CF"));
        let Some(number) = number.and_then(|digits| digits.parse::<u16>().ok()) else {
            let message = format!("{} is not named CFnnnn.md", path.display());
            return Err(io::Error::other(message));
        };
        let path = path.display().to_string();
        writeln!(table, "    ({number}, include_str!({path:?})),").map_err(io::Error::other)?;
    }
    table.push(']');
    let target = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&target).join("pages.rs"), table)?;
    let watched = pages.display();
    let instruction = format!("cargo::rerun-if-changed={watched}\n");
    io::Write::write_all(&mut io::stdout(), instruction.as_bytes())
}
