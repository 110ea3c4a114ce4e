use proptest::prelude::*;

use super::*;

/// The rules of globs as they are written down, tried one after the other.
fn naive(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skipped| naive(rest, &text[skipped..])),
        ['?', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
        [unit, rest @ ..] => text.first() == Some(unit) && naive(rest, &text[1..]),
    }
}

/// Every part of the text between two word boundaries, tried one after the other.
fn naive_words(pattern: &[char], text: &[char]) -> bool {
    let is_word = |at: usize| text.get(at).is_some_and(|char| char.is_ascii_alphanumeric() || *char == '_');
    let boundary = |at: usize| at == 0 || at == text.len() || !(is_word(at - 1) && is_word(at));
    if pattern.is_empty() {
        return text.is_empty();
    }
    (0..=text.len())
        .flat_map(|start| (start..=text.len()).map(move |end| (start, end)))
        .any(|(start, end)| boundary(start) && boundary(end) && naive(pattern, &text[start..end]))
}

fn characters(text: &str) -> Vec<char> {
    fold(text).chars().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn whole_texts_match_as_the_naive_model_says(pattern in "[abkA*?é]{0,7}", text in "[abBkK\u{212a}É\n]{0,10}") {
        let expected = naive(&characters(&pattern), &characters(&text));
        prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
    }

    #[test]
    fn letters_with_many_forms_match_as_the_naive_model_says(
        pattern in "[isΣт*?\u{1f80}]{0,6}",
        text in "[iIısſσςТ\u{1c84}\u{1c85}\u{1f88}]{0,9}",
    ) {
        let expected = naive(&characters(&pattern), &characters(&text));
        prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        let expected = naive_words(&characters(&pattern), &characters(&text));
        prop_assert_eq!(Glob::new(&pattern).matches_words(&text), expected);
    }

    #[test]
    fn pieces_between_stars_match_as_the_naive_model_says(
        pieces in prop::collection::vec("[ab?éж]{1,3}", 1..4),
        text in "[abABéÉжЖ-]{0,14}",
    ) {
        let pattern = format!("*{}*", pieces.join("*"));
        let expected = naive(&characters(&pattern), &characters(&text));
        prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
    }

    #[test]
    fn words_match_as_the_naive_model_says(pattern in "[ab*?é -]{0,6}", text in "[abBé -]{0,12}") {
        let expected = naive_words(&characters(&pattern), &characters(&text));
        prop_assert_eq!(Glob::new(&pattern).matches_words(&text), expected);
    }

    #[test]
    fn text_in_any_case_matches_as_the_same_text_in_one_case(pattern in "[abkis*?éЖ -]{0,8}", text in "\\PC{0,20}|[abkis éж-]{0,200}") {
        let (glob, folded) = (Glob::new(&pattern), fold(&text));
        prop_assert_eq!(glob.matches(&text), glob.matches_folded(&folded));
        prop_assert_eq!(glob.matches_words(&text), glob.is_in(&Body::new(folded)));
    }

    #[test]
    fn many_failing_occurrences_change_nothing(pattern in "[ab-]{1,3}", body in "[ab-]{40,80}") {
        let expected = naive_words(&characters(&pattern), &characters(&body));
        prop_assert_eq!(Glob::new(&pattern).matches_words(&body), expected);
    }

    #[test]
    fn long_pieces_match_as_short_ones_do(length in 60_usize..200, place in 0_usize..200) {
        let mut pattern: Vec<char> = vec!['a'; length];
        pattern[place % length] = '?';
        let pattern: String = pattern.into_iter().collect();
        let mut text: Vec<char> = vec!['a'; length];
        text[place % length] = 'é';
        let text: String = text.into_iter().collect();
        let glob = Glob::new(&format!("*{pattern}*"));
        let surrounded = format!("aé{text}é");
        prop_assert!(glob.matches(&surrounded));
        prop_assert!(!glob.matches(&"a".repeat(length - 1)));
    }

    #[test]
    fn literal_text_is_found_where_a_pattern_without_wildcards_is(name in "[ab é-]{1,4}", text in "[ab é-]{0,12}") {
        prop_assert_eq!(Glob::literal(&name).matches_words(&text), Glob::new(&name).matches_words(&text));
    }
}

#[test]
fn the_examples_of_event_match_hold() {
    let lunch = Glob::new("lunc?*");
    assert!(lunch.matches("Lunch plans"));
    assert!(lunch.matches("LUNCH"));
    assert!(!lunch.matches(" lunch"));
    assert!(!lunch.matches("lunc"));
}

#[test]
fn the_examples_of_bodies_hold() {
    let example = Glob::new("ex*ple");
    assert!(example.matches_words("An example event."));
    assert!(example.matches_words("exple"));
    assert!(example.matches_words("An exciting triple-whammy"));
    assert!(!example.matches_words("An examples event."));
    assert!(!example.matches_words("An hexample event."));
}

/// A character of three bytes becomes one of ASCII in the other case.
#[test]
fn lengths_in_bytes_decide_nothing_where_they_change_with_the_case() {
    for (pattern, text) in
        [("k", "\u{212a}"), ("ak*ka", "A\u{212a}\u{212a}A"), ("?a", "\u{212a}a"), ("*k", "a\u{212a}")]
    {
        assert!(Glob::new(pattern).matches(text), "{pattern} on {text}");
    }
    assert!(!Glob::new("kk").matches("\u{212a}"));
    assert!(!Glob::new("k*k").matches("\u{212a}"));
}

#[test]
fn words_end_at_everything_but_ascii_letters_digits_and_underscores() {
    let cake = Glob::new("cake");
    for body in ["cake", "CAKE!", "a cake.", "(cake)", "école-cake-école", "écakeé", "cake\nlie"] {
        assert!(cake.matches_words(body), "{body}");
    }
    for body in ["cakes", "pancake", "cake_", "_cake", "cake1", ""] {
        assert!(!cake.matches_words(body), "{body}");
    }
}

#[test]
fn stars_and_question_marks_of_literal_text_stand_for_themselves() {
    assert!(Glob::literal("b*b?").matches_words("hello B*B?, how are you"));
    assert!(!Glob::literal("b*b?").matches_words("hello bobo, how are you"));
}

#[test]
fn a_star_spans_lines() {
    assert!(Glob::new("cake*lie").matches_words("The cake\nis a lie."));
    assert!(Glob::new("a*b").matches("a\nb"));
}

#[test]
fn a_star_at_an_end_reaches_to_the_end_of_the_body_however_far_that_is() {
    let body = format!("a{}", "b".repeat(100));
    assert!(Glob::new("a*").matches_words(&body));
    assert!(Glob::new("*b").matches_words(&body));
    assert!(Glob::new("**").matches_words(&body));
    assert!(!Glob::new("b*").matches_words(&body));
    assert!(!Glob::new("*a").matches_words(&body));
}

#[test]
fn usual_texts_are_decided_as_they_are() {
    for (pattern, text) in [
        ("m.room.message", "M.Room.Message"),
        ("*member*", "@A.MEMBER123:example.org"),
        ("*m?mber*", "@é.member123:example.org"),
        ("обед*", "Обедать в новом месте"),
        ("*место*", "Обедать в новом месте"),
    ] {
        let raw = Glob::new(pattern).raw.unwrap();
        assert!(raw.matches(text).is_ok() && raw.matches_words(text).is_ok(), "{pattern} on {text}");
    }
}

/// Patterns on which matchers that try again take more than the age of the universe.
#[test]
fn hostile_patterns_take_linear_time() {
    let body = "a".repeat(60_000);
    for pattern in
        [format!("{}b", "*a".repeat(200)), format!("{}b", "a?*".repeat(150)), format!("{}b", "?".repeat(500))]
    {
        assert!(!Glob::new(&pattern).matches(&body));
        assert!(!Glob::new(&pattern).matches_words(&body));
    }
    let mut overlapping = "ab-".repeat(20_000);
    overlapping.push('b');
    assert!(!Glob::new(&format!("{}a", "ab-".repeat(160))).matches_words(&overlapping));
}
