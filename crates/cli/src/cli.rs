//! What can be typed: the command's arguments, and which module serves them.

use std::io::{self, Write};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, Subcommand};

use crate::error::OWN_FAILURE;
use crate::{explain, export, map, run, stat, top, trim};

const AFTER_HELP: &str = "\
Examples:
  thmalloc run -- top -bn3
  thmalloc run python3 -c 'print(\"hello\")'

\"thmalloc help COMMAND\" says more about a command.";

/// Runs programs on the memory allocator thmalloc, instead of their own malloc.
#[derive(Debug, Parser)]
#[command(name = "thmalloc", version, after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Map(map::Map),
    Explain(explain::Explain),
    Stat(stat::Stat),
    Trim(trim::Trim),
    Top(top::Top),
    Export(export::Export),
}

/// Does what the arguments say; returns the exit status.
pub fn main() -> i32 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match cli.command {
        Command::Run(run) => run.execute(),
        Command::Map(map) => map.execute(),
        Command::Explain(explain) => explain.execute(),
        Command::Stat(stat) => stat.execute(),
        Command::Trim(trim) => trim.execute(),
        Command::Top(top) => top.execute(),
        Command::Export(export) => export.execute(),
    };
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            // Where stderr cannot be written, the exit status says it alone.
            let _ = writeln!(io::stderr(), "{}", error.report());
            error.status()
        }
    }
}

/// Prints the help asked for, or what is wrong with the arguments.
fn usage(error: &clap::Error) -> i32 {
    let printed = error.print().and_then(|()| io::stdout().flush());
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(name)) = error.get(ContextKind::InvalidSubcommand)
    {
        let advice = format!("To run the program {name}, type: thmalloc run {name}");
        let _ = writeln!(io::stderr(), "\n{advice}");
    }
    match (error.exit_code(), printed) {
        (0, Err(_)) => OWN_FAILURE,
        (status, _) => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn run(args: &[&str]) -> Result<Vec<OsString>, ErrorKind> {
        match Cli::try_parse_from(["thmalloc"].iter().chain(args)) {
            Ok(Cli {
                command: Command::Run(run),
            }) => Ok(run.command),
            Ok(_) => panic!("{args:?} is for another command"),
            Err(error) => Err(error.kind()),
        }
    }

    fn words(words: &[&str]) -> Result<Vec<OsString>, ErrorKind> {
        Ok(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn the_declaration_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_after_the_command_belong_to_the_command() {
        for option in ["-b", "--help", "--version", "-V", "-h", "--", "-", ""] {
            assert_eq!(run(&["run", "top", option]), words(&["top", option]));
            assert_eq!(run(&["run", "--", "top", option]), words(&["top", option]));
            assert_eq!(
                run(&["run", "top", "x", option, "--", option]),
                words(&["top", "x", option, "--", option])
            );
        }
    }

    #[test]
    fn only_the_first_double_dash_is_ours_and_only_before_the_command() {
        assert_eq!(run(&["run", "--", "a", "--"]), words(&["a", "--"]));
        assert_eq!(run(&["run", "--", "--", "a"]), words(&["--", "a"]));
        assert_eq!(run(&["run", "a", "--", "--"]), words(&["a", "--", "--"]));
        assert_eq!(run(&["run", "--", "-x"]), words(&["-x"]));
    }

    #[test]
    fn a_command_is_required_and_our_options_stand_before_it() {
        assert_eq!(run(&["run"]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(run(&["run", "--"]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(run(&["run", "-x", "top"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(run(&["run", "--help"]), Err(ErrorKind::DisplayHelp));
        assert_eq!(run(&["--version"]), Err(ErrorKind::DisplayVersion));
        assert_eq!(run(&["htop"]), Err(ErrorKind::InvalidSubcommand));
    }

    #[test]
    fn arguments_need_not_be_utf8() {
        let latin1 = OsString::from_vec(vec![b'-', 0xe9]);
        let args = ["thmalloc".into(), "run".into(), "x".into(), latin1.clone()];
        let Command::Run(run) = Cli::try_parse_from(args).expect("parses").command else {
            panic!("another command");
        };
        assert_eq!(run.command, [OsString::from("x"), latin1]);
    }
}
