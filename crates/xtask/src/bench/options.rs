//! The command line of `cargo xtask bench`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// The command line.
#[derive(Debug, PartialEq)]
pub(crate) enum Options {
    /// Run benchmarks.
    Run(Running),
    /// Write the table of the claims from what Criterion found last.
    Table,
    /// Compare with another revision.
    Compare(Comparing),
}

/// How to run benchmarks.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Running {
    pub(crate) is_quick: bool,
    pub(crate) names_package: bool,
    pub(crate) names_bench: bool,
    /// For `cargo bench`.
    pub(crate) cargo: Vec<String>,
    /// For the benchmarks.
    pub(crate) criterion: Vec<String>,
}

/// What to compare and how.
#[derive(Debug, PartialEq)]
pub(crate) struct Comparing {
    /// What the working tree is compared with.
    pub(crate) revision: String,
    /// Two programs that are built already, instead.
    pub(crate) programs: Option<[PathBuf; 2]>,
    /// Pairs of runs.
    pub(crate) rounds: usize,
    /// By how much a path may get slower, in percent.
    pub(crate) time_percent: f64,
    /// By how much the instructions of a path may get more, in percent.
    pub(crate) instructions_percent: f64,
    pub(crate) with_time: bool,
    pub(crate) with_instructions: bool,
    /// The profile that both are built with.
    pub(crate) profile: String,
}

/// Reads the command line.
pub(crate) fn parse(arguments: &[String]) -> Result<Options> {
    let mut words = arguments.iter().map(String::as_str);
    match words.clone().next() {
        Some("--table") if arguments.len() == 1 => return Ok(Options::Table),
        Some("--table") => bail!("`--table` stands alone"),
        Some("--compare") => {
            words.next();
            let revision = words.next().context("name a revision: `cargo xtask bench --compare REV`")?;
            return Ok(Options::Compare(comparing(revision, None, words)?));
        }
        Some("--compare-programs") => {
            words.next();
            let mut program = || words.next().context("`--compare-programs` needs two programs: before, after");
            let programs = [program()?.into(), program()?.into()];
            return Ok(Options::Compare(comparing("before", Some(programs), words)?));
        }
        _ => {}
    }
    let mut running = Running::default();
    while let Some(word) = words.next() {
        match word {
            "--quick" => running.is_quick = true,
            "--" => running.criterion = words.by_ref().map(str::to_owned).collect(),
            other => {
                running.names_package |= other == "-p" || other.starts_with("--package");
                running.names_bench |= other.starts_with("--bench");
                running.cargo.push(other.to_owned());
            }
        }
    }
    Ok(Options::Run(running))
}

fn comparing<'a>(
    revision: &str,
    programs: Option<[PathBuf; 2]>,
    mut words: impl Iterator<Item = &'a str>,
) -> Result<Comparing> {
    let mut comparing = Comparing {
        revision: revision.to_owned(),
        programs,
        rounds: 20,
        time_percent: 10.0,
        instructions_percent: 3.0,
        with_time: true,
        with_instructions: true,
        profile: "release".to_owned(),
    };
    while let Some(word) = words.next() {
        if word == "--profile" {
            comparing.profile = words.next().context("`--profile` needs a name")?.to_owned();
            continue;
        }
        let mut number = || {
            let value = words.next().and_then(|text| text.parse::<f64>().ok());
            value.filter(|value| *value >= 0.0).with_context(|| format!("`{word}` needs a number"))
        };
        match word {
            "--rounds" => comparing.rounds = rounds(number()?)?,
            "--time-percent" => comparing.time_percent = number()?,
            "--instructions-percent" => comparing.instructions_percent = number()?,
            "--only-time" => comparing.with_instructions = false,
            "--only-instructions" => comparing.with_time = false,
            unknown => bail!("`--compare` has no option `{unknown}`"),
        }
    }
    Ok(comparing)
}

/// Fewer than ten pairs cannot show anything at the confidence that is asked for.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 10 and 1000")]
fn rounds(number: f64) -> Result<usize> {
    if !(10.0..=1000.0).contains(&number) {
        bail!("`--rounds` needs a number from 10 to 1000");
    }
    Ok(number as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_of_cargo_and_of_criterion_are_told_apart() {
        let Ok(Options::Run(running)) = parsed("--quick -p push-rules --bench patterns -- hostile") else {
            panic!("not read as a run");
        };
        assert!(running.is_quick && running.names_package && running.names_bench);
        assert_eq!(running.cargo, ["-p", "push-rules", "--bench", "patterns"]);
        assert_eq!(running.criterion, ["hostile"]);
        assert_eq!(parsed("").unwrap(), Options::Run(Running::default()));
    }

    #[test]
    fn a_comparison_names_a_revision() {
        let Ok(Options::Compare(comparing)) =
            parsed("--compare main --rounds 30 --only-time --time-percent 5 --profile dev")
        else {
            panic!("not read as a comparison");
        };
        assert_eq!((comparing.revision.as_str(), comparing.rounds, comparing.time_percent), ("main", 30, 5.0));
        assert!(comparing.with_time && !comparing.with_instructions);
        assert_eq!(comparing.profile, "dev");
        let Ok(Options::Compare(comparing)) = parsed("--compare-programs old new --only-instructions") else {
            panic!("not read as a comparison");
        };
        assert_eq!(comparing.programs, Some(["old".into(), "new".into()]));
        assert!(parsed("--compare-programs old").is_err());
        assert!(parsed("--compare").is_err());
        assert!(parsed("--compare main --rounds 3").is_err());
        assert!(parsed("--compare main --hurry").is_err());
    }
}
