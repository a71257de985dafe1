//! The phonebook: two numbered contacts become a list with its count, and back.
//!
//! The peer is what a programmer would write by hand for this one change: the same rows in, the
//! same rows out, without names, laws, complement or undeclared fields.

use std::hint::black_box;

use anyhow::{Context, Result, anyhow, ensure};

use contraflow_core::change::yaml;
use contraflow_core::mapping::{Mapped, Mapping, parse};
use contraflow_core::record::{Complement, Image, Key, Row};
use contraflow_core::shape::{Shape, Type};
use contraflow_core::side::Direction;
use contraflow_core::value::Value;

use super::frame::{Measure, Plan, interleave};
use crate::shell::Stopwatch;

mod peer;

/// Large enough that a run takes tens of milliseconds, small enough to stay in memory.
const ROWS: usize = 100_000;

const OLD: &str = "record(id int64, owner text, contact1_name text?, contact1_num text?, \
                   contact2_name text?, contact2_num text?)";
const MAPPING: &str = "
- group:
    fields: contact{i}_{f}
    numbers: 1..2
    items: { name: name, num: phoneNumber }
    into: contacts
    count: count
- add: { field: email, type: text, nullable: true, default: null }
";

type ByHand = fn(Image, &mut Vec<Mapped>) -> Option<()>;

/// Rows per second on one core, in both directions.
pub(super) fn measure(plan: Plan) -> Result<Vec<Measure>> {
    let mapping = phonebook()?;
    let old: Vec<Image> = (0..ROWS).map(row).collect();
    let new = ours(&mapping, Direction::Forward, old.clone())?;
    let new: Vec<Image> = new.into_iter().map(|mapped| mapped.image).collect();
    let mut measures = Vec::new();
    for (name, direction, images, hand) in [
        ("mapping.up", Direction::Forward, &old, peer::up as ByHand),
        ("mapping.down", Direction::Reverse, &new, peer::down),
    ] {
        agree(&mapping, direction, images, hand)?;
        measures.push(interleave(
            name,
            "rows/s",
            plan,
            || rate(images, |images| ours(&mapping, direction, images)),
            || rate(images, |images| by_hand(hand, images)),
        )?);
    }
    Ok(measures)
}

fn phonebook() -> Result<Mapping> {
    let node = yaml::read(MAPPING).map_err(|problem| anyhow!("{}", problem.message))?;
    let mut problems = Vec::new();
    let operations = parse(&node, &mut problems);
    let old = Type::parse(OLD).context("the old shape does not parse")?;
    let Type::Record(fields) = old else {
        return Err(anyhow!("the old shape is not a record"));
    };
    let old = Shape {
        fields,
        key: vec![0],
    };
    let checked = Mapping::check(&operations, &old, &["id".to_owned()], None, None);
    let (mapping, _) = checked.map_err(|more| {
        problems.extend(more);
        let messages: Vec<_> = problems.iter().map(|problem| &*problem.message).collect();
        anyhow!("{}", messages.join("; "))
    })?;
    Ok(mapping)
}

/// Most people have two contacts, some one, a few none.
fn row(i: usize) -> Image {
    let contacts = match i % 10 {
        0 => 0,
        1..=3 => 1,
        _ => 2,
    };
    let id = i64::try_from(i).unwrap_or(i64::MAX);
    let mut values = vec![Value::Int(id), Value::Text(format!("owner {i}"))];
    for contact in 1..=2 {
        if contact <= contacts {
            values.push(Value::Text(format!("contact {contact} of {i}")));
            values.push(Value::Text(format!("+49 30 {i:07} {contact}")));
        } else {
            values.extend([Value::Null, Value::Null]);
        }
    }
    Image {
        row: Row(values),
        complement: Complement::default(),
    }
}

fn ours(mapping: &Mapping, direction: Direction, images: Vec<Image>) -> Result<Vec<Mapped>> {
    let mut out = Vec::with_capacity(images.len());
    for image in images {
        mapping.map(direction, image, &mut out)?;
    }
    Ok(out)
}

fn by_hand(hand: ByHand, images: Vec<Image>) -> Result<Vec<Mapped>> {
    let mut out = Vec::with_capacity(images.len());
    for image in images {
        hand(image, &mut out).context("a row is not one of the phonebook")?;
    }
    Ok(out)
}

/// Both must make the same rows, or the comparison means nothing.
fn agree(mapping: &Mapping, direction: Direction, images: &[Image], hand: ByHand) -> Result<()> {
    let keys_and_rows = |mapped: Vec<Mapped>| -> Vec<(Key, Row)> {
        let rows = mapped.into_iter();
        rows.map(|mapped| (mapped.key, mapped.image.row)).collect()
    };
    let ours = keys_and_rows(ours(mapping, direction, images.to_vec())?);
    let theirs = keys_and_rows(by_hand(hand, images.to_vec())?);
    ensure!(ours == theirs, "mapping and peer make different rows");
    Ok(())
}

/// Rows per second of one run; neither copying the input nor dropping the output counts.
fn rate(images: &[Image], work: impl FnOnce(Vec<Image>) -> Result<Vec<Mapped>>) -> Result<f64> {
    let images = black_box(images.to_vec());
    let count = images.len();
    let watch = Stopwatch::start();
    let out = black_box(work(images)?);
    let time = watch.read().as_secs_f64();
    ensure!(out.len() == count, "rows were lost");
    Ok(f64::from(u32::try_from(count)?) / time)
}
