//! Reads a compiled kernel's resources from the compiler's report.

/// One kernel's row of the report.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Resources {
    /// Name of the kernel.
    pub kernel: String,
    /// Registers per thread.
    pub registers: u32,
    /// Local memory per thread, in bytes: arrays that did not stay in registers, and spills.
    pub stack_bytes: u32,
    /// Bytes written to local memory for lack of registers.
    pub spill_store_bytes: u32,
    /// Bytes read back from it.
    pub spill_load_bytes: u32,
    /// Static shared memory per block, in bytes.
    pub shared_bytes: u32,
}

impl Resources {
    /// Returns whether the kernel uses local memory, of which the context has none.
    pub fn uses_local_memory(&self) -> bool {
        self.stack_bytes + self.spill_store_bytes + self.spill_load_bytes > 0
    }

    /// Parses the output of `ptxas -v`, one entry per kernel in its order.
    ///
    /// # Errors
    /// Returns the line that cannot be parsed: a report in a new format must not read as "no spills".
    pub fn parse(log: &str) -> Result<Vec<Resources>, String> {
        let mut kernels: Vec<Resources> = Vec::new();
        for line in log.lines() {
            if let Some(rest) = line.split_once("Compiling entry function '").map(|(_, rest)| rest)
            {
                let kernel = rest.split('\'').next().unwrap_or_default().to_string();
                kernels.push(Resources { kernel, registers: u32::MAX, ..Resources::default() });
                continue;
            }
            let Some(kernel) = kernels.last_mut() else { continue };
            let unread = || format!("the compiler's report has an unknown line: {line}");
            if line.contains("bytes stack frame") {
                kernel.stack_bytes = number_before(line, "bytes stack frame").ok_or_else(unread)?;
                kernel.spill_store_bytes =
                    number_before(line, "bytes spill stores").ok_or_else(unread)?;
                kernel.spill_load_bytes =
                    number_before(line, "bytes spill loads").ok_or_else(unread)?;
            } else if line.contains(": Used ") {
                kernel.registers = number_before(line, "registers").ok_or_else(unread)?;
                kernel.shared_bytes = number_before(line, "bytes smem").unwrap_or(0);
            }
        }
        match kernels.iter().find(|kernel| kernel.registers == u32::MAX) {
            Some(kernel) => {
                Err(format!("the compiler's report has no registers for {}", kernel.kernel))
            }
            None => Ok(kernels),
        }
    }
}

/// Returns a log's lines with warnings, such as ptxas ignoring `setmaxnreg`.
pub fn warnings(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.to_ascii_lowercase().contains("warning")).collect()
}

/// Returns the number before a phrase.
fn number_before(line: &str, phrase: &str) -> Option<u32> {
    let head = &line[..line.find(phrase)?];
    head.split_whitespace().next_back()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'plain' for 'sm_90a'
ptxas info    : Function properties for plain
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 72 registers, used 1 barriers, 512 bytes smem
ptxas info    : Compile time = 19.381 ms
ptxas info    : Compiling entry function 'spilled' for 'sm_90a'
ptxas info    : Function properties for spilled
ptxas         .     48 bytes stack frame, 40 bytes spill stores, 44 bytes spill loads
ptxas info    : Used 255 registers, used 0 barriers, 48 bytes cumulative stack size";

    #[test]
    fn the_report_is_read() {
        let kernels = Resources::parse(LOG).unwrap();
        assert_eq!(kernels.len(), 2);
        assert_eq!((kernels[0].registers, kernels[0].shared_bytes), (72, 512));
        assert!(!kernels[0].uses_local_memory());
        let spilled = &kernels[1];
        assert_eq!(
            (spilled.stack_bytes, spilled.spill_store_bytes, spilled.spill_load_bytes),
            (48, 40, 44)
        );
        assert!(spilled.uses_local_memory());
    }

    #[test]
    fn a_report_in_another_form_is_an_error() {
        assert!(Resources::parse(&LOG.replace("Used 72 registers", "Needs 72")).is_err());
        assert!(
            Resources::parse(&LOG.replace("48 bytes stack frame, 40", "some bytes stack frame"))
                .is_err()
        );
    }

    #[test]
    fn warnings_are_found() {
        assert_eq!(warnings("a\nptxas warning : setmaxnreg ignored\nb").len(), 1);
        assert!(warnings(LOG).is_empty());
    }
}
