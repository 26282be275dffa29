//! What `thmalloc run` refuses: each with its exit status, what was found,
//! and what to do.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use super::*;

const GLIBC_LOADER: &[u8] = b"/lib64/ld-linux-x86-64.so.2";

/// The command says this, and nothing on stdout.
#[track_caller]
fn refused(command: &mut Command, status: i32, found: &str, to_do: &str) {
    let outcome = run(command, LIMIT);
    assert_eq!(outcome.status.code(), Some(status), "{outcome:#?}");
    assert_eq!(outcome.stdout, "");
    let lines: Vec<_> = outcome.stderr.lines().collect();
    let [first, second] = lines[..] else {
        panic!("not two lines: {lines:#?}");
    };
    assert_eq!(first, format!("thmalloc: {found}"));
    let advice = second.strip_prefix("  to do: ").expect("what to do");
    assert!(advice.contains(to_do), "{advice}");
}

/// `thmalloc run FILE` says that the file `found`.
#[track_caller]
fn file_refused(file: &Path, status: i32, found: &str, to_do: &str) {
    let found = format!("{} {found}", file.display());
    refused(thmalloc_run().arg(file), status, &found, to_do);
}

#[test]
fn a_library_that_is_nowhere_is_reported_with_the_places_searched() {
    let tree = Tree::new("nowhere");
    let thmalloc = tree.install(&thmalloc(), "bin/thmalloc", 0o755);
    let places = ["bin", "lib", "lib64", "lib/x86_64-linux-gnu"];
    let places = places.map(|p| tree.root().join(p).display().to_string());
    let found = format!("libthmalloc.so not found; searched: {}", places.join(", "));
    let advice = "put it into one of these directories (cargo build --release";
    refused(
        Command::new(thmalloc).args(["run", "true"]),
        125,
        &found,
        advice,
    );
}

#[test]
fn a_library_path_that_ld_preload_cannot_carry_is_reported() {
    for (directory, found) in [
        ("a directory", "a space"),
        ("a:directory", "a colon"),
        ("$LIB", "$LIB"),
        ("x${ORIGIN}", "${ORIGIN}"),
    ] {
        let tree = Tree::new("unfit");
        let thmalloc = tree.install(&thmalloc(), &format!("{directory}/thmalloc"), 0o755);
        let library = our_library();
        let library = tree.install(&library, &format!("{directory}/libthmalloc.so"), 0o644);
        let found = format!(
            "LD_PRELOAD cannot carry the library's path, because of {found} in it: {}",
            library.display()
        );
        let mut command = Command::new(thmalloc);
        refused(
            command.args(["run", "true"]),
            125,
            &found,
            "move thmalloc and libthmalloc.so",
        );
    }
}

#[test]
fn a_library_that_the_loader_could_not_load_is_reported() {
    let tree = Tree::new("unusable");
    let thmalloc = tree.install(&thmalloc(), "thmalloc", 0o755);
    let mut other_machine = fs::read(our_library()).expect("the library");
    other_machine[18] = 183;
    for (bytes, reason) in [
        (&b""[..], "it is no ELF file, or a damaged one"),
        (b"#!/bin/sh\n", "it is no ELF file, or a damaged one"),
        (&other_machine, "it is not for 64-bit x86-64"),
    ] {
        let library = tree.write("libthmalloc.so", bytes, 0o644);
        let found = format!("{} cannot be preloaded: {reason}", library.display());
        let mut command = Command::new(&thmalloc);
        refused(
            command.args(["run", "true"]),
            125,
            &found,
            "install or build it again",
        );
    }
}

#[test]
fn a_command_that_is_not_on_path_is_not_found() {
    let tree = Tree::new("not-found");
    let found = "command not found: no-such-command is in no directory of PATH";
    let mut command = thmalloc_run();
    refused(
        command.args(["--", "no-such-command", "-x"]),
        127,
        found,
        "check the spelling",
    );

    // One in the working directory is offered, and not run.
    tree.install(&compile("cli_report.c", &[]), "no-such-command", 0o755);
    let mut command = thmalloc_run();
    command.arg("no-such-command").current_dir(tree.root());
    refused(&mut command, 127, found, "thmalloc run ./no-such-command");

    let found = "command not found: '' is in no directory of PATH";
    refused(thmalloc_run().arg(""), 127, found, "check the spelling");
}

#[test]
fn a_path_that_leads_nowhere_is_not_found() {
    let tree = Tree::new("missing");
    file_refused(
        &tree.path("x/missing"),
        127,
        "does not exist",
        "check the path",
    );
    let link = tree.path("link");
    symlink("gone", &link).expect("a symbolic link");
    let found = "is a symbolic link to gone, which does not exist";
    file_refused(&link, 127, found, "correct the link");
    let below_a_file = tree.write("file", b"x", 0o755).join("x");
    let found = "cannot be reached: Not a directory";
    file_refused(&below_a_file, 126, found, "check the path");
}

#[test]
fn a_control_character_in_a_path_is_shown_and_not_printed() {
    let tree = Tree::new("control");
    let found = format!("{}/a\\nb\\u{{1b}}[1m does not exist", tree.root().display());
    let file = tree.path("a\nb\x1b[1m");
    refused(thmalloc_run().arg(file), 127, &found, "check the path");
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let tree = Tree::new("kinds");
    file_refused(tree.root(), 126, "is a directory", "name a program in it");
    file_refused(
        Path::new("/dev/null"),
        126,
        "is not a regular file",
        "name a program",
    );
}

#[test]
fn a_file_without_execute_permission_is_refused() {
    let tree = Tree::new("mode");
    let program = tree.install(&compile("cli_report.c", &[]), "program", 0o640);
    let found = "may not be executed by this user (its mode is 0640)";
    let chmod = format!("chmod +x {}", program.display());
    file_refused(&program, 126, found, &chmod);

    // On PATH, too, where nothing else has the name.
    let found = format!("{} {found}", program.display());
    let mut command = thmalloc_run();
    command.arg("program").env("PATH", tree.root());
    refused(&mut command, 126, &found, &chmod);
}

#[test]
fn a_file_on_a_file_system_mounted_noexec_is_refused() {
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc");
    let noexec = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        fields[1] == "/proc" && fields[3].split(',').any(|option| option == "noexec")
    };
    if !mounts.lines().any(noexec) {
        return skip("noexec", "/proc is not mounted noexec here");
    }
    let found = "is on a file system from which nothing may be executed (mounted noexec)";
    file_refused(Path::new("/proc/version"), 126, found, "copy it elsewhere");
}

#[test]
fn a_statically_linked_program_is_refused() {
    for flag in ["-static", "-static-pie"] {
        let program = compile("cli_report.c", &[flag]);
        let found = "is statically linked: no dynamic loader runs that could preload thmalloc";
        file_refused(&program, 126, found, "link it dynamically");
    }
}

/// A copy of a dynamically linked program, with `new` at `at`.
fn changed(tree: &Tree, at: usize, new: &[u8]) -> PathBuf {
    let program = compile("cli_report.c", &[]);
    let mut bytes = fs::read(program).expect("the program");
    bytes[at..at + new.len()].copy_from_slice(new);
    tree.write("program", &bytes, 0o755)
}

/// A copy of a dynamically linked program that names another loader.
fn with_loader(tree: &Tree, loader: &str) -> PathBuf {
    let bytes = fs::read(compile("cli_report.c", &[])).expect("the program");
    let mut windows = bytes.windows(GLIBC_LOADER.len());
    let at = windows
        .position(|w| w == GLIBC_LOADER)
        .expect("glibc's loader");
    let mut name = loader.as_bytes().to_vec();
    assert!(name.len() <= GLIBC_LOADER.len());
    name.resize(GLIBC_LOADER.len(), 0);
    changed(tree, at, &name)
}

#[test]
fn a_program_of_another_libc_is_refused() {
    let tree = Tree::new("musl");
    let program = with_loader(&tree, "/lib/ld-musl-x86_64.so.1");
    let found = "is linked with musl (its loader is /lib/ld-musl-x86_64.so.1); \
                 thmalloc needs glibc";
    file_refused(&program, 126, found, "use a build of it for glibc");
}

#[test]
fn a_program_whose_loader_is_missing_is_refused() {
    let tree = Tree::new("loader");
    let program = with_loader(&tree, "/nowhere/ld-linux.so.2");
    let found = "needs the dynamic loader /nowhere/ld-linux.so.2, which does not exist";
    file_refused(&program, 126, found, "install the C library");
}

#[test]
fn a_program_for_another_machine_is_refused() {
    let tree = Tree::new("machine");
    let program = changed(&tree, 18, &[183, 0]);
    let found = "is a program for 64-bit Arm; thmalloc is for 64-bit x86-64";
    file_refused(&program, 126, found, "use a build of it for x86-64");
    let program = changed(&tree, 4, &[1]);
    let found = "is a program for 32-bit x86; thmalloc is for 64-bit x86-64";
    file_refused(&program, 126, found, "use a build of it for x86-64");
}

#[test]
fn files_that_are_no_programs_are_refused() {
    let tree = Tree::new("files");
    let file = tree.write("empty", b"", 0o755);
    file_refused(&file, 126, "is an empty file", "build or install it again");
    let file = tree.write("binary", b"MZ\0\x01\x02\xff", 0o755);
    let found = "is neither an ELF program nor a script";
    file_refused(&file, 126, found, "name a program");
    let file = tree.write("short", b"\x7fELF\x02\x01\x01", 0o755);
    let found = "is a damaged ELF file: it ends within its header";
    file_refused(&file, 126, found, "build or install it again");
    let file = changed(&tree, 16, &[1]);
    file_refused(
        &file,
        126,
        "is no program but an object file (.o)",
        "name a program",
    );
}

#[test]
fn a_set_user_id_program_is_refused_unless_we_are_that_user() {
    if !is_root() {
        // A file of another user's cannot be made: one that is there has to do.
        let su = Path::new("/usr/bin/su");
        if !su.metadata().is_ok_and(|m| m.mode() & 0o4000 != 0) {
            return skip("set-user-ID", "neither root nor a set-user-ID /usr/bin/su");
        }
        let found = "is set-user-ID root, so the loader would ignore LD_PRELOAD for it";
        return file_refused(su, 126, found, "sudo thmalloc run");
    }
    let tree = Tree::new("set-user-id");
    let program = tree.install(&compile("cli_report.c", &[]), "program", 0o755);
    let owned_by = |uid| {
        chown(&program, Some(uid), None).expect("chown");
        fs::set_permissions(&program, Permissions::from_mode(0o4755)).expect("chmod");
    };
    owned_by(0);
    runs(thmalloc_run().arg(&program));
    owned_by(NOBODY);
    let found = "is set-user-ID user 65534, so the loader would ignore LD_PRELOAD for it";
    file_refused(&program, 126, found, "sudo -u '#65534' thmalloc run");

    // A script's bit has no effect, and its interpreter's has.
    let body = b"#!/bin/sh\nexit 0\n";
    let script = tree.write("script", body, 0o4755);
    chown(&script, Some(NOBODY), None).expect("chown");
    runs(thmalloc_run().arg(&script));
    let body = format!("#!{}\n", program.display());
    let script = tree.write("script", body.as_bytes(), 0o755);
    let found = format!(
        "{} is a script, and its interpreter {} {found}",
        script.display(),
        program.display()
    );
    refused(thmalloc_run().arg(&script), 126, &found, "thmalloc run");
}

#[test]
fn a_set_group_id_program_is_refused_unless_that_is_our_group() {
    let tree = Tree::new("set-group-id");
    let program = tree.install(&compile("cli_report.c", &[]), "program", 0o2755);
    let ours = Path::new("/proc/self").metadata().expect("/proc").gid();
    chown(&program, None, Some(ours)).expect("our own group");
    fs::set_permissions(&program, Permissions::from_mode(0o2755)).expect("chmod");
    runs(thmalloc_run().arg(&program));
    if !is_root() {
        return skip("set-group-ID of another group", "only root can make one");
    }
    chown(&program, None, Some(NOBODY)).expect("chown");
    fs::set_permissions(&program, Permissions::from_mode(0o2755)).expect("chmod");
    let found = "is set-group-ID group 65534, so the loader would ignore LD_PRELOAD for it";
    file_refused(&program, 126, found, "sudo -g '#65534' thmalloc run");
}

#[test]
fn a_program_with_file_capabilities_is_refused_unless_we_are_root() {
    let tree = Tree::new("capabilities");
    let program = tree.install(&compile("cli_report.c", &[]), "program", 0o755);
    let mut setcap = Command::new("setcap");
    setcap.arg("cap_net_raw+ep").arg(&program);
    if !is_root() || !setcap.status().is_ok_and(|status| status.success()) {
        return skip("file capabilities", "needs root and setcap (libcap2-bin)");
    }
    runs(thmalloc_run().arg(&program));
    let thmalloc = tree.install(&thmalloc(), "thmalloc", 0o755);
    tree.install(&our_library(), "libthmalloc.so", 0o644);
    let found = format!(
        "{} has file capabilities, so the loader would ignore LD_PRELOAD for it",
        program.display()
    );
    let mut command = Command::new(thmalloc);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    refused(
        command.arg("run").arg(&program),
        126,
        &found,
        "sudo thmalloc run",
    );
}

#[test]
fn a_script_whose_interpreter_cannot_run_is_refused() {
    let tree = Tree::new("interpreter");
    let fixed = compile("cli_report.c", &["-static"]);
    let is_static = format!(
        "{} is statically linked: no dynamic loader runs that could preload thmalloc",
        fixed.display()
    );
    for (first_line, found, to_do) in [
        (
            "#!/nowhere/sh",
            "/nowhere/sh does not exist",
            "check the path",
        ),
        (
            "#!/bin/sh\r",
            "/bin/sh\\r does not exist",
            "line ends of Windows",
        ),
        (
            &format!("#!{}", fixed.display()),
            &is_static,
            "link it dynamically",
        ),
        (
            "#!/usr/bin/env no-such",
            "no-such is in no directory of PATH",
            "spelling",
        ),
        (
            "#!/usr/bin/env -S no-such -x",
            "no-such is in no directory of PATH",
            "spelling",
        ),
    ] {
        let script = tree.write("script", format!("{first_line}\n").as_bytes(), 0o755);
        let found = format!("is a script, and its interpreter {found}");
        file_refused(&script, 126, &found, to_do);
    }
    let script = tree.write("script", b"#!\nexit 0\n", 0o755);
    let found = "is a script whose first line (#!) names no interpreter";
    file_refused(&script, 126, found, "write the interpreter's path");
}

#[test]
fn a_script_is_followed_through_scripts_as_far_as_the_system_does() {
    let tree = Tree::new("nested");
    let report = compile("cli_report.c", &[]);
    let mut last = report;
    for number in 1..=5 {
        let body = format!("#!{}\n", last.display());
        last = tree.write(&format!("script{number}"), body.as_bytes(), 0o755);
        runs(thmalloc_run().arg(&last));
    }
    let body = format!("#!{}\n", last.display());
    let last = tree.write("script6", body.as_bytes(), 0o755);
    let outcome = run(thmalloc_run().arg(&last), LIMIT);
    assert_eq!(outcome.status.code(), Some(126), "{outcome:#?}");
    assert!(
        outcome.stderr.contains("deeper than the system follows"),
        "{outcome:#?}"
    );
}

#[test]
fn an_environment_that_the_system_refuses_is_reported() {
    // Room for us, and none for LD_PRELOAD with the library's path.
    let long = "x".repeat(131_060);
    let mut command = thmalloc_run();
    command.arg("true").env("LD_PRELOAD", long);
    let found = format!(
        "{} cannot be executed: Argument list too long",
        on_path("true")
    );
    refused(&mut command, 126, &found, "pass fewer arguments");
}

fn on_path(name: &str) -> String {
    let path = std::env::var_os("PATH").expect("PATH");
    let mut files = std::env::split_paths(&path).map(|directory| directory.join(name));
    let file = files.find(|file| file.is_file()).expect("on PATH");
    file.display().to_string()
}

#[test]
fn arguments_that_make_no_sense_are_a_usage_error() {
    for (args, text) in [
        (&[][..], "Usage: thmalloc <COMMAND>"),
        (&["run"], "required arguments were not provided"),
        (&["run", "--"], "required arguments were not provided"),
        (&["run", "-x", "true"], "unexpected argument '-x'"),
        (&["--what"], "unexpected argument '--what'"),
        (
            &["ls", "-l"],
            "To run the program ls, type: thmalloc run ls",
        ),
    ] {
        let outcome = run(Command::new(thmalloc()).args(args), LIMIT);
        assert_eq!(outcome.status.code(), Some(2), "{outcome:#?}");
        assert_eq!(outcome.stdout, "");
        assert!(outcome.stderr.contains(text), "{outcome:#?}");
    }
}

#[test]
fn a_message_that_cannot_be_written_is_told_by_the_exit_status() {
    for (script, status) in [
        (r#""$0" run no-such-command 2>/dev/full"#, 127),
        (r#""$0" run no-such-command 2>&-"#, 127),
        (r#""$0" ls 2>/dev/full"#, 2),
        (r#""$0" --help >/dev/full"#, 125),
    ] {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(thmalloc());
        let outcome = run(&mut command, LIMIT);
        assert_eq!(
            outcome.status.code(),
            Some(status),
            "{script}: {outcome:#?}"
        );
    }
}
