mod needs;
mod report;
mod rows;
mod search;
mod targets;
mod values;

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::Args;
use waxseal_shared::key::Recipient;
use waxseal_shared::names::KeyId;

use crate::error::{CliError, Failures};
use crate::file_names::file_name;
use crate::git::{Commit, Reach};
use crate::streams::{Streams, counted};
pub(super) use needs::{FileNeeds, needs_in_files};
use report::{Current, UsageFormat, UsageRow};
use search::Search;
use targets::Targets;
use values::Finder;

/// List the sealed values that a key opens, also on other branches and in the history.
///
/// Searches the manifests (`.yaml`, `.yml`, `.json`) in the working tree, except in hidden folders, and all files in
/// the commits that the branches, tags and other references of its Git repository point to; with `--history` also in
/// all commits before them. If a file has a value that the key opens in one of these commits, the file is also searched
/// in the working tree, whatever its name. Opens nothing: a key opens a value if the manifest has a wrap for the key.
/// Does not find manifests that are compressed, encrypted, larger than 32 MiB, or a text inside of another manifest.
/// Searches no commits of submodules, and no commits that only a reflog leads to.
///
/// CURRENT says whether the manifests in the working tree still have this ciphertext (same), another one for this
/// SealedSecret and data key (changed), or none (removed). COMMIT is the newest commit that has the value, of those
/// that references point to. With `--history`, FIRST COMMIT and LAST COMMIT are the first and the last that have it.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UsageArguments {
    /// The key: its id, its recipient, or its fingerprint `sha256:…`
    // Not parsed by clap: its error would show the value, which may be a private key.
    key: String,
    /// Search these files and folders, also those that only commits have
    #[arg(value_name = "PATH", value_parser = file_name::<PathBuf>(), required = true)]
    paths: Vec<PathBuf>,
    /// Search all commits that references lead to
    #[arg(long)]
    history: bool,
    /// Print the list in this format
    #[arg(long, value_enum, default_value = "text")]
    format: UsageFormat,
}

const EXAMPLES: &str = "\
Examples:
  waxseal keys usage k2f41ab09c3d4e5f6 apps/
  waxseal keys usage k2f41ab09c3d4e5f6 . --history
  waxseal keys usage k2f41ab09c3d4e5f6 . --history --format csv > values.csv";

pub(crate) fn run(arguments: UsageArguments, streams: &mut Streams) -> Result<(), Failures> {
    let key = key_id(&arguments.key)?;
    let reach = if arguments.history { Reach::History } else { Reach::Tips };
    let targets = Targets::resolve(&arguments.paths)?;
    let mut search = Search::new(Finder::new(key.clone()));
    search.working_tree(&targets, streams);
    let revisions = search.commits(&targets, reach)?;
    let commits = revisions.as_ref().map(|revisions| revisions.commits.as_slice()).unwrap_or_default();
    let rows = search.rows.report(&search.finder.names, commits, reach);
    streams.result(&report::text_of(&rows, arguments.format, reach))?;
    summarise(&key, &rows, revisions.is_some().then_some(commits), reach, streams);
    Failures::none_or(search.errors.into_shown())
}

/// Reads the argument KEY: a key id, a recipient or a fingerprint.
fn key_id(text: &str) -> Result<KeyId, CliError> {
    if let Ok(id) = KeyId::parse(text) {
        return Ok(id);
    }
    // A key id is the start of the fingerprint.
    let digits = text.strip_prefix("sha256:").filter(|digits| digits.len() == 64).and_then(|digits| digits.get(..16));
    if let Some(Ok(id)) = digits.map(|digits| KeyId::parse(&format!("k{digits}"))) {
        return Ok(id);
    }
    if text.to_ascii_lowercase().starts_with("age") {
        let parsed = Recipient::parse(text).map_err(|error| CliError::usage(error.to_string()).at("KEY"));
        return Ok(parsed?.key_id().clone());
    }
    let error = CliError::usage("not a key id, recipient or fingerprint").at("KEY");
    Err(error.with_hint("`waxseal keys list KEYS_FILE` shows the key ids and fingerprints of a keys file"))
}

/// Says what was found and searched, and that a change of the key does not protect values in Git's history.
fn summarise(key: &KeyId, rows: &[UsageRow<'_>], commits: Option<&[Commit]>, reach: Reach, streams: &mut Streams) {
    if rows.is_empty() {
        streams.say(&format!("{key} opens nothing here"));
    } else {
        let files: BTreeSet<_> = rows.iter().map(|row| &row.file).collect();
        let same = rows.iter().filter(|row| row.current == Current::Same).count();
        let values = counted(rows.len(), "sealed value");
        let files = counted(files.len(), "file");
        streams.say(&format!("{key} opens {values} in {files}; the working tree still has {same} of these values"));
    }
    let Some(commits) = commits else {
        streams.say("searched files only: no Git repository was read");
        return;
    };
    let count = counted(commits.len(), "commit");
    let references = counted(commits.iter().map(|commit| commit.references.len()).sum(), "reference");
    match reach {
        Reach::Tips | Reach::Branches => streams.say(&format!(
            "searched the working tree and {count} at {references}, not the history: for that, pass --history"
        )),
        Reach::History => streams.say(&format!("searched the working tree and {count} of {references}")),
    }
    if !rows.is_empty() {
        streams.say(
            "Git history stays readable: the identity of this key opens these values in every clone, for ever\n\
             rotating, revoking or deleting the key does not change that: change the values",
        );
    }
}
