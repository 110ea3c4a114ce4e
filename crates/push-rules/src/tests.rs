mod compiling;
mod conditions;
mod defaults;
pub(crate) mod generated;
mod oracle;
pub(crate) mod world;
