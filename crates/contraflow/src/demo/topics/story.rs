//! The acts: the same change in JSON and in Avro.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use contraflow_core::change::secret::Secret;
use contraflow_core::clock::Clock;
use contraflow_ends::registry::{Part, Registry, Settings, Source, subject};

use super::actors::{Consumer, Producer, Read, Topic};
use super::cluster::Cluster;
use super::people::{Form, Shape};
use super::{Proof, Servers, audit};
use crate::demo::program::{CHANGE_FILE, Program};
use crate::output::Output;
use crate::surroundings::SystemClock;

/// The change files, as they lie in `example/topic`.
const JSON: &str = include_str!("../../../../../example/topic/json/contraflow.yaml");
const AVRO: &str = include_str!("../../../../../example/topic/avro/contraflow.yaml");
const OLD_SCHEMA: &str = include_str!("../../../../../example/topic/avro/phonebook-v1.avsc");
const NEW_SCHEMA: &str = include_str!("../../../../../example/topic/avro/phonebook-v2.avsc");
/// What they say of the servers.
const KAFKA: &str = "localhost:9092";
const REGISTRY: &str = "http://localhost:8081/apis/ccompat/v7";

/// How long producers and consumers are at work between two acts.
const SCENE: Duration = Duration::from_millis(1_500);
const LOOK: Duration = Duration::from_millis(2);

/// One change from its beginning to its end.
struct Play<'p> {
    program: Program,
    old: Topic,
    new: Topic,
    /// Where schemas are registered, if any are.
    registry: Option<Registry>,
    /// Records that are there at the beginning.
    records: u64,
    groups: [String; 2],
    proof: &'p mut Proof,
}

/// Plays both changes in a folder.
///
/// # Errors
/// When a server does not answer, a process fails or an act takes too long.
pub fn tell(
    servers: &Servers,
    folder: &Path,
    records: u64,
    out: &mut Output,
) -> anyhow::Result<Proof> {
    let mut proof = Proof {
        schema: "contraflow.demo.topics/1",
        ..Proof::default()
    };
    for (title, form) in [("JSON", Form::Json), ("Avro", Form::Avro(0))] {
        out.human(title)?;
        let folder = folder.join(title.to_lowercase());
        std::fs::create_dir_all(&folder)?;
        Play::new(servers, &folder, form, records, &mut proof)?.play(out)?;
        proof.changes += 1;
    }
    tell_proof(&proof, out)?;
    Ok(proof)
}

fn tell_proof(proof: &Proof, out: &mut Output) -> anyhow::Result<()> {
    let Proof {
        changes,
        records,
        kills,
        paused_ms_max,
        moved,
        audits,
        divergence,
        ..
    } = proof;
    out.human("proof")?;
    out.human(&format!("  changes           {changes}"))?;
    out.human(&format!("  records written   {records}"))?;
    out.human(&format!("  kills survived    {kills}"))?;
    out.human(&format!(
        "  producers paused  {paused_ms_max} ms at most, one second of silence included"
    ))?;
    out.human(&format!("  consumers moved   {moved}"))?;
    out.human(&format!(
        "  audits            {audits}, every record on both topics"
    ))?;
    out.human(&format!("  divergence        {divergence}"))?;
    Ok(())
}

impl<'p> Play<'p> {
    fn new(
        servers: &Servers,
        folder: &Path,
        form: Form,
        records: u64,
        proof: &'p mut Proof,
    ) -> anyhow::Result<Play<'p>> {
        let cluster = Cluster(servers.kafka.clone());
        let (text, name) = match form {
            Form::Json => (JSON, "phonebook"),
            Form::Avro(_) => (AVRO, "phonebook-avro"),
        };
        let registry = match form {
            Form::Json => None,
            Form::Avro(_) => Some(registry(&servers.registry)?),
        };
        let text = text.replace(KAFKA, &servers.kafka);
        let text = text.replace(REGISTRY, &servers.registry);
        std::fs::write(folder.join(CHANGE_FILE), text)?;
        std::fs::write(folder.join("phonebook-v1.avsc"), OLD_SCHEMA)?;
        std::fs::write(folder.join("phonebook-v2.avsc"), NEW_SCHEMA)?;
        let topic = |version: &str, shape: Shape| Topic {
            cluster: cluster.clone(),
            name: format!("{name}-{version}"),
            shape,
            form,
        };
        let (mut old, new) = (topic("v1", Shape::Old), topic("v2", Shape::New));
        if let Some(registry) = &registry {
            let id =
                registry.register(&subject(&old.name, Part::Value), &Source::new(OLD_SCHEMA))?;
            old.form = Form::Avro(id.0);
        }
        cluster.make(&old.name)?;
        cluster.make(&new.name)?;
        Ok(Play {
            program: Program::in_folder(folder)?,
            groups: ["c1", "c2"].map(|group| format!("{name}-{group}")),
            old,
            new,
            registry,
            records,
            proof,
        })
    }

    fn play(&mut self, out: &mut Output) -> anyhow::Result<()> {
        let (old, mut new) = (self.old.clone(), self.new.clone());
        old.write(0..self.records)?;
        let p1 = Producer::start(&old, self.records)?;
        let [first, second] = self.groups.clone();
        let c1 = Consumer::start(&old, &first, Read::nothing())?;
        let c2 = Consumer::start(&old, &second, Read::nothing())?;
        out.human(&format!(
            "  {} with {} records; P1 goes on writing, C1 and C2 read",
            old.name, self.records
        ))?;
        self.kill_in_the_middle()?;
        out.human("  the change is reproducing it: SIGKILL in the middle of it")?;
        let mut run = self.program.run()?;
        self.program
            .verb(&["wait", "--for", "follow", "--timeout", "120s"])?;
        self.scene();
        self.program.verb(&["verify"])?;
        out.human("  started again, it went on where it was and now follows P1")?;

        let stopped = p1.stop()?;
        let paused_ms = self.flip()?;
        out.human(&format!(
            "  P1 stopped at {stopped} records, the change flipped: P2 may start after \
             {paused_ms} ms"
        ))?;
        self.audit("after the flip", stopped, stopped, out)?;

        if let Some(registry) = &self.registry {
            // The change has registered it when it began.
            let newest = registry.latest(&subject(&new.name, Part::Value))?;
            new.form = Form::Avro(newest.context("the new schema is not registered")?.id().0);
        }
        let p2 = Producer::start(&new, stopped)?;
        self.scene();
        out.human(&format!(
            "  P2 writes {}; C1 and C2 read it on {}",
            new.name, old.name
        ))?;
        let c1 = self.move_to_new(c1, &first, "C1", out)?;
        self.scene();
        let all = p2.stop()?;
        self.program.verb(&["verify"])?;
        self.audit("with P2 stopped for a moment", stopped, all, out)?;
        let p2 = Producer::start(&new, all)?;
        let c2 = self.move_to_new(c2, &second, "C2", out)?;
        self.scene();
        let all = p2.stop()?;
        for (consumer, name) in [(c1, "C1"), (c2, "C2")] {
            let read = consumer.stop_at(all)?;
            let (missing, differ) = (read.missing(all), read.differ);
            self.proof.divergence += missing + differ;
            out.human(&format!(
                "  {name} has read {} records on both topics: {missing} missing, {differ} \
                 doubled or out of order",
                read.records
            ))?;
        }
        self.program.verb(&["verify"])?;
        self.audit("before contract", stopped, all, out)?;
        self.program.verb(&["contract", "--yes"])?;
        run.wait()?;
        out.human(&format!("  {} is gone, on evidence", old.name))?;
        // Somebody's Kafka is left as it was found.
        new.cluster.delete(&new.name)?;
        self.proof.records += all;
        Ok(())
    }

    /// Starts the change, and ends it at once when something has come to the new topic.
    fn kill_in_the_middle(&mut self) -> anyhow::Result<()> {
        let mut run = self.program.run()?;
        let new = &self.new;
        self.program.wait("history to be copied", LOOK, || {
            new.cluster.holds_any(&new.name)
        })?;
        run.kill()?;
        run.wait()?;
        self.proof.kills += 1;
        Ok(())
    }

    /// From the moment the old producer has stopped until the new one may start, in ms.
    fn flip(&mut self) -> anyhow::Result<u64> {
        let began = self.program.clock().elapsed();
        self.program.verb(&["producer", "stopped"])?;
        self.program.verb(&["cutover"])?;
        self.program
            .verb(&["wait", "--for", "gate=producer-may-switch"])?;
        let paused = self.program.clock().elapsed().saturating_sub(began);
        let paused_ms = u64::try_from(paused.as_millis()).context("a short time")?;
        self.proof.paused_ms_max = self.proof.paused_ms_max.max(paused_ms);
        Ok(paused_ms)
    }

    /// Stops a consumer in the middle of what it reads, moves its group, and starts it again.
    fn move_to_new(
        &mut self,
        consumer: Consumer,
        group: &str,
        name: &str,
        out: &mut Output,
    ) -> anyhow::Result<Consumer> {
        let read = consumer.stop_at(0)?;
        self.program
            .verb(&["consumers", "move", group, "--reset", "earliest"])?;
        self.proof.moved += 1;
        out.human(&format!(
            "  {name} moved after {} records, and goes on with the next one on {}",
            read.records, self.new.name
        ))?;
        Consumer::start(&self.new, group, read)
    }

    fn audit(
        &mut self,
        when: &str,
        new_from: u64,
        all: u64,
        out: &mut Output,
    ) -> anyhow::Result<()> {
        let mut differ = 0;
        for topic in [&self.old, &self.new] {
            differ += audit::audit(topic, new_from, all)?;
        }
        self.proof.audits += 1;
        self.proof.divergence += differ;
        out.human(&format!(
            "  audit {when}: {all} records on both topics, {differ} differ"
        ))?;
        Ok(())
    }

    fn scene(&self) {
        self.program.clock().sleep(SCENE);
    }
}

fn registry(url: &str) -> anyhow::Result<Registry> {
    let settings = Settings {
        url: Secret::new(url.to_owned(), "registry"),
        user_info: None,
        ca: None,
    };
    Ok(Registry::new(&settings, Arc::new(SystemClock::default()))?)
}
