//! Offsets of regions that lie one after another in one block of memory.
//!
//! It assigns offsets and allocates nothing. Nothing is given back: every region lives as long as its block.

/// Alignment of each region, in bytes: what a device's widest loads and its memory transactions need.
pub const ALIGN_BYTES: usize = 256;

/// Places regions at ascending offsets, each a multiple of [`ALIGN_BYTES`].
///
/// ```
/// use bigbatch_engine::backend::Layout;
///
/// let mut layout = Layout::default();
/// assert_eq!([layout.place(4), layout.place(300), layout.place(1)], [0, 256, 768]);
/// assert_eq!(layout.bytes(), 1024);
/// ```
#[derive(Debug, Default)]
pub struct Layout {
    end: usize,
}

impl Layout {
    /// Appends a region of `bytes` and returns its offset.
    pub fn place(&mut self, bytes: usize) -> usize {
        let start = self.end;
        self.end += bytes.next_multiple_of(ALIGN_BYTES);
        start
    }

    /// Returns the bytes of all regions so far, a multiple of [`ALIGN_BYTES`].
    pub fn bytes(&self) -> usize {
        self.end
    }
}
