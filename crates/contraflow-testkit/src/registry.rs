//! A schema registry for the tests of one process, started by the project's own script.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A registry that ends with this process, whatever becomes of it.
pub struct Registry {
    port: u16,
    /// The script serves as long as this pipe is open.
    words: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    script: Child,
}

impl Registry {
    /// Starts a registry in a folder that is there for it alone.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn start(folder: &Path) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        drop(listener);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/registry");
        let mut script = Command::new(script)
            .arg(folder.join("server"))
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let mut registry = Registry {
            port,
            words: script.stdin.take(),
            said: BufReader::new(script.stdout.take().expect("it is piped")),
            script,
        };
        registry.hears("ready");
        registry
    }

    /// Where clients of Confluent's interface find it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/apis/ccompat/v7", self.port)
    }

    /// Ends it at once.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn kill(&mut self) {
        self.tell("kill");
        self.hears("killed");
    }

    /// Starts the registry again that was killed. It has forgotten every schema.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    pub fn start_again(&mut self) {
        self.tell("start");
        self.hears("ready");
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
            "the registry is not {word}"
        );
    }
}

impl Drop for Registry {
    /// Whoever removes the folder must find nobody in it.
    fn drop(&mut self) {
        drop(self.words.take());
        drop(self.script.wait());
    }
}
