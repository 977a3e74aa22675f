//! Facts about the runs: device, model and precision, and everything else that figures depend on.

use std::collections::BTreeSet;

use indexmap::IndexSet;
use maud::{Markup, html};
use results::{Machine, Run, counted};

use crate::plot::grouped;
use crate::roofline_cost::RooflineScale;
use crate::scene::{Group, Scene, letter};

pub(super) fn header(
    scene: &Scene<'_>,
    groups: &[Group<'_>],
    comparisons: usize,
    has_precisions: bool,
) -> Markup {
    let title = match groups {
        [] => "No cells".to_owned(),
        [one] => one.title.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.title, rest.len()),
    };
    html! {
        header {
            h1 { (title) }
            @for (index, run) in scene.runs.iter().enumerate() {
                dl class="facts" {
                    @for (name, fact) in of_run(run, &run_title(scene.runs.len(), index, comparisons)) { div { dt { (name) } dd { bdi { (fact) } } } }
                }
            }
            nav {
                a href="#caveats" { "Caveats" } " "
                @for number in 1..=comparisons {
                    a href=(format!("#compared-{number}")) { "Comparison" @if comparisons > 1 { " " (number) } } " "
                }
                @if has_precisions { a href="#precisions" { "Precisions" } " " }
                @for group in groups {
                    a href=(format!("#{}", group.id)) { @if groups.len() == 1 { "Plots" } @else { (group.title) } } " "
                }
                @if !groups.is_empty() {
                    a href="#engine-summary" { "Engines" } " " a href="#tables" { "Tables" } " "
                }
                a href="#series" { "Raw series" } " " a href="#environment" { "Environment" }
            }
        }
    }
}

/// `Run`; of several with its letter, and which is compared with which.
fn run_title(count: usize, index: usize, comparisons: usize) -> String {
    let role = match (index, comparisons) {
        (_, 0) => "",
        (0, _) => " (baseline)",
        _ => " (candidate)",
    };
    if count == 1 { "Run".to_owned() } else { format!("Run {}{role}", letter(index)) }
}

/// How many samples each measured cell has: `1 replicate, 6 prefills, 1 generation of 256 tokens`.
fn samples(run: &Run) -> Option<String> {
    let rows = run.tables.iter().flat_map(|table| &table.rows);
    let row = rows.filter(|row| row.figures.is_some()).max_by_key(|row| row.replicates.len())?;
    let series = row.replicates.first()?.series()?;
    Some(format!(
        "{}, each {}, {} of {} tokens",
        counted(row.replicates.len(), "replicate"),
        counted(series.prompt_seconds.len(), "prefill"),
        counted(series.generations.len(), "generation"),
        row.key.generation_length
    ))
}

fn of_run<'t>(run: &Run, title: &'t str) -> Vec<(&'t str, String)> {
    let mut facts = vec![(title, run.name.clone())];
    let environment = run.environments.first();
    let machine = environment.map(Machine::from).unwrap_or_default();
    let on_gpu = run.tables.iter().any(|table| table.key.device != protocol::Device::Cpu);
    let gpus: BTreeSet<&str> = machine.gpus.iter().map(|(name, _)| name.as_str()).collect();
    let device = if on_gpu && !gpus.is_empty() {
        let world = run.tables.iter().map(|table| table.key.ranks.measured()).max().unwrap_or(1);
        format!("{world} × {}", gpus.into_iter().collect::<Vec<_>>().join(", "))
    } else {
        format!("{}, {} cores", machine.cpu, machine.cores)
    };
    facts.push(("Device", device));
    let model = |table: &results::Table| {
        let parameters = RooflineScale::new(run, table).map(|scale| {
            format!(" ({} M parameters)", grouped(&format!("{:.0}", scale.parameters() as f64 / 1e6)))
        });
        format!("{}{}", table.key.model, parameters.unwrap_or_default())
    };
    let models: IndexSet<String> = run.tables.iter().map(model).collect();
    facts.push(("Model", models.into_iter().collect::<Vec<_>>().join(", ")));
    let precisions: IndexSet<String> =
        run.tables.iter().map(|table| table.key.precision.to_string().to_uppercase()).collect();
    facts.push(("Precision", precisions.into_iter().collect::<Vec<_>>().join(", ")));
    let rows: usize = run.tables.iter().map(|table| table.rows.len()).sum();
    facts.push(("Cells", rows.to_string()));
    if let Some(samples) = samples(run) {
        facts.push(("Samples of a cell", samples));
    }
    if let Some(environment) = environment {
        facts.push(("Started", environment.started.clone()));
    }
    facts.retain(|(_, fact)| !fact.is_empty());
    facts
}

/// Everything that figures depend on, folded.
pub(super) fn details(scene: &Scene<'_>) -> Markup {
    let parts = scene.runs.iter().flat_map(|run| {
        let count = run.environments.len();
        run.environments.iter().enumerate().map(move |(part, environment)| {
            let part = if count == 1 { String::new() } else { format!(", part {}", part + 1) };
            (&run.name, part, environment)
        })
    });
    html! {
        section id="environment" {
            h2 { "Environment" }
            @for (name, part, environment) in parts {
                details {
                    summary { bdi { (name) } (part) }
                    dl class="all" {
                        @let own = [
                            ("kernel".to_owned(), environment.kernel.clone()),
                            ("started".to_owned(), environment.started.clone()),
                        ];
                        @for (name, fact) in own.into_iter().chain(environment.facts()).filter(|(_, fact)| !fact.is_empty()) {
                            dt { bdi { (name) } }
                            dd { bdi { (fact) } }
                        }
                    }
                }
            }
            p class="fine" { "Generated by llama2-bench from the records of the run; docs/concepts/ defines every figure." }
        }
    }
}
