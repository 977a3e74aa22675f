//! The device's clock against the host's.

use crate::{DeviceSeconds, Measured};

/// Clocks that disagree by less are told in a table's notes: a reader should know.
const MOST: f64 = 2.0;

impl Measured {
    /// Refuses forwards that took much longer by the device's clock than by the host's, which waits for the device.
    ///
    /// # Errors
    /// Which forwards, and both times, in words.
    pub fn check_device_clock(&self) -> Result<(), String> {
        let Some(DeviceSeconds { prompt, tokens }) = &self.device_seconds else { return Ok(()) };
        let by_host = self.generations.iter().flat_map(|one| &one.token_seconds).sum::<f64>();
        for (what, host, device) in [
            ("prefills", self.prompt_seconds.iter().sum(), prompt.iter().sum()),
            ("decode forwards", by_host, tokens.iter().flatten().sum::<f64>()),
        ] {
            if device > MOST * host {
                return Err(format!(
                    "{what}: {device:.3} s by the device's clock, and {host:.3} s by the host's, which waits for them"
                ));
            }
        }
        Ok(())
    }
}
