//! MirrorMaker 2 as a process of its own, with exactly-once: its jars are those of the tests'
//! Kafka and two more, which are fetched when it is first wanted.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::cluster::end;
use super::stage::{Copied, Stage};
use crate::bench::stage::process::Usage;
use crate::shell::{self, Stopwatch};

/// The artifacts that Kafka's own jars lack.
const ARTIFACTS: [&str; 2] = ["connect-mirror", "connect-mirror-client"];
/// How often the new topic is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Nothing more comes: it commits every few hundred milliseconds.
const STILL: Duration = Duration::from_secs(4);
/// It starts in a few seconds, and then commits all the time.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// How it is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tuning {
    /// As it comes, but for exactly-once.
    AsShipped,
    /// With large requests, compression and two tasks.
    Tuned,
}

impl Tuning {
    /// What is set besides, for the cluster that is read and for the one that is written.
    fn settings(self) -> &'static str {
        match self {
            Tuning::AsShipped => "",
            Tuning::Tuned => {
                "tasks.max=2
{to}.offset.flush.interval.ms=500
{from}.consumer.max.poll.records=10000
{from}.consumer.fetch.max.bytes=52428800
{from}.consumer.max.partition.fetch.bytes=4194304
{to}.producer.compression.type=lz4
{to}.producer.batch.size=1000000
{to}.producer.linger.ms=5
{to}.producer.buffer.memory=67108864
"
            }
        }
    }
}

/// The process; it ends with this value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Lets it copy the old topic to a topic of its own. Counts from the first record that is
/// committed to the last, so that its start does not count.
pub(super) fn copy(stage: &Stage<'_>, tuning: Tuning) -> Result<Copied> {
    let number = stage.next_number();
    let to = format!("from{number}.{}", stage.old());
    let jars = jars()?;
    let settings = stage.folder().join("mirror-maker.properties");
    fs::write(&settings, properties(stage, number, tuning)?)?;
    let said = fs::File::create(stage.folder().join("mirror-maker.log"))?;
    // Made as the others are, so that it does not have to.
    stage.cluster.make(&to)?;
    let child = Command::new("java")
        .args([
            "-Xmx1g",
            "-cp",
            &jars,
            "org.apache.kafka.connect.mirror.MirrorMaker",
        ])
        .arg(&settings)
        .stdin(Stdio::null())
        .stdout(said.try_clone()?)
        .stderr(said)
        .spawn()
        .context("cannot start java")?;
    let running = Running(child);
    let id = running.0.id().to_string();
    let asker = stage.cluster.asker()?;
    let begun = Stopwatch::start();
    let (mut seen, mut first, mut last) = (0, None, Duration::ZERO);
    loop {
        let end = end(&asker, &to)?;
        if end != seen {
            last = begun.read();
            first.get_or_insert(last);
            seen = end;
        }
        // Marks of transactions are counted as well.
        if seen >= stage.records() && begun.read() > last + STILL {
            break;
        }
        let silent = begun.read() - last;
        ensure!(
            silent < SILENCE_MAX,
            "MirrorMaker does not go on: see mirror-maker.log"
        );
        Usage::of(&id).context("MirrorMaker has ended: see mirror-maker.log")?;
        shell::pause(LOOK);
    }
    let memory_mib = Usage::of(&id)?.memory_mib;
    drop(running);
    stage.holds_all(&to)?;
    stage.cluster.delete(&[&to])?;
    let time = last - first.unwrap_or_default();
    Ok(Copied {
        records_per_s: stage.records() as f64 / time.as_secs_f64(),
        memory_mib,
    })
}

/// Its settings. Names of clusters are those of one run, so that it finds no offsets of another.
fn properties(stage: &Stage<'_>, number: u32, tuning: Tuning) -> Result<String> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let (from, to) = (format!("from{number}"), format!("to{number}"));
    let (servers, topic) = (stage.cluster.servers(), stage.old());
    let tuned = tuning.settings();
    let tuned = tuned.replace("{from}", &from).replace("{to}", &to);
    Ok(format!(
        "clusters={from}, {to}
{from}.bootstrap.servers={servers}
{to}.bootstrap.servers={servers}
{from}->{to}.enabled=true
{from}->{to}.topics={topic}
{to}->{from}.enabled=false
{to}.exactly.once.source.support=enabled
dedicated.mode.enable.internal.rest=true
listeners=http://127.0.0.1:{port}
{from}.consumer.isolation.level=read_committed
{tuned}emit.heartbeats.enabled=false
emit.checkpoints.enabled=false
emit.offset-syncs.enabled=false
sync.topic.acls.enabled=false
sync.topic.configs.enabled=false
refresh.topics.enabled=false
refresh.groups.enabled=false
replication.factor=1
checkpoints.topic.replication.factor=1
heartbeats.topic.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
config.storage.replication.factor=1
"
    ))
}

/// The class path. What is missing comes from Maven's repository.
fn jars() -> Result<String> {
    let said = Command::new("bash")
        .arg(shell::root()?.join("scripts/setup"))
        .arg("--kafka")
        .output()?;
    let kafka = PathBuf::from(String::from_utf8(said.stdout)?.trim());
    let name = kafka.file_name().and_then(|name| name.to_str());
    let version = name.and_then(|name| name.strip_prefix("kafka-"));
    let version = version.context("Kafka's folder has its version")?;
    let mirror = kafka.with_file_name(format!("mirror-maker-{version}"));
    for artifact in ARTIFACTS {
        if mirror.join(format!("{artifact}-{version}.jar")).is_file() {
            continue;
        }
        let mut maven = Command::new("mvn");
        maven
            .args(["-q", "-B", "dependency:copy"])
            .arg(format!("-DoutputDirectory={}", mirror.display()))
            .arg(format!("-Dartifact=org.apache.kafka:{artifact}:{version}"))
            .stdout(Stdio::null());
        ensure!(maven.status()?.success(), "{artifact} cannot be fetched");
    }
    Ok(format!("{}/*:{}/*", kafka.display(), mirror.display()))
}
