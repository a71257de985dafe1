//! A PostgreSQL server for the tests of one process, started by the project's own script.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The port that names the socket of a server without one.
const PORT: u16 = 5432;
/// What a server over TCP asks for.
const PASSWORD: &str = "hush";

/// A server that ends with this process, whatever becomes of it.
pub struct Postgres {
    folder: PathBuf,
    /// The port where it is reached over TCP alone.
    tcp: Option<u16>,
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
        Postgres::serve(folder, None, settings)
    }

    /// As [`Postgres::start`], reached over TCP alone: its URLs lead to a port of this machine and
    /// have the password that it asks for there.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn over_tcp(folder: &Path) -> Postgres {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
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
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/postgres");
        let folder = folder.join("server");
        let mut script = Command::new(script)
            .arg(&folder)
            .args([
                &tcp.unwrap_or(PORT).to_string(),
                "fsync=off",
                "listen_addresses=",
            ])
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let mut server = Postgres {
            folder,
            tcp,
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
