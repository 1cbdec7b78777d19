//! The steps of the demo, for folders and for Kubernetes.

use std::collections::BTreeMap;

use crate::plain_secrets::{self, Values};
use crate::stage::{Result, Stage, unexpected};

const OLD_PASSWORD: &str = "correct-horse-battery-staple";
const NEW_PASSWORD: &str = "a-new-password-for-a-new-year";
/// The developer's clone, and the sealed file in it.
pub(crate) const REPOSITORY: &str = "repository";
pub(crate) const SEALED: &str = "repository/shop.yaml";
/// The plain file, which is not in the repository.
const PLAIN: &str = "plain.yaml";

/// A backend of the controller: folders or Kubernetes.
pub(crate) trait Place {
    /// Starts the controller and returns when its public keys are in [`Self::keys_file`].
    fn start(&mut self, stage: &Stage) -> Result<()>;
    /// The keys file that values are sealed to.
    fn keys_file(&self) -> &'static str;
    /// Brings the committed files to the controller.
    fn deliver(&self, stage: &Stage) -> Result<()>;
    /// Returns the values of all Secrets that the controller made, as a program reads them.
    fn values(&self, stage: &Stage) -> Result<Values>;
    /// Shows one value to the audience.
    fn show(&self, stage: &Stage, secret: &str, key: &str) -> Result<()>;
    /// Returns a text that changes when the Secret is written.
    fn version(&self, stage: &Stage, secret: &str) -> Result<String>;
    /// Returns reason and message of the condition `Ready` of a SealedSecret.
    fn judgement(&self, stage: &Stage, name: &str) -> Result<(String, String)>;
    /// Adds a newer key and waits until the keys file has it; returns its id.
    fn add_key(&self, stage: &Stage) -> Result<String>;
    /// Deletes a Secret, so that the controller creates it again.
    fn delete(&self, stage: &Stage, secret: &str) -> Result<()>;
}

/// Runs all steps. The first wrong result ends the demo.
pub(crate) fn play(stage: &mut Stage, place: &mut impl Place) -> Result<()> {
    stage.step("Start the controller: it makes a key of its own and publishes the public half")?;
    begin_repository(stage)?;
    place.start(stage)?;
    stage.quote(&stage.run(&["waxseal", "keys", "list", place.keys_file()])?)?;

    stage.step("Seal a file of Secrets; sealing needs only the public keys")?;
    let first = seal(stage, place, OLD_PASSWORD)?;

    stage.step("The sealed file holds no value, so it can be committed")?;
    check_nothing_shows(stage, &first)?;
    commit(stage, "Add Secrets")?;

    stage.step("The controller makes the Secrets, byte for byte")?;
    place.deliver(stage)?;
    wait_for_values(stage, place, &first)?;
    place.show(stage, "database", "PASSWORD")?;
    stage.confirm(format_args!("all {} Secrets hold exactly what was sealed", first.len()))?;

    stage.step("Change a value: the Secret follows")?;
    let changed = seal(stage, place, NEW_PASSWORD)?;
    commit(stage, "Change the password")?;
    place.deliver(stage)?;
    wait_for_values(stage, place, &changed)?;
    place.show(stage, "database", "PASSWORD")?;
    stage.confirm("the new password is there")?;

    stage.step("Add a newer key: what was sealed before still opens")?;
    show_rotation(stage, place, &changed)?;

    stage.step("Break a sealed file: the last good Secret stays, and the status says why")?;
    show_refusal(stage, place, &changed)?;

    stage.step("Repair the file: the SealedSecret is ready again")?;
    stage.run(&["git", "-C", REPOSITORY, "revert", "--no-edit", "HEAD"])?;
    place.deliver(stage)?;
    wait_for_reason(stage, place, "database", "Materialised")?;
    wait_for_values(stage, place, &changed)?;
    stage.confirm("every Secret is as its SealedSecret says")
}

fn begin_repository(stage: &Stage) -> Result<()> {
    stage.run(&["git", "init", "--quiet", "--initial-branch", "main", REPOSITORY])?;
    stage.run(&["git", "-C", REPOSITORY, "commit", "--quiet", "--allow-empty", "-m", "Begin"])?;
    Ok(())
}

fn seal(stage: &Stage, place: &impl Place, password: &str) -> Result<Values> {
    let secrets = plain_secrets::of_a_shop(password)?;
    stage.write(PLAIN, &plain_secrets::manifests(&secrets)?)?;
    let values = plain_secrets::values(&secrets);
    let names = values.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    stage.tell(format_args!("({PLAIN}: the Secrets {names}; database has the password {password})"))?;
    stage.run(&["waxseal", "seal", PLAIN, "--keys", place.keys_file(), "--output", SEALED])?;
    Ok(values)
}

fn check_nothing_shows(stage: &Stage, values: &Values) -> Result<()> {
    let sealed = stage.read(SEALED)?;
    if let Some((secret, key)) = plain_secrets::shown_in(&sealed, values) {
        return Err(unexpected(SEALED, "no value", format_args!("{key} of {secret}")));
    }
    let plain = stage.read(PLAIN)?;
    if plain_secrets::shown_in(&plain, values).is_none() {
        return Err(unexpected(PLAIN, "at least one value (if not, the search finds nothing)", "none"));
    }
    let line = sealed.lines().find(|line| line.trim_start().starts_with("PASSWORD: wax1.")).unwrap_or_default();
    stage.tell(format_args!("{}…", line.trim().chars().take(70).collect::<String>()))?;
    let count: usize = values.values().map(BTreeMap::len).sum();
    stage.confirm(format_args!("none of the {count} values is in {SEALED}, plain or in base64"))
}

fn commit(stage: &Stage, message: &str) -> Result<()> {
    stage.run(&["git", "-C", REPOSITORY, "add", "shop.yaml"])?;
    stage.run(&["git", "-C", REPOSITORY, "commit", "--quiet", "-m", message])?;
    Ok(())
}

fn show_rotation(stage: &Stage, place: &impl Place, values: &Values) -> Result<()> {
    let sealed_before = stage.read(SEALED)?;
    let new = place.add_key(stage)?;
    if sealed_before.contains(&new) {
        return Err(unexpected(SEALED, "no wrap for the new key", new));
    }
    place.delete(stage, "database")?;
    wait_for_values(stage, place, values)?;
    stage.confirm("the controller made the Secret again from the file that only the older key opens")?;
    let resealed = stage.run(&["waxseal", "seal", PLAIN, "--keys", place.keys_file()])?;
    match resealed.contains(&new) {
        true => stage.confirm(format_args!("what is sealed from now on is sealed to {new}")),
        false => Err(unexpected("the keys that are sealed to", new, "others")),
    }
}

fn show_refusal(stage: &Stage, place: &impl Place, values: &Values) -> Result<()> {
    let before = place.version(stage, "database")?;
    let (line, broken) = change_one_character(&stage.read(SEALED)?)?;
    stage.write(SEALED, &broken)?;
    stage.tell(format_args!("(line {line} of {SEALED}: one character of the sealed PASSWORD has changed)"))?;
    commit(stage, "Break the password")?;
    place.deliver(stage)?;
    wait_for_reason(stage, place, "database", "Unreadable")?;
    let (reason, message) = place.judgement(stage, "database")?;
    stage.tell(format_args!("status of shop/database: {reason}: {message}"))?;
    wait_for_values(stage, place, values)?;
    let after = place.version(stage, "database")?;
    if after != before {
        return Err(unexpected("the version of the Secret", before, after));
    }
    place.show(stage, "database", "PASSWORD")?;
    stage.confirm("the last good Secret was not touched")
}

/// Returns the line that was changed, and the text with the change.
fn change_one_character(sealed: &str) -> Result<(usize, String)> {
    let start = sealed.find("PASSWORD: wax1.").ok_or_else(|| unexpected(SEALED, "a sealed PASSWORD", "none"))?;
    let at = start + 60;
    let other = if sealed[at..].starts_with('A') { "B" } else { "A" };
    let line = sealed[..at].lines().count();
    Ok((line, format!("{}{other}{}", &sealed[..at], &sealed[at + 1..])))
}

fn wait_for_values(stage: &Stage, place: &impl Place, expected: &Values) -> Result<()> {
    // The error shows names and lengths instead of values.
    let names = |values: &Values| {
        let secret = |(name, values): (&String, &BTreeMap<String, Vec<u8>>)| {
            let value = |(key, value): (&String, &Vec<u8>)| format!("{key} ({} bytes)", value.len());
            format!("{name}: {}", values.iter().map(value).collect::<Vec<_>>().join(", "))
        };
        values.iter().map(secret).collect::<Vec<_>>().join("; ")
    };
    stage.wait_for("the Secrets", expected, || place.values(stage), names)
}

fn wait_for_reason(stage: &Stage, place: &impl Place, name: &str, expected: &str) -> Result<()> {
    let reason = || Ok(place.judgement(stage, name)?.0);
    stage.wait_for(&format!("the status of {name}"), &expected.to_owned(), reason, String::clone)
}
