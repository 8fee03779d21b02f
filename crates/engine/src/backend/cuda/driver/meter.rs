//! One device's memory use, read from any thread without a context.

use super::nvml;

/// Reads how much of one device's memory is in use.
pub(in crate::backend::cuda) struct Meter {
    nvml: Option<nvml::NvmlDevice>,
    idle_bytes: Option<u64>,
}

impl Meter {
    /// `idle_bytes` is the card's use before this process touched it, for where NVML does not list the
    /// process.
    pub(in crate::backend::cuda) fn new(
        nvml: Option<nvml::NvmlDevice>,
        idle_bytes: Option<u64>,
    ) -> Meter {
        Meter { nvml, idle_bytes }
    }

    /// Returns the bytes that all processes and the driver use.
    pub(in crate::backend::cuda) fn card_bytes(&self) -> Option<u64> {
        self.nvml.as_ref()?.used_bytes()
    }

    /// Returns the bytes that this process uses: its own entry in NVML, else the growth since it started.
    pub(in crate::backend::cuda) fn used_bytes(&self) -> Option<u64> {
        let nvml = self.nvml.as_ref()?;
        let growth = || Some(nvml.used_bytes()?.saturating_sub(self.idle_bytes?));
        nvml.own_bytes().or_else(growth)
    }
}
