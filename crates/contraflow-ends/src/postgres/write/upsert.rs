//! The statements that write rows under their keys. `places` are the columns that are given, and
//! their texts come as one array each.

use super::super::catalog::Layout;
use super::super::names::quote;
use super::super::rows;

/// Whether the table takes other spellings of a key for equal: the row under one is another row.
pub(super) fn is_spelled(layout: &Layout) -> bool {
    let mut key = layout.key.iter();
    key.any(|&i| layout.columns[i].collation.is_some())
}

/// Writes rows, whether they are there or not.
pub(super) fn insert(layout: &Layout, places: &[usize]) -> String {
    let column = |&i: &usize| quote(&layout.columns[i].name);
    let columns: Vec<String> = places.iter().map(column).collect();
    let values: Vec<String> = (0..places.len())
        .map(|n| value(layout, places, n))
        .collect();
    let sets: Vec<String> = places
        .iter()
        .filter(|i| !layout.key.contains(i) || layout.columns[**i].collation.is_some())
        .map(|i| format!("{0} = excluded.{0}", column(i)))
        .collect();
    let spelled: Vec<String> = layout
        .key
        .iter()
        .filter(|&&i| layout.columns[i].collation.is_some())
        .map(|i| format!("t.{0}::text collate \"C\" = excluded.{0}::text", column(i)))
        .collect();
    let action = match (sets.as_slice(), spelled.as_slice()) {
        ([], _) => "nothing".to_owned(),
        (sets, []) => format!("update set {}", sets.join(", ")),
        (sets, spelled) => {
            format!(
                "update set {} where {}",
                sets.join(", "),
                spelled.join(" and ")
            )
        }
    };
    format!(
        "insert into {} as t ({}) overriding system value select {} from {} \
         on conflict ({}) do {action}",
        layout.name.quoted(),
        columns.join(", "),
        values.join(", "),
        rows::unnest(1, places.len(), "c"),
        layout.key_list(""),
    )
}

/// Writes rows that are there, which costs the server less: it need not hold each before it knows.
/// It says how many there were. `None` where rows consist of their key, or the table takes other
/// spellings of it for equal.
pub(super) fn update(layout: &Layout, places: &[usize]) -> Option<String> {
    let (key, others): (Vec<usize>, Vec<usize>) =
        (0..places.len()).partition(|&n| layout.key.contains(&places[n]));
    if others.is_empty() || key.len() < layout.key.len() || is_spelled(layout) {
        return None;
    }
    let column = |n: &usize| quote(&layout.columns[places[*n]].name);
    let set = |n: &usize| format!("{} = {}", column(n), value(layout, places, *n));
    let same = |n: &usize| format!("t.{} = {}", column(n), value(layout, places, *n));
    Some(format!(
        "update {} t set {} from {} where {}",
        layout.name.quoted(),
        others.iter().map(set).collect::<Vec<_>>().join(", "),
        rows::unnest(1, places.len(), "c"),
        key.iter().map(same).collect::<Vec<_>>().join(" and "),
    ))
}

/// A value that was given, as its column takes it.
fn value(layout: &Layout, places: &[usize], n: usize) -> String {
    layout.read(places[n], &format!("r.c{n}"))
}
