//! The servers of the demo: those that are given, or the project's own scripts.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// What to use, where something is there already.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// `bootstrap.servers` of a Kafka.
    pub kafka: Option<String>,
    /// The address of a schema registry.
    pub registry: Option<String>,
}

/// A Kafka and a schema registry.
pub struct Servers {
    /// `bootstrap.servers`.
    pub kafka: String,
    /// The address of the registry.
    pub registry: String,
    _scripts: Vec<Script>,
}

/// A script of the project that serves as long as its standard input is open.
struct Script(Child);

impl Servers {
    /// Starts what is missing, in a folder of its own within this one.
    ///
    /// # Errors
    /// When the project's scripts are not found from here, or do not serve.
    pub fn start(wanted: Wanted, folder: &Path) -> anyhow::Result<Servers> {
        let mut scripts = Vec::new();
        let kafka = match wanted.kafka {
            Some(kafka) => kafka,
            None => {
                let port = two_ports()?;
                scripts.push(Script::start("kafka", &folder.join("kafka"), port)?);
                format!("127.0.0.1:{port}")
            }
        };
        let registry = match wanted.registry {
            Some(registry) => registry,
            None => {
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                scripts.push(Script::start("registry", &folder.join("registry"), port)?);
                format!("http://127.0.0.1:{port}/apis/ccompat/v7")
            }
        };
        Ok(Servers {
            kafka,
            registry,
            _scripts: scripts,
        })
    }
}

impl Script {
    fn start(name: &str, folder: &Path, port: u16) -> anyhow::Result<Script> {
        let script = script(name)?;
        let mut child = Command::new("bash")
            .arg(&script)
            .arg(folder)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", script.display()))?;
        let said = child.stdout.take().context("its output is piped")?;
        let script = Script(child);
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        if line.trim() != "ready" {
            bail!("scripts/{name} does not serve: has scripts/setup been run?");
        }
        Ok(script)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // It stops the server and removes its folder.
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// The project's script of that name: in this folder or in one above it.
fn script(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_dir()?;
    let mut found = here
        .ancestors()
        .map(|above| above.join("scripts").join(name));
    found.find(|path| path.is_file()).with_context(|| {
        format!(
            "scripts/{name} is not in {} or above it: start the demo in the project's folder, or \
             name servers that are there with `--kafka HOST:PORT --registry URL`",
            here.display()
        )
    })
}

/// A port that is free together with the one after it, which the controller takes.
fn two_ports() -> anyhow::Result<u16> {
    for _ in 0..100 {
        let first = TcpListener::bind("127.0.0.1:0")?;
        let port = first.local_addr()?.port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no two ports in a row are free")
}
