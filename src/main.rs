//! bigbatch
fn main() {}
