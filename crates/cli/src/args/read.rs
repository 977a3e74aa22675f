//! What the user says of files with tables that do not say it themselves.

use anyhow::{Result, anyhow};
use results::Heading;
use results::published::ReadOptions;

/// What files with tables may leave out.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ReadArgs {
    /// The engine of a file without an Engine column, such as the csv of a benchmark script.
    #[arg(long = "engine", value_name = "NAME")]
    file_engine: Option<String>,
    /// The heading of a file's tables that have none which says model, precision and device, e.g. "LLaMA-2 7B FP16 CUDA (1 A100
    /// 80GB)".
    #[arg(long, value_name = "TEXT")]
    heading: Option<String>,
    /// Tokens of a generation in a file's tables [default: what the file says, or its wall-clock columns imply].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    generation_length: Option<u32>,
}

impl ReadArgs {
    /// What is given, checked.
    pub(crate) fn options(&self) -> Result<ReadOptions> {
        check_heading(self.heading.as_deref())?;
        Ok(ReadOptions {
            engine: self.file_engine.clone(),
            heading: self.heading.clone(),
            generation_length: self.generation_length,
        })
    }

    /// The flags that are given.
    pub(crate) fn given(&self) -> Vec<&'static str> {
        let flags = [
            (self.file_engine.is_some(), "--engine"),
            (self.heading.is_some(), "--heading"),
            (self.generation_length.is_some(), "--generation-length"),
        ];
        flags.into_iter().filter(|(is_given, _)| *is_given).map(|(_, flag)| flag).collect()
    }
}

/// Refuses a heading that does not say what a heading is given for.
pub(crate) fn check_heading(heading: Option<&str>) -> Result<()> {
    heading.map_or(Ok(()), |text| {
        Heading::parse(text).map(|_| ()).map_err(|error| anyhow!("--heading: {error}, found \"{text}\""))
    })
}
