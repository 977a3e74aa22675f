//! What a worker must do, rule by rule, and where docs/reference/protocol.md says so.

/// What one check holds a worker to.
#[derive(Debug)]
pub(super) struct ProtocolRule {
    /// What is checked.
    pub(super) name: &'static str,
    /// The heading in docs/reference/protocol.md.
    pub(super) section: &'static str,
    /// What must come.
    pub(super) expected: &'static str,
}

/// What must come of a request that can't be done.
const REFUSED: &str = "failed, and a worker that goes on";
/// What must come of a worker's end.
const CLEAN_END: &str = "no further line, and exit code 0 within 10 s";

/// Makes a constant of each rule, and a list of all for the tests.
macro_rules! rules {
    ($($constant:ident = $name:literal, $section:literal, $expected:expr;)*) => {
        $(pub(super) const $constant: ProtocolRule = ProtocolRule { name: $name, section: $section, expected: $expected };)*

        #[cfg(test)]
        const ALL: &[ProtocolRule] = &[$($constant),*];
    };
}

rules! {
    HELLO = "says hello", "Hello", "hello of protocol 1 as the first line";
    END_OF_INPUT = "ends with stdin", "shutdown", CLEAN_END;
    PEAKS = "answers peaks", "peaks", "peaks or failed";
    MEASURE_FIRST = "refuses measure before load", "States", REFUSED;
    UNKNOWN_REQUEST = "refuses an unknown request", "Failed", REFUSED;
    BROKEN_JSON = "refuses broken JSON", "Failed", REFUSED;
    LOAD_NOTHING = "refuses to load a missing checkpoint", "load", REFUSED;
    LOAD_UNKNOWN_OPTION = "refuses an unknown option", "load", REFUSED;
    LOAD_SEEDED = "loads seeded weights", "load", "loaded or failed";
    LOAD = "loads a checkpoint", "load", "loaded";
    BEYOND_CONTEXT = "refuses measure beyond max_position_embeddings", "Failed", REFUSED;
    GENERATE_BEYOND_CONTEXT = "refuses generate beyond max_position_embeddings", "Failed", REFUSED;
    BEYOND_VOCABULARY = "refuses a token id beyond the vocabulary", "Failed", REFUSED;
    ROWS_OF_TWO_LENGTHS = "refuses prompt rows of two lengths", "Failed", REFUSED;
    NO_TOKENS = "refuses a prompt without a token", "Failed", REFUSED;
    GENERATE = "answers generate", "generate", "generated, with the tokens and logits that were asked for";
    TOKENS = "chooses the most probable tokens", "generate", "each row's most probable token, and the SHA-256 of the logits";
    MEASURE = "answers measure", "measure", "measured, with the samples that were asked for";
    PROGRESS = "says progress", "Progress", "a line as each phase begins, then at most 10 lines a second";
    WARM_UPS = "says where the warm-ups end", "Progress", "a line where the warm-ups of each phase end";
    TOKENS_SHA256 = "measures what it generates", "measure", "a tokens_sha256 of the tokens that generate chooses";
    CLAIMED_TIME = "accounts for the time that passes", "Claimed time", "latencies that account for the time that passes";
    UNTIL = "answers measure with until", "Stopping early", "measured, with samples from min_runs to the most";
    PROFILE = "answers profile", "profile", "profiled or failed";
    ONE_RANK = "measures one rank of two", "load", "loaded with \"one_rank_of\":2, then measured";
    RANKS = "measures two ranks", "Ranks", "two ranks in hello and in measured";
    SILENCE = "says nothing between requests", "Rules for every line", "nothing between an answer and the next request";
    SHUTDOWN = "shuts down", "shutdown", CLEAN_END;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_names_a_heading_of_the_protocol_page() {
        let page = include_str!("../../../../../docs/reference/protocol.md");
        let headings: Vec<&str> = page
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| line.trim_start_matches('#').trim())
            .collect();
        for rule in ALL {
            assert!(headings.contains(&rule.section), "{}: no heading \"{}\"", rule.name, rule.section);
        }
    }
}
