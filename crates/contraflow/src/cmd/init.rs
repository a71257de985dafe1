//! `contraflow init`: a commented change file to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use contraflow_core::change::{ChangeName, SCHEMA};
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind};

use crate::Exit;
use crate::config::DEFAULT_FILE;
use crate::output::Output;

/// The name that editors are told to look for.
const SCHEMA_FILE: &str = "contraflow.schema.json";

/// The name that a template is given unless another one is asked for.
const TEMPLATE_CHANGE: &str = "phonebook";

/// Write a commented change file and its schema.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The file to write.
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    pub file: PathBuf,
    /// The name of the change.
    #[arg(long, value_name = "NAME", default_value = TEMPLATE_CHANGE)]
    pub change: String,
}

#[derive(Serialize)]
struct Written<'p> {
    schema: &'static str,
    change_file: &'p Path,
    schema_file: &'p Path,
}

/// Writes both files; neither is ever overwritten.
///
/// # Errors
///
/// When a file is there already, or cannot be written.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let Some(name) = ChangeName::new(&args.change) else {
        let message = format!("`{}` cannot be the name of a change", args.change);
        let hint = "Start with a lowercase letter and use `a`-`z`, `0`-`9`, `-`, `_`.";
        return Err(Error::new(Kind::Config, Code::VALUE_INVALID, message)
            .hint(hint)
            .into());
    };
    let schema_file = args.file.with_file_name(SCHEMA_FILE);
    let same = std::fs::read_to_string(&schema_file).is_ok_and(|text| text == SCHEMA);
    if !same && schema_file.exists() {
        return Err(exists(&schema_file).into());
    }
    write_new(&args.file, &template(&name))?;
    if !same {
        write_new(&schema_file, SCHEMA)?;
    }
    let (file, schema) = (args.file.display(), schema_file.display());
    out.say(&format!("wrote {file} and {schema}"))?;
    out.say("next: name your tables in it, then `contraflow check`")?;
    out.document(&Written {
        schema: "contraflow.init/1",
        change_file: &args.file,
        schema_file: &schema_file,
    })?;
    Ok(Exit::Yes)
}

/// The text of the template.
#[must_use]
pub fn template(name: &ChangeName) -> String {
    include_str!("init/template.yaml").replace(TEMPLATE_CHANGE, name.as_str())
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(exists(path).into());
        }
        Err(error) => {
            return Err(error).with_context(|| format!("cannot create `{}`", path.display()));
        }
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write `{}`", path.display()))
}

fn exists(path: &Path) -> Error {
    let message = format!("`{}` is there already", path.display());
    Error::new(Kind::Config, Code::FILE_EXISTS, message)
        .hint("Move it away, or give `init` another file name.")
}
