//! What crosses the border to C, as types that the exported functions take and return.
//!
//! Each is one pointer (`repr(transparent)`), so a function with them has the signature that the bindings declare. All
//! `unsafe` of the libraries is here. What it rests on is the contract of C: a pointer argument is null, or points to
//! what its declaration says for as long as the call takes, and what a library returned is given back once, to its own
//! free function. Only C can make these values from a pointer; Rust makes them from safe ones.
//!
//! An array that is returned has its number of elements before it. The free functions of the bindings get one too, but
//! some get none, and a wrong one does no harm so.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;

use crate::error::CallError;

/// A text of the caller's, or null.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct CText<'a>(*const c_char, PhantomData<&'a CStr>);

impl<'a> CText<'a> {
    /// Returns the text.
    ///
    /// # Errors
    /// [`CallError::Null`], [`CallError::NotUtf8`] with the argument's name.
    pub fn read(self, argument: &'static str) -> Result<&'a str, CallError> {
        if self.0.is_null() {
            return Err(CallError::Null { argument });
        }
        // SAFETY: not null, so it is a string of the caller's that ends with a zero byte and stays as it is for the
        // call, which `'a` does not outlast.
        let text: &'a CStr = unsafe { CStr::from_ptr(self.0) };
        text.to_str().map_err(|_| CallError::NotUtf8 { argument })
    }

    /// Returns the text; `None` for null and for an empty one, by which callers leave a path out.
    ///
    /// # Errors
    /// [`CallError::NotUtf8`].
    pub fn read_optional(self, argument: &'static str) -> Result<Option<&'a str>, CallError> {
        if self.0.is_null() {
            return Ok(None);
        }
        self.read(argument).map(|text| Some(text).filter(|text| !text.is_empty()))
    }
}

/// Converts a number of elements.
///
/// # Errors
/// [`CallError::Count`] for a negative one.
pub fn count(argument: &'static str, given: c_int) -> Result<usize, CallError> {
    usize::try_from(given).map_err(|_| CallError::Count { argument, given: given.into() })
}

/// An array of texts of the caller's, or null.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct CTexts<'a>(*const CText<'a>);

impl<'a> CTexts<'a> {
    /// Returns the texts of an array with this many.
    ///
    /// # Errors
    /// [`CallError::Null`] for the array or one of its texts, [`CallError::NotUtf8`], [`CallError::Count`].
    pub fn read(self, argument: &'static str, elements: c_int) -> Result<Vec<&'a str>, CallError> {
        let elements = count(argument, elements)?;
        if self.0.is_null() {
            return Err(CallError::Null { argument });
        }
        // SAFETY: not null, so it is an array of the caller's with the number of pointers that came with it.
        let texts = unsafe { std::slice::from_raw_parts(self.0, elements) };
        texts.iter().map(|text| text.read(argument)).collect()
    }
}

/// A place of the caller's for a result, or null. What is in it before the call need not be a value.
#[repr(transparent)]
#[derive(Debug)]
pub struct COutput<'a, T>(*mut T, PhantomData<&'a mut T>);

impl<T> COutput<'_, T> {
    /// Rejects null, so that nothing is computed that nobody gets.
    ///
    /// # Errors
    /// [`CallError::Null`].
    pub fn require(&self, argument: &'static str) -> Result<(), CallError> {
        if self.0.is_null() { Err(CallError::Null { argument }) } else { Ok(()) }
    }

    /// Puts the value in its place. Into null it does not go; it is made by `value`, so that it owns nothing then.
    pub fn put(&self, value: impl FnOnce() -> T) {
        if !self.0.is_null() {
            // SAFETY: not null, so it is a place of the caller's for one `T`. What was there is not read.
            unsafe { self.0.write(value()) };
        }
    }

    /// Takes the value that the library put there, and leaves `emptied`, so that it is freed once even if the caller
    /// frees it again. `None` for null.
    pub fn take(&self, emptied: T) -> Option<T> {
        // SAFETY: not null, so it is a struct of the caller's that holds what the library put there, or zeros.
        (!self.0.is_null()).then(|| unsafe { self.0.replace(emptied) })
    }
}

/// An array of the caller's for results, or null.
#[repr(transparent)]
#[derive(Debug)]
pub struct COutputs<'a, T>(*mut T, PhantomData<&'a mut T>);

impl<'a, T> COutputs<'a, T> {
    /// Returns the places of an array with this many.
    ///
    /// # Errors
    /// [`CallError::Null`], [`CallError::Count`].
    pub fn places(
        self,
        argument: &'static str,
        elements: c_int,
    ) -> Result<Vec<COutput<'a, T>>, CallError> {
        let elements = count(argument, elements)?;
        if self.0.is_null() {
            return Err(CallError::Null { argument });
        }
        // `wrapping_add`: the pointers are dereferenced by `COutput` only, within the caller's array.
        let place = |index| COutput(self.0.wrapping_add(index), PhantomData);
        Ok((0..elements).map(place).collect())
    }
}

/// An array that the caller frees through the library, or null for none.
#[repr(transparent)]
#[derive(Debug)]
pub struct OwnedArray<T>(*mut T);

impl<T> OwnedArray<T> {
    /// No array.
    pub const NULL: OwnedArray<T> = OwnedArray(std::ptr::null_mut());

    /// Moves the values into memory that C can hold; none become null.
    pub fn new(values: Vec<T>) -> OwnedArray<T> {
        if values.is_empty() {
            return OwnedArray::NULL;
        }
        let (layout, offset) = Self::layout(values.len());
        // SAFETY: the layout holds a number, so its size is not zero.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: the number lies at the start, and the elements from the offset on: the layout was made of both.
        let first = unsafe {
            start.cast::<usize>().write(values.len());
            start.add(offset).cast::<T>()
        };
        for (index, value) in values.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { first.add(index).write(value) };
        }
        OwnedArray(first)
    }

    /// Returns the layout of a number and this many elements, and where the elements begin.
    fn layout(elements: usize) -> (Layout, usize) {
        let array = Layout::array::<T>(elements).expect("a vector had the same size");
        Layout::new::<usize>().extend(array).expect("it is far below the limit")
    }

    /// Frees the array and returns its elements.
    pub fn into_elements(self) -> Vec<T> {
        if self.0.is_null() {
            return Vec::new();
        }
        let (_, offset) = Self::layout(0);
        // SAFETY: not null, so `OwnedArray::new` made it, and its owner gives it back, once. The elements are moved out
        // before the memory goes.
        unsafe {
            let start = self.0.cast::<u8>().sub(offset);
            let elements = start.cast::<usize>().read();
            let values = (0..elements).map(|index| self.0.add(index).read()).collect();
            dealloc(start, Self::layout(elements).0);
            values
        }
    }

    /// Frees the array and drops its elements; what is owned by pointers in them stays.
    pub fn free(self) {
        drop(self.into_elements());
    }
}

/// A text that the caller frees through the library, or null for none.
#[repr(transparent)]
#[derive(Debug)]
pub struct OwnedText(OwnedArray<u8>);

impl OwnedText {
    /// No text.
    pub const NULL: OwnedText = OwnedText(OwnedArray::NULL);

    /// Copies a text and ends it with a zero byte. Zero bytes in it, which would end it earlier, become spaces; a label
    /// of a model could have one.
    pub fn new(text: &str) -> OwnedText {
        let mut bytes = text.replace('\0', " ").into_bytes();
        bytes.push(0);
        OwnedText(OwnedArray::new(bytes))
    }

    /// Frees the text, which is not to be used again.
    pub fn free(self) {
        self.0.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEYOND_LATIN: &CStr = c"a\xc3\xa9";

    fn text(text: &CStr) -> CText<'_> {
        CText(text.as_ptr(), PhantomData)
    }

    fn null() -> CText<'static> {
        CText(std::ptr::null(), PhantomData)
    }

    #[test]
    fn a_text_is_read_or_named_in_the_error() {
        assert_eq!(text(BEYOND_LATIN).read("text").unwrap(), "a\u{e9}");
        let messages = [null().read("text"), text(c"\xff").read("path")].map(|r| r.unwrap_err());
        let messages = messages.map(|error| error.to_string());
        assert_eq!(messages[0], "the argument text is a null pointer");
        assert_eq!(messages[1], "the argument path is not UTF-8");
        assert_eq!(null().read_optional("path").unwrap(), None);
        assert_eq!(text(c"").read_optional("path").unwrap(), None);
        assert_eq!(text(c"m").read_optional("path").unwrap(), Some("m"));
    }

    #[test]
    fn an_array_of_texts_is_read_up_to_its_count() {
        let texts = [text(c"a"), text(c"b"), null()];
        let array = || CTexts(texts.as_ptr());
        assert_eq!(array().read("texts", 2).unwrap(), ["a", "b"]);
        assert!(matches!(array().read("texts", 3), Err(CallError::Null { .. })));
        assert!(matches!(array().read("texts", -1), Err(CallError::Count { given: -1, .. })));
        assert!(matches!(CTexts(std::ptr::null()).read("texts", 1), Err(CallError::Null { .. })));
    }

    #[test]
    fn results_go_to_their_places_and_are_taken_once() {
        let mut places = [0, 0];
        let outputs = COutputs(places.as_mut_ptr(), PhantomData).places("results", 2).unwrap();
        for (place, value) in outputs.iter().zip([7, 8]) {
            place.require("result").unwrap();
            place.put(|| value);
        }
        assert_eq!((outputs[0].take(0), outputs[0].take(0)), (Some(7), Some(0)));
        assert_eq!(places, [0, 8]);
        let nowhere: COutput<'_, i32> = COutput(std::ptr::null_mut(), PhantomData);
        nowhere.put(|| unreachable!("it has no place"));
        assert!(nowhere.require("result").is_err());
        assert_eq!(nowhere.take(0), None);
    }

    #[test]
    fn arrays_return_what_was_moved_into_them() {
        let array = OwnedArray::new(vec![String::from("a"), String::from("b")]);
        assert_eq!(array.into_elements(), ["a", "b"]);
        assert!(OwnedArray::<f32>::new(Vec::new()).0.is_null());
        assert!(OwnedArray::<f32>::NULL.into_elements().is_empty());
        OwnedArray::<f32>::NULL.free();
    }

    #[test]
    fn a_text_ends_where_it_should() {
        let OwnedText(array) = OwnedText::new("a\0b");
        assert_eq!(array.into_elements(), b"a b\0");
    }
}
