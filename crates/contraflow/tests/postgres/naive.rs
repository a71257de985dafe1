//! The negative control: the textbook's copy between two watermarks, which trusts that what is in
//! the log can be seen. It loses updates; ours, under the same writers, loses none.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use contraflow_core::probe::Point;
use postgres::{Client, NoTls};
use tempfile::TempDir;

use super::load::PATH;
use super::servers::{self, Server};
use super::stage::{Layout, Plan, Stage, shown};
use super::{soaks, tells};
use crate::live::process::{Process, until};

/// Rows of a chunk.
const CHUNK: i64 = 1_000;

/// A table whose rows count their updates, how far its copy is, and clients that write where that
/// is about to read.
const COUNTED: Plan = Plan {
    old: "create table counted (id int primary key, version bigint not null);
          create table front (id int not null, ahead int not null);
          insert into front values (0, 1000)",
    new: "",
    pairs: "  - { old: counted, new: copied, key: [id] }\n",
    limits: "{ fence_max: 5s }",
    script: "
select id as front, ahead from front \\gset
\\set id :front + random(1, :ahead)
update counted set version = version + 1 where id = :id;
",
    renamed: &[],
    clients: 8,
    rate: 100_000,
    audits: &[[
        "select id, version from counted order by id",
        "select id, version from copied order by id",
    ]],
    rows: 1,
};

/// Starts a program of the server's package.
fn client(command: &str) -> Child {
    let mut bash = Command::new("bash");
    bash.args(["-c", &format!("{PATH}; exec {command}")]);
    bash.stdin(Stdio::null()).stdout(Stdio::piped());
    bash.spawn().expect("bash is there")
}

/// The textbook's copy: position low, a chunk, position high; rows whose keys the log shows between
/// the two are left out, everything else of the chunk is written when high has passed.
struct Naive {
    source: Client,
    target: Client,
    reader: Child,
    log: BufReader<ChildStdout>,
}

impl Naive {
    fn start(stage: &Stage) -> Naive {
        let connect = |side, waits: &str| {
            let mut client = Client::connect(&stage.url(side), NoTls).unwrap();
            let commits = format!("set synchronous_commit = {waits}");
            client.batch_execute(&commits).unwrap();
            client
        };
        let (source, target) = (connect("old", "local"), connect("new", "off"));
        let table = "create table copied (id int primary key, version bigint not null)";
        stage.sql("new", table);
        stage.sql(
            "old",
            "select pg_create_logical_replication_slot('naive', 'test_decoding')",
        );
        let url = stage.url("old");
        let mut reader = client(&format!(
            "pg_recvlogical -d '{url}' -S naive --start -f - \
             -o include-xids=0 -o skip-empty-xacts=1"
        ));
        let log = BufReader::new(reader.stdout.take().expect("a pipe"));
        Naive {
            source,
            target,
            reader,
            log,
        }
    }

    fn mark(&mut self, word: &str) {
        let sql = "select pg_logical_emit_message(true, 'naive', $1)";
        self.source.execute(sql, &[&word]).unwrap();
    }

    fn write(&mut self, rows: &BTreeMap<i32, i64>) {
        let (ids, versions): (Vec<i32>, Vec<i64>) = rows.iter().unzip();
        let sql = "insert into copied select * from unnest($1::int[], $2::bigint[])
                   on conflict (id) do update set version = excluded.version";
        self.target.execute(sql, &[&ids, &versions]).unwrap();
    }

    /// Copies the chunk behind a key, and says its last one.
    fn chunk(&mut self, after: i32) -> Option<i32> {
        self.mark("low");
        let sql = "select id, version from counted where id > $1 order by id limit $2";
        let rows = self.source.query(sql, &[&after, &CHUNK]).unwrap();
        let row = |row: &postgres::Row| (row.get(0), row.get(1));
        let mut chunk: BTreeMap<i32, i64> = rows.iter().map(row).collect();
        let last = chunk.last_key_value().map(|(id, _)| *id);
        self.mark("high");
        let before = self.log_to("low");
        let between = self.log_to("high");
        chunk.retain(|id, _| !between.contains_key(id));
        for rows in [before, chunk, between] {
            self.write(&rows);
        }
        if let Some(last) = last {
            let sql = "update front set id = $1";
            self.source.execute(sql, &[&last]).unwrap();
        }
        last
    }

    /// The last version of each row that the log shows up to a mark.
    fn log_to(&mut self, mark: &str) -> BTreeMap<i32, i64> {
        let mark = format!("content:{mark}");
        let mut rows = BTreeMap::new();
        let mut line = String::new();
        while !line.contains(&mark) {
            line.clear();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended");
            rows.extend(updated(&line));
        }
        rows
    }

    /// Copies everything, and what happens meanwhile.
    fn copies(&mut self) {
        let mut after = 0;
        while let Some(last) = self.chunk(after) {
            after = last;
        }
    }

    /// Copies what has happened since, and is gone.
    fn copies_rest(mut self) {
        self.chunk(i32::MAX);
    }
}

impl Drop for Naive {
    fn drop(&mut self) {
        drop(self.reader.kill());
        drop(self.reader.wait());
    }
}

/// The row that a line of `test_decoding` shows.
fn updated(line: &str) -> Option<(i32, i64)> {
    let row = line.strip_prefix("table public.counted: UPDATE: id[integer]:")?;
    let (id, version) = row.trim().split_once(" version[bigint]:")?;
    Some((id.parse().ok()?, version.parse().ok()?))
}

/// From now on the new end's own log is a witness.
fn witness(stage: &Stage) {
    let slot = "select pg_create_logical_replication_slot('witness_' || current_database(),
        'test_decoding')";
    stage.sql("new", slot);
}

/// Writes to the copy that went back behind an earlier one of the same row, as its log shows them,
/// and rows that are still behind.
fn lost(stage: &Stage) -> [i64; 2] {
    let went_back = "with written as (
          select ordinality as n, regexp_match(data, ': id\\[integer\\]:(\\d+) version\\[bigint\\]:(\\d+)') as m
          from pg_logical_slot_get_changes('witness_' || current_database(), null, null, 'include-xids', '0',
            'skip-empty-xacts', '1') with ordinality
          where data like 'table public.copied: %'),
        rows as (select n, m[1]::int as id, m[2]::bigint as version from written where m[2] is not null)
        select count(*) from (select version, max(version) over (partition by id order by n
            rows between unbounded preceding and 1 preceding) as before from rows) as w
          where version < before";
    let went_back = stage.number("new", went_back).expect("a count");
    let gone = "select pg_drop_replication_slot('witness_' || current_database())";
    stage.sql("new", gone);
    let (old, new) = (stage.rows("old"), stage.rows("new"));
    let rows = old.lines().count();
    assert_eq!(rows, new.lines().count());
    let behind = old.lines().zip(new.lines()).filter(|(a, b)| a != b).count();
    [went_back, i64::try_from(behind).expect("few")]
}

fn filled(servers: [&'static Server; 2], layout: Layout, rows: u32) -> Stage {
    let stage = Stage::on(servers, COUNTED, layout);
    let fill = format!("insert into counted select n, 1 from generate_series(1, {rows}) n");
    stage.sql("old", &fill);
    stage.sql("old", "vacuum analyze counted");
    stage
}

/// Has commits of a server wait for these standbys.
fn standbys(server: &Server, names: &str) {
    server.sql(&format!(
        "alter system set synchronous_standby_names = '{names}'"
    ));
    server.sql("select pg_reload_conf()");
}

/// A synchronous standby that keeps the log: a commit is visible once it has answered.
struct Standby {
    receiver: Child,
    _log: TempDir,
}

impl Standby {
    fn of(server: &Server) -> Standby {
        let log = tempfile::tempdir().expect("a folder");
        let url = server.url("postgres");
        let receiver = client(&format!(
            "pg_receivewal --synchronous -D {} -d '{url} application_name=receiver'",
            shown(log.path())
        ));
        standbys(server, "receiver");
        let there = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        until("the standby is there", || server.sql(there).trim() == "1");
        Standby {
            receiver,
            _log: log,
        }
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        drop(self.receiver.kill());
        drop(self.receiver.wait());
    }
}

/// An update whose commit is in the log and cannot be seen: it waits for a standby.
fn unseen(stage: &Stage, server: &Server) -> Child {
    standbys(server, "nosuch");
    let sql = "update counted set version = version + 1 where id = 42";
    let update = || {
        let url = stage.url("old");
        let mut psql = Command::new("psql");
        psql.args(["-X", "-q", "-d", &url, "-c", sql]);
        psql.spawn().expect("psql is there")
    };
    let mut writer = update();
    let waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    until("the update waits", || {
        // The server may not know of its standby yet.
        if writer.try_wait().expect("a child").is_some() {
            writer = update();
        }
        stage.number("old", waits) == Some(1)
    });
    writer
}

/// The standby is given up: the update can be seen.
fn seen(mut writer: Child, server: &Server) {
    standbys(server, "");
    assert!(writer.wait().expect("a child").success());
}

#[test]
fn an_update_that_nobody_can_see_yet_is_lost_by_the_textbook() {
    let server = Server::own();
    let stage = filled([server, server], Layout::OneDatabase, 100);
    let mut naive = Naive::start(&stage);
    witness(&stage);
    let writer = unseen(&stage, server);
    naive.copies();
    seen(writer, server);
    naive.copies_rest();
    assert_eq!(lost(&stage), [1, 1]);
}

#[test]
fn an_update_that_nobody_can_see_yet_is_not_lost_by_us() {
    let server = Server::own();
    let stage = filled([server, servers::shared()], Layout::TwoDatabases, 100);
    // Everything is ready, and nothing is copied.
    let at = format!("{}:1", Point::LEASE_CLAIMED.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    run.until_stopped();
    witness(&stage);
    let writer = unseen(&stage, server);
    run.signal("-CONT");
    let carried = "select count(*) from copied where id = 42 and version > 1";
    until("the log has told of it", || {
        stage.number("new", carried) == Some(1)
    });
    assert_eq!(stage.status()["phase"], "backfill", "the copy waits");
    seen(writer, server);
    until("history is copied", || stage.status()["phase"] == "follow");
    stage.says(&["verify"], 0, &[]);
    assert_eq!(lost(&stage), [0, 0]);
}

/// How often the standby goes away in a copy.
fn absences() -> u32 {
    if soaks() { 10 } else { 3 }
}

/// Takes the standby away, until every writer waits for it: what they have written is in the log
/// and cannot be seen.
fn all_wait(stage: &Stage, server: &Server) {
    standbys(server, "nosuch");
    let others = "select case when count(*) = 0 then 1 else count(*) filter (
            where wait_event is distinct from 'SyncRep'
              and wait_event_type is distinct from 'Lock') end
        from pg_stat_activity where application_name = 'pgbench'
          and datname = current_database()";
    until("every writer waits", || {
        stage.number("old", others) == Some(0)
    });
}

/// Waits until the log has told the new end of everything that cannot be seen at the old one.
fn all_told(stage: &Stage) {
    let unseen = "select string_agg(format('(%s, %s)', c.id, c.version), ', ')
        from pg_stat_activity a
          join counted c on c.id = substring(a.query from 'where id = (\\d+)')::int
        where a.wait_event = 'SyncRep' and a.datname = current_database()";
    let unseen = stage.sql("old", unseen);
    let behind = format!(
        "select count(*) from (values {unseen}) u (id, version) left join copied c using (id)
         where c.version is null or c.version <= u.version"
    );
    until("the log has told", || {
        stage.number("new", &behind) == Some(0)
    });
}

/// Copies the textbook's way; the standby goes away and comes back around some of the chunks.
fn copies_under_load(naive: &mut Naive, stage: &Stage, server: &Server, rows: u32) {
    let chunks = rows / u32::try_from(CHUNK).expect("few");
    let every = chunks / absences();
    let mut after = 0;
    for n in 0.. {
        let is_away = n % every == every / 2;
        if is_away {
            all_wait(stage, server);
        }
        let copied = naive.chunk(after);
        if is_away {
            standbys(server, "receiver");
        }
        match copied {
            Some(last) => after = last,
            None => return,
        }
    }
}

/// How far before the copy of so many rows writers write.
fn ahead(rows: u32) -> u32 {
    rows / 20
}

/// Has the writers write where the copy is about to read, until so many of the rows are copied. At
/// the end of the table they stay: who writes to no row waits for nobody.
fn copies_to(stage: &Stage, goal: u32, rows: u32) {
    let last = i64::from(rows - ahead(rows));
    until("history is copied so far", || {
        let there = stage.number("new", "select count(*) from copied");
        let there = there.expect("the table is there");
        let front = there.min(last);
        let moved = format!("set synchronous_commit = local; update front set id = {front}");
        stage.sql("old", &moved);
        there >= i64::from(goal)
    });
}

/// The standby goes away and comes back as the history of a run is copied, for the first time
/// before anything is. How often it has kept the copy waiting.
fn runs_under_load(stage: &Stage, server: &Server, run: &Process, rows: u32) -> u32 {
    for n in 0..absences() {
        copies_to(stage, rows / absences() * n, rows);
        all_wait(stage, server);
        run.signal("-CONT");
        all_told(stage);
        let phase = stage.status()["phase"].clone();
        standbys(server, "receiver");
        if phase != "backfill" {
            return n;
        }
    }
    absences()
}

/// Eight writers, and a standby that now and then is gone: the textbook's copy loses updates, ours
/// loses none.
#[test]
fn eight_writers_lose_nothing_to_the_copy_soak() {
    let rows = if soaks() { 3_000_000 } else { 50_000 };
    let server = Server::own();
    let _standby = Standby::of(server);
    let servers = [server, servers::shared()];
    let stage = filled(servers, Layout::TwoDatabases, rows);
    let mut naive = Naive::start(&stage);
    witness(&stage);
    let load = stage.load();
    copies_under_load(&mut naive, &stage, server, rows);
    load.pause();
    naive.copies_rest();
    let [back, behind] = told("the textbook's copy", rows, lost(&stage));
    assert!(back > 0 && behind > 0, "the textbook's copy lost nothing");

    let stage = filled(servers, Layout::TwoDatabases, rows);
    stage.sql("old", &format!("update front set ahead = {}", ahead(rows)));
    let at = format!("{}:1", Point::LEASE_CLAIMED.0);
    let mut run = stage.start(&["run"], &[("CONTRAFLOW_STOP_AT", &at)]);
    run.until_stopped();
    witness(&stage);
    let load = stage.load();
    let waits = runs_under_load(&stage, server, &run, rows);
    assert!(waits > 0, "the copy did not wait");
    tells(&format!(
        "the standby has kept our copy waiting {waits} times"
    ));
    until("history is copied", || stage.status()["phase"] == "follow");
    load.pause();
    stage.says(&["verify"], 0, &[]);
    assert_eq!(told("ours", rows, lost(&stage)), [0, 0]);
}

fn told(whose: &str, rows: u32, lost: [i64; 2]) -> [i64; 2] {
    let [back, behind] = lost;
    tells(&format!(
        "{whose}: of {rows} rows {back} went back, {behind} updates lost"
    ));
    lost
}
