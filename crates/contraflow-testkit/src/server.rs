//! A PostgreSQL server for the tests of one process, started by the project's own script.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A server that ends with this process, whatever becomes of it.
pub struct Postgres {
    folder: PathBuf,
    /// The script serves as long as this pipe is open.
    _script: Child,
}

impl Postgres {
    /// Starts a server in a folder that is there for it alone.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn start(folder: &Path) -> Postgres {
        Postgres::start_with(folder, &[])
    }

    /// The same with settings of its own, `name=value` each.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn start_with(folder: &Path, settings: &[&str]) -> Postgres {
        open_to_all(folder);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres");
        let folder = folder.join("server");
        let mut child = Command::new(script)
            .arg(&folder)
            .args(["5432", "fsync=off", "listen_addresses="])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let mut said = String::new();
        let out = child.stdout.take().expect("it is piped");
        let read = BufReader::new(out).read_line(&mut said);
        assert!(
            read.is_ok() && said.trim() == "ready",
            "the server does not start"
        );
        Postgres {
            folder,
            _script: child,
        }
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

/// The server runs as a user of its own, who must get into the folder.
fn open_to_all(folder: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder, all).expect("a folder of ours");
    }
}
