//! A sweep that several jobs measure, each its share of the cells.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The share `index` of `count`, from 1: `2/8`. It has every `count`-th cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share {
    index: u32,
    count: u32,
}

impl Share {
    /// Whether the cell at this place of the sweep, from 0, is in it.
    pub fn has(self, place: usize) -> bool {
        place % self.count as usize == self.index as usize - 1
    }

    /// Which, from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// The number of shares.
    pub fn count(self) -> u32 {
        self.count
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let share = text
            .split_once('/')
            .and_then(|(index, count)| Some(Self { index: index.parse().ok()?, count: count.parse().ok()? }));
        share
            .filter(|share| (1..=share.count).contains(&share.index))
            .ok_or_else(|| format!("expected a share such as 2/8, the first being 1/8, found \"{text}\""))
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_in_one_share() {
        let shares: Vec<Share> = (1..=3).map(|index| format!("{index}/3").parse().unwrap()).collect();
        for place in 0..10 {
            assert_eq!(shares.iter().filter(|share| share.has(place)).count(), 1);
        }
        assert!(shares[0].has(0) && shares[1].has(4));
        assert_eq!(shares[1].to_string(), "2/3");
        for bad in ["", "2", "0/3", "4/3", "1/0", "a/b", "1/3/2", "-1/3"] {
            let expected = format!("expected a share such as 2/8, the first being 1/8, found \"{bad}\"");
            assert_eq!(bad.parse::<Share>(), Err(expected));
        }
    }
}
