//! A PostgreSQL server of a benchmark's own, started by the project's script.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, ensure};
use postgres::{Client, NoTls};

use crate::shell;

const PORT: &str = "5432";
/// Nothing but the socket, and no vacuum that runs in the turn of whoever is measured next. What
/// is committed is on the disk, as at home.
const SETTINGS: [&str; 2] = ["listen_addresses=", "autovacuum=off"];

/// A server that ends with this value, and with this process whatever becomes of it.
pub(super) struct Server {
    folder: PathBuf,
    /// Serves as long as its standard input is open.
    script: Child,
}

impl Server {
    /// Starts a server in a folder of its own within this one, on these cores.
    pub(super) fn start(folder: &Path, cores: Option<&str>) -> Result<Server> {
        fs::create_dir_all(folder)?;
        // The server runs as a user of its own, who must get in.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
        let folder = folder.join("server");
        let mut script = shell::on(cores, "bash")
            .arg(shell::root()?.join("scripts/postgres"))
            .arg(&folder)
            .arg(PORT)
            .args(SETTINGS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start scripts/postgres")?;
        let out = script.stdout.take().context("stdout is piped")?;
        let server = Server { folder, script };
        let mut said = String::new();
        BufReader::new(out).read_line(&mut said)?;
        ensure!(said.trim() == "ready", "the server does not start");
        Ok(server)
    }

    /// How to connect to a database of it.
    pub(super) fn url(&self, database: &str) -> String {
        let folder = self.folder.display();
        format!("host={folder} port={PORT} user=postgres dbname={database}")
    }

    pub(super) fn connect(&self, database: &str) -> Result<Client> {
        Client::connect(&self.url(database), NoTls)
            .with_context(|| format!("cannot connect to database {database}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        // It stops the server and removes the folder.
        drop(self.script.wait());
    }
}
