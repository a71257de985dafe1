//! A server that one of the project's own scripts serves, for as long as somebody holds it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running script. It ends with this process, whatever becomes of it.
pub(crate) struct Script {
    name: &'static str,
    /// The script serves as long as this pipe is open.
    words: Option<ChildStdin>,
    said: BufReader<ChildStdout>,
    child: Child,
}

impl Script {
    /// Starts `scripts/NAME` with these arguments, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    pub(crate) fn start(name: &'static str, folder: &Path, port: u16, rest: &[&str]) -> Script {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts");
        let mut child = Command::new(scripts.join(name))
            .arg(folder)
            .arg(port.to_string())
            .args(rest)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script starts");
        let mut script = Script {
            name,
            words: child.stdin.take(),
            said: BufReader::new(child.stdout.take().expect("it is piped")),
            child,
        };
        script.hears("ready");
        script
    }

    /// Ends all processes of the server at once, as a loss of power does.
    pub(crate) fn kill(&mut self) {
        self.tell("kill", "killed");
    }

    /// Starts the server again that was killed.
    pub(crate) fn start_again(&mut self) {
        self.tell("start", "ready");
    }

    /// Says a word to the script, and waits for what it answers.
    pub(crate) fn tell(&mut self, word: &str, answer: &str) {
        let words = self.words.as_mut().expect("the script listens");
        writeln!(words, "{word}").expect("the script listens");
        self.hears(answer);
    }

    fn hears(&mut self, word: &str) {
        let mut said = String::new();
        let read = self.said.read_line(&mut said);
        let heard = read.is_ok() && said.trim() == word;
        assert!(heard, "{} is not {word}", self.name);
    }
}

impl Drop for Script {
    /// Whoever removes the folder must find nobody in it.
    fn drop(&mut self) {
        drop(self.words.take());
        drop(self.child.wait());
    }
}

/// Below the ports that systems give to whoever connects: none of these is taken by a connection
/// while a server starts.
const PORTS: std::ops::Range<u32> = 10_000..32_000;
/// How many ports one server has at most.
const PORTS_EACH: u32 = 8;

/// The first of so many free ports in a row. Servers of other processes begin elsewhere.
///
/// # Panics
/// When there are none.
pub(crate) fn ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let places = (PORTS.end - PORTS.start) / PORTS_EACH;
    for _ in 0..places {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = number.wrapping_add(std::process::id().wrapping_mul(97)) % places;
        let first = u16::try_from(PORTS.start + place * PORTS_EACH).expect("a port");
        let mut all = first..first + count;
        if all.all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
    panic!("no ports in a row are free");
}
