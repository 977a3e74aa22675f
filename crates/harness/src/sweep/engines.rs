//! `engines.toml`: the command of each engine's worker.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use protocol::{EngineProgram, EnginesFile, LONGEST_NAME, Options};

use crate::sweep::layer::{Key, Layer, Spec, TomlEntry, TomlFile, layer};
use crate::sweep::ranks::find_on_path;
use crate::sweep::setting::{Origin, Setting, SettingsError};
use crate::sweep::suggest::suggestion;
use crate::sweep::values::{CommandLine, brief};

/// The engines that come with the program.
pub const DEFAULT_ENGINES: &str = include_str!("../../../../configs/engines.toml");
/// The engines that people would otherwise use, for a better error.
const PEERS: &str = include_str!("../../../../configs/peers.toml");

layer! {
    /// An engine of an `engines.toml`.
    pub(crate) struct EngineKeys {
        /// The worker's program and its arguments.
        pub command: Option<Setting<CommandLine>> = Spec::FILE_ONLY,
        /// Further files and folders that the worker consists of.
        pub also: Option<Setting<Vec<String>>> = Spec::FILE_ONLY,
        /// Its own options, unless a sweep sets them.
        pub options: Option<Setting<Options>> = Spec::FILE_ONLY,
    }
}

/// An engine's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineCommand {
    /// The engine's name.
    pub engine: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Further files and folders that it consists of.
    pub also: Vec<PathBuf>,
    /// Its own options, unless a sweep sets them.
    pub options: Options,
}

impl EngineCommand {
    /// The worker that these words start, a program and its arguments. A program without a separator is searched beside this program, then on
    /// the PATH; one with a separator is relative to `base`.
    pub fn new(engine: &str, words: &[String], base: &Path) -> Self {
        let (program, arguments) =
            words.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
        Self {
            engine: engine.into(),
            program: find_program(program, base),
            arguments: arguments.to_vec(),
            also: Vec::new(),
            options: Options::new(),
        }
    }

    /// The identity of this program, for the record.
    ///
    /// # Errors
    /// Where one of [`EngineCommand::also`] can't be read.
    pub fn facts(&self) -> Result<EngineProgram, SettingsError> {
        let is_path = |word: &str| word.contains('/');
        let name = |word: &str| match Path::new(word).file_name() {
            Some(name) if is_path(word) => name.to_string_lossy().into_owned(),
            _ => word.to_owned(),
        };
        let program = self.program.to_string_lossy();
        let words = std::iter::once(&*program).chain(self.arguments.iter().map(String::as_str));
        // An argument that is no file has no hash.
        let files = on_path(&self.program).into_iter().chain(self.arguments.iter().map(PathBuf::from));
        let mut sha256: Vec<String> = files.filter_map(|file| llama::sha256_of_file(&file).ok()).collect();
        for path in &self.also {
            let error = |error: std::io::Error| SettingsError {
                origin: format!("engine {}: also", self.engine),
                what: error.to_string(),
            };
            sha256.push(llama::sha256_of_tree(path).map_err(error)?);
        }
        Ok(EngineProgram { command: words.map(name).collect::<Vec<_>>().join(" "), sha256 })
    }
}

/// The file that starting `program` starts.
fn on_path(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.into());
    }
    find_on_path(program.to_str()?)
}

/// The engines that a sweep can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engines {
    commands: IndexMap<String, EngineCommand>,
    /// `None` for the built-in ones.
    file: Option<EnginesFile>,
}

impl Engines {
    /// Reads an `engines.toml`. A program without a separator is searched beside this program, then on the PATH; one with a separator is
    /// relative to `base`.
    pub fn parse(text: &str, origin: &str, base: &Path) -> Result<Self, SettingsError> {
        let file = TomlFile::new(origin, text, base);
        let engines = file.parse()?.entries().unwrap_or_default();
        let command = |(engine, entry): (String, TomlEntry<'_>)| {
            if engine.len() > LONGEST_NAME {
                return Err(file
                    .origin(&entry)
                    .error(format!("expected a name of at most {LONGEST_NAME} bytes")));
            }
            let keys = EngineKeys::read(&file, entry)?;
            let Some(Setting { value: command, .. }) = keys.command else {
                return Err(SettingsError { origin: origin.into(), what: format!("{engine}: no command") });
            };
            let also = keys.also.map(|also| also.value).unwrap_or_default();
            let command = EngineCommand {
                engine: engine.clone(),
                program: find_program(&command.program, base),
                arguments: command.arguments,
                also: also.into_iter().map(|path| base.join(path)).collect(),
                options: keys.options.map(|options| options.value).unwrap_or_default(),
            };
            Ok((engine, command))
        };
        let file = EnginesFile { path: origin.into(), sha256: llama::sha256_hex(text.as_bytes()) };
        Ok(Self { commands: engines.into_iter().map(command).collect::<Result<_, _>>()?, file: Some(file) })
    }

    /// The same engines of another build: each program that `dir` has, with its further files, is taken from there.
    pub fn from_build(mut self, dir: &Path) -> Self {
        let theirs = |path: &Path| path.file_name().map(|name| dir.join(name));
        for command in self.commands.values_mut() {
            let Some(program) = theirs(&command.program).filter(|path| path.is_file()) else { continue };
            command.program = program;
            for path in &mut command.also {
                *path = theirs(path).filter(|path| path.exists()).unwrap_or_else(|| path.clone());
            }
        }
        self
    }

    /// The engines that come with the program.
    ///
    /// # Panics
    /// Never: the file is compiled in, and a test reads it.
    pub fn built_in() -> Self {
        let engines = Self::parse(DEFAULT_ENGINES, "configs/engines.toml", Path::new(""))
            .expect("the built-in engines.toml");
        Self { file: None, ..engines }
    }

    /// The file that they were read from; `None` for the built-in ones.
    pub fn file(&self) -> Option<&EnginesFile> {
        self.file.as_ref()
    }

    /// The worker of `engine`.
    pub fn get(&self, engine: &str) -> Option<&EngineCommand> {
        self.commands.get(engine)
    }

    /// The worker of `engine`, or an error text that suggests another name.
    pub fn find(&self, engine: &str) -> Result<&EngineCommand, String> {
        self.get(engine).ok_or_else(|| {
            let is_peer =
                || Self::parse(PEERS, "", Path::new("")).is_ok_and(|peers| peers.get(engine).is_some());
            if self.file.is_none() && is_peer() {
                return format!(
                    "engine \"{engine}\" is in configs/peers.toml: give --engines-file configs/peers.toml"
                );
            }
            let names: Vec<&str> = self.names().collect();
            format!("unknown engine \"{engine}\": {}", brief(&suggestion(engine, &names)))
        })
    }

    /// All names in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.commands.keys().map(String::as_str)
    }
}

/// Where a program is: beside this one, else the name alone, for the `PATH`; a name with a separator is relative to `base`.
pub fn find_program(program: &str, base: &Path) -> PathBuf {
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
            [
                "onnxruntime",
                "pytorch-eager",
                "pytorch-compile",
                "pytorch-cudagraph",
                "pytorch-aoti",
                "reference",
                "mock"
            ]
        );
    }

    #[test]
    fn an_engine_may_be_another_one_with_its_own_options() {
        let engines = |options: &str| {
            let text = format!("[a]\ncommand = [\"a\"]\noptions = {options}");
            Engines::parse(&text, "engines.toml", Path::new(""))
        };
        let named = engines("{ linear = \"onednn\", deep = { ubatch = 512 } }").unwrap();
        let options = serde_json::to_string(&named.get("a").unwrap().options).unwrap();
        assert_eq!(options, r#"{"deep":{"ubatch":512},"linear":"onednn"}"#);
        for (text, what) in [("\"fast\"", "found \"fast\""), ("{ share = nan }", "found { share = nan }")] {
            let error = engines(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "engines.toml:3: a.options: expected a table of an engine's options, of finite numbers, {what}"
                )
            );
        }
    }

    #[test]
    fn further_files_of_a_worker_are_hashed_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let text = "[a]\ncommand = [\"workers/a.py\"]\nalso = [\"workers/package\"]";
        let engines = Engines::parse(text, "engines.toml", dir.path()).unwrap();
        let facts = |engines: &Engines| engines.get("a").unwrap().facts();
        write("workers/a.py", "import package");
        let what = facts(&engines).unwrap_err().to_string();
        assert!(what.starts_with("engine a: also: ") && what.contains("workers/package: No such"), "{what}");

        write("workers/package/timing.py", "1");
        let first = facts(&engines).unwrap();
        assert_eq!((first.command.as_str(), first.sha256.len()), ("a.py", 2));
        write("workers/package/timing.py", "2");
        let second = facts(&engines).unwrap();
        assert_eq!(second.sha256[0], first.sha256[0]);
        assert_ne!(second.sha256[1], first.sha256[1]);

        write("other/a.py", "import package");
        write("other/package/timing.py", "1");
        assert_eq!(facts(&engines.from_build(&dir.path().join("other"))).unwrap(), first);
    }

    #[test]
    fn a_large_argument_is_identified_by_its_size_and_some_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let model = dir.path().join("model.gguf");
        let file = std::fs::File::create(&model).unwrap();
        file.set_len(100 << 30).unwrap();
        let text = format!("[a]\ncommand = [\"no-program\", {:?}]", model.to_str().unwrap());
        let engines = Engines::parse(&text, "engines.toml", dir.path()).unwrap();
        let facts = || engines.get("a").unwrap().facts().unwrap();
        let before = facts();
        assert_eq!((before.command.as_str(), before.sha256.len()), ("no-program model.gguf", 1));
        // A copy on another machine is the same file.
        file.set_modified(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(facts(), before);
        std::os::unix::fs::FileExt::write_at(&file, b"GGUF", 0).unwrap();
        assert_ne!(facts().sha256, before.sha256);
        // A file of `also` is hashed likewise.
        let with_also = format!("{text}\nalso = [{:?}]", model.to_str().unwrap());
        let engines = Engines::parse(&with_also, "engines.toml", dir.path()).unwrap();
        let both = engines.get("a").unwrap().facts().unwrap().sha256;
        assert_eq!(both, [facts().sha256, facts().sha256].concat());
    }

    #[test]
    fn errors_name_file_line_and_key() {
        let message = |text| Engines::parse(text, "engines.toml", Path::new("")).unwrap_err().to_string();
        assert_eq!(
            message("[a]\ncommand = []"),
            "engines.toml:2: a.command: expected a list of texts: a program and its arguments, found []"
        );
        assert_eq!(
            message("[a]\ncommand = [1]"),
            "engines.toml:2: a.command: expected a list of texts: a program and its arguments, found [1]"
        );
        assert_eq!(
            message("[a]\ncommand = [\"x\"]\nshell = true"),
            "engines.toml:3: a.shell: unknown key: expected one of command, also, options"
        );
        assert!(message("[a\n").starts_with("engines.toml:1: "), "{}", message("[a\n"));
    }
}
