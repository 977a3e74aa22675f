//! One fault planted in each of a thousand sound tables: how many are found.
//!
//! `cargo nextest run -p audit --test random --no-capture -E 'test(planted)'` prints the table of docs/concepts/audit.md.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use protocol::Precision;
use results::published::{PrintedFigure, PublishedTable};

use crate::common::{DEVICES, Engine, Model, Print, Sweep, audited, models, read, table};
use crate::strategies::{engines, noise, sweep};

const TABLES: usize = 1000;

/// A sound table, what it was made of, and a number to choose by.
struct Sound {
    table: PublishedTable,
    sweep: Sweep,
    model: Model,
    choice: u64,
}

impl Sound {
    /// A row with figures, and its place.
    fn row(&self, skip: u64) -> Option<usize> {
        let rows: Vec<usize> = (0..self.table.rows.len()).filter(|row| self.get(*row, 6).is_some()).collect();
        let index = (self.choice / 7 + skip) % u64::try_from(rows.len()).ok()?.max(1);
        rows.get(index as usize).copied()
    }

    fn get(&self, row: usize, column: usize) -> Option<f64> {
        self.table.rows[row].cells[column].figure().map(|figure| figure.value)
    }

    fn set(&mut self, row: usize, column: usize, value: f64) {
        self.table.rows[row].cells[column] = PrintedFigure::parse(&self.sweep.print.text(value)).unwrap();
    }

    fn clear(&mut self, row: usize, columns: &[usize]) {
        for column in columns {
            self.table.rows[row].cells[*column] = PrintedFigure::parse("N/A").unwrap();
        }
    }

    /// Tokens that a latency column counts.
    fn tokens(&self, row: usize, column: usize) -> f64 {
        let row = &self.table.rows[row];
        let [batch, prompt] = [row.batch_size, row.prompt_length].map(f64::from);
        match column {
            0 => batch * prompt,
            6 => batch * (prompt + f64::from(self.sweep.generation)),
            _ => batch,
        }
    }

    /// Sets a latency in the column's unit, and the throughput beside it so that they agree.
    fn set_latency(&mut self, row: usize, column: usize, value: f64) {
        let seconds = if column == 6 { value } else { value / 1e3 };
        self.set(row, column, value);
        self.set(row, column + 1, self.tokens(row, column) / seconds);
    }

    /// A share from 0 to 1.
    fn share(&self) -> f64 {
        (self.choice % 1009) as f64 / 1008.0
    }

    /// The least seconds of a token by its bytes, and operations of a prompt.
    fn costs(&self, row: usize) -> [f64; 2] {
        let row = &self.table.rows[row];
        let [batch, prompt] = [row.batch_size, row.prompt_length].map(u64::from);
        let bytes = self.model.read_bytes(self.sweep.precision, batch, prompt);
        let flops = self.model.flops(batch, prompt, 0);
        [bytes, flops].map(|work| work / f64::from(self.sweep.count))
    }
}

/// A kind of fault: plants it, unless the table gives no room for it, and says which rules would name it.
struct Fault {
    name: &'static str,
    plant: fn(&mut Sound) -> Option<()>,
    rules: &'static [&'static str],
    /// The least that are found of a hundred; docs/concepts/audit.md has what was measured.
    least: usize,
}

const FAULTS: [Fault; 11] = [
    Fault {
        name: "a throughput 2 to 50 % off its latency",
        plant: |sound| {
            let (row, column) = (sound.row(0)?, 2 * (sound.choice % 4) as usize);
            let factor = 1.02 + 0.48 * sound.share();
            let factor = if sound.choice % 2 == 0 { factor } else { 1.0 / factor };
            let value = sound.get(row, column + 1)? * factor;
            sound.set(row, column + 1, value);
            Some(())
        },
        rules: &["throughput"],
        least: 90,
    },
    Fault {
        name: "a throughput in a latency's place",
        plant: |sound| {
            let row = sound.row(0)?;
            let throughput = sound.get(row, 3)?;
            sound.set(row, 2, throughput);
            Some(())
        },
        rules: &["throughput-as-latency", "throughput", "wall-clock-short", "first-128-256"],
        least: 90,
    },
    Fault {
        name: "a wall clock alone, 10 to 50 % below the device's peaks",
        plant: |sound| {
            let row = sound.row(0)?;
            let [bytes, _] = sound.costs(row);
            let seconds = bytes / sound.sweep.device.bandwidth * f64::from(sound.sweep.generation - 1);
            sound.clear(row, &[0, 1, 2, 3, 4, 5]);
            let factor = 0.9 - 0.4 * sound.share();
            sound.set_latency(row, 6, seconds * factor);
            Some(())
        },
        rules: &["wall-clock-peak"],
        least: 80,
    },
    Fault {
        name: "throughputs alone, 10 to 100 % above the device's peaks",
        plant: |sound| {
            let row = sound.row(0)?;
            let [bytes, _] = sound.costs(row);
            let fastest = sound.tokens(row, 2) * sound.sweep.device.bandwidth / bytes;
            sound.clear(row, &[0, 1, 2, 4, 5, 6, 7]);
            let factor = 1.1 + 0.9 * sound.share();
            sound.set(row, 3, fastest * factor);
            Some(())
        },
        rules: &["token-bandwidth"],
        least: 80,
    },
    Fault {
        name: "a row copied to another cell of its table",
        plant: |sound| {
            let (row, other) = (sound.row(0)?, sound.row(1 + sound.choice % 5)?);
            if row == other {
                return None;
            }
            for column in [0, 2, 4, 6] {
                match sound.get(row, column) {
                    Some(latency) => sound.set_latency(other, column, latency),
                    None => sound.clear(other, &[column, column + 1]),
                }
            }
            Some(())
        },
        rules: &["copied-rows"],
        least: 70,
    },
    Fault {
        name: "an engine's rows copied from another engine's",
        plant: |sound| {
            let rows = sound.table.rows.len() / 2;
            if sound.table.rows.first()?.engine == sound.table.rows.last()?.engine
                || sound.table.rows.len() % 2 == 1
            {
                return None;
            }
            let first = sound.table.rows[0].engine.clone();
            let copied = sound.table.rows.iter().filter(|row| row.engine == first).count();
            if copied != rows {
                return None;
            }
            for row in 0..rows {
                sound.table.rows[rows + row].cells = sound.table.rows[row].cells.clone();
            }
            sound.row(0).map(|_| ())
        },
        rules: &["copied-rows"],
        least: 70,
    },
    Fault {
        name: "wall clocks of 128 tokens beside a first-256 column",
        plant: |sound| {
            for row in 0..sound.table.rows.len() {
                let Some(wall) = sound.get(row, 6) else { continue };
                let wall = wall - 128.0 * sound.get(row, 4)? / 1e3;
                let (batch, prompt) = (sound.table.rows[row].batch_size, sound.table.rows[row].prompt_length);
                sound.set(row, 6, wall);
                sound.set(row, 7, f64::from(batch) * (f64::from(prompt) + 128.0) / wall);
            }
            (sound.sweep.generation == 256).then_some(())?;
            sound.row(0).map(|_| ())
        },
        rules: &["generation-length", "wall-clock-short"],
        least: 85,
    },
    Fault {
        name: "all times a thousand times too long",
        plant: |sound| scale(sound, 1e3),
        rules: &["far-below-peak"],
        least: 85,
    },
    Fault {
        name: "all times a thousand times too short",
        plant: |sound| scale(sound, 1e-3),
        rules: &["token-bandwidth", "prompt-bandwidth", "token-compute", "prompt-compute", "wall-clock-peak"],
        least: 85,
    },
    Fault {
        name: "a wall clock 4 % below its parts",
        plant: |sound| {
            let row = sound.row(0)?;
            let column = if sound.get(row, 4).is_some() { 4 } else { 2 };
            let tokens = f64::from(sound.sweep.generation) * sound.get(row, column)? / 1e3;
            let parts = sound.get(row, 0)? / 1e3 + tokens;
            sound.set_latency(row, 6, parts * 0.96);
            Some(())
        },
        rules: &["wall-clock-short"],
        least: 60,
    },
    Fault {
        name: "a prompt at 1.1 to 1.9 × the peak with FP32 sums, on RTX 4090",
        plant: |sound| {
            if !sound.sweep.device.name.starts_with("RTX") || sound.sweep.precision != Precision::Fp16 {
                return None;
            }
            let row = sound.row(0)?;
            let [_, flops] = sound.costs(row);
            let factor = 1.1 + 0.8 * sound.share();
            // As fast as the card's clock can go at most.
            let seconds = flops / (165.2e12 * 1.24 * factor);
            (seconds * 1e3 < sound.get(row, 0)?).then_some(())?;
            sound.set_latency(row, 0, seconds * 1e3);
            Some(())
        },
        rules: &["fp32-accumulation", "prompt-bandwidth"],
        least: 80,
    },
];

fn scale(sound: &mut Sound, factor: f64) -> Option<()> {
    for row in 0..sound.table.rows.len() {
        for column in [0, 2, 4, 6] {
            if let Some(latency) = sound.get(row, column) {
                sound.set_latency(row, column, latency * factor);
            }
        }
    }
    sound.row(0).map(|_| ())
}

#[test]
fn planted_faults_are_found() {
    let mut runner = TestRunner::deterministic();
    let models = models();
    let mut draw = |device: Option<usize>| {
        let strategy = (sweep(), engines(), 1usize..5, 0.002f64..0.03, proptest::num::u64::ANY);
        let (mut sweep, engines, model, level, seed): (Sweep, Vec<Engine>, usize, f64, u64) =
            strategy.new_tree(&mut runner).unwrap().current();
        if let Some(device) = device {
            (sweep.device, sweep.precision, sweep.count) = (DEVICES[device], Precision::Fp16, 1);
        }
        let model = models[model].clone();
        let text = table(&sweep, &model, &engines, &mut noise(level, seed));
        Sound { table: read(&text).remove(0), sweep, model, choice: seed >> 8 }
    };
    println!("| fault | found | impossible |\n|---|---|---|");
    let mut missed = Vec::new();
    for fault in FAULTS {
        let (mut planted, mut found, mut impossible) = (0, 0, 0);
        let consumer = fault.name.contains("RTX 4090").then_some(5);
        for _ in 0..30 * TABLES {
            let mut sound = draw(consumer);
            if matches!(sound.sweep.print, Print::Plain(_)) && sound.choice % 2 == 0 {
                sound.sweep.print = Print::Short(10);
            }
            if (fault.plant)(&mut sound).is_none() {
                continue;
            }
            planted += 1;
            let report = audited(std::slice::from_ref(&sound.table));
            let named = report.findings.iter().any(|finding| fault.rules.contains(&finding.rule));
            found += usize::from(named);
            impossible += usize::from(named && report.is_impossible());
            if planted == TABLES {
                break;
            }
        }
        let percent = |count: usize| format!("{:.1} %", 100.0 * count as f64 / planted as f64);
        println!("| {} | {} | {} |", fault.name, percent(found), percent(impossible));
        if planted < TABLES || 100 * found < fault.least * planted {
            missed.push(format!("{}: {found} of {planted}", fault.name));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
