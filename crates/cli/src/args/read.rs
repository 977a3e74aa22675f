//! Flags that say what a file with tables leaves out.

use anyhow::{Result, anyhow};
use results::Heading;
use results::published::ReadOptions;

use super::headings::FILES;
use super::lists::whole_from;

/// What files with tables may leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct ReadArgs {
    /// Engine of a file that does not name it.
    ///
    /// Needed for files without an Engine column, such as the csv of a benchmark script. Another tool's results have the tool's name
    /// unless you give another one.
    #[arg(long = "engine", value_name = "NAME", help_heading = FILES)]
    file_engine: Option<String>,
    /// Heading of tables that have none.
    ///
    /// A heading says model, precision and device, e.g. "LLaMA-2 7B FP16 CUDA (1 A100 80GB)".
    #[arg(long, value_name = "TEXT", help_heading = FILES)]
    heading: Option<String>,
    /// Tokens per generation.
    ///
    /// The default is what the file says, or what its wall-clock columns imply. For results of vllm, give the value of --output-len.
    #[arg(long, value_name = "N", value_parser = whole_from(1_u32), help_heading = FILES)]
    generation_length: Option<u32>,
    /// Batch size of vllm results.
    #[arg(
        id = "file_batch_size",
        long = "batch-size",
        value_name = "B",
        value_parser = whole_from(1_u32),
        help_heading = FILES
    )]
    batch_size: Option<u32>,
    /// Prompt length of vllm results.
    ///
    /// The value of --input-len that vllm was started with.
    #[arg(
        id = "file_prompt_length",
        long = "prompt-length",
        value_name = "P",
        value_parser = whole_from(1_u32),
        help_heading = FILES
    )]
    prompt_length: Option<u32>,
}

impl ReadArgs {
    /// The given flags, checked.
    pub(crate) fn options(&self) -> Result<ReadOptions> {
        check_heading(self.heading.as_deref())?;
        Ok(ReadOptions {
            engine: self.file_engine.clone(),
            heading: self.heading.clone(),
            generation_length: self.generation_length,
            batch_size: self.batch_size,
            prompt_length: self.prompt_length,
        })
    }

    /// Each given flag, and the arguments without it.
    pub(crate) fn each_given(&self) -> Vec<(&'static str, Self)> {
        let without = [
            ("--engine", Self { file_engine: None, ..self.clone() }),
            ("--heading", Self { heading: None, ..self.clone() }),
            ("--generation-length", Self { generation_length: None, ..self.clone() }),
            ("--batch-size", Self { batch_size: None, ..self.clone() }),
            ("--prompt-length", Self { prompt_length: None, ..self.clone() }),
        ];
        without.into_iter().filter(|(_, without)| without != self).collect()
    }
}

/// Refuses a heading that lacks model, precision or device.
pub(crate) fn check_heading(heading: Option<&str>) -> Result<()> {
    heading.map_or(Ok(()), |text| {
        Heading::parse(text).map(|_| ()).map_err(|error| anyhow!("--heading: {error}, found \"{text}\""))
    })
}
