//! `engines.toml`: which command is an engine's worker.

use std::path::{Path, PathBuf};

use protocol::EngineProgram;

use crate::{Settings, SettingsError};

/// The engines that come with the program.
pub const DEFAULT_ENGINES: &str = include_str!("../../../configs/engines.toml");

/// An engine's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineCommand {
    /// The engine's name.
    pub engine: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl EngineCommand {
    /// Which program this is, for the record.
    pub fn facts(&self) -> EngineProgram {
        let is_path = |word: &str| word.contains('/');
        let name = |word: &str| match Path::new(word).file_name() {
            Some(name) if is_path(word) => name.to_string_lossy().into_owned(),
            _ => word.to_owned(),
        };
        let program = self.program.to_string_lossy();
        let words = std::iter::once(&*program).chain(self.arguments.iter().map(String::as_str));
        // What is no file (an option) has no hash.
        let files = on_path(&self.program).into_iter().chain(self.arguments.iter().map(PathBuf::from));
        EngineProgram {
            command: words.map(name).collect::<Vec<_>>().join(" "),
            sha256: files.filter_map(|file| llama::sha256_of_file(&file).ok()).collect(),
        }
    }
}

/// The file that starting `program` starts.
fn on_path(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.into());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The engines that a sweep can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engines {
    commands: Vec<EngineCommand>,
}

impl Engines {
    /// Reads an `engines.toml`. A program's name alone is looked for beside this program, then left to the PATH; one
    /// with a separator is relative to `base`.
    pub fn parse(text: &str, origin: &str, base: &Path) -> Result<Self, SettingsError> {
        let table = toml::de::DeTable::parse(text).map(toml::Spanned::into_inner);
        let names: Vec<String> =
            table.iter().flatten().map(|(name, _)| name.get_ref().clone().into_owned()).collect();
        let sections: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut settings = Settings::parse(text, origin, base, &sections)?;
        let known: Vec<String> = names.iter().map(|name| format!("{name}.command")).collect();
        settings.refuse_unknown(&known.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut commands = Vec::new();
        for engine in names {
            let Some(setting) = settings.take(&format!("{engine}.command")) else {
                return Err(SettingsError { origin: origin.into(), what: format!("{engine}: no command") });
            };
            let mut words = setting.value.as_array().cloned().unwrap_or_default().into_iter().map(|word| {
                let word = word.as_str().filter(|word| !word.is_empty()).map(str::to_owned);
                word.ok_or_else(|| setting.error("expected a list of texts: a program and its arguments"))
            });
            let program = words
                .next()
                .ok_or_else(|| setting.error("expected a list of texts: a program and its arguments"))??;
            let arguments = words.collect::<Result<_, _>>()?;
            commands.push(EngineCommand { engine, program: find_program(&program, base), arguments });
        }
        Ok(Self { commands })
    }

    /// The same engines, with every program that `dir` has taken from there: another build's.
    pub fn from_build(mut self, dir: &Path) -> Self {
        for command in &mut self.commands {
            let theirs = command.program.file_name().map(|name| dir.join(name));
            if let Some(theirs) = theirs.filter(|path| path.is_file()) {
                command.program = theirs;
            }
        }
        self
    }

    /// The engines that come with the program.
    ///
    /// # Panics
    /// Never: the file is compiled in, and a test reads it.
    pub fn built_in() -> Self {
        Self::parse(DEFAULT_ENGINES, "configs/engines.toml", Path::new(""))
            .expect("the built-in engines.toml")
    }

    /// The worker of `engine`.
    pub fn get(&self, engine: &str) -> Option<&EngineCommand> {
        self.commands.iter().find(|command| command.engine == engine)
    }

    /// The worker of `engine`, or in words that there is none.
    pub fn find(&self, engine: &str) -> Result<&EngineCommand, String> {
        self.get(engine).ok_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            format!("unknown engine \"{engine}\": expected one of {}", names.join(", "))
        })
    }

    /// All names, in the file's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.commands.iter().map(|command| command.engine.as_str())
    }
}

fn find_program(program: &str, base: &Path) -> PathBuf {
    if program.contains('/') {
        return base.join(program);
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(program)));
    beside.filter(|path| path.exists()).unwrap_or_else(|| program.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_engines_are_there_in_order() {
        let names: Vec<_> = Engines::built_in().names().map(str::to_owned).collect();
        assert_eq!(
            names,
            ["onnxruntime", "pytorch-eager", "pytorch-compile", "pytorch-cudagraph", "reference", "mock"]
        );
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let message = |text| Engines::parse(text, "engines.toml", Path::new("")).unwrap_err().to_string();
        assert_eq!(
            message("[a]\ncommand = []"),
            "engines.toml:2: a.command: expected a list of texts: a program and its arguments"
        );
        assert_eq!(
            message("[a]\ncommand = [1]"),
            "engines.toml:2: a.command: expected a list of texts: a program and its arguments"
        );
        assert_eq!(
            message("[a]\ncommand = [\"x\"]\nshell = true"),
            "engines.toml:3: a.shell: unknown key: expected one of command"
        );
        assert!(message("[a\n").starts_with("engines.toml:1: "), "{}", message("[a\n"));
    }
}
