//! The files of a model, checked before and after each cell: all cells of a run have the same model.

use std::path::PathBuf;

use protocol::{ModelFacts, ModelSource};

use crate::Model;
use crate::run::cache::{Stamp, stamp};

/// The state of a model's files at the last check.
pub(crate) struct ModelFiles<'a> {
    source: &'a ModelSource,
    /// The run's model, or the first one that was seen if its environment does not tell.
    fingerprint: Option<String>,
    /// `None` before the first check.
    stamps: Option<Vec<(PathBuf, Option<Stamp>)>>,
    note: Option<String>,
}

impl<'a> ModelFiles<'a> {
    /// Creates the state of the files of `model`; `facts` are from the run's environment.
    pub(crate) fn new(model: &'a Model, facts: Option<&ModelFacts>) -> Self {
        let fingerprint = facts.map(|facts| facts.fingerprint.clone());
        Self { source: &model.source, fingerprint, stamps: None, note: None }
    }

    /// Checks that the files are still the run's. A file that did not change costs one `stat`.
    ///
    /// # Errors
    /// Where the model changed, or can't be read any more.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let ModelSource::Checkpoint { dir } = self.source else { return Ok(()) };
        let dir = dir.display();
        let gone = |error| format!("{error}: the model can no longer be read");
        let files = llama::model_files(self.source).map_err(gone)?;
        let now = Some(files.into_iter().map(|file| (file.clone(), stamp(&file))).collect());
        if now == self.stamps {
            return Ok(());
        }
        let fingerprint = llama::fingerprint(self.source).map_err(gone)?;
        if self.fingerprint.as_ref().is_some_and(|known| *known != fingerprint) {
            return Err(format!(
                "{dir}: the model's files changed since the run began: restore them and use --resume, or start a new run"
            ));
        }
        if self.stamps.is_some() {
            self.note = Some(
                "the model's files were written to during the run; their fingerprint is unchanged".into(),
            );
        }
        (self.stamps, self.fingerprint) = (now, Some(fingerprint));
        Ok(())
    }

    /// The note on the files for cells from now on.
    pub(crate) fn note(&self) -> Option<String> {
        self.note.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn copy_of_fixture() -> (tempfile::TempDir, Model) {
        let dir = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-mha");
        for entry in std::fs::read_dir(fixture).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let model =
            Model::find(dir.path().to_str().unwrap(), 0, Path::new(""), protocol::Precision::Fp32).unwrap();
        (dir, model)
    }

    #[test]
    fn a_model_that_is_exchanged_is_noticed_and_one_that_is_touched_is_noted() {
        let (dir, model) = copy_of_fixture();
        let fingerprint = llama::fingerprint(&model.source).unwrap();
        let facts = ModelFacts { fingerprint, config: model.config.to_json() };
        let mut files = ModelFiles::new(&model, Some(&facts));
        assert_eq!((files.check(), files.check(), files.note()), (Ok(()), Ok(()), None));

        let weights = dir.path().join("model.safetensors");
        let file = std::fs::File::options().write(true).open(&weights).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(7)).unwrap();
        assert_eq!(files.check(), Ok(()));
        assert!(files.note().unwrap().ends_with("; their fingerprint is unchanged"));

        let bytes = std::fs::read(&weights).unwrap();
        let mut others = bytes.clone();
        *others.last_mut().unwrap() ^= 1;
        std::fs::write(&weights, others).unwrap();
        assert!(files.check().unwrap_err().contains("the model's files changed since the run began"));
        std::fs::remove_file(&weights).unwrap();
        assert!(files.check().unwrap_err().ends_with("the model can no longer be read"));
        std::fs::write(&weights, bytes).unwrap();
        assert_eq!(files.check(), Ok(()));
    }

    #[test]
    fn a_model_that_was_exchanged_before_the_first_cell_is_noticed() {
        let (_dir, model) = copy_of_fixture();
        let facts = ModelFacts { fingerprint: "another".into(), config: model.config.to_json() };
        assert!(ModelFiles::new(&model, Some(&facts)).check().is_err());
    }
}
