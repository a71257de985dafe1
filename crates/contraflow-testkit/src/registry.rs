//! A schema registry for the tests of one process, started by the project's own script.

use std::path::Path;

use crate::script::{self, Script};

/// A registry that ends with this process, whatever becomes of it.
pub struct Registry {
    port: u16,
    script: Script,
}

impl Registry {
    /// Starts a registry in a folder that is there for it alone.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    #[must_use]
    pub fn start(folder: &Path) -> Registry {
        let port = script::ports(1);
        let script = Script::start("registry", &folder.join("server"), port, &[]);
        Registry { port, script }
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
        self.script.kill();
    }

    /// Starts the registry again that was killed. It has forgotten every schema.
    ///
    /// # Panics
    /// When it does not start; the script has said why on stderr.
    pub fn start_again(&mut self) {
        self.script.start_again();
    }
}
