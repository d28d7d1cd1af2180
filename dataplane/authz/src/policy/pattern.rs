//! Patterns with `*` for any text and `?` for any one character.

/// Whether a text is what a pattern says.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut in_text) = (0, 0);
    // Where to go on if the text after the last star does not fit: that star takes one more.
    let mut star: Option<(usize, usize)> = None;
    while in_text < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_text));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[in_text] => {
                at += 1;
                in_text += 1;
            }
            _ => {
                let Some((star_at, taken_to)) = star else { return false };
                star = Some((star_at, taken_to + 1));
                at = star_at + 1;
                in_text = taken_to + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbc"),
            ("a*b*c", "a1b2b3c"),
            ("?b?", "abc"),
            ("**", "x"),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/a/ä"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a", "ab"), ("a*c", "abcd"), ("?", ""), ("b/*", "b"), ("A", "a")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_longer_than_its_length_times_the_text_s() {
        assert!(!fits(&"*a".repeat(500), &"b".repeat(5000)));
        assert!(!fits(&format!("{}c", "*a".repeat(200)), &"a".repeat(2000)));
    }
}
