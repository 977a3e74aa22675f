//! Each precision of a model compared with the one of the most bits: speed and memory, a bar an engine.

use compare::{KnownRatio, PrecisionRatios, Subject};
use indexmap::IndexMap;
use protocol::CellSize;
use results::{Run, format_short};

use super::interval_text;
use super::ratio_bars::{BarsFrame, RatioBar, bars_panel, interval_sign, left_out_words};
use crate::plot::{DataTable, Legend, Plot};
use crate::scene::{Group, Scene};

/// Phases, with what their panels are called and what the axes are.
const PANELS: [(&str, &str, &str); 3] = [
    ("TPOT", "time per output token", "times as fast, logarithmic"),
    ("prefill", "prefill", "times as fast, logarithmic"),
    ("memory", "peak memory", "share of the memory, logarithmic"),
];

/// The precisions of one model in a run that are compared with the same one, by engine.
pub(crate) struct ModelPrecisions<'a> {
    pub(crate) run: usize,
    /// The tables' heading without a precision.
    pub(crate) model: String,
    pub(crate) by_engine: Vec<(&'a str, PrecisionRatios)>,
}

/// Every model that a run has in several precisions.
pub(crate) fn of_runs<'a>(scene: &Scene<'a>) -> Vec<ModelPrecisions<'a>> {
    let of_run = |(run, measured): (usize, &&Run)| {
        let subject = Subject::from_run(measured).ok();
        // Engines can lack figures in the precision of the most bits, and are compared with another one then.
        let mut models: IndexMap<_, Vec<(&'a str, PrecisionRatios)>> = IndexMap::new();
        for engine in scene.engines() {
            for ratios in subject.iter().flat_map(|subject| PrecisionRatios::compare(subject, engine)) {
                let key = (ratios.model().to_owned(), ratios.compared_with());
                models.entry(key).or_default().push((engine, ratios));
            }
        }
        models.into_iter().map(move |((model, _), by_engine)| ModelPrecisions { run, model, by_engine })
    };
    scene.runs.iter().enumerate().flat_map(of_run).collect()
}

/// A plot for each model that a run has in several precisions.
pub(crate) fn precision_plots(scene: &Scene<'_>, models: &[ModelPrecisions<'_>]) -> Vec<Plot> {
    let groups = scene.groups();
    let plots = models.iter().filter_map(|model| plot(scene, &groups, model));
    plots.zip(1..).map(|(plot, number)| Plot { id: numbered(number), ..plot }).collect()
}

fn numbered(number: usize) -> String {
    if number == 1 { "precisions".into() } else { format!("precisions-{number}") }
}

fn plot(scene: &Scene<'_>, groups: &[Group<'_>], precisions: &ModelPrecisions<'_>) -> Option<Plot> {
    let ModelPrecisions { run, model, by_engine } = precisions;
    let (_, first) = by_engine.first()?;
    let base = first.compared_with().to_string();
    let group_in = |precision: &str| {
        groups.iter().find(|group| {
            let mut headings =
                group.tables.iter().filter(|(of, _)| of == run).map(|(_, table)| &table.heading);
            headings.any(|heading| {
                heading.precision.to_string() == precision && heading.without_precision() == *model
            })
        })
    };
    let known: Vec<(&str, KnownRatio<'_>)> = by_engine
        .iter()
        .flat_map(|(engine, ratios)| ratios.known().map(move |known| (*engine, known)))
        .collect();
    let mut left_out = 0;
    let panel = |(phase, title, below): (&'static str, &str, &'static str)| {
        let mut of_phase: Vec<_> = known.iter().filter(|(_, known)| known.phase == phase).collect();
        let order = |name: &str| known.iter().position(|(_, known)| known.other == name);
        of_phase.sort_by_key(|(_, known)| (order(known.other), known.size));
        let bars: Vec<RatioBar<'_>> = of_phase
            .into_iter()
            .map(|(engine, known)| RatioBar {
                engine,
                name: scene.series(engine, *run),
                label: format!("{} {}", known.other, known.size),
                ratio: known.ratio,
                interval: known.interval,
                cell: group_in(known.other).and_then(|group| group.cell_index(*run, engine, known.size)),
            })
            .collect();
        // A single group has no label beside its bars.
        let of_single = match bars.split_first() {
            Some((first, rest)) if rest.iter().all(|bar| bar.label == first.label) => {
                format!(", {}", first.label)
            }
            _ => String::new(),
        };
        let frame = BarsFrame {
            title: format!("{title}{of_single}{}", scene.run_suffix(*run)),
            description: format!("Precisions compared with {base}: {title}"),
            unit: "precision, batch × prompt",
            below,
        };
        let (panel, left) = (!bars.is_empty()).then(|| bars_panel(scene, frame, &bars))?;
        left_out = left_out.max(left);
        Some(panel)
    };
    let panels: Vec<_> = PANELS.into_iter().filter_map(panel).collect();
    let mut legend = Legend::of_bars(scene, group_in(&base)?);
    let has_intervals = known.iter().any(|(_, known)| known.interval.is_some());
    legend.0.extend(interval_sign(has_intervals));
    let row = |(engine, known): &(&str, KnownRatio<'_>)| {
        let CellSize { batch_size, prompt_length } = known.size;
        vec![
            known.other.to_owned(),
            scene.series(engine, *run),
            batch_size.to_string(),
            prompt_length.to_string(),
            known.phase.to_owned(),
            format_short(known.ratio),
            interval_text(known.interval),
        ]
    };
    let compared = format!("Compared with {base}");
    let columns =
        ["Precision", "Engine", "Batch Size", "Prompt Length", "Phase", compared.as_str(), "95 % interval"];
    (!panels.is_empty()).then(|| Plot {
        id: String::new(),
        title: format!("Precisions compared with {base}, {model}{}", scene.run_suffix(*run)),
        caption: format!(
            "The latency in {base} over the precision's, with the same engine in the same cell: above 1 the precision is faster. Memory is \
             the share of {base}'s peak memory. Ratios are of medians{}.{}",
            if has_intervals { ", replicate by replicate" } else { "" },
            left_out_words(left_out)
        ),
        legend,
        panels,
        table: DataTable {
            columns: columns.map(str::to_owned).to_vec(),
            rows: known.iter().map(row).collect(),
        },
        reference: None,
    })
}
