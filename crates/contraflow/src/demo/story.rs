//! The acts of the demo, in order.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use contraflow_core::clock::Clock;
use rusqlite::Connection;

use super::program::{CHANGE_FILE, Program};
use super::{OLD_FILE, Proof, audit};
use crate::output::Output;

/// The change of the demo.
const CHANGE: &str = r#"version: 1
change: phonebook
old: { sqlite: app.db }
new: { sqlite: app-v2.db }
pairs:
  - old: phonebook
    new: contacts
    key: [id]
    mapping:
      - group:
          fields: "contact{i}_{f}"
          numbers: 1..2
          into: contacts
          items: { name: name, num: phoneNumber }
          count: count
      - rename: { from: owner, to: person }
"#;

/// How long the application writes between two acts.
const SCENE: Duration = Duration::from_millis(1_500);
/// How often is looked at a copy, and at a fence that stands for a moment only.
const LOOK: Duration = Duration::from_millis(10);
const LOOK_CLOSELY: Duration = Duration::from_millis(1);

/// A demo about to be played in a folder.
pub struct Story {
    program: Program,
    proof: Proof,
}

/// The application while it plays.
struct App {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Story {
    /// Makes the application's database in the old shape.
    ///
    /// # Errors
    /// When a file cannot be made.
    pub fn new(folder: &Path, rows: u64) -> anyhow::Result<Story> {
        let path = folder.join(OLD_FILE);
        if path.exists() {
            bail!(
                "{} is there already: give the demo an empty folder",
                path.display()
            );
        }
        let mut db = Connection::open(&path)?;
        db.pragma_update(None, "journal_mode", "wal")?;
        db.execute_batch(
            "create table phonebook (id integer primary key autoincrement, owner text not null,
             contact1_name text, contact1_num text, contact2_name text, contact2_num text)",
        )?;
        let tx = db.transaction()?;
        {
            let mut insert = tx.prepare(
                "insert into phonebook (owner, contact1_name, contact1_num, contact2_name,
                 contact2_num) values (?1, ?2, ?3, ?4, ?5)",
            )?;
            for i in 0..rows {
                let second = (i % 3 == 0).then(|| (format!("work {i}"), format!("+1-555-{i:07}")));
                let (name, number) = second.unzip();
                let owner = format!("owner {i}");
                let home = (format!("home {i}"), format!("+44-20-{i:07}"));
                insert.execute(rusqlite::params![owner, home.0, home.1, name, number])?;
            }
        }
        tx.commit()?;
        std::fs::write(folder.join(CHANGE_FILE), CHANGE)?;
        Ok(Story {
            program: Program::in_folder(folder)?,
            proof: Proof {
                schema: "contraflow.demo/1",
                rows,
                writes: 0,
                refused: 0,
                refused_ms_max: 0,
                turns: 0,
                kills: 0,
                audits: 0,
                divergence: 0,
            },
        })
    }

    /// Plays it.
    ///
    /// # Errors
    /// When a process fails or an act takes too long.
    pub fn tell(mut self, out: &mut Output) -> anyhow::Result<Proof> {
        let rows = self.proof.rows;
        out.human(&format!(
            "an application with {rows} rows in the old shape, writing all the time"
        ))?;
        let mut app = self.start_app()?;
        let mut run = self.program.run()?;
        self.wait_rows(rows / 4)?;
        out.human("the change is copying history: SIGKILL in the middle of it")?;
        self.kill(&mut run)?;
        run = self.program.run()?;
        self.program
            .verb(&["wait", "--for", "follow", "--timeout", "120s"])?;
        out.human("started again, it went on where it was and now follows every write")?;
        self.scene();
        out.human("cutover, and SIGKILL while the writers are fenced")?;
        self.kill_in_turn(&mut run, out)?;
        run = self.program.run()?;
        self.program
            .verb(&["wait", "--for", "reverse", "--timeout", "120s"])?;
        self.scene();
        out.human("started again, it finished the turn: the application writes the new shape")?;
        self.audit(&mut app, "after the cutover", out)?;
        self.turn("rollback", out)?;
        self.audit(&mut app, "after the rollback", out)?;
        self.turn("cutover", out)?;
        self.audit(&mut app, "after the second cutover", out)?;
        self.scene();
        self.audit(&mut app, "before contract", out)?;
        self.program.verb(&["contract", "--yes"])?;
        out.human("the old table is gone, on evidence")?;
        run.wait()?;
        self.end_app(app)?;
        self.tell_proof(out)?;
        Ok(self.proof)
    }

    fn tell_proof(&self, out: &mut Output) -> anyhow::Result<()> {
        let proof = &self.proof;
        out.human("")?;
        out.human("proof")?;
        out.human(&format!("  rows                 {}", proof.rows))?;
        out.human(&format!("  writes acknowledged  {}", proof.writes))?;
        out.human(&format!(
            "  writes refused       {} tries, at most {} ms until one was accepted",
            proof.refused, proof.refused_ms_max
        ))?;
        out.human(&format!("  turns                {}", proof.turns))?;
        out.human(&format!("  kills survived       {}", proof.kills))?;
        out.human(&format!(
            "  audits               {}, every row at both ends",
            proof.audits
        ))?;
        out.human(&format!("  divergence           {}", proof.divergence))?;
        Ok(())
    }

    fn scene(&self) {
        self.program.clock().sleep(SCENE);
    }

    fn start_app(&self) -> anyhow::Result<App> {
        let mut child = self
            .program
            .command()
            .args(["demo-app", "."])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .context("cannot start the application")?;
        let input = child.stdin.take();
        let output = child
            .stdout
            .take()
            .context("the application has no output")?;
        Ok(App {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    fn kill(&mut self, run: &mut Child) -> anyhow::Result<()> {
        run.kill()?;
        run.wait()?;
        self.proof.kills += 1;
        Ok(())
    }

    fn turn(&mut self, verb: &str, out: &mut Output) -> anyhow::Result<()> {
        let began = self.program.clock().elapsed();
        self.program.verb(&[verb])?;
        let took = self
            .program
            .clock()
            .elapsed()
            .saturating_sub(began)
            .as_millis();
        self.proof.turns += 1;
        out.human(&format!(
            "{verb}: done in {took} ms, compare of every row included"
        ))?;
        self.scene();
        Ok(())
    }

    /// Waits until so many rows were copied.
    fn wait_rows(&self, rows: u64) -> anyhow::Result<()> {
        self.program.wait("history to be copied", LOOK, || {
            let db = Connection::open(self.program.folder().join(super::NEW_FILE))?;
            db.busy_timeout(Duration::from_secs(5))?;
            let copied: u64 = db
                .query_row("select count(*) from contacts", [], |row| row.get(0))
                .unwrap_or_default();
            Ok(copied >= rows)
        })
    }

    /// Asks for a cutover and kills the change once the old end is fenced or sealed.
    fn kill_in_turn(&mut self, run: &mut Child, out: &mut Output) -> anyhow::Result<()> {
        let mut asking = self.program.command().arg("cutover").spawn()?;
        let caught = self.program.wait("the fence", LOOK_CLOSELY, || {
            let db = Connection::open(self.program.folder().join(OLD_FILE))?;
            db.busy_timeout(Duration::from_secs(5))?;
            let gate: String = db.query_row(
                "select gate from _contraflow_phonebook_old_standing",
                [],
                |row| row.get(0),
            )?;
            Ok(gate != "open")
        });
        self.kill(run)?;
        // The one who asked goes with it: the request stands in the ledger.
        asking.kill()?;
        asking.wait()?;
        caught?;
        self.proof.turns += 1;
        out.human("killed in the turn")?;
        Ok(())
    }

    /// Pauses the application, lets the flow catch up, and compares every row.
    fn audit(&mut self, app: &mut App, when: &str, out: &mut Output) -> anyhow::Result<()> {
        app.say("pause")?;
        app.hear("paused")?;
        self.program.verb(&["verify"])?;
        let (rows, differ) = audit::audit(self.program.folder())?;
        app.say("go")?;
        self.proof.audits += 1;
        self.proof.rows = rows;
        self.proof.divergence += differ;
        out.human(&format!("audit {when}: {rows} rows, {differ} differ"))?;
        Ok(())
    }

    fn end_app(&mut self, mut app: App) -> anyhow::Result<()> {
        drop(app.input.take());
        let mut told = String::new();
        while app.output.read_line(&mut told)? > 0 {}
        if !app.child.wait()?.success() {
            bail!("the application failed");
        }
        let last = told.lines().last().unwrap_or_default();
        let mut numbers = last.split(' ').map_while(|number| number.parse().ok());
        self.proof.writes = numbers.next().unwrap_or_default();
        self.proof.refused = numbers.next().unwrap_or_default();
        self.proof.refused_ms_max = numbers.next().unwrap_or_default();
        Ok(())
    }
}

impl App {
    fn say(&mut self, word: &str) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the application has ended")?;
        writeln!(input, "{word}").context("the application has ended")
    }

    fn hear(&mut self, word: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        while line.trim() != word {
            line.clear();
            if self.output.read_line(&mut line)? == 0 {
                bail!("the application has ended");
            }
        }
        Ok(())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        // After a failure nobody else ends it; after success it has ended.
        drop(self.child.kill());
    }
}
