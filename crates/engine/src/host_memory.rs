//! Large allocations on the host, which fail with an error where `vec!` would abort the process.
//!
//! Small ones are made as everywhere in Rust. [`require`] makes sure at start-up that there is room for them.

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

/// Checks that so many bytes could be had, for the many small allocations and the threads of a step of start-up.
///
/// # Errors
/// As [`reserve`].
pub(crate) fn require(bytes: usize, purpose: &'static str) -> Result<(), LoadError> {
    reserve::<u8>(bytes, purpose).map(drop)
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
            require(4 * asked, "the test").unwrap_err(),
        ];
        for error in errors {
            let LoadError::HostMemory { asked_bytes, .. } = &error else { panic!("{error}") };
            assert_eq!(*asked_bytes, 4 * asked as u64);
            assert!(error.to_string().contains("--memory-budget"), "{error}");
        }
        assert_eq!(zeroed::<f32>(3, "the test").unwrap(), [0.0; 3]);
    }
}
