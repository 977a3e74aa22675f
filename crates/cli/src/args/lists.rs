//! Lists of several words, `--batch-size 1, 4` for `--batch-size 1,4`; and whole numbers.

use std::ffi::OsString;
use std::fmt::Display;
use std::str::FromStr;

use harness::{FlagKind, SweepKeys};

/// Joins each list of the command line into one word.
pub(crate) fn join_lists(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let lists = SweepKeys::keys().into_iter().filter(|key| key.kind == FlagKind::List);
    let lists: Vec<&str> = lists.filter_map(|key| Some(key.flag?.name)).collect();
    let mut joined: Vec<OsString> = Vec::new();
    let mut list: Option<usize> = None;
    for word in words {
        let text = word.to_string_lossy();
        let flag = text
            .strip_prefix("--")
            .map(|flag| flag.split_once('=').map_or((flag, false), |(flag, _)| (flag, true)));
        match (flag, list.and_then(|first| joined.get_mut(first))) {
            (None, Some(items)) if items.to_string_lossy().ends_with(',') || text.starts_with(',') => {
                items.push(&word);
            }
            (None, _) => joined.push(word),
            (Some((flag, has_value)), _) => {
                let value = joined.len() + usize::from(!has_value);
                list = lists.contains(&flag).then_some(value);
                joined.push(word);
            }
        }
    }
    joined
}

/// A parser of whole numbers from `least`.
pub(crate) fn whole_from<T>(least: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| {
        let number = text.parse().ok().filter(|number| *number >= least);
        number.ok_or_else(|| format!("expected a whole number from {least}, found \"{text}\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_after_a_comma() {
        let join = |line: &str| {
            let words = line.split(' ').map(OsString::from);
            join_lists(words)
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (line, joined) in [
            ("run --batch-size 1, 4 a.toml", "run --batch-size 1,4 a.toml"),
            ("run --batch-size=1, 4 , 16 --list", "run --batch-size=1,4,16 --list"),
            ("run a.toml --engine mock, reference", "run a.toml --engine mock,reference"),
            ("run --engine mock, --list", "run --engine mock, --list"),
            ("generate --prompt Hello, --engine mock", "generate --prompt Hello, --engine mock"),
            ("run --batch-size 4 a,toml b, c", "run --batch-size 4 a,toml b, c"),
        ] {
            assert_eq!(join(line), joined);
        }
    }
}
