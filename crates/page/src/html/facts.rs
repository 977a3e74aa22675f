//! What the runs are of: device, model, precision; and everything else that figures depend on.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use results::{Machine, Run};

use crate::plot::grouped;
use crate::plot::text::escape;
use crate::roofline_cost::RooflineScale;
use crate::scene::{Group, Scene};

pub(super) fn header(scene: &Scene<'_>, groups: &[Group<'_>]) -> String {
    let title = match groups {
        [] => "No cells".to_owned(),
        [one] => one.title.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.title, rest.len()),
    };
    let mut text = format!("<header><h1>{}</h1>\n", escape(&title));
    for run in &scene.runs {
        text.push_str("<dl class=\"facts\">");
        for (name, fact) in of_run(run) {
            let _ = write!(text, "<div><dt>{name}</dt><dd><bdi>{}</bdi></dd></div>", escape(&fact));
        }
        text.push_str("</dl>\n");
    }
    text.push_str("<nav><a href=\"#short\">In short</a> <a href=\"#doubts\">Doubts</a> ");
    for group in groups {
        let name = if groups.len() == 1 { "Plots" } else { &group.title };
        let _ = write!(text, "<a href=\"#{}\">{}</a> ", group.id, escape(name));
    }
    text + "<a href=\"#tables\">Tables</a> <a href=\"#series\">Raw series</a></nav>\n</header>\n"
}

fn of_run(run: &Run) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Run", run.name.clone())];
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
    let models: BTreeSet<String> = run.tables.iter().map(model).collect();
    facts.push(("Model", models.into_iter().collect::<Vec<_>>().join(", ")));
    let precisions: BTreeSet<String> =
        run.tables.iter().map(|table| table.key.precision.to_string().to_uppercase()).collect();
    facts.push(("Precision", precisions.into_iter().collect::<Vec<_>>().join(", ")));
    let rows: usize = run.tables.iter().map(|table| table.rows.len()).sum();
    let replicates =
        run.tables.iter().flat_map(|table| &table.rows).map(|row| row.replicates.len()).max().unwrap_or(0);
    let many = if replicates > 1 { format!(", {replicates} replicates") } else { String::new() };
    facts.push(("Cells", format!("{rows}{many}")));
    if let Some(environment) = environment {
        facts.push(("Began", environment.started.clone()));
    }
    facts
}

/// Everything that figures depend on, to be opened.
pub(super) fn details(scene: &Scene<'_>) -> String {
    let mut text = String::from("<section id=\"environment\"><h2>Measured with</h2>\n");
    for run in &scene.runs {
        for (part, environment) in run.environments.iter().enumerate() {
            let part =
                if run.environments.len() == 1 { String::new() } else { format!(", part {}", part + 1) };
            let _ = write!(
                text,
                "<details><summary><bdi>{}</bdi>{part}</summary>\n<dl class=\"all\">",
                escape(&run.name)
            );
            let own = [
                ("kernel".to_owned(), environment.kernel.clone()),
                ("began".to_owned(), environment.started.clone()),
            ];
            for (name, fact) in
                own.into_iter().chain(environment.facts()).filter(|(_, fact)| !fact.is_empty())
            {
                let _ = write!(
                    text,
                    "<dt><bdi>{}</bdi></dt><dd><bdi>{}</bdi></dd>",
                    escape(&name),
                    escape(&fact)
                );
            }
            text.push_str("</dl></details>\n");
        }
    }
    text + "<p class=\"fine\">Made by llama2-bench from the run's own records; docs/concepts/ defines every figure.</p>\n</section>\n"
}
