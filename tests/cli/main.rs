//! Tests of the `waxseal` program as users run it: exact output, exact exit codes, real files.
//!
//! # Where a test is
//!
//! - One command: the file with the name of the command, such as `keys_list.rs`. `seal` has several: documents of a
//!   stream, sealing in place, recipients, refused manifests, warnings. `keys_fetch_errors.rs` has the kubeconfigs and
//!   servers that `keys fetch` cannot use, and `keys_fetch_cluster.rs` has `keys fetch CLUSTER`. `keys_backup.rs` also
//!   has `keys restore`; `keys_backup_cluster.rs` has backups of a cluster. `keys_states.rs` has `keys rotate`,
//!   `keys retire` and `keys revoke`. `rotate_modes.rs` has `rotate --reseal`, `--replace-broken` and `--prune`, and
//!   `rotate_offers.rs` has the wraps that a controller offers. `rotate_recovery_keys.rs` has keys files that hold
//!   recovery keys alone.
//! - `.waxseal.yaml`: `configuration.rs`, and `configuration_refused.rs` for what is refused.
//! - Behaviour of several commands: arguments, exit codes, input files and folders, limits of the input and of results,
//!   output files, Git, passphrases, memory, secrets in messages, runs that are killed, files of a newer version.
//!   `round_trips.rs` seals and opens again.
//! - `readme.rs` checks the README.
//! - Support without tests of their own: `folder.rs` runs the program, `api_server.rs` plays the API server, and
//!   `terminal.rs` plays the user at a terminal.
//!
//! # How to add a test
//!
//! Make a [`folder::Folder`], usually with `Folder::with_key()`, write the input, and end with one call that runs the
//! program and checks everything:
//!
//! ```ignore
//! let folder = Folder::with_key();
//! folder.write("db.yaml", SECRET);
//! let seal = folder.waxseal(&["seal", "db.yaml", "--in-place", "--keys", "cluster.yaml"]);
//! seal.writes(&["db.yaml"]).warns("sealed 1 Secret in 1 file\n");
//! ```
//!
//! `prints` and `fails` compare stdout, stderr and the exit code. `succeeds` and `warns` compare stderr and the exit
//! code, and return stdout. The lines about recipients on stderr do not count. Every run also fails the test if it
//! changes a file that `writes` does not name. Name the test after the behaviour, as a sentence:
//! `a_duplicate_key_is_refused`. Every error that a user can cause has a test of its text.

mod api_server;
mod arguments;
mod configuration;
mod configuration_refused;
mod doctor;
mod drill;
mod exit_codes;
mod folder;
mod git;
mod input_files;
mod input_limits;
mod inspect;
mod keys_backup;
mod keys_backup_cluster;
mod keys_delete;
mod keys_fetch;
mod keys_fetch_cluster;
mod keys_fetch_errors;
mod keys_generate;
mod keys_list;
mod keys_public;
mod keys_states;
mod keys_usage;
mod kill;
mod memory;
mod newer_versions;
mod open;
mod output_files;
mod passphrases;
mod readme;
mod result_limits;
mod rotate;
mod rotate_modes;
mod rotate_offers;
mod rotate_recovery_keys;
mod round_trips;
mod seal_documents;
mod seal_in_place;
mod seal_recipients;
mod seal_refused_manifests;
mod seal_warnings;
mod secret_leaks;
mod set;
mod set_values;
mod status;
mod terminal;
mod unset;
