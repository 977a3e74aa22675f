//! Colours by name, on light and dark ground; the style sheet of all plots.

/// How many engines have a colour of their own; further ones begin anew.
pub(crate) const ENGINES: usize = 7;

/// Steps of the heat maps' scale.
pub(crate) const HEATS: usize = 8;

/// Name, on light ground, on dark ground. Engines' colours: Okabe and Ito, "Color Universal Design" (2008), and Tol, "Colour
/// Schemes" (2021), darkened or lightened until each stands out from its ground by 3:1; heat: ColorBrewer's Blues.
const COLOURS: [(&str, &str, &str); 23] = [
    ("ground", "#ffffff", "#14181d"),
    ("ink", "#1b2026", "#e6e9ed"),
    ("muted", "#5a6470", "#9aa5b1"),
    ("line", "#dfe3e8", "#2c343d"),
    ("axis", "#8c96a1", "#66717d"),
    ("e0", "#0072b2", "#56b4e9"),
    ("e1", "#c44e00", "#ff9a52"),
    ("e2", "#008060", "#2fce9f"),
    ("e3", "#b0478c", "#f0a0d0"),
    ("e4", "#806600", "#e0c23a"),
    ("e5", "#5a4fcf", "#a99bff"),
    ("e6", "#555555", "#bbbbbb"),
    ("good", "#00734f", "#3ddc97"),
    ("bad", "#b3261e", "#ff8a80"),
    ("caveat", "#8a5a00", "#f2b84b"),
    ("h0", "#eef5fc", "#16222f"),
    ("h1", "#d9e8f5", "#1a2f45"),
    ("h2", "#bcd7ec", "#1f3d5c"),
    ("h3", "#94c2e2", "#254e77"),
    ("h4", "#64a8d4", "#2f6291"),
    ("h5", "#2b78b8", "#69aadb"),
    ("h6", "#14599d", "#8cc3ec"),
    ("h7", "#083c78", "#b5dcf8"),
];

const SHEET: &str = include_str!("plot.css");

/// What makes a plot's classes look: colours are variables, which [`variables`] gives values to.
pub(crate) fn sheet() -> &'static str {
    SHEET
}

/// The colours as variables.
pub(crate) fn variables(is_dark: bool) -> String {
    let line = |(name, light, dark): &(&str, &str, &str)| {
        format!("--{name}:{};", if is_dark { dark } else { light })
    };
    COLOURS.iter().map(line).collect()
}

/// The sheet with the colours in it, for readers that know no variables.
pub(crate) fn resolved(is_dark: bool) -> String {
    let value = |sheet: String, (name, light, dark): &(&str, &str, &str)| {
        sheet.replace(&format!("var(--{name})"), if is_dark { dark } else { light })
    };
    COLOURS.iter().fold(SHEET.to_owned(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(hex: &str, at: usize) -> f64 {
        let byte = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
        if byte <= 0.040_45 { byte / 12.92 } else { ((byte + 0.055) / 1.055).powf(2.4) }
    }

    /// WCAG 2.1's contrast ratio.
    fn contrast(one: &str, other: &str) -> f64 {
        let luminance =
            |hex: &str| 0.2126 * channel(hex, 1) + 0.7152 * channel(hex, 3) + 0.0722 * channel(hex, 5);
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    fn colour(name: &str, is_dark: bool) -> &'static str {
        let (_, light, dark) = COLOURS.iter().find(|(other, ..)| *other == name).unwrap();
        if is_dark { dark } else { light }
    }

    #[test]
    fn every_colour_stands_out_from_its_ground() {
        for is_dark in [false, true] {
            let ground = colour("ground", is_dark);
            for index in 0..ENGINES {
                let ratio = contrast(colour(&format!("e{index}"), is_dark), ground);
                assert!(ratio >= 3.0, "e{index}: {ratio}");
            }
            for name in ["ink", "muted", "good", "bad", "caveat"] {
                let ratio = contrast(colour(name, is_dark), ground);
                assert!(ratio >= 4.5, "{name}: {ratio}");
            }
        }
    }

    #[test]
    fn text_on_heat_is_legible() {
        for is_dark in [false, true] {
            for step in 0..HEATS {
                let ink = if step < 5 { "ink" } else { "ground" };
                let ratio = contrast(colour(&format!("h{step}"), is_dark), colour(ink, is_dark));
                assert!(ratio >= 4.5, "h{step}, dark {is_dark}: {ratio}");
            }
        }
    }

    #[test]
    fn without_variables_nothing_is_left_of_them() {
        for is_dark in [false, true] {
            assert!(!resolved(is_dark).contains("var("), "{}", resolved(is_dark));
            assert_eq!(variables(is_dark).matches("--").count(), COLOURS.len());
        }
    }
}
