//! The efficiency table: shares of the peaks of the device.

use std::collections::BTreeMap;
use std::sync::Arc;

use llama::{LlamaConfig, cost};
use machine::gpu::{Monitor, Sample};
use protocol::{
    Device, DeviceSeconds, Environment, FailureKind, GpuPhase, GpuSeries, LockedClock, MeasuredPeak,
    MeasuredPeaks, Measurement, ModelFacts, Phase, Precision, Ranks, SustainedPeak, Throttle,
};
use results::{Table, tables};
use testing::FakeDriver;

mod measured;
use measured::{ended, environment, measured, texts, with_cell, with_key};

const MODEL: &str = include_str!("../../../configs/models/llama2-15m.json");

fn with_peaks() -> Environment {
    let peak = |per_second| MeasuredPeak { per_second, by: "onnxruntime".into() };
    let facts = ModelFacts { fingerprint: String::new(), config: serde_json::from_str(MODEL).unwrap() };
    Environment {
        peaks: Some(MeasuredPeaks {
            device: Device::Cpu,
            read_bytes: Some(peak(40e9)),
            flops: BTreeMap::from([(protocol::Dtype::Fp32, peak(300e9))]),
            sustained_flops: BTreeMap::new(),
            machine_load: None,
            measured_at: None,
        }),
        models: BTreeMap::from([("llama2-15m".to_owned(), facts)]),
        ..environment()
    }
}

#[test]
fn shares_are_of_work_over_time_and_peak() {
    let config = LlamaConfig::parse(MODEL, "llama2-15m.json").unwrap();
    for (batch, prompt) in [(1, 16), (4, 256)] {
        let record = measured("onnxruntime", batch, prompt, 256);
        let series = record.series().unwrap();
        let tokens = &series.generations[0].token_seconds;
        let of_token = |index: u64| {
            let past = u64::from(prompt) + index;
            cost::decode_read_bytes(&config, Precision::Fp32, batch.into(), past) as f64
        };
        let read: f64 = (0..256).map(of_token).sum();
        let bandwidth = read / tokens.iter().sum::<f64>() / 40e9;
        let seconds = series.prompt_seconds.iter().sum::<f64>() / 3.0;
        let flops = cost::forward_flops(&config, batch.into(), prompt.into(), 0, 1) / seconds / 300e9;

        let tables = tables(vec![record], &[], &[with_peaks()]);
        let efficiency = tables[0].rows[0].efficiency;
        assert!((efficiency.decode_bandwidth.unwrap() / bandwidth - 1.0).abs() < 1e-9);
        assert!((efficiency.prefill_flops.unwrap() / flops - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_cell_that_was_faster_than_a_peak_is_noted() {
    let records = [measured("onnxruntime", 1, 16, 256), measured("onnxruntime", 4, 16, 256)];
    let notes = |read: f64, flops: f64| {
        let mut environment = with_peaks();
        let peaks = environment.peaks.as_mut().unwrap();
        peaks.read_bytes.as_mut().unwrap().per_second = read;
        peaks.flops.get_mut(&protocol::Dtype::Fp32).unwrap().per_second = flops;
        texts(&tables(records.to_vec(), &[], &[environment])[0])[1..].to_vec()
    };
    assert_eq!(notes(1e12, 1e15), Vec::<String>::new());
    assert_eq!(
        notes(1e6, 1e6),
        [
            "1×16, 4×16: onnxruntime: decode above 100 % of peak bandwidth: the weights fit in a cache, or the peak was measured on a busy machine",
            "1×16, 4×16: onnxruntime: prefill above 100 % of peak FLOP/s: the peak was measured on a busy machine",
        ]
    );
}

#[test]
fn several_devices_can_do_several_times_as_much() {
    let of = |device, world_size| {
        let ranks = Ranks { world_size, one_rank: false };
        let record =
            with_key(measured("onnxruntime", 1, 16, 256), |key| (key.device, key.ranks) = (device, ranks));
        tables(vec![record], &[], &[with_peaks()])[0].rows[0].efficiency.decode_bandwidth.unwrap()
    };
    let gpu = Device::Cuda(0);
    assert!((of(gpu, 1) / of(gpu, 4) - 4.0).abs() < 1e-9);
    // Ranks on a CPU share it.
    assert!((of(Device::Cpu, 1) / of(Device::Cpu, 4) - 1.0).abs() < 1e-9);
}

#[test]
fn one_rank_alone_counts_its_own_bytes_and_operations_on_one_device() {
    let config = LlamaConfig::parse(MODEL, "llama2-15m.json").unwrap();
    let first = llama::TensorParallel::first_of(&config, Some(2)).unwrap();
    let of = |one_rank, world_size| {
        let record = with_key(measured("onnxruntime", 1, 16, 256), |key| {
            (key.device, key.ranks) = (Device::Cuda(0), Ranks { world_size, one_rank });
        });
        tables(vec![record], &[], &[with_peaks()]).remove(0)
    };
    let [alone, whole] = [of(true, 2), of(false, 1)];
    let [(bandwidth, flops), (whole_bandwidth, whole_flops)] = [&alone, &whole].map(|table| {
        let efficiency = table.rows[0].efficiency;
        (efficiency.decode_bandwidth.unwrap(), efficiency.prefill_flops.unwrap())
    });
    let operations = |config| cost::forward_flops(config, 1, 16, 0, 1);
    assert!((flops / whole_flops / (operations(&first) / operations(&config)) - 1.0).abs() < 1e-9);
    assert!(
        bandwidth < whole_bandwidth && bandwidth > 0.5 * whole_bandwidth,
        "norms, head and embedding are whole"
    );
    assert_eq!((alone.key.ranks.one_rank_of(), whole.key.ranks.one_rank_of()), (Some(2), None));
    assert!(alone.heading.to_string().contains("(rank 0 of 2, 1 "), "{}", alone.heading);
    assert!(alone.notes[0].text.starts_with("only rank 0 of 2 was measured"), "{:?}", alone.notes);
}

#[test]
fn prefill_is_a_share_of_the_burst_and_of_the_sustained_peak() {
    let mut environment = with_peaks();
    let sustained =
        |clock| SustainedPeak { per_second: 240e9, by: "pytorch-eager".into(), sm_clock_mhz: clock };
    let mut with = |clock| {
        let peaks = environment.peaks.as_mut().unwrap();
        peaks.sustained_flops = BTreeMap::from([(protocol::Dtype::Fp32, sustained(clock))]);
        tables(vec![measured("onnxruntime", 1, 16, 256)], &[], &[environment.clone()]).remove(0)
    };
    let table = with(Some(1410.4));
    let efficiency = table.rows[0].efficiency;
    let ratio = efficiency.prefill_sustained_flops.unwrap() / efficiency.prefill_flops.unwrap();
    assert!((ratio - 300.0 / 240.0).abs() < 1e-9);
    let scale = table.scale.as_deref().unwrap();
    assert!(scale.ends_with(", sustained 240.0 GFLOP/s (pytorch-eager) at 1410 MHz"), "{scale}");
    assert!(with(None).scale.unwrap().ends_with(", sustained 240.0 GFLOP/s (pytorch-eager)"));
    assert!(
        results::Grid::efficiency(&table).unwrap().names().contains(&"Prefill FLOP/s of Sustained Peak (%)")
    );
    let csv = report::csv::write(std::slice::from_ref(&table));
    let mut reader = ::csv::Reader::from_reader(csv.as_bytes());
    let place =
        reader.headers().unwrap().iter().position(|name| name == "Prefill FLOP/s of Sustained Peak").unwrap();
    let row = reader.records().next().unwrap().unwrap();
    assert!(row[place].parse::<f64>().is_ok(), "{row:?}");
    assert!(report::json::write(&[table]).contains("\"prefill_flops_of_sustained_peak\": 0."));
    // Where only a burst was measured there is no such column.
    let burst = tables(vec![measured("onnxruntime", 1, 16, 256)], &[], &[with_peaks()]).remove(0);
    assert!(
        !results::Grid::efficiency(&burst).unwrap().names().contains(&"Prefill FLOP/s of Sustained Peak (%)")
    );
}

/// The H100 run that is kept: its records, and the record of its machine.
fn h100() -> Table {
    let records = include_str!("../../../results/llama2-7b-h100/measurements.jsonl");
    let records = records.lines().map(|line| Measurement::from_json(line.as_bytes()).unwrap()).collect();
    let environment = include_str!("../../../results/llama2-7b-h100/environment.json");
    tables(records, &[], &[serde_json::from_str(environment).unwrap()]).remove(0)
}

#[test]
fn mbu_follows_databricks_and_mfu_follows_palm_on_the_kept_h100_run() {
    let table = h100();
    let cell = |engine: &str, batch: u32, prompt: u32| {
        let is_it = |row: &&results::Row| {
            (&*row.key.engine, row.key.batch_size, row.key.prompt_length) == (engine, batch, prompt)
        };
        let row = table.rows.iter().find(is_it).unwrap();
        (row.efficiency, row.figures.clone().unwrap())
    };
    let percent = |share: Option<f64>| format!("{:.1}", 100.0 * share.unwrap());
    // By hand: 13 476 831 232 bytes of parameters, and 524 288 a token and sequence of KV cache.
    let (efficiency, figures) = cell("onnxruntime", 4, 64);
    let bytes = 13_476_831_232.0 + 4.0 * (64.0 + 255.0 / 2.0) * 524_288.0;
    let mbu = bytes / figures.tpot.mean / 3350e9;
    assert!((efficiency.mbu.unwrap() / mbu - 1.0).abs() < 1e-12);
    assert_eq!([efficiency.decode_bandwidth, efficiency.mbu].map(percent), ["61.4", "37.1"]);
    // 2 (6 738 415 616 − 32 000 · 4096) + 4 · 32 · 32 · 128 · 2048 operations a token.
    let (efficiency, figures) = cell("onnxruntime", 16, 2048);
    let flops = 16.0 * 2048.0 * (2.0 * 6_607_343_616.0 + 524_288.0 * 2048.0);
    let mfu = flops / figures.prompt.mean / 989.5e12;
    assert!((efficiency.mfu.unwrap() / mfu - 1.0).abs() < 1e-12);
    assert_eq!([efficiency.prefill_flops, efficiency.mfu].map(percent), ["66.2", "54.9"]);
    let scale = table.scale.unwrap();
    let datasheet = "datasheet peaks of H100 80GB SXM: 3.350 TB/s and 989.5 TFLOP/s";
    assert!(scale.ends_with(datasheet), "{scale}");
}

#[test]
fn without_a_datasheet_there_is_no_mbu_and_without_measured_peaks_there_is() {
    let names = |table: &Table| results::Grid::efficiency(table).map(|grid| grid.names()).unwrap_or_default();
    let on_cpu = tables(vec![measured("onnxruntime", 1, 16, 256)], &[], &[with_peaks()]).remove(0);
    assert!(names(&on_cpu).iter().all(|name| !name.contains("MBU") && !name.contains("MFU")));
    let gpu = r#"{"name": "NVIDIA A100-SXM4-80GB", "memory_bytes": 84987740160, "driver_version": "1"}"#;
    let gpus = vec![serde_json::from_str(gpu).unwrap()];
    let not_measured = Environment { peaks: None, gpus, ..with_peaks() };
    let record = with_key(measured("onnxruntime", 1, 16, 256), |key| key.device = Device::Cuda(0));
    let on_gpu = tables(vec![record], &[], &[not_measured]).remove(0);
    assert_eq!(names(&on_gpu)[3..5], ["MBU (%)", "MFU (%)"]);
    // No engine computes FP32 in TF32.
    let scale = on_gpu.scale.unwrap();
    assert_eq!(scale, "datasheet peaks of A100 80GB SXM: 2.039 TB/s and 19.50 TFLOP/s");
}

#[test]
fn a_second_table_stands_under_the_first() {
    let records = [
        measured("onnxruntime", 1, 16, 256),
        ended("onnxruntime", 16, 2048, FailureKind::OutOfMemory, "std::bad_alloc"),
        measured("<b>|", 4, 16, 256),
    ];
    let tables = tables(records.to_vec(), &[], &[with_peaks()]);
    insta::assert_snapshot!("efficiency_markdown", report::markdown::write(&tables));
    insta::assert_snapshot!("efficiency_terminal", report::terminal::write(&tables, Some(100)));
    let document = results::published::parse(&report::markdown::write(&tables), "table.md").unwrap();
    assert_eq!(document.tables().count(), 1, "the efficiency table is no published table");
}

/// A cell that a GPU of 400 W decoded.
fn on_gpu(gpu: GpuSeries) -> Measurement {
    let record = with_key(measured("onnxruntime", 4, 16, 256), |key| key.device = Device::Cuda(0));
    Measurement { gpu: Some(gpu), ..record }
}

fn watched() -> GpuSeries {
    let phase = |phase, seconds, energy| GpuPhase { phase, seconds, energy_joules: Some(energy) };
    GpuSeries {
        seconds: 10.0,
        energy_joules: Some(3500.0),
        phases: vec![phase(Phase::Prompt, 0.0, 0.0), phase(Phase::Decode, 2.0, 300.0)],
        sample_seconds: vec![1.0, 5.0, 9.0, 9.5],
        power_watts: vec![150.0, 400.0, 410.0, 390.0],
        sm_clock_mhz: vec![1980, 1755, 1410, 1600],
        ..GpuSeries::default()
    }
}

#[test]
fn energy_is_of_the_tokens_that_were_decoded() {
    let tables = tables(vec![on_gpu(watched())], &[], &[environment()]);
    let row = &tables[0].rows[0];
    // 3200 J in 8 s; a forward of 2.1275 ms makes four tokens.
    assert_eq!(row.efficiency.power_watts, Some(400.0));
    assert!((row.efficiency.joules_per_token.unwrap() - 400.0 * 0.002_127_5 / 4.0).abs() < 1e-12);
    // Timed prefills take little of the first 2 s: their power is not known.
    assert_eq!(row.efficiency.joules_per_prompt_token, None);
    let wall = row.figures.as_ref().unwrap().wall.mean;
    assert!((row.efficiency.total_joules_per_token.unwrap() - 400.0 * wall / (4.0 * 256.0)).abs() < 1e-12);
    assert_eq!(row.efficiency.lowest_sm_clock_mhz, Some(1410));
    let markdown = report::markdown::write(&tables);
    let header = "| Batch Size | Prompt Length | Engine | Peak Memory (MiB) | Energy (J/token) | Power (W) | Lowest SM Clock (MHz) | Prompt ± (%) | Token ± (%) |";
    assert!(markdown.contains(&format!("**Efficiency**\n\n{header}\n")), "{markdown}");
    assert!(
        markdown.contains("| 4 | 16 | onnxruntime | 100.0 | 0.2128 | 400 | 1410 | 10.0 | 3.5 |"),
        "{markdown}"
    );
}

#[test]
fn energy_of_a_prompt_token_is_of_prefills_that_fill_their_phase() {
    let record = with_cell(on_gpu(watched()), |cell| cell.series.prompt_seconds = vec![0.2; 9]);
    let tables = tables(vec![record], &[], &[environment()]);
    // 300 J in 2 s; a prefill of 0.2 s is of 4 × 16 tokens.
    let joules = tables[0].rows[0].efficiency.joules_per_prompt_token.unwrap();
    assert!((joules - 150.0 * 0.2 / 64.0).abs() < 1e-12, "{joules}");
}

#[test]
fn clocks_that_disagree_by_more_than_five_percent_are_noted() {
    let notes = |of_prompt: f64, of_token: f64| {
        let record = on_gpu(GpuSeries::default());
        let scaled = |series: &[f64], by: f64| series.iter().map(|seconds| seconds * by).collect();
        let record = with_cell(record, |cell| {
            cell.series.device_seconds = Some(DeviceSeconds {
                prompt: scaled(&cell.series.prompt_seconds, of_prompt),
                tokens: vec![scaled(&cell.series.generations[0].token_seconds, of_token)],
            });
        });
        texts(&tables(vec![record], &[], &[environment()])[0])[1..].to_vec()
    };
    assert_eq!(notes(0.951, 1.049), Vec::<String>::new());
    assert_eq!(
        notes(0.9, 1.06),
        [
            "4×16: onnxruntime: prefills: CUDA events measure 90.0 % of the host clock's time",
            "4×16: onnxruntime: decode forwards: CUDA events measure 106.0 % of the host clock's time",
        ]
    );
}

#[test]
fn a_cell_that_was_throttled_says_why_and_one_that_left_memory_says_so() {
    let driver = Arc::new(FakeDriver::default());
    let throttle = vec![Throttle::SwPowerCap, Throttle::HwThermalSlowdown];
    driver.set_samples(vec![Sample { throttle, ..Sample::default() }]);
    let series = Monitor::start(driver, 0).unwrap().stop();
    let hot = on_gpu(GpuSeries { left_bytes: Some(3 << 29), ..series });
    let cool = with_key(on_gpu(watched()), |key| key.batch_size = 1);
    let notes = texts(&tables(vec![hot, cool], &[], &[environment()])[0]);
    assert_eq!(
        notes,
        [
            "prompt latency: mean of 3 timed forwards (published procedure: 100)".to_owned(),
            "4×16: onnxruntime: GPU clocks throttled: temperature (hardware) (100 % of the time)".into(),
            "4×16: onnxruntime: 1.50 GiB of GPU memory were not freed when the worker ended".into(),
        ]
    );
}

#[test]
fn a_cell_that_was_measured_again_says_after_how_many_tries() {
    let notes = |throttled_tries: &[u32]| {
        let replicate = |(replicate, throttled_tries)| Measurement {
            replicate,
            ..on_gpu(GpuSeries { throttled_tries, ..watched() })
        };
        let records: Vec<_> = (0..).zip(throttled_tries.iter().copied()).map(replicate).collect();
        texts(&tables(records.to_vec(), &[], &[environment()])[0])[1..].to_vec()
    };
    assert_eq!(notes(&[0, 0]), Vec::<String>::new());
    let note = |attempts: &str| {
        format!(
            "4×16: onnxruntime: measured again: the GPU throttled in {attempts}, and not because of its power limit"
        )
    };
    assert_eq!(notes(&[1]), [note("1 earlier attempt")]);
    assert_eq!(notes(&[0, 2]), [note("2 earlier attempts")]);
}

#[test]
fn locked_clocks_are_noted() {
    let locked = Environment { locked_gpu_clocks: Some(LockedClock::Base), ..environment() };
    let notes = texts(&tables(vec![on_gpu(watched())], &[], &[locked])[0]);
    assert_eq!(notes.last().unwrap(), "GPU clocks locked: base (lock_gpu_clocks)");
}

#[test]
fn decode_is_compared_with_the_bandwidth_measured_with_each_replicate() {
    let replicate = |replicate, read_bytes_per_second| Measurement {
        replicate,
        read_bytes_per_second,
        ..measured("onnxruntime", 1, 16, 256)
    };
    let of = |second| {
        let records = [replicate(0, Some(20e9)), replicate(1, second)];
        tables(records.to_vec(), &[], &[with_peaks()]).remove(0)
    };
    let efficiency = |table: &Table| table.rows[0].efficiency;
    let of_run = efficiency(&of(None));
    assert_eq!(of_run.read_bytes_per_second, None, "not known of every replicate");

    // Half and all of the run's 40 GB/s: twice the share and the share.
    let table = of(Some(40e9));
    let beside = efficiency(&table);
    assert_eq!(beside.read_bytes_per_second, Some(30e9));
    assert!((beside.decode_bandwidth.unwrap() / of_run.decode_bandwidth.unwrap() - 1.5).abs() < 1e-9);
    assert_eq!(
        table.scale.as_deref(),
        Some("peak bandwidth measured with each cell, peak 300.0 GFLOP/s (onnxruntime)")
    );
    let markdown = report::markdown::write(&[table]);
    assert!(markdown.contains("| Decode Bandwidth of Measured Peak (%) | Memory Beside (GB/s) | Prefill FLOP/s of Measured Peak (%) |"), "{markdown}");
}
