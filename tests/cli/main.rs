//! Tests of the `waxseal` program as a person uses it: exact output, exact exit codes, real files.

mod api_server;
mod cluster;
mod connections;
mod fixtures;
mod folder;
mod found_files;
mod git;
mod hostile;
mod hygiene;
mod in_place;
mod inspect;
mod keys;
mod memory;
mod open;
mod passphrases;
mod readme;
mod recipients;
mod refusals;
mod replacement;
mod round_trips;
mod streams;
mod terminal;
mod untrusted_names;
