//! The text that a reader of rendered markdown sees in a cell or heading, and the way back.

use std::borrow::Cow;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::lines::trim;
use super::marks::{FOOTNOTE_MARKS, MAYBE_POWER, SUPERSCRIPTS, is_power_of_ten};
use crate::markdown::{RENDERED_BREAK, escape_markdown, escaped_where};

/// Longer texts are none that a person decorated: they are taken as they stand.
const LONGEST: usize = 10_000;

/// The text of inline markdown, without emphasis, code spans, links, HTML tags and references to footnotes, its entities and
/// escapes decoded.
///
/// # Errors
/// Where text is struck out, or an image stands for it: what it says is then not known.
pub(super) fn plain_text(markdown: &str) -> Result<Cow<'_, str>, &'static str> {
    read(markdown, TextKind::Heading)
}

/// [`plain_text`] of a cell that may be a number, which keeps superscripts as marks.
///
/// # Errors
/// Where that is not known, where part of it may be hidden, or where it has a subscript or what may be a power.
pub(super) fn plain_figure(markdown: &str) -> Result<Cow<'_, str>, &'static str> {
    read(markdown, TextKind::Figure)
}

/// Where a text stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TextKind {
    Heading,
    Name,
    Figure,
}

fn read(markdown: &str, place: TextKind) -> Result<Cow<'_, str>, &'static str> {
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
    let (mut superscripts, mut is_hidden, mut mark) = (0_u32, false, Superscript::default());
    for event in Parser::new_ext(&paragraph, options) {
        match event {
            Event::InlineHtml(tag) | Event::Html(tag) => match tag_name(&tag).as_str() {
                _ if place != TextKind::Heading && may_hide(&tag) => {
                    return Err("HTML that may hide text: write the text alone");
                }
                "br" | "br/" => text.push(' '),
                "sup" => {
                    // A power of ten is part of the text: it stays, and is no number then.
                    is_hidden = place == TextKind::Figure || !is_power_of_ten(&text);
                    superscripts += 1;
                    text.push_str(if is_hidden { "" } else { "^" });
                }
                "/sup" => {
                    superscripts = superscripts.saturating_sub(1);
                    is_hidden &= superscripts > 0;
                    if !is_hidden {
                        mark.push_to(&mut text)?;
                    }
                }
                "sub" if place == TextKind::Figure => {
                    return Err("a subscript: write the figure, and a footnote as [^1]");
                }
                "s" | "del" | "strike" => return Err("struck out: write the valid figure, or N/A"),
                name if is_formatting(name) => {}
                _ => text.push_str(&tag),
            },
            Event::Text(part) | Event::Code(part) if is_hidden && place == TextKind::Figure => {
                mark.text.get_or_insert_default().push_str(&part);
            }
            Event::Start(Tag::Link { .. }) if is_hidden => mark.is_link = true,
            _ if is_hidden => {}
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak | Event::HardBreak => text.push(' '),
            Event::Start(Tag::Strikethrough) => return Err("struck out: write the valid figure, or N/A"),
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => {
                return Err("an image: write its figure");
            }
            _ => {}
        }
    }
    mark.push_to(&mut text)?;
    if place != TextKind::Figure {
        text.retain(|c| c != RENDERED_BREAK);
    }
    Ok(Cow::Owned(text.strip_prefix("x ").unwrap_or("").to_owned()))
}

/// What stands in `<sup>` in a cell that may be a number.
#[derive(Default)]
struct Superscript {
    text: Option<String>,
    is_link: bool,
}

impl Superscript {
    /// Adds it to the text before it: a digit as a superscript, another footnote as a mark.
    fn push_to(&mut self, before: &mut String) -> Result<(), &'static str> {
        let Self { text: Some(text), is_link } = std::mem::take(self) else { return Ok(()) };
        let text = text.trim();
        let is_reference = is_link || text.starts_with('[') && text.ends_with(']');
        let digit = text.parse::<usize>().ok().and_then(|digit| SUPERSCRIPTS.get(digit));
        let is_number = text.contains(|c: char| c.is_numeric() || ['+', '-', '−', '–'].contains(&c));
        match digit {
            _ if is_reference => before.push('†'),
            Some(digit) if text.len() == 1 => before.push(*digit),
            _ if is_number => return Err(MAYBE_POWER),
            _ => before.push('†'),
        }
        Ok(())
    }
}

/// Whether a tag may hide its text: it has an attribute `hidden`, or a style of more than colors and weights.
fn may_hide(tag: &str) -> bool {
    let lower = tag.to_ascii_lowercase();
    if lower.starts_with("<!--") {
        return false;
    }
    let words = || lower.split(|c: char| c.is_whitespace() || ['/', '>', '"', '\''].contains(&c)).skip(1);
    if words().any(|word| word == "hidden" || word.starts_with("hidden=")) {
        return true;
    }
    let Some((_, style)) = lower.split_once("style") else { return false };
    let style = style.trim_matches(|c: char| c.is_whitespace() || "=\"'/>".contains(c));
    let is_shown = |declaration: &str| {
        let (property, value) = declaration.split_once(':').unwrap_or((declaration, ""));
        let is_known = ["", "color", "background", "background-color", "font-weight", "font-style"];
        is_known.contains(&property.trim())
            && !value.contains(['(', '"', '\''])
            && !value.contains("transparent")
    };
    !style.split(';').all(is_shown)
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

/// A name in a cell, without the marks of footnotes after it. A mark that is escaped belongs to the name.
pub(super) fn plain_name(markdown: &str) -> Result<String, &'static str> {
    let text = read(markdown, TextKind::Name)?;
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
    let escaped = escape_markdown(&line);
    if plain_name(&escaped).is_ok_and(|name| name == trim(&line)) {
        return escaped;
    }
    let all = escaped_where(&line, |_, c, _, _| c.is_ascii_punctuation());
    let is_plain = |c: char| c.is_ascii() || c.is_alphanumeric() && !FOOTNOTE_MARKS.contains(&c);
    let entity = |c: char| if is_plain(c) { c.to_string() } else { format!("&#{};", u32::from(c)) };
    all.chars().map(entity).collect()
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
        for (markdown, text) in [
            ("11.97<sup>1</sup>", "11.97¹"),
            ("11.97<sup>1", "11.97¹"),
            ("1<sup>1</sup>336", "1¹336"),
            ("1336<sup>[1](#one)</sup>", "1336†"),
            ("1336<sup>[1]</sup>", "1336†"),
            ("11.97<sup>a</sup>", "11.97†"),
            ("<span style='color: green; font-weight: bold'>11.97</span>", "11.97"),
        ] {
            assert_eq!(plain_figure(markdown).unwrap(), text, "{markdown}");
        }
        for markdown in [
            "11.97<sub>2</sub>",
            "11.97<sup>-1</sup>",
            "11.97<sup>12</sup>",
            "2<sup>1<b>0</b></sup>",
            "<span style=\"display:none\">9</span>11.97",
            "<span style=display:none>9</span>11.97",
            "<span title=\"a\" hidden>9</span>11.97",
            "<span style=\"color:transparent\">9</span>11.97",
        ] {
            assert!(plain_figure(markdown).is_err(), "{markdown}");
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
