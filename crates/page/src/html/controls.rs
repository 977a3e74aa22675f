//! What a reader can choose: engines, batch sizes, prompt lengths, the reference. Hidden where there is no script.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::scene::{Group, Scene};

pub(super) fn toolbar(scene: &Scene<'_>, groups: &[Group<'_>]) -> Markup {
    let sizes = |of: fn(&results::Row) -> u32| -> BTreeSet<u32> {
        groups.iter().flat_map(|group| group.sizes(of)).collect()
    };
    let choices = [
        ("Batch size", "batch", sizes(|row| row.key.batch_size)),
        ("Prompt length", "prompt", sizes(|row| row.key.prompt_length)),
    ];
    let engines: Vec<&str> = scene.engines().collect();
    html! {
        form id="controls" hidden autocomplete="off" aria-label="Choose what the plots show" {
            details {
                summary { "Filter plots: " span id="chosen" { "all engines, all cells" } }
                fieldset {
                    legend { "Engines" }
                    @for (slot, engine) in engines.iter().enumerate() {
                        label { input type="checkbox" checked name="engine" value=(slot); bdi { (results::one_line(engine)) } }
                    }
                }
                @for (title, name, sizes) in &choices {
                    @if sizes.len() > 1 {
                        fieldset {
                            legend { (title) }
                            @for size in sizes { label { input type="checkbox" checked name=(name) value=(size); (size) } }
                        }
                    }
                }
                @if engines.len() > 1 {
                    label class="reference" {
                        "Reference engine "
                        select name="reference" {
                            @for (slot, engine) in engines.iter().enumerate() { option value=(slot) { (results::one_line(engine)) } }
                        }
                    }
                }
                button type="reset" { "Show all" }
            }
        }
    }
}
