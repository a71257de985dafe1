//! Finds and reads the change file, and what it interpolates.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use contraflow_core::change::Change;
use contraflow_core::change::interpolate::Secrets;
use contraflow_core::change::spec::ChangeSpec;
use contraflow_core::change::yaml::FILE_BYTES_MAX;
use contraflow_core::code::Code;
use contraflow_core::error::{Error, Kind, Problem, Result};

/// The change file of a directory, when none is named.
pub const DEFAULT_FILE: &str = "contraflow.yaml";

/// The largest interpolated file: a secret, not a dump.
const SECRET_BYTES_MAX: usize = 64 * 1024;

/// A change file that was read, not yet understood.
#[derive(Clone, Debug)]
pub struct ChangeFile {
    /// Where it lies, as it is shown.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl ChangeFile {
    /// Tells this text from another one, never 0. Only processes of one machine compare it.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        // What SQLite can keep.
        (hasher.finish() >> 1).max(1)
    }

    /// Finds the change file and reads it. `named` is a path, or the name of a file in the
    /// current directory without `.yaml`; without it, [`DEFAULT_FILE`] is meant.
    ///
    /// # Errors
    ///
    /// When there is none, or it cannot be read.
    pub fn find(named: Option<&Path>) -> Result<ChangeFile> {
        let Some(named) = named else {
            return ChangeFile::read(Path::new(DEFAULT_FILE));
        };
        let mut with_suffix = named.as_os_str().to_owned();
        with_suffix.push(".yaml");
        let with_suffix = PathBuf::from(with_suffix);
        if !named.is_file() && with_suffix.is_file() {
            return ChangeFile::read(&with_suffix);
        }
        ChangeFile::read(named)
    }

    /// Reads a change file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is too large or is not UTF-8.
    pub fn read(path: &Path) -> Result<ChangeFile> {
        let text = read_limited(path, FILE_BYTES_MAX).map_err(|error| {
            let message = format!("cannot read the change file `{}`", path.display());
            let unreadable = Error::new(Kind::Config, Code::FILE_UNREADABLE, message);
            match error.kind() {
                io::ErrorKind::NotFound => unreadable
                    .hint("`contraflow init` writes one; or name yours: `contraflow VERB FILE`."),
                _ => unreadable,
            }
            .because(error)
        })?;
        let path = path.to_owned();
        Ok(ChangeFile { path, text })
    }

    /// The directory that its paths are relative to.
    #[must_use]
    pub fn base(&self) -> PathBuf {
        let parent = self.path.parent().unwrap_or(Path::new(""));
        std::path::absolute(parent.join(".")).unwrap_or_else(|_| parent.to_owned())
    }

    /// The change as typed, interpolated from the environment and from files.
    #[must_use]
    pub fn spec(&self) -> ChangeSpec {
        let surroundings = Surroundings { base: self.base() };
        ChangeSpec::read(&self.text, &surroundings)
    }

    /// The change as checked, with warnings.
    ///
    /// # Errors
    ///
    /// All problems of the file.
    pub fn check(&self) -> std::result::Result<(Change, Vec<Problem>), Vec<Problem>> {
        self.spec().check(&self.base())
    }
}

/// The environment and the files that a change file may interpolate.
struct Surroundings {
    base: PathBuf,
}

impl Secrets for Surroundings {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &str) -> std::result::Result<String, String> {
        let read = read_limited(&self.base.join(path), SECRET_BYTES_MAX);
        let text = read.map_err(|error| error.to_string())?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}

fn read_limited(path: &Path, bytes_max: usize) -> io::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    File::open(path)?
        .take(limit.saturating_add(1))
        .read_to_string(&mut text)?;
    if text.len() > bytes_max {
        let message = format!("it is larger than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
