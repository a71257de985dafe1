//! What PostgreSQL's catalogue says of a table.

use contraflow_core::code::Code;
use contraflow_core::end::Table;
use contraflow_core::error::{Error, Kind, Result};
use contraflow_core::shape::{TimeUnit, Type};
use contraflow_core::value::{Frame, Value};
use postgres::GenericClient;
use xxhash_rust::xxh3::xxh3_128;

use super::connection::failure;
use super::form::Form;
use super::names::{TableName, quote};
use super::wire::{malformed, spelling};

/// A table as the catalogue knows it.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) oid: u32,
    /// `r` ordinary, `p` partitioned, `v` view, ...
    pub(super) kind: char,
    /// `p` permanent, `u` unlogged, `t` temporary.
    pub(super) persistence: char,
    /// `d` primary key, `i` an index, `f` the whole row, `n` nothing.
    pub(super) identity: char,
    pub(super) row_security: bool,
    pub(super) rows_estimated: u64,
}

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// With its modifier: `numeric(12,2)`.
    pub(super) declared: String,
    /// Without: casting to a type with a modifier cuts silently, assigning to it does not. The
    /// name for "no modifier" differs from the bare one: `character` is a `character(1)`.
    pub(super) base: String,
    pub(super) not_null: bool,
    pub(super) default: Option<String>,
    /// `a` always, `d` by default, or none.
    pub(super) identity: Option<char>,
    pub(super) generated: bool,
    /// Its default takes numbers from a sequence that belongs to no column.
    pub(super) numbered_from_afar: bool,
    pub(super) collation: Option<String>,
    /// Of a type that an extension or the user made, an enum excepted: its operators are not those
    /// of the type that it resembles.
    pub(super) foreign: bool,
    /// Its cast to text is another spelling than its output.
    pub(super) casts_oddly: bool,
    pub(super) ty: Type,
}

/// A unique index.
#[derive(Debug)]
pub(super) struct UniqueIndex {
    pub(super) name: String,
    /// `None` for an expression.
    pub(super) columns: Vec<Option<String>>,
    pub(super) partial: bool,
    pub(super) primary: bool,
    /// Checked at once, not at the end of the transaction.
    pub(super) immediate: bool,
}

/// Finds a table, view or the like.
pub(super) fn relation(
    client: &mut impl GenericClient,
    name: &TableName,
) -> Result<Option<Relation>> {
    let found = client
        .query_opt(
            "select c.oid, c.relkind, c.relpersistence, c.relreplident,
               c.relrowsecurity or c.relforcerowsecurity, greatest(c.reltuples, 0)::bigint
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where n.nspname = $1 and c.relname = $2",
            &[&name.schema, &name.name],
        )
        .map_err(failure)?;
    let letter = |byte: i8| char::from(u8::try_from(byte).unwrap_or(b'?'));
    Ok(found.map(|row| Relation {
        oid: row.get(0),
        kind: letter(row.get(1)),
        persistence: letter(row.get(2)),
        identity: letter(row.get(3)),
        row_security: row.get(4),
        rows_estimated: u64::try_from(row.get::<_, i64>(5)).unwrap_or(0),
    }))
}

/// The columns of a relation, in order.
pub(super) fn columns(client: &mut impl GenericClient, oid: u32) -> Result<Vec<Column>> {
    let rows = client
        .query(
            "select a.attname::text, format_type(a.atttypid, a.atttypmod),
               format_type(coalesce(nullif(t.typbasetype, 0), a.atttypid), -1),
               a.attnotnull or t.typnotnull,
               pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, a.attgenerated <> '',
               case when a.attcollation <> coalesce(b.typcollation, t.typcollation)
                 then (select quote_ident(cn.nspname) || '.' || quote_ident(c.collname)
                       from pg_collation c join pg_namespace cn on cn.oid = c.collnamespace
                       where c.oid = a.attcollation) end,
               coalesce(b.typname, t.typname)::text,
               case when t.typtype = 'd' then t.typtypmod else a.atttypmod end,
               coalesce(bn.nspname, n.nspname)::text,
               coalesce(b.typtype, t.typtype)::text,
               exists (select from pg_cast x where x.castsource = coalesce(b.oid, t.oid)
                 and x.casttarget = 'text'::regtype and x.castmethod = 'f'),
               array(select e.enumlabel::text from pg_enum e
                 where e.enumtypid = coalesce(b.oid, t.oid) order by e.enumsortorder),
               exists (select from pg_depend x join pg_class s on s.oid = x.refobjid
                   and s.relkind = 'S'
                 where x.classid = 'pg_attrdef'::regclass and x.objid = d.oid
                   and not exists (select from pg_depend o where o.objid = s.oid
                     and o.classid = 'pg_class'::regclass and o.deptype in ('a', 'i')
                     and o.refobjid = a.attrelid and o.refobjsubid = a.attnum))
             from pg_attribute a join pg_type t on t.oid = a.atttypid
             join pg_namespace n on n.oid = t.typnamespace
             left join pg_type b on b.oid = nullif(t.typbasetype, 0)
             left join pg_namespace bn on bn.oid = b.typnamespace
             left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
             where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum",
            &[&oid],
        )
        .map_err(failure)?;
    let column = |row: &postgres::Row| {
        let (name, modifier): (String, i32) = (row.get(8), row.get(9));
        let (schema, class): (String, String) = (row.get(10), row.get(11));
        let ty = if class == "e" {
            Type::Enum {
                symbols: row.get(13),
            }
        } else if schema == "pg_catalog" {
            builtin(&name, modifier)
        } else {
            Type::Any
        };
        let generated: bool = row.get(6);
        Column {
            name: row.get(0),
            declared: row.get(1),
            base: row.get(2),
            not_null: row.get(3),
            default: row.get::<_, Option<String>>(4).filter(|_| !generated),
            identity: row.get::<_, String>(5).chars().next(),
            generated,
            numbered_from_afar: row.get(14),
            collation: row.get(7),
            foreign: schema != "pg_catalog" && class != "e",
            casts_oddly: row.get(12),
            ty,
        }
    };
    Ok(rows.iter().map(column).collect())
}

/// What a built-in type holds. What has no typed form passes through between two PostgreSQL ends.
fn builtin(name: &str, modifier: i32) -> Type {
    let int = |bits| Type::Int { bits, signed: true };
    let timestamp = |frame| Type::Timestamp {
        frame,
        unit: TimeUnit::Micros,
    };
    match name {
        "bool" => Type::Bool,
        "int2" => int(16),
        "int4" => int(32),
        "int8" => int(64),
        "float4" => Type::Float { bits: 32 },
        "float8" => Type::Float { bits: 64 },
        "numeric" => {
            // Precision in the high half, scale in the low 11 bits, shifted by four.
            let limits = u32::try_from(modifier - 4).ok().filter(|_| modifier >= 4);
            // A negative scale rounds to tens: no fixed number of digits behind the point.
            let scale = limits.map(|m| m & 0x7ff).filter(|scale| *scale <= 1_000);
            Type::Decimal {
                precision: limits.map(|m| m >> 16).filter(|_| scale.is_some()),
                scale,
            }
        }
        "text" | "varchar" | "bpchar" => Type::Text,
        "bytea" => Type::Bytes,
        "date" => Type::Date,
        "time" => Type::Time,
        "timestamp" => timestamp(Frame::Local),
        "timestamptz" => timestamp(Frame::Instant),
        "uuid" => Type::Uuid,
        "json" | "jsonb" => Type::Json,
        _ => Type::Any,
    }
}

/// The unique indexes of a relation, those of its constraints included.
pub(super) fn unique_indexes(
    client: &mut impl GenericClient,
    oid: u32,
) -> Result<Vec<UniqueIndex>> {
    let rows = client
        .query(
            "select c.relname::text, i.indpred is not null, i.indisprimary, i.indimmediate,
               array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k (n, o)
                 left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n and k.n > 0
                 where o <= i.indnkeyatts order by o)
             from pg_index i join pg_class c on c.oid = i.indexrelid
             where i.indrelid = $1 and i.indisunique and i.indisvalid order by c.relname",
            &[&oid],
        )
        .map_err(failure)?;
    Ok(rows
        .iter()
        .map(|row| UniqueIndex {
            name: row.get(0),
            partial: row.get(1),
            primary: row.get(2),
            immediate: row.get(3),
            columns: row.get(4),
        })
        .collect())
}

/// A digest of everything about a table that our statements rest on; `None` when it is gone.
pub(super) fn declaration(
    client: &mut impl GenericClient,
    table: &TableName,
) -> Result<Option<String>> {
    let Some(found) = relation(client, table)? else {
        return Ok(None);
    };
    // With its number: a table that was dropped and made again is another one.
    let mut text = format!("{} {} {}\n", found.oid, found.kind, found.identity);
    for column in columns(client, found.oid)? {
        let Column {
            name,
            declared,
            not_null,
            generated,
            collation,
            ..
        } = column;
        text.push_str(&format!(
            "{name} {declared} {not_null} {generated} {collation:?}\n"
        ));
    }
    for index in unique_indexes(client, found.oid)? {
        let UniqueIndex {
            name,
            columns,
            partial,
            ..
        } = index;
        text.push_str(&format!("{name} {columns:?} {partial}\n"));
    }
    Ok(Some(format!("{:032x}", xxh3_128(text.as_bytes()))))
}

/// A table of a role with its columns in the order of the shape.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) name: TableName,
    pub(super) columns: Vec<Column>,
    /// Places of the key, in its order.
    pub(super) key: Vec<usize>,
    pub(super) types: Vec<Type>,
    native: Vec<bool>,
    /// The form in which a column is read, where that is not text.
    asked: Vec<Option<Form>>,
}

impl Layout {
    /// Looks a table of a role up.
    ///
    /// # Errors
    /// A hold when it, or a column of its shape, is gone.
    pub(super) fn of(client: &mut impl GenericClient, table: &Table) -> Result<Layout> {
        let name = TableName::parse(&table.name);
        let gone = |what: String| {
            Error::new(Kind::Hold, Code::SHAPE_CHANGED, what)
                .hint("Undo it and run `contraflow resume`, or `contraflow abort` and plan anew.")
        };
        let Some(found) = relation(client, &name)? else {
            return Err(gone(format!("table `{}` is gone", table.name)));
        };
        let mut there = columns(client, found.oid)?;
        let mut ordered = Vec::with_capacity(table.shape.fields.len());
        for field in &table.shape.fields {
            let place = there.iter().position(|column| column.name == field.name);
            let Some(place) = place else {
                let what = format!("column `{}` of `{}` is gone", field.name, table.name);
                return Err(gone(what));
            };
            ordered.push(there.swap_remove(place));
        }
        let key = table.shape.key.clone();
        let native = (0..ordered.len())
            // Keys are compared with what people type: they are always looked into.
            .map(|i| table.native.get(i) == Some(&true) && !key.contains(&i))
            .collect();
        let form = |column: &Column| Form::of(column).filter(|form| form.is_asked_for());
        Ok(Layout {
            name,
            asked: ordered.iter().map(form).collect(),
            columns: ordered,
            types: table.shape.fields.iter().map(|f| f.ty.clone()).collect(),
            key,
            native,
        })
    }

    /// Whether keys have the same order in every database: theirs must not depend on a locale.
    pub(super) fn orders_alike(&self) -> bool {
        const FIXED: [&str; 10] = [
            "smallint",
            "integer",
            "bigint",
            "numeric",
            "uuid",
            "date",
            "boolean",
            "bytea",
            "timestamp without time zone",
            "timestamp with time zone",
        ];
        const BYTES: [&str; 2] = ["pg_catalog.\"C\"", "pg_catalog.\"POSIX\""];
        let fixed = |column: &Column| {
            let collation = column.collation.as_deref();
            FIXED.contains(&column.base.as_str()) || collation.is_some_and(|it| BYTES.contains(&it))
        };
        self.key.iter().all(|&i| fixed(&self.columns[i]))
    }

    /// A column's text as a value.
    pub(super) fn value(&self, place: usize, text: &str) -> Value {
        super::codec::decode(text, &self.types[place], self.native[place])
    }

    /// For each column whether rows are read in the server's own form of it.
    pub(super) fn forms(&self) -> Vec<bool> {
        self.asked.iter().map(Option::is_some).collect()
    }

    /// What came of a column, as a value.
    ///
    /// # Errors
    /// When it is neither a text nor of the form that was asked for.
    pub(super) fn came(&self, place: usize, field: &[u8]) -> Result<Value> {
        let Some(form) = self.asked[place] else {
            return Ok(self.value(place, spelling(field)?));
        };
        let text = form.spelled(field).ok_or_else(malformed)?;
        Ok(match self.native[place] {
            true => Value::Text(text),
            false => self.value(place, &text),
        })
    }

    /// A column as it is.
    pub(super) fn bare(&self, place: usize, prefix: &str) -> String {
        format!("{prefix}{}", quote(&self.columns[place].name))
    }

    /// A column of a table or of a row, in the spelling of its output function.
    pub(super) fn shown(&self, place: usize, prefix: &str) -> String {
        self.spelled(place, &self.bare(place, prefix))
    }

    /// An expression of a column's type, in the spelling of its output function.
    pub(super) fn spelled(&self, place: usize, expression: &str) -> String {
        if self.columns[place].casts_oddly {
            format!("case when {expression} is not null then format('%s', {expression}) end")
        } else {
            format!("{expression}::text")
        }
    }

    /// A text as a value of the column, before any modifier of its type.
    pub(super) fn read(&self, place: usize, expression: &str) -> String {
        format!("({expression})::{}", self.columns[place].base)
    }

    /// The key columns, in order.
    pub(super) fn key_list(&self, prefix: &str) -> String {
        let names = self.key.iter().map(|&i| &self.columns[i].name);
        let names: Vec<String> = names
            .map(|name| format!("{prefix}{}", quote(name)))
            .collect();
        names.join(", ")
    }
}
