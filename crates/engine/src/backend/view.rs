//! Views: matrices inside the arena, by offset, shape and stride.

use crate::dtype::Dtype;

/// A row-major matrix inside the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Bytes from the arena's start; a multiple of 256.
    pub offset_bytes: usize,
    /// Number of rows.
    pub rows: usize,
    /// Elements used in each row.
    pub cols: usize,
    /// Elements from one row's start to the next one's; at least `cols`.
    pub stride: usize,
    /// Element type.
    pub dtype: Dtype,
}

impl View {
    /// Describes a matrix without gaps between its rows.
    pub fn new(offset_bytes: usize, rows: usize, cols: usize, dtype: Dtype) -> Self {
        View { offset_bytes, rows, cols, stride: cols, dtype }
    }

    /// Narrows the view to its first `cols` columns.
    pub fn left(self, cols: usize) -> Self {
        debug_assert!(cols <= self.cols);
        View { cols, ..self }
    }

    /// Narrows the view to `count` rows from `first` on.
    pub fn rows(self, first: usize, count: usize) -> Self {
        debug_assert!(first + count <= self.rows);
        let offset_bytes = self.offset_bytes + first * self.stride * self.dtype.size_bytes();
        View { offset_bytes, rows: count, ..self }
    }

    /// Returns the bytes from the first element to the end of the last row, its gap included.
    pub fn extent_bytes(&self) -> usize {
        self.rows * self.stride * self.dtype.size_bytes()
    }
}
