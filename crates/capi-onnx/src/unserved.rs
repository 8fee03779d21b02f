//! The functions that are not served: multimodal embedders, and windows over long texts. Each fails in the form of its
//! type.
//!
//! They are declared without parameters: `crates/capi-candle/src/unserved.rs` says why that is right.

use std::ffi::c_int;
use std::ptr::null_mut;

use bigbatch_capi::unserved;

/// What an `int` function returns: failure.
const FAILURE: c_int = -1;

/// `TextWindowsResult`.
#[repr(C)]
struct TextWindows {
    offsets: *mut c_int,
    window_count: c_int,
    error: bool,
}

#[unsafe(no_mangle)]
extern "C" fn get_text_windows() -> TextWindows {
    let failed = TextWindows { offsets: null_mut(), window_count: 0, error: true };
    unserved("get_text_windows", failed)
}

#[unsafe(no_mangle)]
extern "C" fn init_multimodal_embedding_model() -> bool {
    unserved("init_multimodal_embedding_model", false)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_text() -> c_int {
    unserved("multimodal_encode_text", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_image() -> c_int {
    unserved("multimodal_encode_image", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_image_from_bytes() -> c_int {
    unserved("multimodal_encode_image_from_bytes", FAILURE)
}

#[unsafe(no_mangle)]
extern "C" fn multimodal_encode_audio() -> c_int {
    unserved("multimodal_encode_audio", FAILURE)
}

// Nothing is allocated by the functions above, so there is nothing to free.

#[unsafe(no_mangle)]
extern "C" fn free_text_windows() {}

#[unsafe(no_mangle)]
extern "C" fn free_multimodal_embedding() {}
