//! Reads SQL out of Rust source: literals, and what `concat!` and this crate's macros make of them.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// How statements begin.
const VERBS: [&str; 5] = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];

#[derive(Clone, PartialEq, Debug)]
enum Token {
    Text(String),
    /// A name, with `$` in front of a macro's parameter.
    Name(String),
    Sign(char),
}

/// Of each `macro_rules!`, its rules: the names of the parameters, and what they are put into.
type Macros = HashMap<String, Vec<(Vec<String>, Vec<Token>)>>;

/// Every statement in the code below `folders`, tests left out.
pub(super) fn statements(folders: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    folders.iter().for_each(|folder| read_files(Path::new(folder), &mut files));
    let sources: Vec<Vec<Token>> = files.iter().map(|text| tokens(text)).collect();
    let mut macros = Macros::new();
    let rest: Vec<Vec<Token>> = sources.iter().map(|source| take_macros(source, &mut macros)).collect();
    let mut found: Vec<String> = rest.iter().flat_map(|source| texts(source, &macros)).collect();
    found.retain(|text| VERBS.iter().any(|verb| text.starts_with(verb)) && !text.contains('{'));
    found.sort();
    found.dedup();
    found
}

fn read_files(folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if matches!(name, "tests" | "memory_tests" | "plans" | "observing" | "dialect") {
            continue;
        }
        if path.is_dir() {
            read_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            // Tests come last.
            files.push(text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned());
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
        } else if first == '"' {
            let (literal, length) = literal(rest);
            found.push(Token::Text(literal));
            rest = &rest[length..];
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest = rest.split_once("\"'").unwrap().1;
        } else if first.is_alphabetic() || first == '_' || first == '$' {
            let is_part = |character: char| character.is_alphanumeric() || character == '_';
            let length = rest[1..].find(|character| !is_part(character)).map_or(rest.len(), |length| length + 1);
            found.push(Token::Name(rest[..length].to_owned()));
            rest = &rest[length..];
        } else {
            found.extend((!first.is_whitespace()).then_some(Token::Sign(first)));
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// The text of the literal at the beginning, and how long it is in the source.
fn literal(source: &str) -> (String, usize) {
    let mut text = String::new();
    let mut characters = source.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text, at + 1),
            '\\' => match characters.next() {
                Some((_, '\n')) => while characters.next_if(|(_, next)| next.is_whitespace()).is_some() {},
                Some((_, escaped)) => text.push(escaped),
                None => {}
            },
            _ => text.push(character),
        }
    }
    panic!("a literal has no end: {text}");
}

/// The text between the bracket at the beginning and its counterpart, and where that is.
fn bracketed(tokens: &[Token]) -> (&[Token], usize) {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign('(' | '{' | '[') => depth += 1,
            Token::Sign(')' | '}' | ']') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return (&tokens[1..at], at);
        }
    }
    panic!("a bracket has no counterpart");
}

/// Learns the macros of a file. Returns the other code.
fn take_macros(source: &[Token], macros: &mut Macros) -> Vec<Token> {
    let mut rest = Vec::new();
    let mut at = 0;
    while at < source.len() {
        if let [Token::Name(word), Token::Sign('!'), Token::Name(name), after @ ..] = &source[at..]
            && word == "macro_rules"
        {
            let (body, end) = bracketed(after);
            macros.insert(name.clone(), rules(body));
            at += 3 + end;
        } else {
            rest.push(source[at].clone());
        }
        at += 1;
    }
    rest
}

fn rules(mut body: &[Token]) -> Vec<(Vec<String>, Vec<Token>)> {
    let mut found = Vec::new();
    while let Some(start) = body.iter().position(|token| *token == Token::Sign('(')) {
        let (parameters, end) = bracketed(&body[start..]);
        let names = parameters.iter().filter_map(|token| match token {
            Token::Name(name) if name.len() > 1 && name.starts_with('$') => Some(name.clone()),
            _ => None,
        });
        // After "=>".
        let made = &body[start + end + 3..];
        let (result, length) = bracketed(made);
        found.push((names.collect(), result.to_vec()));
        body = &made[length..];
    }
    found
}

/// The texts in some code, each as large as it gets.
fn texts(code: &[Token], macros: &Macros) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let (text, length) = text_at(&code[at..], macros, &HashMap::new());
        found.extend(text);
        at += length;
    }
    found
}

/// The text that an expression at the beginning makes, if it makes one, and how long the expression is.
fn text_at(code: &[Token], macros: &Macros, values: &HashMap<String, Vec<String>>) -> (Option<String>, usize) {
    match code {
        [Token::Text(text), ..] => (Some(text.clone()), 1),
        [Token::Name(name), Token::Sign('!'), arguments @ ..] if name == "concat" => {
            let (inner, end) = bracketed(arguments);
            (Some(arguments_in(inner, macros, values).concat()), end + 3)
        }
        [Token::Name(name), Token::Sign('!'), arguments @ ..] if macros.contains_key(name) => {
            let (inner, end) = bracketed(arguments);
            (expand(&macros[name], &arguments_in(inner, macros, values), macros), end + 3)
        }
        [Token::Name(name), ..] if values.contains_key(name) => (Some(values[name].concat()), 1),
        _ => (None, 1),
    }
}

fn arguments_in(code: &[Token], macros: &Macros, values: &HashMap<String, Vec<String>>) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let (text, length) = text_at(&code[at..], macros, values);
        found.extend(text);
        at += length;
    }
    found
}

/// The rule with as many parameters as there are arguments, or the only one, whose last parameter takes the rest.
fn expand(rules: &[(Vec<String>, Vec<Token>)], arguments: &[String], macros: &Macros) -> Option<String> {
    let rule = rules.iter().find(|(parameters, _)| parameters.len() == arguments.len()).or(rules.first());
    let (parameters, result) = rule.filter(|(parameters, _)| !parameters.is_empty())?;
    let last = parameters.len() - 1;
    let values = parameters.iter().enumerate().map(|(number, name)| {
        let end = if number == last { arguments.len() } else { number + 1 };
        (name.clone(), arguments.get(number..end).unwrap_or_default().to_vec())
    });
    text_at(result, macros, &values.collect()).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_macros_become_statements() {
        let source = r#"
            // "SELECT a comment"
            macro_rules! of { ($one:literal) => { of!("", $one) }; ($more:literal, $one:literal) => {
                concat!("SELECT a", $more, " FROM t ", $one) }; }
            macro_rules! all { ($($part:literal),+) => { concat!("SELECT b FROM t WHERE ", $($part),+) }; }
            const A: &str = "DELETE FROM t \
                             WHERE a = '\"'";
            fn b() { run(of!("WHERE a = $1"), '"'); run(of!(", c", "WHERE a = $2")); run(all!("x", " AND y")) }
        "#;
        let mut macros = Macros::new();
        let rest = take_macros(&tokens(source), &mut macros);
        assert_eq!(
            texts(&rest, &macros),
            [
                "DELETE FROM t WHERE a = '\"'",
                "SELECT a FROM t WHERE a = $1",
                "SELECT a, c FROM t WHERE a = $2",
                "SELECT b FROM t WHERE x AND y"
            ]
        );
    }
}
