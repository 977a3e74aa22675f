//! What the user says of files with tables that do not say it themselves.

use anyhow::{Result, anyhow};
use results::Heading;
use results::published::ReadOptions;

/// What files with tables may leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct ReadArgs {
    /// The engine of a file without an Engine column, such as the csv of a benchmark script; for another tool's results, what to call
    /// the tool.
    #[arg(long = "engine", value_name = "NAME")]
    file_engine: Option<String>,
    /// The heading of a file's tables that have none which says model, precision and device, e.g. "LLaMA-2 7B FP16 CUDA (1 A100
    /// 80GB)".
    #[arg(long, value_name = "TEXT")]
    heading: Option<String>,
    /// Tokens of a generation in a file's tables [default: what the file says, or its wall-clock columns imply]. For results of vllm give
    /// what its --output-len was.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    generation_length: Option<u32>,
    /// The batch size of a file that does not say it: results of vllm.
    #[arg(id = "file_batch_size", long = "batch-size", value_name = "B", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// The prompt length of a file that does not say it: results of vllm, whose --input-len it was.
    #[arg(id = "file_prompt_length", long = "prompt-length", value_name = "P", value_parser = clap::value_parser!(u32).range(1..))]
    prompt_length: Option<u32>,
}

impl ReadArgs {
    /// What is given, checked.
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

    /// Each flag that is given, and what the others say without it.
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

/// Refuses a heading that does not say what a heading is given for.
pub(crate) fn check_heading(heading: Option<&str>) -> Result<()> {
    heading.map_or(Ok(()), |text| {
        Heading::parse(text).map(|_| ()).map_err(|error| anyhow!("--heading: {error}, found \"{text}\""))
    })
}
