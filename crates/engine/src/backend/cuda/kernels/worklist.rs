//! Cuts a packed batch into attention's work lists: the tiles of queries that blocks take.
//!
//! A tile is up to `rows` consecutive queries of one sequence, counted from the sequence's own start, so that
//! a row's sums never depend on its neighbours. The cost of a tile of full attention grows with its sequence,
//! so the longest sequence comes first and short tiles even out the end; a windowed tile always costs the
//! same, and the packed order keeps neighbours in the cache.

use std::ops::Range;

/// `{first row of the sequence, its length, first query of the tile within it, 0}`, as the kernels read it.
pub type Tile = [i32; 4];

/// A tile without queries, which pads a recorded graph's list.
pub const NO_TILE: Tile = [0; 4];

/// Returns the most tiles of any batch of so many tokens and sequences.
pub fn max_tiles(tokens: usize, sequences: usize, rows: usize) -> usize {
    tokens / rows + sequences.min(tokens)
}

/// Appends the tiles of all sequences in packed order.
pub fn packed_order(cu_seqlens: &[u32], rows: usize, tiles: &mut Vec<Tile>) {
    for (start, len) in sequences(cu_seqlens) {
        push_tiles(start, len, rows, tiles);
    }
}

/// Appends the tiles of all sequences, those of the longest first; of equal ones, the earlier first.
pub fn longest_first(cu_seqlens: &[u32], rows: usize, tiles: &mut Vec<Tile>) {
    let mut order: Vec<(u32, u32)> = sequences(cu_seqlens).collect();
    order.sort_by_key(|&(_, len)| std::cmp::Reverse(len));
    for (start, len) in order {
        push_tiles(start, len, rows, tiles);
    }
}

/// Returns the tiles, of up to `tile_rows` queries each, whose first rows are among these, counted in the order of the list.
pub fn tiles_of_rows(tiles: &[Tile], tile_rows: usize, rows: Range<usize>) -> Range<usize> {
    let mut first_row = 0;
    let first_rows: Vec<usize> = tiles
        .iter()
        .map(|&[_, len, first, _]| {
            let own = first_row;
            first_row += tile_rows.min((len - first) as usize);
            own
        })
        .collect();
    let tile = |row| first_rows.partition_point(|&first| first < row);
    tile(rows.start)..tile(rows.end)
}

fn sequences(cu_seqlens: &[u32]) -> impl Iterator<Item = (u32, u32)> + '_ {
    cu_seqlens.windows(2).map(|pair| (pair[0], pair[1] - pair[0]))
}

fn push_tiles(start: u32, len: u32, rows: usize, tiles: &mut Vec<Tile>) {
    for first in (0..len).step_by(rows) {
        tiles.push([start as i32, len as i32, first as i32, 0]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_in_one_tile() {
        let cu_seqlens = [0, 1, 129, 129 + 4096, 129 + 4096 + 128];
        for order in [packed_order, longest_first] {
            let mut tiles = Vec::new();
            order(&cu_seqlens, 128, &mut tiles);
            let mut seen = vec![0; 129 + 4096 + 128];
            for [start, len, first, _] in &tiles {
                for query in *first..(*first + 128).min(*len) {
                    seen[(start + query) as usize] += 1;
                }
            }
            assert!(seen.iter().all(|&times| times == 1));
            assert!(tiles.len() <= max_tiles(seen.len(), 4, 128));
        }
    }

    #[test]
    fn rows_in_parts_name_every_tile_once() {
        let cu_seqlens = [0, 1, 700, 701, 1900, 2092, 5000];
        let mut tiles = Vec::new();
        longest_first(&cu_seqlens, 192, &mut tiles);
        for step in [1, 100, 192, 384, 2112, 10_000] {
            let ends = (step..5000).step_by(step).chain([5000]);
            let mut next = (0, 0);
            for end in ends {
                let part = tiles_of_rows(&tiles, 192, next.0..end);
                assert_eq!(part.start, next.1, "step {step}");
                next = (end, part.end);
            }
            assert_eq!(next.1, tiles.len(), "step {step}");
        }
    }

    #[test]
    fn the_longest_sequence_goes_first() {
        let mut tiles = Vec::new();
        longest_first(&[0, 100, 400, 500, 501], 128, &mut tiles);
        let lengths: Vec<i32> = tiles.iter().map(|tile| tile[1]).collect();
        assert_eq!(lengths, [300, 300, 300, 100, 100, 1]);
        assert_eq!(tiles[3][0], 0, "of equal ones, the earlier");
        tiles.clear();
        packed_order(&[0, 100, 400], 128, &mut tiles);
        assert_eq!(tiles[0], [0, 100, 0, 0]);
    }

    #[test]
    fn the_bound_is_tight_for_sequences_of_one_token() {
        let cu_seqlens: Vec<u32> = (0..=300).collect();
        let mut tiles = Vec::new();
        packed_order(&cu_seqlens, 128, &mut tiles);
        assert_eq!(tiles.len(), 300);
        assert!(max_tiles(300, 300, 128) >= 300);
    }
}
