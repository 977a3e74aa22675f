//! How a run found the processor: which CPUs it may use, and what changes their speed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The processor's state when a run began. Lists of CPUs are as the kernel writes them: `0-3,8`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessorState {
    /// CPUs that this program may run on (its affinity).
    pub allowed_cpus: String,
    /// CPUs that are online.
    pub online_cpus: String,
    /// The hardware threads of each core that has several (SMT siblings), one list a core.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub smt_siblings: Vec<String>,
    /// The most hardware threads of a core that this program may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads_per_core: Option<u32>,
    /// True in a virtual machine, whose hypervisor decides which cores the CPUs are at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_machine: Option<bool>,
    /// The frequency of the first allowed CPU when the run began, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mhz: Option<f64>,
    /// The lowest and the highest frequency that the governor may choose, in MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mhz_range: Option<(f64, f64)>,
    /// True where frequencies above the nominal one are allowed (turbo).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boost: Option<bool>,
    /// Settings of transparent huge pages, such as `madvise, defrag madvise`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent_huge_pages: Option<String>,
    /// Environment variables that change threads, their places, or the allocator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, String>,
}

impl ProcessorState {
    /// What figures depend on and is known, by name. Frequencies vary within a run, and which CPUs they were does not matter.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (String, String)> {
        let variables = self.variables.iter().map(|(name, value)| format!("{name}={value}"));
        let facts = [
            ("hardware threads per core", self.threads_per_core.map(|count| count.to_string())),
            (
                "virtual machine",
                self.virtual_machine.map(|is_one| if is_one { "yes" } else { "no" }.to_owned()),
            ),
            ("transparent huge pages", self.transparent_huge_pages.clone()),
            ("turbo", self.boost.map(|is_on| if is_on { "on" } else { "off" }.to_owned())),
            ("environment variables", Some(variables.collect::<Vec<_>>().join(" "))),
        ];
        facts.into_iter().filter_map(|(name, fact)| Some((name.to_owned(), fact?)))
    }
}
