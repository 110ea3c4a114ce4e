//! A throw-away PostgreSQL server for the tests.

mod account;
mod cluster;
mod programs;

pub(crate) use cluster::Cluster;
