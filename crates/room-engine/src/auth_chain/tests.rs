mod graph;
pub(crate) mod rows;
mod walks;
