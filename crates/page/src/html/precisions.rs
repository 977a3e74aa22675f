//! Precisions side by side: their speed, memory, and how far their weights are from the unquantized ones.

use indexmap::IndexMap;
use maud::{Markup, html};
use protocol::Fidelity;
use results::fidelity_words;

use super::figure;
use crate::plot::{Plot, ends};
use crate::plots::ModelPrecisions;
use crate::scene::Scene;

/// Nothing where no run has a model in several precisions, or their only plot stands elsewhere.
pub(super) fn section<'p>(
    scene: &Scene<'_>,
    models: &[ModelPrecisions<'_>],
    plots: impl Iterator<Item = &'p Plot>,
) -> Markup {
    let plots: Vec<&Plot> = plots.collect();
    let has_fidelities = models.iter().any(|model| fidelities_of(model).is_some());
    html! {
        @if has_fidelities || !plots.is_empty() {
            section id="precisions-compared" {
                h2 { "Precisions" }
                @for model in models {
                    (fidelities(model, &format!("{}{}", model.model, scene.run_suffix(model.run))))
                }
                (figure::figures(plots.into_iter()))
            }
        }
    }
}

/// Those of the first engine that has any: they are the same for every engine.
fn fidelities_of<'m>(model: &'m ModelPrecisions<'_>) -> Option<&'m IndexMap<String, Fidelity>> {
    model.by_engine.iter().map(|(_, ratios)| ratios.fidelities()).find(|known| !known.is_empty())
}

/// How far the weights are from the unquantized ones.
fn fidelities(model: &ModelPrecisions<'_>, title: &str) -> Markup {
    html! {
        @if let Some(known) = fidelities_of(model) {
            p { (title) }
            ul {
                @for (precision, fidelity) in known {
                    li { b { (precision) } ": " (fidelity_words(fidelity)) "." }
                }
            }
        }
    }
}

/// The engine and precision that gain most by their time per output token, in a sentence; `None` where a run has one precision.
pub(super) fn headline(models: &[ModelPrecisions<'_>]) -> Option<String> {
    let by_engine = models.first()?.by_engine.iter();
    let tpot = by_engine.flat_map(|(engine, ratios)| {
        let known = ratios.known().filter(|known| known.phase == "TPOT");
        known.map(move |known| (known.ratio, known.other, *engine, ratios))
    });
    let (_, best, engine, ratios) = tpot.max_by(|one, other| one.0.total_cmp(&other.0))?;
    let range = |phase: &str| {
        let of_best = ratios.known().filter(|known| known.phase == phase && known.other == best);
        let (least, most) = ends(of_best.map(|known| known.ratio));
        let [least, most] = [least, most].map(|ratio| format!("{ratio:.2}"));
        if least == most { least } else { format!("{least}–{most}") }
    };
    let has_memory = ratios.known().any(|known| known.phase == "memory" && known.other == best);
    let memory =
        if has_memory { format!(", with {} of its peak memory", range("memory")) } else { String::new() };
    Some(format!(
        "{} in {best}: {} times as fast as in {} by time per output token (TPOT){memory}.",
        results::one_line(engine),
        range("TPOT"),
        ratios.compared_with()
    ))
}
