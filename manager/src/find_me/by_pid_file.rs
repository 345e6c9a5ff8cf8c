//! A file that holds a process id.

use super::{Candidate, Candidates, FindMe, FindMeError, candidate_in};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Longest text that is read: a process id, and then some.
const MAX_BYTES: u64 = 256;

/// The worker whose process id stands in a file; an empty file means that none gets it yet.
#[derive(Debug, Clone)]
pub struct ByPidFile {
    /// The file.
    pub path: PathBuf,
}

impl FindMe for ByPidFile {
    fn find(&self, ready: &Candidates) -> Result<Option<Candidate>, FindMeError> {
        let name = self.path.display().to_string();
        let mut text = Vec::new();
        File::open(&self.path)
            .and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text))
            .map_err(|error| FindMeError::NoPidFile { path: name.clone(), error })?;
        candidate_in(&text, &name, ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_candidate_will_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let find = ByPidFile { path: file.path().to_owned() };
        let none = Candidates::default();
        assert!(matches!(find.find(&none), Ok(None)));
        std::fs::write(file.path(), "12\n").unwrap();
        assert!(matches!(find.find(&none), Err(FindMeError::NoCandidate { pid: 12, .. })));
        std::fs::write(file.path(), "-1").unwrap();
        assert!(matches!(find.find(&none), Err(FindMeError::NotAPid { .. })));
        let missing = ByPidFile { path: "/nowhere/w.pid".into() };
        let error = missing.find(&none).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/w.pid: No such file"), "{error}");
    }
}
