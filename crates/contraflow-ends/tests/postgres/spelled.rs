//! Text keys under collations that order, or even equate, texts otherwise than their bytes do.

use std::collections::BTreeMap;

use contraflow_core::end::{Most, Scan, Span};
use contraflow_core::position::Position;
use contraflow_core::record::{Image, Key};
use contraflow_core::side::Side;
use contraflow_core::value::Value;

use super::carried::{Carried, MOST, PAIR, events};

/// Takes `A` and `a` for equal.
const EQUATES: &str = "create collation ci (provider = icu, locale = 'und-u-ks-level2',
    deterministic = false); create domain word as text collate ci";
/// Puts `a` before `A` and both before `b`, and takes them apart.
const ORDERS: &str = "\"en-x-icu\"";

fn table(key: &str) -> String {
    format!("{EQUATES}; create table t (id {key} primary key, v text)")
}

fn key(text: &str) -> Key {
    Key(vec![Value::Text(text.to_owned())])
}

fn text(key: &Key) -> String {
    match &key.0[0] {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

/// The rows of a table, in the order of their bytes.
fn rows(carried: &Carried) -> String {
    let sql =
        "select coalesce(string_agg(id::text || '=' || v, ' ' order by id::text collate \"C\"), '')
               from t";
    carried.database.one(sql)
}

/// Reads the table in ranges of one row each.
fn ranges(scan: &mut dyn Scan) -> Vec<(Key, Image)> {
    let (mut found, mut span) = (Vec::new(), Span::whole(PAIR));
    let one = Most { rows: 1, ..MOST };
    loop {
        let chunk = scan.read(&span, one, &Position::new([])).unwrap();
        found.extend(chunk.rows);
        if chunk.cut.is_none() {
            return found;
        }
        span.after = chunk.cut;
    }
}

#[test]
fn keys_that_a_collation_takes_for_equal_are_carried_as_they_are_spelled() {
    for declared in ["text collate ci", "word"] {
        let (old, new) = (table(declared), table(declared));
        let filled = format!("{old}; insert into t values ('A', '1'), ('b', '2'), ('C', '3')");
        let (old, new) = (
            Carried::new(&filled, Side::Old),
            Carried::new(&new, Side::New),
        );
        assert_eq!(new.load(ranges(&mut *old.scan())), 0);
        assert_eq!(rows(&new), rows(&old));
        let mut feed = old.feed();
        for script in [
            "update t set id = 'a' where id = 'A'",
            "begin; delete from t where id = 'b'; insert into t values ('B', '4'); commit",
            "begin; update t set id = 'x' where id = 'C'; update t set id = 'c' where id = 'a';
               update t set id = 'A' where id = 'X'; commit",
        ] {
            old.database.run(script);
            let batch: Vec<_> = events(feed.as_mut(), 2)
                .into_iter()
                .map(|event| (event.key, event.image))
                .collect();
            assert_eq!(new.apply(batch), 0, "{declared}: {script}");
            assert_eq!(rows(&new), rows(&old), "{declared}: {script}");
        }
        let mut lookup = new.end.lookup(&new.role).unwrap();
        let asked = ["a", "A", "C", "c"].map(key);
        let found = lookup.get(PAIR, &asked, &Position::new([])).unwrap().rows;
        let found: Vec<String> = found.iter().map(|(key, _)| text(key)).collect();
        assert_eq!(found, ["A", "c"], "{declared}");
    }
}

/// The mirror can hold one of them: the other is a letter, and never overwrites it.
#[test]
fn keys_that_only_the_mirror_takes_for_equal_do_not_overwrite_each_other() {
    let filled = format!(
        "{}; insert into t values ('A', '1'), ('a', '2')",
        table("text")
    );
    let old = Carried::new(&filled, Side::Old);
    let all = old
        .scan()
        .read(&Span::whole(PAIR), MOST, &Position::new([]))
        .unwrap()
        .rows;
    let followed = |rows: &[(Key, Image)]| {
        let rows = rows.iter().cloned();
        rows.map(|(key, image)| (key, Some(image)))
            .collect::<Vec<_>>()
    };
    for declared in ["text collate ci", "word"] {
        let mirror = || Carried::new(&table(declared), Side::New);
        let new = mirror();
        assert_eq!(new.load(all.clone()), 1, "{declared}");
        assert_eq!(rows(&new), "A=1", "{declared}");
        let new = mirror();
        assert_eq!(new.apply(followed(&all)), 1, "{declared}");
        assert_eq!(rows(&new), "A=1", "{declared}");
        let new = mirror();
        assert_eq!(new.apply(followed(&all[..1])), 0, "{declared}");
        assert_eq!(new.apply(followed(&all[1..])), 1, "{declared}");
        assert_eq!(rows(&new), "A=1", "{declared}");
        // Where the first one goes, the other may come.
        let moved = vec![
            (all[0].0.clone(), None),
            (all[1].0.clone(), Some(all[1].1.clone())),
        ];
        assert_eq!(new.apply(moved), 0, "{declared}");
        assert_eq!(rows(&new), "a=2", "{declared}");
    }
}

/// Ranges follow the order of the collation, and a key in them is the one that is spelled so.
#[test]
fn keys_that_differ_in_case_lie_in_one_window_and_are_two() {
    let rows = "insert into t select w, w from unnest(array['b', 'A', 'a', 'B', 'ä', 'Ä']) w";
    let script = format!("{}; {rows}", table(&format!("text collate {ORDERS}")));
    let old = Carried::new(&script, Side::Old);
    let found = ranges(&mut *old.scan());
    let keys: Vec<String> = found.iter().map(|(key, _)| text(key)).collect();
    assert_eq!(keys, ["a", "A", "ä", "Ä", "b", "B"]);
    let mut feed = old.feed();
    old.database
        .run("update t set v = 'new' where id = 'A'; delete from t where id = 'ä'");
    let touched: BTreeMap<_, _> = events(feed.as_mut(), 2)
        .into_iter()
        .map(|event| (text(&event.key), event.image.is_some()))
        .collect();
    let expected = [("A".to_owned(), true), ("ä".to_owned(), false)];
    assert_eq!(touched, BTreeMap::from(expected));
}
