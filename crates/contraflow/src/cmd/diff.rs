//! `contraflow diff --key K`: the old row, the mapped row and the new row, field by field.
//!
//! The one verb that shows values: the person named the key and asked for them.

use std::path::PathBuf;

use contraflow_core::code::Code;
use contraflow_core::codec::text;
use contraflow_core::error::{Error, Kind};
use contraflow_core::position::Position;
use contraflow_core::record::{Image, Key, PairId};
use contraflow_core::shape::{Shape, Type};
use contraflow_core::side::{Direction, Side};
use contraflow_core::value::Value;
use contraflow_engine::runner::requests::typed_key;
use serde::Serialize;

use crate::Exit;
use crate::config::ChangeFile;
use crate::output::Output;
use crate::session::Session;

/// Show one key at both ends, and what the mapping makes of it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The change file, or its name.
    #[arg(value_name = "CHANGE")]
    pub change: Option<PathBuf>,
    /// The old key; the fields of a composite one are separated by commas.
    #[arg(long)]
    pub key: String,
    /// The old table, when the change has several pairs.
    #[arg(long)]
    pub table: Option<String>,
}

#[derive(Serialize)]
struct Diff {
    schema: &'static str,
    equal: bool,
    old: Option<Vec<(String, String)>>,
    fields: Vec<FieldDiff>,
    problem: Option<String>,
}

#[derive(Serialize)]
struct FieldDiff {
    field: String,
    mapped: Option<String>,
    new: Option<String>,
    equal: bool,
}

/// Shows the difference. Exit 0 when the mapped old row and the new row are equal, 1 when not.
///
/// # Errors
/// When an end cannot be read or the key is not one.
pub fn run(args: &Args, out: &mut Output) -> anyhow::Result<Exit> {
    let file = ChangeFile::find(args.change.as_deref())?;
    let session = match Session::open(&file) {
        Ok(session) => session,
        Err(refusal) => return refusal.tell(&file, out),
    };
    let context = &session.context;
    let pair = find_pair(&session, args.table.as_deref())?;
    let mapping = &context.pair(pair).mapping;
    let shape = mapping.shape(Side::Old);
    let texts: Vec<String> = args.key.split(',').map(str::to_owned).collect();
    let key = typed_key(shape.key.iter().map(|&i| &shape.fields[i].ty), &texts)?;
    let old = get(&session, Side::Old, pair, &key)?;
    let mut mapped = Vec::new();
    let problem = match old.clone() {
        Some(image) => mapping
            .map(Direction::Forward, image, &mut mapped)
            .err()
            .map(|error| error.to_string()),
        None => None,
    };
    let new_key = mapping
        .key(Direction::Forward, &key)
        .map_err(|error| Error::new(Kind::Data, error.code, error.to_string()))?;
    let new = get(&session, Side::New, pair, &new_key)?;
    let mapped = mapped.into_iter().next().map(|mapped| mapped.image);
    let new_shape = mapping.shape(Side::New);
    let diff = compare(
        new_shape,
        shape,
        old,
        mapped.as_ref(),
        new.as_ref(),
        problem,
    );
    tell(&diff, out)?;
    out.document(&diff)?;
    Ok(if diff.equal { Exit::Yes } else { Exit::No })
}

fn find_pair(session: &Session, table: Option<&str>) -> Result<PairId, Error> {
    let context = &session.context;
    let found = context.pair_ids().find(|pair| {
        let names = context.pair(*pair);
        table.map_or(context.pairs.len() == 1, |table| {
            names.old == table || names.new == table
        })
    });
    found.ok_or_else(|| {
        let names: Vec<&str> = context.pairs.iter().map(|pair| pair.old.as_str()).collect();
        Error::new(Kind::Config, Code::TABLE_MISSING, "say which pair is meant")
            .hint(format!("`--table` takes one of: {}.", names.join(", ")))
    })
}

fn get(
    session: &Session,
    side: Side,
    pair: PairId,
    key: &Key,
) -> contraflow_core::error::Result<Option<Image>> {
    let bound = session.context.side(side);
    if bound.switch()?.standing()?.is_none() {
        let message = format!("the {side} end does not carry the change");
        return Err(
            Error::new(Kind::Precondition, Code::CHANGE_UNKNOWN, message)
                .hint("`contraflow run` expands both ends."),
        );
    }
    let chunk = bound
        .lookup()?
        .get(pair, std::slice::from_ref(key), &Position::new([]))?;
    Ok(chunk.rows.into_iter().next().map(|(_, image)| image))
}

fn compare(
    new_shape: &Shape,
    old_shape: &Shape,
    old: Option<Image>,
    mapped: Option<&Image>,
    new: Option<&Image>,
    problem: Option<String>,
) -> Diff {
    let mut fields = Vec::new();
    for (i, field) in new_shape.fields.iter().enumerate() {
        let value = |image: Option<&Image>| image.map(|image| image.row.0[i].clone());
        let (ours, theirs) = (value(mapped), value(new));
        let equal = ours == theirs || ours == Some(Value::Absent);
        let shown = |value: Option<Value>| value.map(|value| show(&value, &field.ty));
        fields.push(FieldDiff {
            field: field.name.clone(),
            mapped: shown(ours),
            new: shown(theirs),
            equal,
        });
    }
    let names = old_shape.fields.iter();
    let old = old.map(|image| {
        let named = names.zip(&image.row.0);
        named
            .map(|(field, value)| (field.name.clone(), show(value, &field.ty)))
            .collect()
    });
    let equal = problem.is_none()
        && mapped.is_some() == new.is_some()
        && fields.iter().all(|field| field.equal);
    Diff {
        schema: "contraflow.diff/1",
        equal,
        old,
        fields,
        problem,
    }
}

fn show(value: &Value, ty: &Type) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Absent => "(storage default)".to_owned(),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        Value::List(_) | Value::Map(_) | Value::Record(_) | Value::Union(_) => {
            let mut document = String::new();
            match contraflow_core::codec::json::to_json(value, ty, &mut document) {
                Ok(()) => document,
                Err(_) => format!("a {} that is not a {}", value.kind(), ty.name()),
            }
        }
        other => text::to_text(other).unwrap_or_else(|| format!("a {}", other.kind())),
    }
}

fn tell(diff: &Diff, out: &mut Output) -> anyhow::Result<()> {
    match &diff.old {
        Some(fields) => {
            out.human("old row")?;
            for (name, value) in fields {
                out.human(&format!("  {name:<24}{value}"))?;
            }
        }
        None => out.human("old row: there is none under this key")?,
    }
    if let Some(problem) = &diff.problem {
        out.human(&format!("it does not map: {problem}"))?;
    }
    out.human("new row: mapped | found")?;
    for field in &diff.fields {
        let mark = if field.equal { "=" } else { "DIFFERS" };
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "(no row)".to_owned());
        out.human(&format!(
            "  {:<24}{:<8}{} | {}",
            field.field,
            mark,
            side(&field.mapped),
            side(&field.new)
        ))?;
    }
    out.human(if diff.equal { "equal" } else { "different" })?;
    Ok(())
}
