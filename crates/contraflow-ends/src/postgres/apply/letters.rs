//! Letters in the database, written with the checkpoint that passes them.

use contraflow_core::code::Code;
use contraflow_core::end::{Letter, StoredLetter};
use contraflow_core::error::Result;
use contraflow_core::position::Position;
use contraflow_core::record::{PairId, Record};
use contraflow_core::side::Direction;
use postgres::{Client, Transaction};

use super::super::Context;
use super::super::connection::failure;
use crate::tables::{decoded, encoded};

/// All letters of a side, of both directions.
pub(super) fn all(client: &mut Client, context: &Context) -> Result<Vec<StoredLetter>> {
    let rows = client
        .query(
            "select id, direction, pair, source_key, code, reason, retry_after, since_ms, attempts
             from contraflow.letter where change = $1 and side = $2 order by id",
            &[&context.names.change, &context.names.side],
        )
        .map_err(failure)?;
    rows.iter().map(stored).collect()
}

fn stored(row: &postgres::Row) -> Result<StoredLetter> {
    let number = |place: usize| u64::try_from(row.get::<_, i64>(place)).unwrap_or(0);
    let small = |place: usize| u16::try_from(row.get::<_, i32>(place)).unwrap_or(0);
    let direction: &str = row.get(1);
    let retry_after: Option<Vec<u8>> = row.get(6);
    Ok(StoredLetter {
        id: number(0),
        direction: if direction == Direction::Forward.name() {
            Direction::Forward
        } else {
            Direction::Reverse
        },
        letter: Letter {
            pair: PairId(small(2)),
            source_key: decoded(row.get(3))?,
            code: Code(small(4)),
            reason: row.get(5),
            retry_after: retry_after.map(Position::new),
        },
        since_ms: number(7),
        attempts: number(8),
    })
}

/// Writes letters; one that stands is tried once more.
pub(super) fn store(
    tx: &mut Transaction<'_>,
    context: &Context,
    direction: Direction,
    letters: &[Letter],
) -> Result<()> {
    for letter in letters {
        let retry_after = letter.retry_after.as_ref().map(Position::as_bytes);
        let since = i64::try_from(context.clock.unix_ms()).unwrap_or(i64::MAX);
        tx.execute(
            "insert into contraflow.letter as l (change, side, direction, pair, source_key, code,
               reason, retry_after, since_ms, attempts)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)
             on conflict (change, side, direction, pair, source_key) do update set
               code = excluded.code, reason = excluded.reason,
               retry_after = excluded.retry_after, attempts = l.attempts + 1",
            &[
                &context.names.change,
                &context.names.side,
                &direction.name(),
                &i32::from(letter.pair.0),
                &encoded(Some(&letter.source_key)),
                &i32::from(letter.code.0),
                &letter.reason,
                &retry_after,
                &since,
            ],
        )
        .map_err(failure)?;
    }
    Ok(())
}

/// A key whose record was written no longer has a letter.
pub(super) fn resolve(
    tx: &mut Transaction<'_>,
    context: &Context,
    direction: Direction,
    records: &[Record],
    standing: &[Letter],
) -> Result<()> {
    let stands = |record: &&Record| {
        !standing
            .iter()
            .any(|letter| letter.pair == record.pair && letter.source_key == record.source_key)
    };
    let written: Vec<&Record> = records.iter().filter(stands).collect();
    let pairs: Vec<i32> = written
        .iter()
        .map(|record| i32::from(record.pair.0))
        .collect();
    let keys: Vec<Option<Vec<u8>>> = written
        .iter()
        .map(|record| encoded(Some(&record.source_key)))
        .collect();
    tx.execute(
        "delete from contraflow.letter l using unnest($4::int[], $5::bytea[]) as r(pair, key)
         where l.change = $1 and l.side = $2 and l.direction = $3 and l.pair = r.pair
           and l.source_key = r.key",
        &[
            &context.names.change,
            &context.names.side,
            &direction.name(),
            &pairs,
            &keys,
        ],
    )
    .map(|_| ())
    .map_err(failure)
}
