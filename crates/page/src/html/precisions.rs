//! Precisions side by side: their speed, memory, and how far their weights are from the unquantized ones.

use maud::{Markup, html};
use results::fidelity_words;

use super::figure;
use crate::plot::{Plot, ends};
use crate::plots::{ModelPrecisions, precisions_of_runs};
use crate::scene::Scene;

/// Nothing where no run has a model in several precisions.
pub(super) fn section<'p>(scene: &Scene<'_>, plots: impl Iterator<Item = &'p Plot>) -> Markup {
    let models = precisions_of_runs(scene);
    html! {
        @if !models.is_empty() {
            section id="precisions-compared" {
                h2 { "Precisions" }
                @for model in &models {
                    (fidelities(model, &format!("{}{}", model.model, scene.run_suffix(model.run))))
                }
                (figure::figures(plots))
            }
        }
    }
}

/// How far the weights are from the unquantized ones: the same for every engine.
fn fidelities(model: &ModelPrecisions<'_>, title: &str) -> Markup {
    let first = model.by_engine.iter().map(|(_, ratios)| ratios.fidelities()).find(|known| !known.is_empty());
    html! {
        @if let Some(known) = first {
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
pub(super) fn headline(scene: &Scene<'_>) -> Option<String> {
    let models = precisions_of_runs(scene);
    let (engine, ratios) = models.first()?.by_engine.first()?;
    let tpot = ratios.known().filter(|known| known.phase == "TPOT");
    let best = tpot.max_by(|one, other| one.ratio.total_cmp(&other.ratio))?.other;
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
