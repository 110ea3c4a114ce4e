//! loadtest

fn main() {}
