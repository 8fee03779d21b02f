//! Large allocations on the host, which fail with an error where `vec!` would abort the process.
//!
//! Small ones are made as everywhere in Rust, and abort. [`require_host_memory`] makes sure before each step of
//! start-up that there is room for those of the step, so that a limit on the process is met there.

use bytemuck::Zeroable;

use crate::error::LoadError;

/// Reserves room for `elements` elements, and no more.
///
/// # Errors
/// [`LoadError::HostMemory`] with the purpose and the size.
pub(crate) fn reserve<T>(elements: usize, purpose: &'static str) -> Result<Vec<T>, LoadError> {
    let mut reserved = Vec::new();
    match reserved.try_reserve_exact(elements) {
        Ok(()) => Ok(reserved),
        Err(_) => Err(refused::<T>(elements, purpose)),
    }
}

/// Allocates `elements` zeros. The operating system provides each page when it is first used.
///
/// # Errors
/// As [`reserve`].
pub(crate) fn zeroed<T: Zeroable>(
    elements: usize,
    purpose: &'static str,
) -> Result<Vec<T>, LoadError> {
    bytemuck::allocation::try_zeroed_vec(elements).map_err(|()| refused::<T>(elements, purpose))
}

/// Room for the small allocations of a step of start-up: parsed files, the packed operands of products.
const SMALL_ALLOCATIONS_BYTES: usize = 64 << 20;

/// Room per processor for the threads of a step of start-up: two stacks of 2 MiB.
const THREADS_BYTES: usize = 4 << 20;

/// Checks that `bytes` of large allocations can be had now, and room for small ones and threads beside them, by
/// reserving all of it and giving it back.
///
/// # Errors
/// [`LoadError::HostMemory`] with the purpose and the size.
pub fn require_host_memory(bytes: usize, purpose: &'static str) -> Result<(), LoadError> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let beside = SMALL_ALLOCATIONS_BYTES + processors * THREADS_BYTES;
    reserve::<u8>(bytes.saturating_add(beside), purpose).map(drop)
}

fn refused<T>(elements: usize, purpose: &'static str) -> LoadError {
    let asked_bytes = elements.saturating_mul(size_of::<T>()) as u64;
    LoadError::HostMemory { purpose, asked_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_an_address_space_is_an_error() {
        let asked = isize::MAX as usize / 8;
        let errors = [
            reserve::<f32>(asked, "the test").map(drop).unwrap_err(),
            zeroed::<f32>(asked, "the test").map(drop).unwrap_err(),
        ];
        for error in errors {
            let LoadError::HostMemory { asked_bytes, .. } = &error else { panic!("{error}") };
            assert_eq!(*asked_bytes, 4 * asked as u64);
            assert!(error.to_string().contains("--memory-budget"), "{error}");
        }
        require_host_memory(0, "the test").unwrap();
        assert!(require_host_memory(usize::MAX, "the test").is_err());
        assert_eq!(zeroed::<f32>(3, "the test").unwrap(), [0.0; 3]);
    }
}
