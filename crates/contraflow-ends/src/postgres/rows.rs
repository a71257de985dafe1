//! Reading rows of one table, with what lies beside them.

use contraflow_core::error::Result;
use contraflow_core::record::{Complement, Image, Key, Row};
use contraflow_core::value::Value;
use postgres::types::ToSql;

use super::catalog::Layout;
use super::codec::{encode, hex};
use super::connection::failure;
use super::names::{Names, literal};
use super::wire::{self, malformed};

/// What a row and a value take besides their bytes.
const ROW_BYTES: u64 = 8;
const VALUE_BYTES: u64 = 8;

/// The select list of a table under the alias `t`: every column as `show` has it, then the
/// complement.
pub(super) fn select(
    layout: &Layout,
    names: &Names,
    pair: u16,
    beside: bool,
    show: impl Fn(&Layout, usize, &str) -> String,
) -> String {
    let columns: Vec<String> = (0..layout.columns.len())
        .map(|place| show(layout, place, "t."))
        .collect();
    let mut sql = format!("select {}", columns.join(", "));
    if beside {
        sql.push_str(", b.document");
    }
    sql.push_str(&format!(" from {} t", layout.name.quoted()));
    if beside {
        sql.push_str(&format!(
            " left join contraflow.complement b on b.change = {} and b.side = {} and b.pair = {pair}
               and b.key = {}",
            literal(&names.change),
            literal(names.side),
            key_array(layout, "t.")
        ));
    }
    sql
}

/// The key of a row as the complement stores it.
pub(super) fn key_array(layout: &Layout, prefix: &str) -> String {
    let parts = layout.key.iter().map(|&place| layout.shown(place, prefix));
    format!("array[{}]", parts.collect::<Vec<_>>().join(", "))
}

/// A row of [`select`] with [`Layout::shown`], and its size in bytes, about.
pub(super) fn shown(row: &postgres::Row, layout: &Layout, beside: bool) -> Result<(Image, u64)> {
    let mut bytes = ROW_BYTES;
    let mut values = Vec::with_capacity(layout.columns.len());
    for place in 0..layout.columns.len() {
        let text: Option<&str> = row.try_get(place).map_err(failure)?;
        bytes += VALUE_BYTES + text.map_or(0, str::len) as u64;
        values.push(text.map_or(Value::Null, |text| layout.value(place, text)));
    }
    let document: Option<Vec<u8>> = if beside {
        row.try_get(layout.columns.len()).map_err(failure)?
    } else {
        None
    };
    let complement = Complement(document.unwrap_or_default());
    let row = Row(values);
    Ok((Image { row, complement }, bytes))
}

/// A row of [`select`] with [`Layout::bare`] as it came, and its size in bytes, about.
pub(super) fn image(row: &[u8], layout: &Layout) -> Result<(Image, u64)> {
    let mut bytes = ROW_BYTES;
    let width = layout.columns.len();
    let mut values = Vec::with_capacity(width);
    let mut complement = Complement::default();
    for (place, field) in wire::fields(row)?.enumerate() {
        let field = field?;
        if place < width {
            bytes += VALUE_BYTES + field.map_or(0, <[u8]>::len) as u64;
            let value = field.map(|field| layout.came(place, field)).transpose()?;
            values.push(value.unwrap_or(Value::Null));
        } else if let Some(document) = field {
            complement = Complement(hex(wire::spelling(document)?).ok_or_else(malformed)?);
        }
    }
    if values.len() != width {
        return Err(malformed());
    }
    let row = Row(values);
    Ok((Image { row, complement }, bytes))
}

/// The key of a row.
pub(super) fn key_of(layout: &Layout, row: &Row) -> Key {
    Key(layout.key.iter().map(|&i| row.0[i].clone()).collect())
}

/// The texts of a key's fields; `None` when the table cannot hold such a key.
pub(super) fn key_texts(layout: &Layout, key: &Key) -> Option<Vec<String>> {
    let mut texts = Vec::with_capacity(key.0.len());
    for (value, &place) in key.0.iter().zip(&layout.key) {
        let text = encode(value, &layout.types[place]).ok()??;
        if text.contains('\0') {
            return None;
        }
        texts.push(text.into_owned());
    }
    Some(texts)
}

/// Columns of keys: one array of texts for each key field.
pub(super) fn key_columns(layout: &Layout, keys: &[Vec<String>]) -> Vec<Vec<String>> {
    (0..layout.key.len())
        .map(|field| keys.iter().map(|key| key[field].clone()).collect())
        .collect()
}

/// `unnest($n::text[], ..) as r(k0, ..)`, beginning with the parameter `first`.
pub(super) fn unnest(first: usize, count: usize, prefix: &str) -> String {
    let arrays: Vec<String> = (first..first + count)
        .map(|n| format!("${n}::text[]"))
        .collect();
    let names: Vec<String> = (0..count).map(|n| format!("{prefix}{n}")).collect();
    format!("unnest({}) as r({})", arrays.join(", "), names.join(", "))
}

/// The condition that a row `t` has the key of `r`. A nondeterministic collation takes other
/// spellings for equal: they are other keys.
pub(super) fn same_key(layout: &Layout) -> String {
    let mut parts = Vec::new();
    for (n, &place) in layout.key.iter().enumerate() {
        let column = super::names::quote(&layout.columns[place].name);
        let given = layout.read(place, &format!("r.k{n}"));
        parts.push(format!("t.{column} = {given}"));
        if layout.columns[place].collation.is_some() {
            parts.push(format!("t.{column}::text collate \"C\" = r.k{n}"));
        }
    }
    parts.join(" and ")
}

/// One text for each parameter.
pub(super) fn scalars(texts: &[String]) -> Vec<&(dyn ToSql + Sync)> {
    texts
        .iter()
        .map(|text| text as &(dyn ToSql + Sync))
        .collect()
}

/// Parameters that are all arrays of texts.
pub(super) fn params<'p>(texts: &'p [Vec<String>]) -> Vec<&'p (dyn ToSql + Sync)> {
    texts
        .iter()
        .map(|text| text as &'p (dyn ToSql + Sync))
        .collect()
}
