//! What a machine did besides measuring.

use serde::{Deserialize, Serialize};

/// What else a machine did while a cell, or its peaks, were measured: between the request to a worker and its answer. Linux; `None` where the
/// kernel does not say. Shares are from 0 to 1; processor time is a share of what all the processors had that this program may use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MachineLoad {
    /// Seconds that the machine was watched.
    #[serde(deserialize_with = "crate::bounds::seconds")]
    #[cfg_attr(test, schemars(with = "crate::schema::Seconds"))]
    pub seconds: f64,
    /// The number of processors.
    pub processors: u32,
    /// Processor time of this program and its workers (`utime` and `stime` in `/proc/PID/stat`, man proc(5)).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Fraction>"))]
    pub own_share: Option<f64>,
    /// Processor time of everything else, the kernel's interrupts included: what `/proc/stat` counts as busy, less `own_share`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Fraction>"))]
    pub other_share: Option<f64>,
    /// Processor time that a hypervisor gave to other guests while something here would have run (`steal` in `/proc/stat`).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Fraction>"))]
    pub steal_share: Option<f64>,
    /// Tasks that ran, wanted to, or waited for a disk, over the last minute (`/proc/loadavg`), at the end.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::bounds::load_average"
    )]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::LoadAverage>"))]
    pub load_average: Option<f64>,
    /// Share of the time in which some task waited for a processor (`some` in `/proc/pressure/cpu`, the kernel's
    /// Documentation/accounting/psi.rst). A worker with more threads than processors makes it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Fraction>"))]
    pub cpu_pressure: Option<f64>,
    /// Share of the time in which some task waited for memory (`some` in `/proc/pressure/memory`).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Fraction>"))]
    pub memory_pressure: Option<f64>,
    /// Share of the time in which some task waited for a disk (`some` in `/proc/pressure/io`).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::bounds::share")]
    #[cfg_attr(test, schemars(with = "Option<crate::schema::Fraction>"))]
    pub io_pressure: Option<f64>,
}
