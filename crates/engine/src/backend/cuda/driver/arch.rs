//! Architectures of NVIDIA's cards, as compilers name them.

/// A compute capability and whether its architecture-specific instructions (`sm_90a`) are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch {
    /// Major times 10 plus minor: 80, 89, 90.
    pub number: u32,
    /// wgmma, setmaxnreg and the like.
    pub specific: bool,
}

impl Arch {
    /// Returns the best target for a card of this compute capability.
    pub fn for_card(major: u32, minor: u32) -> Arch {
        let number = 10 * major + minor;
        Arch { number, specific: number == 90 }
    }

    /// Parses `sm_80`, `sm80` or `sm_90a`.
    ///
    /// # Errors
    /// Rejects anything else and architectures before sm_80, with the text given.
    pub fn parse(text: &str) -> Result<Arch, String> {
        let digits = text.trim().trim_start_matches("sm_").trim_start_matches("sm");
        let (digits, specific) = match digits.strip_suffix('a') {
            Some(digits) => (digits, true),
            None => (digits, false),
        };
        match digits.parse() {
            Ok(number @ 80..=129) => Ok(Arch { number, specific }),
            _ => Err(format!(
                "'{text}' is not an architecture from sm_80 on, such as sm_80, sm_89, sm_90a"
            )),
        }
    }

    /// Returns the most shared memory of one block, in bytes, by the CUDA programming guide's table.
    pub fn shared_memory_bytes(self) -> usize {
        let kib = match self.number {
            80 | 87 => 163,
            90..=119 => 227,
            _ => 99,
        };
        kib << 10
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sm_{}{}", self.number, if self.specific { "a" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn architectures_read_back() {
        for name in ["sm_80", "sm_89", "sm_90a", "sm_100"] {
            assert_eq!(Arch::parse(name).unwrap().to_string(), name);
        }
        assert_eq!(Arch::parse("sm89").unwrap().to_string(), "sm_89");
        for bad in ["sm_75", "", "volta", "sm_9000"] {
            assert!(Arch::parse(bad).is_err(), "{bad}");
        }
    }
}
