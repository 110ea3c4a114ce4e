//! The words of mails and pages.
//!
//! Every template is in the program; a file of the same name in the folder of the configuration replaces it. All are tried
//! once at the start, so that a mistake in one stops the start and not a mail.

use std::fs;
use std::io;
use std::path::Path;

use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::{MailError, MailKind};

macro_rules! embedded {
    ($($name:literal),* $(,)?) => { &[$(($name, include_str!(concat!("templates/", $name)))),*] };
}

/// Names and words of all templates.
const EMBEDDED: &[(&str, &str)] = embedded![
    "already_in_use.html",
    "already_in_use.txt",
    "add_address.html",
    "add_address.txt",
    "mail.html",
    "page.html",
    "page_confirm.html",
    "page_confirmed.html",
    "page_invalid.html",
    "password_reset.html",
    "password_reset.txt",
    "registration.html",
    "registration.txt",
    "test.html",
    "test.txt",
];
/// The largest file of a template.
const MAX_TEMPLATE_BYTES: u64 = 256 << 10;
/// What the first line of a mail's text begins with.
const SUBJECT: &str = "Subject: ";

/// The words of one mail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// The subject.
    pub subject: String,
    /// The mail as plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// A page that people see who follow the link of a mail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageKind {
    /// Asks to confirm the address.
    Confirm,
    /// The address is confirmed.
    Confirmed,
    /// The link cannot be used.
    Invalid,
}

impl PageKind {
    fn template(self) -> &'static str {
        match self {
            Self::Confirm => "page_confirm.html",
            Self::Confirmed => "page_confirmed.html",
            Self::Invalid => "page_invalid.html",
        }
    }
}

/// What all mails and pages may speak of.
#[derive(Clone, Debug)]
struct Names {
    app_name: String,
    server_name: String,
    client_url: Option<String>,
}

/// The templates of mails and pages.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    names: Names,
}

impl Templates {
    /// The embedded templates, replaced by the templates in `folder`. Each is rendered once, so that a faulty one stops the start.
    ///
    /// # Errors
    /// [`MailError::Template`] names the file, the line and what is wrong.
    pub fn load(
        folder: Option<&Path>,
        app_name: &str,
        server_name: &str,
        client_url: Option<&str>,
    ) -> Result<Self, MailError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        if let Some(folder) = folder {
            refuse_unknown(folder)?;
        }
        for (name, embedded) in EMBEDDED {
            let text = match folder {
                Some(folder) => replacement(&folder.join(name))?.unwrap_or_else(|| (*embedded).to_owned()),
                None => (*embedded).to_owned(),
            };
            environment.add_template_owned(*name, text).map_err(|error| faulty(&error))?;
        }
        let names = Names {
            app_name: app_name.to_owned(),
            server_name: server_name.to_owned(),
            client_url: client_url.map(str::to_owned),
        };
        let templates = Self { environment, names };
        templates.try_all()?;
        Ok(templates)
    }

    /// The mail of a validation session; `link` is where its reader confirms.
    ///
    /// # Errors
    /// A sentence for the operator if a template fails.
    pub fn mail(&self, kind: MailKind, address: &str, link: Option<&str>) -> Result<Words, String> {
        let name = kind.as_str();
        let values = context! { address, link, ..self.names() };
        let text = self.render(&format!("{name}.txt"), &values)?;
        let html = self.render(&format!("{name}.html"), &values)?;
        let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
        let subject =
            subject.strip_prefix(SUBJECT).ok_or_else(|| format!("{name}.txt: line 1: expected {SUBJECT}…"))?;
        Ok(Words { subject: subject.trim().to_owned(), text: text.trim_start().to_owned(), html })
    }

    /// A page. `nonce` stands at the styles, which are refused without.
    ///
    /// # Errors
    /// A sentence for the operator if the template fails.
    pub fn page(
        &self,
        kind: PageKind,
        purpose: &str,
        address: &str,
        fields: &[(&str, &str)],
        nonce: &str,
    ) -> Result<String, String> {
        self.render(kind.template(), &context! { purpose, address, fields, nonce, ..self.names() })
    }

    fn names(&self) -> Value {
        let Names { app_name, server_name, client_url } = &self.names;
        context! { app_name, server_name, client_url }
    }

    fn render(&self, name: &str, values: &Value) -> Result<String, String> {
        let rendered = self.environment.get_template(name).and_then(|template| template.render(values));
        rendered.map_err(|error| one_line(&error))
    }

    fn try_all(&self) -> Result<(), MailError> {
        for kind in MailKind::ALL {
            self.mail(kind, "alice@example.org", Some("https://example.org/?a=b&c=d")).map_err(MailError::Template)?;
        }
        for kind in [PageKind::Confirm, PageKind::Confirmed, PageKind::Invalid] {
            for purpose in ["registration", "password_reset", "add_address", ""] {
                self.page(kind, purpose, "alice@example.org", &[("sid", "a")], "n").map_err(MailError::Template)?;
            }
        }
        Ok(())
    }
}

/// The words of a file, if there is one.
fn replacement(path: &Path) -> Result<Option<String>, MailError> {
    let unusable = |problem: &dyn std::fmt::Display| MailError::Template(format!("{}: {problem}", path.display()));
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(&error)),
        Ok(found) if found.len() > MAX_TEMPLATE_BYTES => return Err(unusable(&"expected a file of at most 256 KiB")),
        Ok(_) => {}
    }
    fs::read_to_string(path).map(Some).map_err(|error| unusable(&error))
}

/// A template of a name that nobody looks for is a mistake in the name.
fn refuse_unknown(folder: &Path) -> Result<(), MailError> {
    let unreadable = |error: io::Error| MailError::Template(format!("{}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let name = name.to_string_lossy();
        let is_template = name.ends_with(".txt") || name.ends_with(".html");
        if is_template && !EMBEDDED.iter().any(|(known, _)| *known == name) {
            let known: Vec<_> = EMBEDDED.iter().map(|(known, _)| *known).collect();
            let problem = format!("{name} is none of the templates, which are {}", known.join(", "));
            return Err(MailError::Template(problem));
        }
    }
    Ok(())
}

fn faulty(error: &minijinja::Error) -> MailError {
    MailError::Template(one_line(error))
}

/// Template, line and problem, without the excerpt that minijinja adds.
fn one_line(error: &minijinja::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(folder: Option<&Path>) -> Result<Templates, String> {
        let client_url = Some("https://chat.example.org");
        Templates::load(folder, "<Ex & ample>", "example.org", client_url).map_err(|error| error.to_string())
    }

    #[test]
    fn values_are_escaped_in_html_and_nowhere_else() {
        let words =
            load(None).unwrap().mail(MailKind::Registration, "a&b@example.org", Some("https://x/?a&b")).unwrap();
        assert!(words.subject.contains("<Ex & ample>"), "{}", words.subject);
        assert!(words.text.contains("https://x/?a&b"), "{}", words.text);
        assert!(!words.html.contains("<Ex") && words.html.contains("a&amp;b@example.org"), "{}", words.html);
    }

    #[test]
    fn templates_work_without_a_client_url() {
        Templates::load(None, "Matrix", "example.org", None).unwrap();
    }

    #[test]
    fn a_file_replaces_a_template_and_the_others_stay() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("registration.txt"), "Subject: Hi {{ address }}\n\nGo to {{ link }}\n").unwrap();
        fs::write(folder.path().join("logo.png"), [0xff]).unwrap();
        let templates = load(Some(folder.path())).unwrap();
        let words = templates.mail(MailKind::Registration, "a@b.c", Some("there")).unwrap();
        assert_eq!((words.subject.as_str(), words.text.trim()), ("Hi a@b.c", "Go to there"));
        assert!(templates.mail(MailKind::PasswordReset, "a@b.c", Some("there")).unwrap().text.contains("there"));
    }

    #[test]
    fn a_mistake_in_a_template_is_found_at_the_start() {
        for (name, text, problem) in [
            ("registration.txt", "Subject: x\n{{ lnk }}", "registration.txt:2"),
            ("registration.html", "{% if %}", "registration.html:1"),
            ("registration.txt", "Hello", "registration.txt: line 1: expected Subject: …"),
            ("registratoin.txt", "Subject: x", "registratoin.txt is none of the templates"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(name), text).unwrap();
            let error = load(Some(folder.path())).unwrap_err();
            assert!(error.starts_with("email.templates_dir: ") && error.contains(problem), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert!(load(Some(Path::new("/does/not/exist"))).unwrap_err().contains("/does/not/exist"));
    }
}
