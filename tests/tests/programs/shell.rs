//! What shell scripts are made of: bash, sort, xz, git, openssl, sqlite3.

use std::fmt::Write;
use std::time::Duration;

use crate::catalogue::{BASH, GIT, OPENSSL, SORT, SQLITE3, XZ};
use crate::harness::{Session, compare};
use crate::normal;

/// The text of a file in `tests/programs`.
pub fn input(name: &str) -> String {
    let path = thmalloc_tests::root().join("tests/programs").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Lines of text that look random and are always the same.
pub fn text(lines: u32) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = String::new();
    for _ in 0..lines {
        for _ in 0..1 + state % 7 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let _ = write!(text, "{:x} ", state >> (state % 60));
        }
        text.push('\n');
    }
    text
}

#[test]
fn bash_runs_a_script_of_builtins_subshells_and_pipes() {
    compare("bash", &[&BASH], |s| {
        s.write("script.sh", input("script.sh"));
        let finished = s.run(&BASH, &["script.sh"]);
        assert_eq!(
            finished.status.code(),
            Some(3),
            "the script ends as it says"
        );
        s.run(&BASH, &["-c", "exit 7"]);
        s.run(
            &BASH,
            &[
                "-c",
                "echo to stderr >&2; no-such-command; kill -l | tail -1",
            ],
        );
    });
}

#[test]
fn sort_orders_by_text_number_and_key() {
    compare("sort", &[&SORT], |s| {
        s.write("lines", text(300_000));
        for args in [
            &["lines", "-o", "text"][..],
            &["-n", "-u", "lines", "-o", "text"],
            &["-k2,2r", "-k1", "-s", "--parallel=4", "lines", "-o", "text"],
            // A buffer far smaller than the input: temporary files and merges.
            &[
                "-S",
                "1M",
                "--batch-size=4",
                "-T",
                ".",
                "lines",
                "-o",
                "text",
            ],
        ] {
            s.run(&SORT, args).stdout();
            s.note_file("text");
        }
        s.run(&SORT, &["-c", "text"]).stdout();
        s.run(&SORT, &["-c", "lines"]);
    });
}

#[test]
fn xz_packs_with_two_threads_and_unpacks_the_same() {
    compare("xz", &[&XZ], |s| {
        let lines = text(150_000);
        s.write("lines", &lines);
        s.run(&XZ, &["-T2", "-3", "--block-size=1MiB", "-k", "lines"])
            .stdout();
        s.note_file("lines.xz");
        s.run(&XZ, &["--test", "-T2", "lines.xz"]).stdout();
        s.run(&XZ, &["-l", "lines.xz"]).stdout();
        std::fs::remove_file(s.file("lines")).expect("the original is removed");
        s.run(&XZ, &["-d", "-T2", "lines.xz"]).stdout();
        assert!(s.read("lines") == lines, "what was packed comes back");
        s.write("broken.xz", &lines[..1000]);
        s.run(&XZ, &["-d", "broken.xz"]);
    });
}

fn git(s: &mut Session, directory: &str, args: &[&str]) -> String {
    let mut command = s.command(&GIT, args);
    command
        .current_dir(s.file(directory))
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", "1700000000 +0000")
        .env("GIT_COMMITTER_DATE", "1700000000 +0000");
    let finished = s.run_quietly(command);
    let stdout = finished.stdout().to_string();
    s.note(&format!(
        "$ git {}\n{stdout}{}",
        args.join(" "),
        finished.stderr
    ));
    stdout
}

#[test]
fn git_keeps_a_history_intact() {
    compare("git", &[&GIT], |s| {
        std::fs::create_dir(s.file("repository")).expect("a directory");
        git(s, "repository", &["init", "-q", "-b", "main", "."]);
        for (name, value) in [
            ("user.name", "A Tester"),
            ("user.email", "tester@example.org"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ] {
            git(s, "repository", &["config", "--global", name, value]);
        }
        let text = text(4000);
        let lines: Vec<&str> = text.lines().collect();
        for commit in 0..12 {
            for file in 0..40 {
                let start = file * 60 + commit * 5;
                let name = format!("repository/file{file}");
                s.write(&name, lines[start..start + 200].join("\n") + "\n");
            }
            git(s, "repository", &["add", "."]);
            git(
                s,
                "repository",
                &["commit", "-q", "-m", &format!("Commit {commit}")],
            );
        }
        git(s, "repository", &["checkout", "-q", "-b", "side", "HEAD~3"]);
        s.write("repository/other", &text);
        git(s, "repository", &["add", "other"]);
        git(s, "repository", &["commit", "-q", "-m", "Beside"]);
        git(s, "repository", &["merge", "-q", "-m", "Merge", "main"]);
        git(
            s,
            "repository",
            &["log", "--stat", "--graph", "--format=%H %s"],
        );
        git(
            s,
            "repository",
            &[
                "diff",
                "--word-diff",
                "HEAD~2",
                "HEAD",
                "--",
                "file1",
                "file7",
            ],
        );
        git(s, "repository", &["grep", "-n", "-E", "[0-9a]{7}f"]);
        git(s, "repository", &["blame", "-s", "file3"]);
        git(
            s,
            "repository",
            &["repack", "-q", "-a", "-d", "-f", "--threads=2"],
        );
        git(s, "repository", &["gc", "-q", "--prune=now"]);
        git(
            s,
            "repository",
            &["fsck", "--full", "--strict", "--no-progress"],
        );
        git(
            s,
            ".",
            &["clone", "-q", "--no-local", "repository", "clone"],
        );
        git(s, "clone", &["fsck", "--full", "--no-progress"]);
        git(
            s,
            "clone",
            &["rebase", "-q", "--root", "--onto", "origin/main~5"],
        );
        git(s, "clone", &["status", "--porcelain=v2", "--branch"]);
        git(
            s,
            "clone",
            &["archive", "--format=tar", "-o", "../clone.tar", "HEAD"],
        );
        s.note_file("clone.tar");
    });
}

#[test]
fn openssl_signs_verifies_and_encrypts() {
    compare("openssl", &[&OPENSSL], |s| {
        let text = text(100_000);
        s.write("text", &text);
        for (args, status) in [
            ("genrsa -out key.pem 2048", 0),
            ("rsa -in key.pem -pubout -out public.pem", 0),
            ("dgst -sha256 -sign key.pem -out signature text", 0),
            (
                "dgst -sha256 -verify public.pem -signature signature text",
                0,
            ),
            (
                "dgst -sha256 -verify public.pem -signature signature key.pem",
                1,
            ),
        ] {
            let args: Vec<&str> = args.split(' ').collect();
            let finished = s.run_quietly(s.command(&OPENSSL, &args));
            assert_eq!(finished.status.code(), Some(status), "{finished:#?}");
            s.note(&normal::lines(&finished.stdout, |line| {
                line.starts_with("Verif")
            }));
        }
        let password = ["-pbkdf2", "-S", "0011223344556677", "-pass", "pass:secret"];
        let pack = ["enc", "-aes-256-cbc", "-in", "text", "-out", "packed"];
        s.run(&OPENSSL, &[&pack[..], &password].concat()).stdout();
        s.note_file("packed");
        let unpack = [
            "enc",
            "-d",
            "-aes-256-cbc",
            "-in",
            "packed",
            "-out",
            "again",
        ];
        s.run(&OPENSSL, &[&unpack[..], &password].concat()).stdout();
        assert!(s.read("again") == text, "what was encrypted comes back");
        s.run(&OPENSSL, &["dgst", "-sha3-512", "again"]).stdout();
    });
}

#[test]
fn openssl_talks_to_itself_over_tls() {
    compare("openssl-tls", &[&OPENSSL], |s| {
        let request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
             -keyout key.pem -out certificate.pem -subj /CN=localhost";
        let request: Vec<&str> = request.split_whitespace().collect();
        s.run_quietly(s.command(&OPENSSL, &request)).stdout();
        s.write("page", text(20_000));
        // The server chooses a free port and prints it.
        let serve = "s_server -accept 127.0.0.1:0 -key key.pem -cert certificate.pem -WWW";
        let serve: Vec<&str> = serve.split(' ').collect();
        let mut server = s.start(s.command(&OPENSSL, &serve));
        let mut port = String::new();
        server.until("it accepts", |printed| {
            let line = printed.lines().find(|line| line.starts_with("ACCEPT"));
            port = line
                .and_then(|line| line.rsplit(':').next())
                .unwrap_or_default()
                .to_string();
            !port.is_empty()
        });
        let address = format!("127.0.0.1:{port}");
        for version in ["-tls1_2", "-tls1_3"] {
            s.write("request", "GET /page HTTP/1.0\r\n\r\n");
            let connect = [
                "s_client", "-connect", &address, version, "-quiet", "-ign_eof",
            ];
            let trust = ["-CAfile", "certificate.pem", "-verify_return_error"];
            let mut client = s.command(&OPENSSL, &[&connect[..], &trust].concat());
            client.stdin(std::fs::File::open(s.file("request")).expect("the request"));
            let finished = s.run_quietly(client);
            s.note(finished.stdout());
        }
        server.signal("TERM");
        server.wait(Duration::from_secs(30));
    });
}

#[test]
fn sqlite3_fills_and_checks_a_database() {
    compare("sqlite3", &[&SQLITE3], |s| {
        s.write("bulk.sql", input("bulk.sql"));
        s.run(&SQLITE3, &["-bail", "database", ".read bulk.sql"])
            .stdout();
        s.note_file("database");
        s.run(
            &SQLITE3,
            &["database", "PRAGMA integrity_check; SELECT no_such_column;"],
        );
    });
}
