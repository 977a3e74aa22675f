//! Compares our memory estimate of cells with the published tables' `OOM`.

use llama::LlamaConfig;
use llama::cost::{Footprint, memory_need};
use protocol::{FailureKind, Precision};
use results::{Heading, Value};

/// How transformers' model computed when the published tables were made, and how their script called it.
const PUBLISHED: Footprint =
    Footprint { attention_scores: true, growing_cache: true, all_logits: true, kept_logit_bytes: 4 };

/// What an A100 of 80 GB leaves to a process.
const USABLE_GIB: f64 = 79.15;

#[test]
fn the_documents_out_of_memory_cells_are_those_that_need_most() {
    let text = include_str!("../../../results/published/llama2-a100.md");
    let document = results::published::parse(text, "llama2-a100.md").unwrap();
    let (mut out_of_memory, mut fits) = (Vec::new(), Vec::new());
    for table in document.tables() {
        let heading = Heading::parse(&table.heading).unwrap();
        let config = match heading.model.as_str() {
            "llama2-7b" => include_str!("../../../configs/models/llama2-7b.json"),
            "llama2-13b" => include_str!("../../../configs/models/llama2-13b.json"),
            // Of four ranks, whose shares are another matter.
            _ => continue,
        };
        let config = LlamaConfig::parse(config, "config.json").unwrap();
        for row in table.rows.iter().filter(|row| row.engine == "pytorch-eager") {
            let [batch, prompt] = [row.batch_size, row.prompt_length].map(u64::from);
            let need = memory_need(
                &config,
                Precision::Fp16,
                protocol::Device::Cuda(0),
                [batch, prompt, 256],
                PUBLISHED,
            );
            let gib = need.total() as f64 / f64::from(1 << 30);
            let name = format!("{} {batch}×{prompt}", heading.model);
            let is_oom = row.cells[0].value() == Value::Ended(FailureKind::OutOfMemory);
            let usable = (USABLE_GIB * f64::from(1 << 30)) as u64;
            assert_eq!(need.fits_device(usable), !is_oom, "{name}: {gib:.1} GiB");
            if is_oom { out_of_memory.push((name, gib)) } else { fits.push((name, gib)) }
        }
    }
    assert_eq!(out_of_memory.len(), 3);
    assert!(fits.len() > 20);
    // What docs/concepts/memory.md says of them.
    for (name, gib) in &out_of_memory {
        assert!(*gib > 0.85 * USABLE_GIB, "{name}: {gib:.1} GiB");
    }
    for (name, gib) in &fits {
        assert!(*gib < 0.6 * USABLE_GIB, "{name}: {gib:.1} GiB");
    }
    println!(
        "{out_of_memory:.1?}, of the others the most {:.1?}",
        fits.iter().map(|fit| fit.1).fold(0.0, f64::max)
    );
}
