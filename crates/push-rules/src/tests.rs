mod compiling;
mod conditions;
mod defaults;
mod events;
pub(crate) mod generated;
mod oracle;
pub(crate) mod world;
