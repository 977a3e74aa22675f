//! Several files in one text, for targets that read several.

/// Named files: a line `--- NAME` begins each. Names may come twice; the first one counts.
#[derive(Debug)]
pub struct Sections<'a>(Vec<(&'a [u8], &'a [u8])>);

const BEGIN: &[u8] = b"--- ";

impl<'a> Sections<'a> {
    /// Reads an input; what stands before the first name is left out.
    pub fn parse(input: &'a [u8]) -> Self {
        let mut sections: Vec<(&[u8], usize, usize)> = Vec::new();
        let mut start = 0;
        for line in input.split_inclusive(|&byte| byte == b'\n') {
            let next = start + line.len();
            if let Some(name) = line.strip_prefix(BEGIN) {
                sections.push((name.trim_ascii_end(), next, next));
            } else if let Some((_, _, end)) = sections.last_mut() {
                *end = next;
            }
            start = next;
        }
        let last = sections.len().wrapping_sub(1);
        let content = |(number, (name, start, end)): (usize, (&'a [u8], usize, usize))| {
            let content = &input[start..end];
            // The line end before the next name is not the file's.
            let content =
                if number < last { content.strip_suffix(b"\n").unwrap_or(content) } else { content };
            (name, content)
        };
        Self(sections.into_iter().enumerate().map(content).collect())
    }

    /// Writes files as one input.
    pub fn write(files: &[(&str, &[u8])]) -> Vec<u8> {
        let section = |(name, content): &(&str, &[u8])| [BEGIN, name.as_bytes(), b"\n", content].concat();
        files.iter().map(section).collect::<Vec<_>>().join(&b'\n')
    }

    /// The bytes of the file called `name`.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.0.iter().find(|(found, _)| *found == name.as_bytes()).map(|(_, content)| *content)
    }

    /// The text of the file called `name`; what is no UTF-8 becomes replacement characters.
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|content| String::from_utf8_lossy(content).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let files: [(&str, &[u8]); 4] =
            [("a.json", b"{}"), ("b.jsonl", b"1\n--2\n"), ("c", b""), ("d", b"x\n\n")];
        let input = Sections::write(&files);
        assert_eq!(input, b"--- a.json\n{}\n--- b.jsonl\n1\n--2\n\n--- c\n\n--- d\nx\n\n");
        let sections = Sections::parse(&input);
        for (name, content) in files {
            assert_eq!(sections.get(name), Some(content), "{name}");
        }
        assert_eq!(sections.get("e"), None);
        assert_eq!(Sections::parse(b"a\n--- b").get("b"), Some(&b""[..]));
        assert_eq!(Sections::parse(b"").get("b"), None);
    }
}
