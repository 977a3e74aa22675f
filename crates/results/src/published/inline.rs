//! The text that a reader of rendered markdown sees in a cell or heading, and the way back.

use std::borrow::Cow;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::layout::escape;
use super::lines::trim;

/// Longer texts are none that a person decorated: they are taken as they stand.
const LONGEST: usize = 10_000;

/// Marks of a footnote after a text.
pub(super) const FOOTNOTE_MARKS: [char; 15] =
    ['*', '†', '‡', '§', '¶', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹', '⁰'];

/// The text of inline markdown, without emphasis, code spans, links, HTML tags and references to footnotes, its entities and
/// escapes decoded.
///
/// # Errors
/// Where text is struck out, or an image stands for it: what the cell says is then not known.
pub(super) fn plain_text(markdown: &str) -> Result<Cow<'_, str>, &'static str> {
    if !markdown.contains(['\\', '*', '_', '`', '~', '[', '<', '&', '!']) {
        return Ok(Cow::Borrowed(markdown));
    }
    // CommonMark takes a line end for the start of something else; inside a cell there is none.
    if markdown.len() > LONGEST || markdown.contains(char::is_control) {
        return Ok(Cow::Owned(super::lines::unescape(markdown)));
    }
    // A word before it keeps the text from being a list, a heading or a line; a pipe is escaped for the table alone.
    let paragraph = format!("x {}", without_references(markdown).replace("\\|", "|"));
    let options = Options::ENABLE_STRIKETHROUGH;
    let mut text = String::new();
    let (mut superscripts, mut is_hidden) = (0_u32, false);
    for event in Parser::new_ext(&paragraph, options) {
        match event {
            Event::InlineHtml(tag) | Event::Html(tag) => match tag_name(&tag).as_str() {
                "br" | "br/" => text.push(' '),
                "sup" => {
                    // A power of ten is part of the figure: it stays, and is no number then.
                    is_hidden = !is_power_of_ten(&text);
                    superscripts += 1;
                    text.push_str(if is_hidden { "" } else { "^" });
                }
                "/sup" => {
                    superscripts = superscripts.saturating_sub(1);
                    is_hidden &= superscripts > 0;
                }
                "s" | "del" | "strike" => return Err("struck out: write what counts, or N/A"),
                name if is_formatting(name) => {}
                _ => text.push_str(&tag),
            },
            _ if is_hidden => {}
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            Event::Start(Tag::Strikethrough) => return Err("struck out: write what counts, or N/A"),
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => {
                return Err("an image: write its figure");
            }
            _ => {}
        }
    }
    Ok(Cow::Owned(text.strip_prefix("x ").unwrap_or("").to_owned()))
}

/// Markdown without references to footnotes, `[^1]`, whether or not the footnote is there.
fn without_references(markdown: &str) -> Cow<'_, str> {
    if !markdown.contains("[^") {
        return Cow::Borrowed(markdown);
    }
    let (mut kept, mut rest) = (String::new(), markdown);
    while let Some(at) = rest.find("[^") {
        let (before, reference) = rest.split_at(at);
        kept.push_str(before);
        let end = reference.find(']').filter(|end| {
            *end > 2 && !before.ends_with('\\') && !reference[..*end].contains(char::is_whitespace)
        });
        let end = end.map_or(2, |end| end + 1);
        kept.push_str(if end > 2 { "" } else { "[^" });
        rest = &reference[end..];
    }
    Cow::Owned(kept + rest)
}

/// The name of an HTML tag in lower case, with a slash before it where it closes.
fn tag_name(tag: &str) -> String {
    let inner = tag.trim_start_matches('<').trim_end_matches('>').trim();
    let end = inner.find(char::is_whitespace).unwrap_or(inner.len());
    inner[..end].to_ascii_lowercase()
}

/// Tags that change how a text looks, and comments.
fn is_formatting(name: &str) -> bool {
    const TAGS: [&str; 17] = [
        "b", "strong", "i", "em", "u", "ins", "code", "kbd", "samp", "tt", "small", "mark", "font", "span",
        "center", "sub", "a",
    ];
    name.starts_with("!--") || TAGS.contains(&name.strip_prefix('/').unwrap_or(name))
}

/// Whether a superscript after this text is an exponent: `10³`, `1.2×10³`.
pub(super) fn is_power_of_ten(text: &str) -> bool {
    let before = text.trim_end().strip_suffix("10");
    before.is_some_and(|before| !before.ends_with(|c: char| c.is_ascii_digit() || c == '.' || c == ','))
}

/// A name in a cell, without the marks of footnotes after it. A mark that is escaped belongs to the name.
pub(super) fn plain_name(markdown: &str) -> Result<String, &'static str> {
    let text = plain_text(markdown)?;
    let markdown = without_references(markdown);
    let (mut name, mut raw) = (trim(&text), trim(&markdown).trim_end_matches(['_', '`', ' ']));
    while let Some(mark) = name.chars().last().filter(|c| FOOTNOTE_MARKS.contains(c)) {
        let shorter = raw.strip_suffix(mark).or_else(|| raw.trim_end_matches('*').strip_suffix(mark));
        let Some(shorter) = shorter.filter(|shorter| !shorter.ends_with('\\')) else { break };
        (name, raw) = (trim(&name[..name.len() - mark.len_utf8()]), shorter);
    }
    Ok(name.to_owned())
}

/// A text as a cell of markdown that is read as this text.
pub fn escape_cell(text: &str) -> String {
    let line = crate::one_line(text);
    let escaped = escape(&line);
    if plain_name(&escaped).is_ok_and(|name| name == trim(&line)) {
        return escaped;
    }
    let mut all = String::new();
    for c in line.chars() {
        match c {
            _ if c.is_ascii_punctuation() => all.extend(['\\', c]),
            _ if c.is_ascii() || c.is_alphanumeric() && !FOOTNOTE_MARKS.contains(&c) => all.push(c),
            _ => all.push_str(&format!("&#{};", u32::from(c))),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_sees_is_read() {
        for (markdown, text) in [
            ("onnxruntime", "onnxruntime"),
            ("**11.97**", "11.97"),
            ("__11.97__", "11.97"),
            ("*11.97*", "11.97"),
            ("***11.97*** ms", "11.97 ms"),
            ("`onnxruntime`", "onnxruntime"),
            ("<b>11.97</b>", "11.97"),
            ("<span style=\"color:green\">11.97</span>", "11.97"),
            ("11.97<br>", "11.97 "),
            ("11.97<br/>ms", "11.97 ms"),
            ("11.97<sup>1</sup>", "11.97"),
            ("11.97<sup>[1](#one)</sup>", "11.97"),
            ("10<sup>3</sup>", "10^3"),
            ("11.97[^1]", "11.97"),
            ("[onnxruntime](https://onnxruntime.ai)", "onnxruntime"),
            ("[**11.97**](a.md \"title\")", "11.97"),
            ("1&nbsp;336.7 &plusmn; 2 &amp; &#8224;", "1\u{a0}336.7 ± 2 & †"),
            ("torch_compile_cuda", "torch_compile_cuda"),
            ("a\\|b \\\\ \\*c\\*", "a|b \\ *c*"),
            ("1. first", "1. first"),
            ("# 1", "# 1"),
            ("- 1", "- 1"),
            ("a<!-- not shown -->b", "ab"),
            ("<vllm>", "<vllm>"),
            ("x < y", "x < y"),
        ] {
            assert_eq!(plain_text(markdown).unwrap(), text, "{markdown}");
        }
        for markdown in ["~~11.97~~", "<del>11.97</del>", "![11.97](a.png)"] {
            assert!(plain_text(markdown).is_err(), "{markdown}");
        }
    }

    #[test]
    fn marks_of_footnotes_are_no_part_of_a_name() {
        for (markdown, name) in [
            ("onnxruntime*", "onnxruntime"),
            ("onnxruntime \\*", "onnxruntime *"),
            ("**onnxruntime**†", "onnxruntime"),
            ("**onnxruntime†**", "onnxruntime"),
            ("`onnxruntime` [^1]", "onnxruntime"),
            ("onnxruntime<sup>2</sup>", "onnxruntime"),
            ("onnxruntime²", "onnxruntime"),
            ("a&dagger;", "a†"),
        ] {
            assert_eq!(plain_name(markdown).unwrap(), name, "{markdown}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_read_back(name in "\\PC{0,20}") {
            let name = crate::one_line(&name);
            proptest::prop_assert_eq!(plain_name(&escape_cell(&name)), Ok(trim(&name).to_owned()));
        }

        #[test]
        fn any_punctuation_is_read_back(name in "[a *_`~<>&!#|\\\\\\[\\]()†²;x1-]{0,12}") {
            proptest::prop_assert_eq!(plain_name(&escape_cell(&name)), Ok(trim(&name).to_owned()));
        }
    }
}
