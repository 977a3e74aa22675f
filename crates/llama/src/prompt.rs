//! Prompts: seeded random token ids, as the published procedure used.

use crate::seeded::token;

/// `batch_size` rows of `prompt_length` token ids below `vocab_size`; every row differs.
pub fn seeded_prompt(batch_size: u32, prompt_length: u32, vocab_size: u32, seed: u64) -> Vec<Vec<u32>> {
    (0..batch_size)
        .map(|row| (0..prompt_length).map(|index| token(seed, row, index, vocab_size)).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_within_the_vocabulary_and_rows_differ() {
        let rows = seeded_prompt(4, 100, 50, 0);
        assert!(rows.iter().flatten().all(|&id| id < 50));
        assert_ne!(rows[0], rows[1]);
        assert_eq!(rows, seeded_prompt(4, 100, 50, 0));
    }
}
