//! A PostgreSQL server for the tests of one process, started by the project's own script.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A server that ends with this process, whatever becomes of it.
pub struct Postgres {
    folder: PathBuf,
    /// The script serves as long as this pipe is open.
    words: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    script: Child,
}

impl Postgres {
    /// Starts a server in a folder that is there for it alone.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn start(folder: &Path) -> Postgres {
        Postgres::with(folder, &[])
    }

    /// As [`Postgres::start`], with settings, `name=value` each.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn with(folder: &Path, settings: &[&str]) -> Postgres {
        open_to_all(folder);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres");
        let folder = folder.join("server");
        let mut script = Command::new(script)
            .arg(&folder)
            .args(["5432", "fsync=off", "listen_addresses="])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let mut server = Postgres {
            folder,
            words: script.stdin.take(),
            said: BufReader::new(script.stdout.take().expect("it is piped")),
            script,
        };
        server.hears("ready");
        server
    }

    /// Ends all processes of the server at once, as a loss of power does.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn kill(&mut self) {
        self.tell("kill");
        self.hears("killed");
    }

    /// Starts the server again that was killed.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    pub fn start_again(&mut self) {
        self.tell("start");
        self.hears("ready");
    }

    /// Limits the size of every file that its sessions write from now on, or no longer does.
    ///
    /// # Panics
    /// When the server has ended.
    pub fn limit(&mut self, bytes: Option<u64>) {
        let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        self.tell(&format!("limit {bytes}"));
        self.hears("limited");
    }

    fn tell(&mut self, word: &str) {
        let words = self.words.as_mut().expect("the script listens");
        writeln!(words, "{word}").expect("the script listens");
    }

    fn hears(&mut self, word: &str) {
        let mut said = String::new();
        let read = self.said.read_line(&mut said);
        assert!(
            read.is_ok() && said.trim() == word,
            "the server is not {word}"
        );
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.join(".s.PGSQL.5432")
    }

    /// How to connect to a database of it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!(
            "host={} user=postgres dbname={database}",
            self.folder.display()
        )
    }
}

impl Drop for Postgres {
    /// Whoever removes the folder must find nobody in it.
    fn drop(&mut self) {
        drop(self.words.take());
        drop(self.script.wait());
    }
}

/// The server runs as a user of its own, who must get into the folder.
fn open_to_all(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder, all).expect("a folder of ours");
    }
}
