mod oracle;
mod order;
mod parse;
mod signatures;
mod stages;
mod world;
