//! `summary.csv`: the published columns, then outcomes and statistics.

use results::{
    COLUMNS, Csv, Efficiency, Exported, Exporter, Figures, Row, Table, csv_field, format_g10, published,
};

use crate::export_input::{ExportInput, tables_of};

/// The columns after the published ones. New columns come last, so that readers of a column by its place keep working.
const MORE: [&str; 42] = [
    "Outcome",
    "Phase",
    "Error",
    "Inferred From",
    "Parts",
    "Replicates",
    "Prompt Runs",
    "Prompt Latency Median (ms)",
    "Prompt Latency Deviation (ms)",
    "Prompt Latency P95 (ms)",
    "Token Latency Median (ms)",
    "Token Latency Deviation (ms)",
    "Token Latency P95 (ms)",
    "Between Share",
    "Peak Memory (bytes)",
    "Tokens SHA-256",
    "Decode Bandwidth of Measured Peak",
    "Prefill FLOP/s of Measured Peak",
    "Energy (J/token)",
    "Power (W)",
    "Lowest SM Clock (MHz)",
    "Memory Beside (bytes/s)",
    "Prefill FLOP/s of Sustained Peak",
    "Prompt Latency P90 (ms)",
    "Prompt Latency P99 (ms)",
    "Token Latency P90 (ms)",
    "Token Latency P99 (ms)",
    "Generations",
    "TPOT (ms)",
    "TPOT Median (ms)",
    "TPOT Deviation (ms)",
    "TPOT P90 (ms)",
    "TPOT P99 (ms)",
    "Wall-Clock Latency Median (s)",
    "Wall-Clock Latency Deviation (s)",
    "Wall-Clock Latency P90 (s)",
    "Wall-Clock Latency P99 (s)",
    "MBU",
    "MFU",
    "Scripted",
    "Prefill Energy (J/token)",
    "Total Energy (J/token)",
];

/// `summary.csv`; of files their own columns.
impl Exporter<ExportInput<'_>> for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn write(&self, input: &ExportInput<'_>) -> Exported {
        match input {
            ExportInput::Runs(runs) => write(tables_of(runs)).into(),
            ExportInput::Document(document) => published::csv::write(document).into(),
        }
    }
}

/// All tables in one, the heading as the first column.
pub fn write<'a>(tables: impl IntoIterator<Item = &'a Table>) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = ["Table"].into_iter().chain(COLUMNS).chain(MORE);
    writer.write_record(header).expect("memory takes every record");
    for table in tables {
        let heading = table.heading.to_string();
        for row in &table.rows {
            writer.write_record(record(&heading, row)).expect("memory takes every record");
        }
    }
    String::from_utf8(writer.into_inner().expect("memory takes every record")).expect("text was written")
}

fn record(heading: &str, row: &Row) -> Vec<String> {
    let (engine, size, failure) = (&row.key.engine, row.key.size(), row.failure());
    let mut record = vec![
        csv_field(heading),
        csv_field(engine),
        size.batch_size.to_string(),
        size.prompt_length.to_string(),
    ];
    record.extend(row.texts());
    record.push(row.outcome_word().into());
    let phase = failure.and_then(|failure| failure.phase);
    record.push(phase.map(|phase| phase.to_string()).unwrap_or_default());
    record.push(failure.map(|failure| csv_field(&failure.error)).unwrap_or_default());
    let from = failure.and_then(|failure| failure.inferred_from);
    record.push(from.map(|from| from.to_string()).unwrap_or_default());
    let parts: Vec<String> = row.parts().iter().map(ToString::to_string).collect();
    record.push(parts.join(" "));
    record.push(row.replicates.len().to_string());
    match &row.figures {
        Some(figures) => {
            let milliseconds = |seconds: f64| format_g10(seconds * 1e3);
            record.push(figures.prompt.count.to_string());
            for summary in [&figures.prompt, &figures.token] {
                record.extend([summary.median, summary.deviation, summary.p95].map(milliseconds));
            }
            record.push(format_g10(figures.between_share));
        }
        None => record.extend([(); 8].map(|()| String::new())),
    }
    record.push(row.peak_bytes().map(|bytes| bytes.to_string()).unwrap_or_default());
    record.push(csv_field(row.tokens_sha256().unwrap_or("")));
    let Efficiency {
        decode_bandwidth,
        read_bytes_per_second,
        prefill_flops,
        prefill_sustained_flops,
        mbu,
        mfu,
        joules_per_token,
        joules_per_prompt_token,
        total_joules_per_token,
        power_watts,
        lowest_sm_clock_mhz,
    } = row.efficiency;
    let clock = lowest_sm_clock_mhz.map(f64::from);
    let efficiency = [
        decode_bandwidth,
        prefill_flops,
        joules_per_token,
        power_watts,
        clock,
        read_bytes_per_second,
        prefill_sustained_flops,
    ];
    record.extend(efficiency.map(|figure| figure.map(format_g10).unwrap_or_default()));
    match &row.figures {
        Some(figures) => record.extend(percentiles(figures)),
        None => record.extend([(); 14].map(|()| String::new())),
    }
    record.extend([mbu, mfu].map(|share| share.map(format_g10).unwrap_or_default()));
    record.push(if row.is_scripted { "yes".into() } else { String::new() });
    let energies = [joules_per_prompt_token, total_joules_per_token];
    record.extend(energies.map(|joules| joules.map(format_g10).unwrap_or_default()));
    record
}

/// The columns from "Prompt Latency P90 (ms)" on.
fn percentiles(figures: &Figures) -> [String; 14] {
    let Figures { prompt, token, tpot, wall, .. } = figures;
    let milliseconds = |seconds: f64| format_g10(seconds * 1e3);
    [
        milliseconds(prompt.p90),
        milliseconds(prompt.p99),
        milliseconds(token.p90),
        milliseconds(token.p99),
        wall.count.to_string(),
        milliseconds(tpot.mean),
        milliseconds(tpot.median),
        milliseconds(tpot.deviation),
        milliseconds(tpot.p90),
        milliseconds(tpot.p99),
        format_g10(wall.median),
        format_g10(wall.deviation),
        format_g10(wall.p90),
        format_g10(wall.p99),
    ]
}
