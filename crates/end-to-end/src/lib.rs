//! Clients that people use, against this server: everything is in the tests.
