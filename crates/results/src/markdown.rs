//! Text from elsewhere in markdown as GitHub shows it: it stays text, and calls nobody.

use crate::text::one_line;

/// Breaks what GitHub looks for after markdown's escapes are gone, without being seen: a zero-width space.
const BREAK: &str = "&#8203;";

/// What [`BREAK`] is in rendered text.
pub(crate) const RENDERED_BREAK: char = '\u{200b}';

/// Escapes text for a line, a heading or a cell of a table: on one line, inside its cell, without markup, links, mentions and emoji.
///
/// What can't act stays as it is, such as the underscore in `llama_cpp`.
pub fn escape_markdown(text: &str) -> String {
    let line = one_line(text);
    let line = line.trim_start();
    let marker = list_marker(line);
    escaped_where(line, |at, c, before, after| match c {
        '|' | '<' | '>' | '`' | '*' | '[' | ']' | '\\' | '#' | '~' | '$' => true,
        '_' => !is_inside_word(before, after),
        '&' => is_entity(after),
        _ => marker == Some(at),
    })
}

/// Escapes text for the inside of an HTML element in markdown, where markdown is not read.
pub fn escape_html_in_markdown(text: &str) -> String {
    let line = one_line(text);
    let mut escaped = String::new();
    for (_, c, before, after) in characters(&line) {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            _ => escaped.push(c),
        }
        escaped.push_str(break_after(c, before, after));
    }
    escaped
}

/// Puts a backslash before each character that `is_special` says, given its place, itself, and the text before and after it.
pub(crate) fn escaped_where(line: &str, is_special: impl Fn(usize, char, &str, &str) -> bool) -> String {
    let mut escaped = String::with_capacity(line.len());
    for (at, c, before, after) in characters(line) {
        escaped.extend(is_special(at, c, before, after).then_some('\\'));
        escaped.push(c);
        escaped.push_str(break_after(c, before, after));
    }
    escaped
}

fn characters(line: &str) -> impl Iterator<Item = (usize, char, &str, &str)> {
    line.char_indices().map(|(at, c)| (at, c, &line[..at], &line[at + c.len_utf8()..]))
}

/// [`BREAK`] where GitHub would begin a mention, a reference, a link or an emoji: `@user`, `#12`, `GH-12`, `https://`, `www.`, `:tada:`.
fn break_after(c: char, before: &str, after: &str) -> &'static str {
    let ends_with = |word: &str| {
        before
            .len()
            .checked_sub(word.len())
            .and_then(|at| before.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(word))
    };
    let is_digit_next = after.starts_with(|next: char| next.is_ascii_digit());
    let acts = match c {
        '@' => after.starts_with(|next: char| !next.is_whitespace()),
        '#' => is_digit_next,
        '-' => is_digit_next && ends_with("gh"),
        'w' | 'W' => after.starts_with('.') && ends_with("ww"),
        ':' => after.starts_with("//") || is_emoji(after),
        _ => false,
    };
    if acts { BREAK } else { "" }
}

/// Whether `after`, the text after a colon, has the rest of an emoji. No emoji's name has digits alone but these, so that times have none.
fn is_emoji(after: &str) -> bool {
    let Some((name, _)) = after.split_once(':') else { return false };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "+-_".contains(c);
    name.chars().all(is_name)
        && (name.contains(|c: char| c.is_ascii_alphabetic()) || ["+1", "-1", "100", "1234"].contains(&name))
}

/// Whether an underscore stands between letters or digits: then it is no emphasis (CommonMark 0.31, 6.2).
fn is_inside_word(before: &str, after: &str) -> bool {
    before.ends_with(char::is_alphanumeric) && after.starts_with(char::is_alphanumeric)
}

/// Whether `after`, the text after an ampersand, has the rest of an entity such as `&lt;`.
fn is_entity(after: &str) -> bool {
    let name = after.strip_prefix('#').unwrap_or(after);
    let end = name.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(name.len());
    end > 0 && name[end..].starts_with(';')
}

/// Where a line has what would make it a list or a rule: `- a`, `---`, `1. a`.
fn list_marker(line: &str) -> Option<usize> {
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let marker = line[digits..].chars().next()?;
    let after = &line[digits + marker.len_utf8()..];
    let is_marker = if digits == 0 { ['-', '+'].contains(&marker) } else { ['.', ')'].contains(&marker) };
    let ends = |next: char| next == ' ' || digits == 0 && next == marker;
    (is_marker && (after.is_empty() || after.starts_with(ends))).then_some(digits)
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Options, Parser, Tag};

    use super::*;

    #[test]
    fn hostile_text_stays_text_in_its_cell() {
        for (text, escaped) in [
            ("a|b\n<script>", "a\\|b \\<script\\>"),
            ("_x_ *y* ~~z~~ `a` $b$", "\\_x\\_ \\*y\\* \\~\\~z\\~\\~ \\`a\\` \\$b\\$"),
            ("[a](b) ![c](d) \\", "\\[a\\](b) !\\[c\\](d) \\\\"),
            ("&lt; &#35;", "\\&lt; \\&\\#&#8203;35;"),
            ("@user a@b.c @", "@&#8203;user a@&#8203;b.c @"),
            ("user/repo#1 GH-12", "user/repo\\#&#8203;1 GH-&#8203;12"),
            ("https://a.b www.a.b WWW.a.b", "https:&#8203;//a.b www&#8203;.a.b WWW&#8203;.a.b"),
            (":tada: :+1:", ":&#8203;tada: :&#8203;+1:"),
            ("  - a", "\\- a"),
            ("---", "\\---"),
            ("+ a", "\\+ a"),
            ("12. a", "12\\. a"),
            ("1)", "1\\)"),
        ] {
            assert_eq!(escape_markdown(text), escaped);
        }
        assert_eq!(
            escape_html_in_markdown("</summary>\n@all & #12"),
            "&lt;/summary&gt; @&#8203;all &amp; #&#8203;12"
        );
    }

    #[test]
    fn harmless_text_stays() {
        for text in [
            "torch_compile_cuda",
            "R&D & more",
            "-1.5 % at 12:30:45Z",
            "llama.cpp: -O2: 1.5 s, 4×16: onnxruntime",
            "a-12 (about 5) = 3",
            "std::bad_alloc",
        ] {
            assert_eq!(escape_markdown(text), text);
        }
    }

    /// The text that a reader of `markdown` sees, with a `<>` for whatever is more than text in a list or a table.
    fn rendered(markdown: &str) -> String {
        let options = Options::ENABLE_TABLES
            | Options::ENABLE_STRIKETHROUGH
            | Options::ENABLE_FOOTNOTES
            | Options::ENABLE_TASKLISTS
            | Options::ENABLE_MATH
            | Options::ENABLE_GFM;
        Parser::new_ext(markdown, options)
            .map(|event| match event {
                Event::Text(text) => text.replace(RENDERED_BREAK, ""),
                Event::Start(
                    Tag::List(None)
                    | Tag::Item
                    | Tag::Table(_)
                    | Tag::TableHead
                    | Tag::TableRow
                    | Tag::TableCell,
                )
                | Event::End(_) => String::new(),
                _ => "<>".into(),
            })
            .collect()
    }

    #[test]
    fn a_renderer_sees_nothing_but_text() {
        let atoms: Vec<&str> = "@u|#1|www.a.b|https://a.b|a@b.c|_|__|*|**|~|~~|`|```|$|$$|<b>|</td>|<!--|-->|&lt;|&#64;|&|[a](b)|![a](b)|[^1]|[ ]|[|]|(|)|!|\\|\n|\t| |    |- |+ |1. |2) |# |> |---|===|:tada:|a|B|x_y|1|×|漢|\u{200b}|.|:|/|+|-"
            .split('|')
            .chain(["|", "\\|"])
            .collect();
        let mut state = 1_u64;
        let mut below = |end: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % end
        };
        for _ in 0..20_000 {
            let text: String = (0..=below(7)).map(|_| atoms[below(atoms.len())]).collect();
            let (line, escaped) = (one_line(&text), escape_markdown(&text));
            let shown = |markdown: &str| rendered(markdown).trim().to_owned();
            assert_eq!(shown(&format!("- {escaped}\n")), line.trim(), "{escaped}");
            let row = format!("|a|\n|---|\n| {escaped} |\n");
            assert_eq!(shown(&row).strip_prefix('a').map(str::trim), Some(line.trim()), "{escaped}");
        }
    }
}
