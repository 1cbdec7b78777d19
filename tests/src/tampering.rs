//! Sealed text with one wrong character. Sealed text is random, so a fixed character would at times change nothing.

/// Returns base64 text with another first character.
pub fn with_other_start(text: &str) -> String {
    let first = if text.starts_with('A') { "B" } else { "A" };
    format!("{first}{}", &text[1..])
}

/// Returns a SealedSecret with a wrong proof in the wrap for a key.
///
/// # Panics
///
/// If the text has no wrap for the key.
pub fn with_broken_wrap(sealed: &str, key: &str) -> String {
    let mut lines = sealed.lines();
    let wrap = lines.find(|line| line.trim_start().starts_with(&format!("{key}: "))).expect("a wrap for the key");
    let (file, proof) = wrap.split_once('.').expect("a proof");
    sealed.replace(wrap, &format!("{file}.{}", with_other_start(proof)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_start_differs_whatever_the_first_character_is() {
        assert_eq!(["Abc", "Bbc", "/bc"].map(with_other_start), ["Bbc", "Abc", "Abc"]);
    }

    #[test]
    fn only_the_proof_of_one_wrap_is_changed() {
        let sealed = "wraps:\n  k1: abc.Axy\n  k2: abc.Axy\n";
        assert_eq!(with_broken_wrap(sealed, "k2"), "wraps:\n  k1: abc.Axy\n  k2: abc.Bxy\n");
    }
}
