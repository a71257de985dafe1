//! A PostgreSQL server for the tests of one process, started by the project's own script.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::script::{self, Script};

/// The port that names the socket of a server without one.
const PORT: u16 = 5432;
/// What a server over TCP asks for.
const PASSWORD: &str = "hush";

/// A server that ends with this process, whatever becomes of it.
pub struct Postgres {
    folder: PathBuf,
    /// The port where it is reached over TCP alone.
    tcp: Option<u16>,
    script: Script,
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
        Postgres::serve(folder, None, settings)
    }

    /// As [`Postgres::start`], reached over TCP alone: its URLs lead to a port of this machine and
    /// have the password that it asks for there.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn over_tcp(folder: &Path) -> Postgres {
        let port = script::ports(1);
        let settings = [
            "listen_addresses=127.0.0.1",
            "password_encryption=scram-sha-256",
        ];
        let server = Postgres::serve(folder, Some(port), &settings);
        server.asks_for_password();
        server
    }

    fn serve(folder: &Path, tcp: Option<u16>, settings: &[&str]) -> Postgres {
        open_to_all(folder);
        let folder = folder.join("server");
        let rest = [&["fsync=off", "listen_addresses="], settings].concat();
        let script = Script::start("postgres", &folder, tcp.unwrap_or(PORT), &rest);
        Postgres {
            folder,
            tcp,
            script,
        }
    }

    /// Ends all processes of the server at once, as a loss of power does.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn kill(&mut self) {
        self.script.kill();
    }

    /// Starts the server again that was killed.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    pub fn start_again(&mut self) {
        self.script.start_again();
    }

    /// Limits the size of every file that its sessions write from now on, or no longer does.
    ///
    /// # Panics
    /// When the server has ended.
    pub fn limit(&mut self, bytes: Option<u64>) {
        let bytes = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        self.script.tell(&format!("limit {bytes}"), "limited");
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder
            .join(format!(".s.PGSQL.{}", self.tcp.unwrap_or(PORT)))
    }

    /// How to connect to a database of it.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        match self.tcp {
            None => self.local(database),
            Some(port) => format!(
                "host=127.0.0.1 port={port} user=postgres password={PASSWORD} dbname={database}"
            ),
        }
    }

    fn local(&self, database: &str) -> String {
        let folder = self.folder.display();
        let port = self.tcp.unwrap_or(PORT);
        format!("host={folder} port={port} user=postgres dbname={database}")
    }

    /// From now on only whoever asks whether it is there may come through the socket.
    fn asks_for_password(&self) {
        let asked = "host all all 127.0.0.1/32 scram-sha-256";
        let rules = format!("values (''{asked}''), (''local postgres postgres trust'')");
        let sql = format!(
            "alter role postgres password '{PASSWORD}';
             do $$ begin
               execute format('copy ({rules}) to %L', current_setting('hba_file'));
             end $$;
             select pg_reload_conf()"
        );
        let done = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"])
            .args(["-d", &self.local("postgres"), "-c", &sql])
            .status();
        assert!(
            done.is_ok_and(|status| status.success()),
            "it has no password"
        );
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
