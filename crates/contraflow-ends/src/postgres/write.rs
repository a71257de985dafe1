//! Writes of rows into one table: arrays of texts, one statement for many rows.

use std::collections::{BTreeMap, HashMap, HashSet};

use contraflow_core::code::Code;
use contraflow_core::error::Result;
use contraflow_core::record::{Change, Image, Record};
use contraflow_core::value::Value;
use postgres::types::ToSql;
use postgres::{Statement, Transaction};

use super::catalog::Layout;
use super::codec::encode;
use super::connection::failure;
use super::names::{Names, quote};
use super::rows;
use crate::tables::Refusal;

mod load;
mod upsert;
mod worth;

pub(super) use worth::Worth;

/// Rows per statement: more gain nothing.
const ROWS: usize = 1_000;

/// Statements of a session by their text: the server reads each once.
#[derive(Default)]
pub(super) struct Prepared(HashMap<String, Statement>);

impl Prepared {
    /// A statement of this text.
    fn statement(
        &mut self,
        tx: &mut Transaction<'_>,
        sql: &str,
    ) -> std::result::Result<Statement, postgres::Error> {
        if let Some(statement) = self.0.get(sql) {
            return Ok(statement.clone());
        }
        let statement = tx.prepare(sql)?;
        self.0.insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    /// Runs a statement, and says how many rows it wrote.
    pub(super) fn execute(
        &mut self,
        tx: &mut Transaction<'_>,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> std::result::Result<u64, postgres::Error> {
        let statement = self.statement(tx, sql)?;
        tx.execute(&statement, params)
    }
}

/// One table, within one transaction.
pub(super) struct TableWriter<'w, 't> {
    pub(super) tx: &'w mut Transaction<'t>,
    pub(super) prepared: &'w mut Prepared,
    pub(super) layout: &'w Layout,
    pub(super) names: &'w Names,
    pub(super) pair: u16,
    /// Something lies beside rows of this table.
    pub(super) beside: &'w mut bool,
    /// Which shortcuts are worth a try.
    pub(super) worth: &'w mut Worth,
}

/// A row that is to be written: its place in the batch and its texts, one per column.
struct Ready<'r> {
    record: usize,
    texts: Vec<Option<std::borrow::Cow<'r, str>>>,
    document: &'r [u8],
}

/// What became of rows that were written together.
enum Upserted {
    All,
    /// Some met a row whose key is spelled otherwise; the savepoint must be rolled back.
    Met,
}

impl TableWriter<'_, '_> {
    /// Deletes what records delete or replace: the values of rows that go are free for rows that
    /// come.
    pub(super) fn free_deleted(&mut self, records: &[Record]) -> Result<()> {
        let goes = |record: &&Record| !matches!(record.change, Change::Put(_));
        self.delete(self.mine(records).filter(|(_, r)| goes(r)).map(|(_, r)| r))
    }

    /// Deletes the rows under the keys of all records but those left out.
    pub(super) fn free(&mut self, records: &[Record], left_out: &HashSet<usize>) -> Result<()> {
        let mine = self.mine(records).filter(|(i, _)| !left_out.contains(i));
        self.delete(mine.map(|(_, record)| record))
    }

    /// Writes the rows of all records but those left out, and says which the table refuses. The
    /// last record of a key wins.
    pub(super) fn put(
        &mut self,
        records: &[Record],
        left_out: &HashSet<usize>,
    ) -> Result<Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut last = HashMap::new();
        for (i, record) in self.mine(records) {
            last.insert(&record.key, i);
        }
        // Rows that leave the same columns to the storage are written together.
        let mut groups: BTreeMap<Vec<bool>, Vec<Ready<'_>>> = BTreeMap::new();
        for (i, record) in self.mine(records) {
            let (Change::Put(image) | Change::Replace(image)) = &record.change else {
                continue;
            };
            if last.get(&record.key) != Some(&i) || left_out.contains(&i) {
                continue;
            }
            match ready(self.layout, i, image) {
                Ok(ready) => {
                    let given = image.row.0.iter().map(|v| !matches!(v, Value::Absent));
                    groups.entry(given.collect()).or_default().push(ready);
                }
                Err(refusal) => refusals.push(refusal),
            }
        }
        for (given, rows) in groups {
            for rows in rows.chunks(ROWS) {
                self.try_rows(&given, rows, &mut refusals)?;
            }
        }
        Ok(refusals)
    }

    fn mine<'r>(
        &self,
        records: &'r [Record],
    ) -> impl Iterator<Item = (usize, &'r Record)> + use<'r> {
        let pair = self.pair;
        let all = records.iter().enumerate();
        all.filter(move |(_, record)| record.pair.0 == pair)
    }

    /// Writes rows together; when one of them is refused, halves until it is known which.
    fn try_rows(
        &mut self,
        given: &[bool],
        rows: &[Ready<'_>],
        refusals: &mut Vec<Refusal>,
    ) -> Result<()> {
        self.tx.batch_execute("savepoint rows").map_err(failure)?;
        let (code, reason) = match self.upsert(given, &rows.iter().collect::<Vec<_>>()) {
            Ok(Upserted::All) => return self.tx.batch_execute("release rows").map_err(failure),
            Ok(Upserted::Met) => met_another_spelling(),
            Err(error) => match refused(&error) {
                Some(refused) => refused,
                None => return Err(failure(error)),
            },
        };
        self.tx
            .batch_execute("rollback to rows; release rows")
            .map_err(failure)?;
        if let [only] = rows {
            refusals.push(Refusal {
                record: only.record,
                code,
                reason,
            });
            return Ok(());
        }
        let (first, second) = rows.split_at(rows.len() / 2);
        self.try_rows(given, first, refusals)?;
        self.try_rows(given, second, refusals)
    }

    fn upsert(
        &mut self,
        given: &[bool],
        rows: &[&Ready<'_>],
    ) -> std::result::Result<Upserted, postgres::Error> {
        let layout = self.layout;
        let places: Vec<usize> = (0..given.len()).filter(|&i| given[i]).collect();
        let arrays: Vec<Vec<Option<&str>>> = places
            .iter()
            .map(|&i| rows.iter().map(|row| row.texts[i].as_deref()).collect())
            .collect();
        let params: Vec<&(dyn ToSql + Sync)> = arrays
            .iter()
            .map(|array| array as &(dyn ToSql + Sync))
            .collect();
        let count = rows.len() as u64;
        let update = upsert::update(layout, &places).filter(|_| self.worth.update.is_over());
        if let Some(sql) = update {
            let done = self.prepared.execute(self.tx, &sql, &params)? == count;
            self.worth.update.learn(done);
            if done {
                return self.lay_beside(rows).map(|()| Upserted::All);
            }
        }
        let sql = upsert::insert(layout, &places);
        let written = self.prepared.execute(self.tx, &sql, &params)?;
        if upsert::is_spelled(layout) && written < count {
            return Ok(Upserted::Met);
        }
        self.lay_beside(rows).map(|()| Upserted::All)
    }

    /// Keeps what lies beside rows, and nothing of earlier ones.
    fn lay_beside(&mut self, rows: &[&Ready<'_>]) -> std::result::Result<(), postgres::Error> {
        let mine = rows.iter().copied();
        let with: Vec<&Ready<'_>> = mine.filter(|row| !row.document.is_empty()).collect();
        if with.is_empty() && !*self.beside {
            return Ok(());
        }
        let layout = self.layout;
        let texts = |rows: &[&Ready<'_>]| -> Vec<Vec<String>> {
            let field = |&place: &usize| {
                let text = |row: &&Ready<'_>| row.texts[place].as_deref().unwrap_or("").to_owned();
                rows.iter().map(text).collect()
            };
            layout.key.iter().map(field).collect()
        };
        let width = layout.key.len();
        let spelled = |(n, &place): (usize, &usize)| {
            layout.spelled(
                place,
                &format!("({})", layout.read(place, &format!("r.k{n}"))),
            )
        };
        let key: Vec<String> = layout.key.iter().enumerate().map(spelled).collect();
        let pair = i32::from(self.pair);
        let mine = rows.iter().copied();
        let without: Vec<&Ready<'_>> = mine.filter(|row| row.document.is_empty()).collect();
        if *self.beside && !without.is_empty() {
            let arrays = texts(&without);
            self.forget(&arrays)?;
        }
        if with.is_empty() {
            return Ok(());
        }
        *self.beside = true;
        let arrays = texts(&with);
        let documents: Vec<&[u8]> = with.iter().map(|row| row.document).collect();
        let unnested: Vec<String> = (4..4 + width).map(|n| format!("${n}::text[]")).collect();
        let names: Vec<String> = (0..width).map(|n| format!("k{n}")).collect();
        let sql = format!(
            "insert into contraflow.complement (change, side, pair, key, document)
             select $1, $2, $3, array[{}], r.document
             from unnest({}, ${}::bytea[]) as r({}, document)
             on conflict (change, side, pair, key) do update set document = excluded.document",
            key.join(", "),
            unnested.join(", "),
            4 + width,
            names.join(", "),
        );
        let mut params: Vec<&(dyn ToSql + Sync)> =
            vec![&self.names.change, &self.names.side, &pair];
        params.extend(rows::params(&arrays));
        params.push(&documents);
        self.prepared.execute(self.tx, &sql, &params).map(|_| ())
    }

    /// Forgets what lies beside rows with these keys.
    fn forget(&mut self, arrays: &[Vec<String>]) -> std::result::Result<(), postgres::Error> {
        let layout = self.layout;
        let spelled = |(n, &place): (usize, &usize)| {
            layout.spelled(
                place,
                &format!("({})", layout.read(place, &format!("r.k{n}"))),
            )
        };
        let key: Vec<String> = layout.key.iter().enumerate().map(spelled).collect();
        let sql = format!(
            "delete from contraflow.complement b using {}
             where b.change = $1 and b.side = $2 and b.pair = $3 and b.key = array[{}]",
            rows::unnest(4, layout.key.len(), "k"),
            key.join(", ")
        );
        let pair = i32::from(self.pair);
        let mut params: Vec<&(dyn ToSql + Sync)> =
            vec![&self.names.change, &self.names.side, &pair];
        params.extend(rows::params(arrays));
        self.prepared.execute(self.tx, &sql, &params).map(|_| ())
    }

    fn delete<'r>(&mut self, records: impl Iterator<Item = &'r Record>) -> Result<()> {
        // A key that the table cannot hold has no row in it.
        let keys: Vec<Vec<String>> = records
            .filter_map(|record| rows::key_texts(self.layout, &record.key))
            .collect();
        for keys in keys.chunks(ROWS) {
            let arrays = rows::key_columns(self.layout, keys);
            let sql = format!(
                "delete from {} t using {} where {}",
                self.layout.name.quoted(),
                rows::unnest(1, self.layout.key.len(), "k"),
                rows::same_key(self.layout),
            );
            self.prepared
                .execute(self.tx, &sql, &rows::params(&arrays))
                .map_err(failure)?;
            if *self.beside {
                self.forget(&arrays).map_err(failure)?;
            }
        }
        Ok(())
    }
}

fn met_another_spelling() -> (Code, String) {
    let reason = "the key: another row has it in another spelling";
    (Code::UNIQUE_CONFLICT, reason.to_owned())
}

/// The texts of a row.
fn ready<'r>(
    layout: &Layout,
    record: usize,
    image: &'r Image,
) -> std::result::Result<Ready<'r>, Refusal> {
    let mut texts = Vec::with_capacity(image.row.0.len());
    for (place, value) in image.row.0.iter().enumerate() {
        let text = encode(value, &layout.types[place]).ok();
        // PostgreSQL has no text with a zero in it.
        let text = text.filter(|text| !text.as_ref().is_some_and(|t| t.contains('\0')));
        let Some(text) = text else {
            let name = &layout.columns[place].name;
            return Err(Refusal {
                record,
                code: Code::CONSTRAINT_VIOLATED,
                reason: format!("`{name}`: the column cannot hold this {}", value.kind()),
            });
        };
        texts.push(text);
    }
    Ok(Ready {
        record,
        texts,
        document: &image.complement.0,
    })
}

/// Whether a failure is about a row: its code and what may be said of it. Names, never values.
fn refused(error: &postgres::Error) -> Option<(Code, String)> {
    let db = error.as_db_error()?;
    let state = db.code().code();
    let named = match (db.constraint(), db.column()) {
        (Some(constraint), _) => format!("`{constraint}`: "),
        (None, Some(column)) => format!("`{column}`: "),
        (None, None) => String::new(),
    };
    match state {
        "23505" | "23P01" => Some((
            Code::UNIQUE_CONFLICT,
            format!("{named}another row has this value"),
        )),
        // The table takes two keys of one statement for equal.
        "21000" => Some(met_another_spelling()),
        _ if state.starts_with("22") || state.starts_with("23") || state.starts_with("P0") => {
            Some((
                Code::CONSTRAINT_VIOLATED,
                format!("{named}the table refuses the row (SQLSTATE {state})"),
            ))
        }
        _ => None,
    }
}
