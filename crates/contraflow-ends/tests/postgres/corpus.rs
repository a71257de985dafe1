//! Every type at its edges, through the copy and through the stream, byte by byte.

use contraflow_core::end::Span;
use contraflow_core::position::Position;
use contraflow_core::side::Side;

use super::carried::{Carried, MOST, PAIR, events};

const TABLE: &str = "
create type mood as enum ('sad', 'so so', 'it''s fine');
create domain short as varchar(5);
create table t (id int primary key, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric,
  n2 numeric(12,2), tx text, vc varchar(10), ch char(6), bt bytea, d date, tm time, tz timetz,
  ts timestamp, tstz timestamptz, iv interval, u uuid, j json, jb jsonb, a int[], ta text[],
  m mood, dm short, ip inet, ci cidr, r int4range, bi bit(3), vb varbit, x xml, mo money,
  bl bool[], pt point)";

const ROWS: &[&str] = &[
    "1, true, -32768, -9223372036854775808, '-0', '-0', 'NaN', 1234567890.12, '', '', 'a',
     '\\x00ff', 'infinity', '24:00', '00:00+15:59', '-infinity', 'infinity', '-1 year 3 days',
     '00000000-0000-0000-0000-000000000000', '{\"b\": 1.10, \"a\":  [1,2]}', '{\"b\": 1.10}', '{}',
     '{}', 'it''s fine', 'abc', '10.0.0.1', '10.0.0.0/8', 'empty', '101', '', '<a/>', '-1.50',
     '{t,f,null}', '(1.5,-2)'",
    "2, false, 32767, 9223372036854775807, 'NaN', '1.7976931348623157e308', 1e-1000, -0.01,
     'a''b\"c\\d', 'ÄÖ日本😀', 'ab  cd', '\\x', '4713-01-01 BC', '00:00:00.000001', '23:59:59-12',
     '0044-03-15 12:00 BC', '2024-02-29 12:34:56.789012+05:30', '00:00:00.000001',
     'ffffffff-ffff-ffff-ffff-ffffffffffff', 'null', '12345678901234567890.12345678901234567890',
     '{{1,null},{3,4}}', '{\"a,b\",NULL,\"null\",\"\"}', 'so so', '', '::1/64', '::/0', '[1,10)',
     '000', '1', 'x', '12', '{}', '(0,0)'",
    "3, null, null, null, 'Infinity', '5e-324', (repeat('9', 1000) || '.5')::numeric, null, E'\\t\\n',
     null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
     null, null, null, null, null, null, null, null, null",
    "4, null, null, null, null, null, 0.000, 0, null, null, null, null, null, null, null, null,
     null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null,
     null, null",
];

fn inserts() -> String {
    let one = |row: &&str| format!("insert into t values ({row});");
    ROWS.iter().map(one).collect()
}

/// Every byte of the table, as the server spells it.
fn everything(carried: &Carried) -> String {
    let sql = "select string_agg(row, E'\n' order by id)
               from (select id, t::text as row from t) as s";
    carried.database.one(sql)
}

/// Leaves the columns whose values go over in the server's own form.
const NARROW: &str = "alter table t drop tz, drop iv, drop a, drop ta, drop ip, drop ci, drop r,
  drop bi, drop vb, drop x, drop mo, drop bl, drop pt";

#[test]
fn the_corpus_survives_the_copy() {
    for alter in ["", NARROW] {
        let filled = format!("{TABLE}; {}; {alter}", inserts());
        let old = Carried::new(&filled, Side::Old);
        let new = Carried::new(&format!("{TABLE}; {alter}"), Side::New);
        let chunk = old
            .scan()
            .read(&Span::whole(PAIR), MOST, &Position::new([]))
            .unwrap();
        assert_eq!(new.load(chunk.rows), 0);
        assert_eq!(everything(&new), everything(&old));
    }
}

/// A value that only the server can read, behind many that we can spell in its own form.
#[test]
fn a_range_with_a_value_that_only_the_server_reads_is_copied() {
    let old = Carried::new(
        "create table t (id int primary key, d text); insert into t
         select n, case n when 900 then 'March 15, 2044' else '2044-03-15' end
         from generate_series(1, 1000) n",
        Side::Old,
    );
    let new = Carried::new("create table t (id int primary key, d date)", Side::New);
    let chunk = old
        .scan()
        .read(&Span::whole(PAIR), MOST, &Position::new([]))
        .unwrap();
    assert_eq!(new.load(chunk.rows), 0);
    let days = new
        .database
        .one("select count(*) || ' ' || min(d) || ' ' || max(d) from t");
    assert_eq!(days, "1000 2044-03-15 2044-03-15");
}

#[test]
fn the_corpus_survives_the_stream_and_shows_what_a_query_shows() {
    let old = Carried::new(TABLE, Side::Old);
    let new = Carried::new(TABLE, Side::New);
    let mut feed = old.feed();
    old.database.run(&inserts());
    let streamed = events(feed.as_mut(), ROWS.len());
    let chunk = old
        .scan()
        .read(&Span::whole(PAIR), MOST, &feed.received())
        .unwrap();
    for (event, (key, image)) in streamed.iter().zip(&chunk.rows) {
        assert_eq!((&event.key, event.image.as_ref()), (key, Some(image)));
    }
    let rows = streamed.into_iter().map(|event| (event.key, event.image));
    assert_eq!(new.apply(rows.collect()), 0);
    assert_eq!(everything(&new), everything(&old));
}

#[test]
fn a_row_that_does_not_fit_is_a_letter_and_nothing_is_cut() {
    let old = Carried::new(
        "create table t (id int primary key, v text); insert into t
         select n, case n when 7 then 'too long for it' else 'ok' end from generate_series(1, 20) n",
        Side::Old,
    );
    let new = Carried::new(
        "create table t (id int primary key, v varchar(5))",
        Side::New,
    );
    let chunk = old
        .scan()
        .read(&Span::whole(PAIR), MOST, &Position::new([]))
        .unwrap();
    assert_eq!(new.load(chunk.rows), 1);
    let found = new.database.one("select count(*) || ' ' || max(v) from t");
    assert_eq!(found, "19 ok");
}

/// The feed was at some keys before the range came to them, and one row is refused in the middle of
/// what is sent at once: nothing else is lost, and nothing stays as the feed had left it.
#[test]
fn a_range_meets_rows_of_the_feed_and_one_that_is_refused() {
    let old = Carried::new(
        "create table t (id int primary key, v text); insert into t
         select n, 'row ' || n || repeat('x', 40) from generate_series(1, 20000) n",
        Side::Old,
    );
    let table = "create table t (id int primary key, v text)";
    let rows = || {
        let chunk = old
            .scan()
            .read(&Span::whole(PAIR), MOST, &Position::new([]));
        chunk.unwrap().rows
    };
    for check in ["true", "id <> 19000"] {
        let new = Carried::new(
            &format!("{table}; alter table t add check ({check})"),
            Side::New,
        );
        let few = rows().into_iter().step_by(997).map(|(key, mut image)| {
            image.row.0[1] = contraflow_core::value::Value::Text("of the feed".to_owned());
            (key, Some(image))
        });
        assert_eq!(new.apply(few.collect()), 0);
        let letters = u64::from(check != "true");
        assert_eq!(new.load(rows()), letters);
        let sum = "select count(*) || ' ' || md5(string_agg(t::text, ',' order by id)) from t";
        let expected = format!("{sum} where {check}");
        assert_eq!(new.database.one(sum), old.database.one(&expected));
    }
}
