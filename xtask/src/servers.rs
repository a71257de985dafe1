//! `cargo xtask servers up NAME..` and `down NAME..`: the servers of tests and benchmarks by hand,
//! at the ports that everybody expects. Each lives in `target/servers` until it is put down.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// A server: the script of that name, its port, and where clients find it.
struct Server {
    name: &'static str,
    port: u16,
    found: &'static str,
}

const SERVERS: [Server; 3] = [
    Server {
        name: "kafka",
        port: 9092,
        found: "localhost:9092",
    },
    Server {
        name: "registry",
        port: 8081,
        found: "http://localhost:8081/apis/ccompat/v7",
    },
    Server {
        name: "postgres",
        port: 5432,
        found: "postgres://postgres@localhost:5432/postgres",
    },
];

/// A program that writes nothing and never ends.
const HOLDER: &str = "tail";
const LOOK: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers a verb.
pub(crate) fn run(args: &[String]) -> Result<bool> {
    let Some((verb, names)) = args.split_first().filter(|(_, names)| !names.is_empty()) else {
        bail!("usage: cargo xtask servers up|down kafka|registry|postgres ..");
    };
    for name in names {
        let server = SERVERS.iter().find(|server| server.name == name);
        let server = server.with_context(|| format!("there is no server `{name}`"))?;
        match verb.as_str() {
            "up" => server.up()?,
            "down" => server.down()?,
            _ => bail!("a server goes `up` or `down`, not `{verb}`"),
        }
    }
    Ok(true)
}

impl Server {
    fn folder(&self) -> Result<PathBuf> {
        Ok(shell::root()?.join("target/servers").join(self.name))
    }

    /// Who holds the script's input open: it ends when that does.
    fn holder(&self) -> Result<PathBuf> {
        Ok(self.folder()?.with_extension("pid"))
    }

    fn up(&self) -> Result<()> {
        let (folder, holder) = (self.folder()?, self.holder()?);
        let name = self.name;
        ensure!(
            !holder.exists(),
            "{name} is up: `cargo xtask servers down {name}`"
        );
        fs::create_dir_all(folder.parent().context("it lies in `target`")?)?;
        // Nothing of ours stays open in the servers: whoever waits for our end is not kept.
        let (log, errors) = (folder.with_extension("log"), folder.with_extension("err"));
        let mut holds = Command::new(HOLDER)
            .args(["-f", "/dev/null"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        fs::write(&holder, holds.id().to_string())?;
        let mut script = Command::new("bash")
            .arg(shell::root()?.join("scripts").join(name))
            .arg(&folder)
            .arg(self.port.to_string())
            .stdin(holds.stdout.take().context("stdout is piped")?)
            .stdout(File::create(&log)?)
            .stderr(File::create(&errors)?)
            .spawn()
            .with_context(|| format!("cannot start scripts/{name}"))?;
        let watch = shell::Stopwatch::start();
        while fs::read_to_string(&log)?.trim() != "ready" {
            if script.try_wait()?.is_some() || watch.read() > PATIENCE {
                self.down()?;
                let said = fs::read_to_string(&errors)?;
                bail!("{name} does not start: has scripts/setup been run?\n{said}");
            }
            shell::pause(LOOK);
        }
        shell::say(&format!("{name}: {}", self.found));
        Ok(())
    }

    fn down(&self) -> Result<()> {
        let (folder, holder) = (self.folder()?, self.holder()?);
        let Ok(id) = fs::read_to_string(&holder) else {
            bail!("{} is not up", self.name);
        };
        // The number may be another's by now.
        let who = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        if who.trim() == HOLDER {
            Command::new("kill").arg(id).status()?;
        }
        let watch = shell::Stopwatch::start();
        while folder.exists() {
            ensure!(watch.read() < PATIENCE, "{} does not end", self.name);
            shell::pause(LOOK);
        }
        fs::remove_file(&holder)?;
        Ok(())
    }
}
