//! No published row of the 70B table is faster than its floor on four A100, by this program's own sharding.

use audit::Work;
use llama::LlamaConfig;
use protocol::Precision;
use results::hardware::Hardware;
use results::published::markdown;
use results::{Column, Heading};

const FILE: &str = "results/published/llama2-a100.md";

fn llama2_70b() -> LlamaConfig {
    LlamaConfig::parse(include_str!("../../../configs/models/llama2-70b.json"), "70b").unwrap()
}

#[test]
fn every_published_70b_row_stands_above_its_floor() {
    let text = include_str!("../../../results/published/llama2-a100.md");
    let document = markdown::parse(text, FILE).unwrap();
    let table = document.tables().find(|table| table.heading.contains("70B")).unwrap();
    let heading = Heading::parse(&table.heading).unwrap();
    assert_eq!(heading.count, 4);
    let peaks = Hardware::built_in().peaks(&heading).unwrap();
    let mut checked = 0;
    for row in &table.rows {
        let cell = [row.batch_size.into(), row.prompt_length.into(), 256];
        let work = Work::new(&llama2_70b(), Precision::Fp16, heading.count, cell).unwrap();
        let floor = work.floor(&peaks).unwrap();
        let floors =
            [(Column::PromptLatency, floor.prompt_seconds), (Column::First256Latency, floor.token_seconds)];
        for (column, floor) in floors {
            let Some(figure) = row.cells[column as usize].figure() else { continue };
            let seconds = figure.value / 1e3;
            let text = format!("line {}: {}: {seconds} s, floor {floor} s", row.line, column.header());
            // Nor is the floor so low that it says nothing.
            assert!(seconds > floor && seconds < 20.0 * floor, "{text}");
            checked += 1;
        }
    }
    assert_eq!(checked, 2 * table.rows.len());
}

#[test]
fn a_decode_step_of_70b_on_four_ranks() {
    let work = Work::new(&llama2_70b(), Precision::Fp16, 4, [1, 16, 256]).unwrap();
    // A quarter of the projections, and all of the head: 34.5 GB; 17 ms at 2039 GB/s.
    assert!((34.4e9..34.9e9).contains(&work.token.read_bytes), "{:e}", work.token.read_bytes);
    assert_eq!(work.token.all_reduce_bytes, 160.0 * 8192.0 * 2.0);
    let alone = Work::new(&llama2_70b(), Precision::Fp16, 1, [1, 16, 256]).unwrap();
    assert_eq!(alone.token.all_reduce_bytes, 0.0);
    let peaks = |device: &str| {
        let heading = Heading::parse(&format!("LLaMA-2 70B FP16 CUDA (4 {device})")).unwrap();
        Hardware::built_in().peaks(&heading).unwrap()
    };
    let [a100, h100] = ["A100 80GB", "H100 80GB"].map(|device| work.floor(&peaks(device)).unwrap());
    assert!((0.0165..0.0175).contains(&a100.token_seconds), "{a100:?}");
    assert!((0.0100..0.0105).contains(&h100.token_seconds), "{h100:?}");
}

#[test]
fn rank_0_alone_reads_and_computes_what_a_rank_does_and_sends_nothing() {
    let cell = [16, 3840, 256];
    let rank = Work::new(&llama2_70b(), Precision::Fp16, 4, cell).unwrap();
    let alone = Work::of_first_rank(&llama2_70b(), Precision::Fp16, 4, cell).unwrap();
    for (alone, rank) in [(alone.prompt, rank.prompt), (alone.token, rank.token)] {
        assert_eq!(
            (alone.read_bytes, alone.flops, alone.all_reduce_bytes),
            (rank.read_bytes, rank.flops, 0.0)
        );
    }
    let heading = Heading::parse("LLaMA-2 70B FP16 CUDA (rank 0 of 4, 1 A100 80GB)").unwrap();
    let peaks = Hardware::built_in().peaks(&heading).unwrap();
    let [alone_floor, rank_floor] = [alone, rank].map(|work| work.floor(&peaks).unwrap());
    let [prompt, token] = rank.sums_seconds(&peaks).unwrap();
    assert!((rank_floor.prompt_seconds - alone_floor.prompt_seconds - prompt).abs() < 1e-9);
    assert!((rank_floor.token_seconds - alone_floor.token_seconds - token).abs() < 1e-9);
}
