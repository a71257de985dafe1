//! The stage of a benchmark over Kafka: an old topic with records, our program run over it, and
//! the bare loop beside it.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rdkafka::producer::BaseRecord;

use super::cluster::{Cluster, flush, send};
use super::people::{Digest, Form, Ids, NEW_FILE, NEW_SCHEMA, OLD_FILE, OLD_SCHEMA, Person};
use crate::bench::stage::part;
use crate::bench::stage::process::{Run, build, verb};
use crate::bench::stage::{CHANGE_FILE, LEDGER_FOLDER};
use crate::shell;

/// The time of the first record, in milliseconds since 1970.
const FIRST_MS: i64 = 1_700_000_000_000;

/// What one copy took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    pub(super) records_per_s: f64,
    /// The most memory that its process ever held; nothing of the broker's.
    pub(super) memory_mib: f64,
}

/// An old topic with records, and as many new ones as there are runs.
pub(super) struct Stage<'c> {
    pub(super) cluster: &'c Cluster,
    program: PathBuf,
    folder: PathBuf,
    form: Form,
    records: u64,
    bytes: usize,
    old: String,
    /// What the copies of all records come to.
    expected: Digest,
    ids: Ids,
    /// Runs so far.
    number: Cell<u32>,
}

/// Our program on a change of its own.
pub(super) struct Ours {
    pub(super) run: Run,
    pub(super) new: String,
}

impl<'c> Stage<'c> {
    /// Fills an old topic with so many records of about so many bytes.
    pub(super) fn raise(
        cluster: &'c Cluster,
        form: Form,
        (records, bytes): (u64, usize),
    ) -> Result<Stage<'c>> {
        let program = build()?;
        let folder = cluster.folder().join(format!("bytes-{bytes}"));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(OLD_FILE), OLD_SCHEMA)?;
        fs::write(folder.join(NEW_FILE), NEW_SCHEMA)?;
        let old = format!("people{bytes}-v1");
        let mut ids = Ids::default();
        if form == Form::Avro {
            // The number of a schema is its own, whatever topic it is registered for.
            ids.old = cluster.schema(&old, OLD_SCHEMA)?;
            ids.new = cluster.schema("people-v2", NEW_SCHEMA)?;
        }
        let mut stage = Stage {
            cluster,
            program,
            folder,
            form,
            records,
            bytes,
            old,
            expected: Digest::default(),
            ids,
            number: Cell::new(0),
        };
        cluster.make(&stage.old)?;
        stage.fill()?;
        shell::note(&format!("{records} records of {bytes} bytes, {form:?}"));
        Ok(stage)
    }

    fn fill(&mut self) -> Result<()> {
        let producer = self.cluster.producer()?;
        let mut person = Person::default();
        for n in 0..self.records {
            person.become_number(n, self.bytes, self.form, self.ids);
            let Person {
                key,
                partition,
                new,
                old,
                ..
            } = &person;
            self.expected.add(*partition, key.as_bytes(), new);
            send(
                &producer,
                BaseRecord::to(&self.old)
                    .partition(*partition)
                    .timestamp(FIRST_MS + i64::try_from(n)?)
                    .key(key.as_bytes())
                    .payload(old),
            )?;
        }
        flush(&producer)
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn old(&self) -> &str {
        &self.old
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn next_number(&self) -> u32 {
        self.number.update(|number| number + 1);
        self.number.get()
    }

    /// Starts our program on a change to a new topic.
    pub(super) fn start(&self) -> Result<Ours> {
        let number = self.next_number();
        let (new, change) = (
            format!("people{}-v2-{number}", self.bytes),
            format!("bench{number}"),
        );
        self.cluster.make(&new)?;
        let registry = match self.cluster.registry() {
            Some(url) => format!("registry: {{url: \"{url}\"}}\n"),
            None => String::new(),
        };
        let (servers, old, pair) = (self.cluster.servers(), &self.old, self.form.pair());
        let text = format!(
            "version: 1
change: {change}
old: {{kafka: \"{servers}\"}}
new: {{kafka: \"{servers}\"}}
pairs:
  - old: {old}
    new: {new}
{pair}gates: {{writers_quiet: 1s, readers_gone: 0s}}
{registry}"
        );
        fs::write(self.folder.join(CHANGE_FILE), text)?;
        let run = Run::start(&self.program, &self.folder, &change)?;
        Ok(Ours { run, new })
    }

    /// Runs a verb of our program to its end.
    pub(super) fn verb(&self, args: &[&str]) -> Result<String> {
        verb(&self.program, &self.folder, args)
    }

    /// Copies with our program.
    pub(super) fn ours(&self) -> Result<Copied> {
        let ours = self.start()?;
        let copied = self.copied(&ours)?;
        self.strike(ours)?;
        Ok(copied)
    }

    /// Waits until our program has copied history, and says what that took.
    pub(super) fn copied(&self, ours: &Ours) -> Result<Copied> {
        let time = ours.run.wait_copied()?;
        Ok(Copied {
            records_per_s: self.records as f64 / time.as_secs_f64(),
            memory_mib: ours.run.usage()?.memory_mib,
        })
    }

    /// Gives up a change, so that the old topic is as it was, and deletes the new one.
    pub(super) fn strike(&self, ours: Ours) -> Result<()> {
        self.verb(&["abort", "--yes"])?;
        ours.run.wait_end()?;
        self.cluster.delete(&[&ours.new])?;
        self.forget()
    }

    /// Removes the ledger of a change that is over.
    pub(super) fn forget(&self) -> Result<()> {
        fs::remove_dir_all(self.folder.join(LEDGER_FOLDER)).context("cannot remove the ledger")
    }

    /// Copies with the bare loop.
    pub(super) fn bare(&self) -> Result<Copied> {
        let to = format!("people{}-bare-{}", self.bytes, self.next_number());
        self.cluster.make(&to)?;
        let (servers, records) = (self.cluster.servers(), self.records.to_string());
        let args = ["topic-bare", &servers, &self.old, &to, &records];
        let [time, memory_mib] = part::figures(&args)?;
        self.cluster.delete(&[&to])?;
        Ok(Copied {
            records_per_s: self.records as f64 / time,
            memory_mib,
        })
    }

    /// Lets ours and the bare loop copy once, which does not count: each must write what it
    /// should.
    pub(super) fn rehearse(&self) -> Result<()> {
        let ours = self.start()?;
        self.copied(&ours)?;
        self.holds_all(&ours.new)?;
        self.strike(ours)?;
        self.bare().map(drop)
    }

    /// Reads a new topic, which must hold a copy of every record.
    pub(super) fn holds_all(&self, topic: &str) -> Result<()> {
        let found = self.cluster.digest(topic, self.records)?;
        ensure!(found == self.expected, "`{topic}` holds other records");
        Ok(())
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        // The broker may have ended already.
        drop(self.cluster.delete(&[&self.old]));
    }
}
