//! Redis and PostgreSQL, each with its own benchmark as the load.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::catalogue::{
    INITDB, PGBENCH, POSTGRES, PSQL, Program, REDIS_BENCHMARK, REDIS_CLI, REDIS_SERVER,
};
use crate::harness::{Process, Session, compare};

fn start_redis(s: &Session) -> Process {
    let args = "--port 0 --unixsocket redis.sock --dir . --save \"\" --appendonly yes \
         --enable-debug-command local --io-threads 2 --io-threads-do-reads yes --daemonize no";
    let args: Vec<&str> = args.split_whitespace().collect();
    let mut server = s.start(s.command(&REDIS_SERVER, &args));
    server.until("it accepts", |printed| {
        printed.contains("The server is now ready")
    });
    server
}

/// Asks Redis; the answer must be the same in each run.
fn ask(s: &mut Session, args: &[&str]) -> String {
    let all = [&["-s", "redis.sock"], args].concat();
    s.run(&REDIS_CLI, &all).stdout().trim().to_string()
}

/// Commands for `redis-cli`, one a line: values of all types and sizes.
fn redis_load() -> String {
    let mut load = String::new();
    for n in 0..20_000 {
        let value = format!("{n:x}").repeat(n % 40 + 1);
        let _ = match n % 5 {
            0 => writeln!(load, "SET key:{n} {value}"),
            1 => writeln!(load, "RPUSH list:{} {value} {n}", n % 300),
            2 => writeln!(load, "HSET hash:{} field{n} {value}", n % 200),
            3 => writeln!(load, "ZADD order:{} {n} member{value}", n % 100),
            _ => writeln!(load, "SADD set:{} {value}", n % 150),
        };
        if n % 7 == 0 {
            let _ = writeln!(load, "APPEND key:{} tail{value}", n / 7 * 5);
        }
        if n % 11 == 0 {
            let _ = writeln!(load, "DEL key:{}", n / 2);
        }
        if n % 1000 == 0 {
            let _ = writeln!(load, "SETRANGE large:{n} {} end", n * 100);
        }
    }
    load
}

#[test]
fn redis_keeps_its_data_under_load_forks_and_restarts() {
    let programs = [&REDIS_SERVER, &REDIS_CLI, &REDIS_BENCHMARK];
    compare("redis", &programs, |s| {
        let server = start_redis(s);
        s.write("load", redis_load());
        let mut load = s.command(&REDIS_CLI, &["-s", "redis.sock"]);
        load.stdin(std::fs::File::open(s.file("load")).expect("the load"));
        let answers = s.run_quietly(load);
        s.note(answers.stdout());
        let digest = ask(s, &["DEBUG", "DIGEST"]);
        ask(s, &["DBSIZE"]);
        // Saves in a forked child and loads what was saved.
        assert_eq!(ask(s, &["DEBUG", "RELOAD"]), "OK");
        assert_eq!(ask(s, &["DEBUG", "DIGEST"]), digest);
        assert_eq!(
            ask(s, &["BGREWRITEAOF"]),
            "Background append only file rewriting started"
        );
        // Beside the load, in another database; the child still writes.
        let bench = "-s redis.sock --dbnum 1 -q -c 30 -P 8 -n 20000 -r 5000 -d 200 --threads 2 \
             -t set,get,incr,lpush,lpop,sadd,hset,spop,zadd,mset,lrange_300";
        let bench: Vec<&str> = bench.split_whitespace().collect();
        let benchmark = s.run_quietly(s.command(&REDIS_BENCHMARK, &bench));
        let results = benchmark.stdout().matches("requests per second").count();
        s.note(&format!("{results} benchmarks"));
        assert_eq!(ask(s, &["DEBUG", "DIGEST-VALUE", "key:5"]).len(), 40);
        ask(s, &["-n", "1", "FLUSHDB", "ASYNC"]);
        assert_eq!(ask(s, &["DEBUG", "DIGEST"]), digest);
        server.signal("TERM");
        server.wait(Duration::from_secs(60)).stdout();

        // The append-only file brings everything back.
        let server = start_redis(s);
        assert_eq!(ask(s, &["DEBUG", "DIGEST"]), digest);
        ask(s, &["MEMORY", "PURGE"]);
        ask(s, &["FLUSHALL"]);
        ask(s, &["DBSIZE"]);
        server.signal("TERM");
        server.wait(Duration::from_secs(60)).stdout();
    });
}

/// PostgreSQL refuses to run as root: another user runs it then.
const USER: &str = "postgres";

fn is_root() -> bool {
    Path::new("/proc/self")
        .metadata()
        .is_ok_and(|m| m.uid() == 0)
}

/// A command of PostgreSQL's, as its user; reached through a socket in the
/// session's directory.
fn postgres(s: &Session, program: &Program, args: &[&str]) -> Command {
    let mut command = if is_root() {
        let path = program.path().display().to_string();
        let mut command = s.plain_command("setpriv");
        command
            .args(["--reuid", USER, "--regid", USER, "--clear-groups", "env"])
            .args(
                s.preload()
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .arg(path)
            .args(args);
        command
    } else {
        s.command(program, args)
    };
    command
        .env("PGHOST", s.work())
        .env("PGUSER", USER)
        .env("PGDATABASE", "postgres");
    command
}

/// Runs SQL; what it prints must be the same in each run.
fn sql(s: &mut Session, sql: &str) -> String {
    let finished = s.run_quietly(postgres(s, &PSQL, &["-X", "-A", "-t", "-c", sql]));
    let printed = finished.stdout().trim().to_string();
    s.note(&printed);
    printed
}

#[test]
fn postgres_keeps_its_accounts_balanced() {
    let programs = [&INITDB, &POSTGRES, &PSQL, &PGBENCH];
    compare("postgres", &programs, |s| {
        if is_root() {
            let mut chown = s.plain_command("chown");
            chown.args([USER, "."]);
            s.run_quietly(chown).stdout();
        }
        let init = [
            "-D",
            "data",
            "-U",
            USER,
            "-A",
            "trust",
            "--no-sync",
            "--no-locale",
        ];
        let init = [&init[..], &["-E", "UTF8"]].concat();
        s.run_quietly(postgres(s, &INITDB, &init)).stdout();

        let socket = s.work().display().to_string();
        let settings = ["listen_addresses=", "fsync=off", "autovacuum_naptime=1s"];
        let mut serve = vec!["-D", "data", "-k", &socket];
        serve.extend(settings.iter().flat_map(|setting| ["-c", setting]));
        let mut server = s.start(postgres(s, &POSTGRES, &serve));
        server.until("it accepts", |printed| {
            printed.contains("ready to accept connections")
        });

        let bench = |s: &mut Session, args: &str| {
            let args: Vec<&str> = args.split(' ').collect();
            let finished = s.run_quietly(postgres(s, &PGBENCH, &args));
            finished.stdout().to_string()
        };
        bench(s, "-i -q -s 2");
        let printed = bench(s, "-n -c 4 -j 2 -t 400 -M prepared");
        assert!(
            printed.contains("actually processed: 1600/1600"),
            "{printed}"
        );
        bench(s, "-n -c 4 -j 2 -t 400 -S");
        // A connection, that is a process, for each transaction.
        bench(s, "-n -c 2 -t 15 -C -N");
        for table in ["accounts", "branches", "tellers"] {
            sql(s, &format!("SELECT count(*) FROM pgbench_{table}"));
        }
        let balanced = sql(
            s,
            "SELECT (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers) \
             AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history), \
             (SELECT count(*) FROM pgbench_history)",
        );
        assert_eq!(balanced, "t|1630");
        sql(
            s,
            "SET work_mem = '1MB'; SELECT md5(string_agg(x::text || y, ',' ORDER BY y)), count(DISTINCT y) \
             FROM (SELECT x, md5(x::text) y FROM generate_series(1, 100000) x) t",
        );
        sql(
            s,
            "SELECT sum(length(j::text)) FROM (SELECT jsonb_object_agg(x, repeat('v', x % 90)) j \
             FROM generate_series(1, 20000) x GROUP BY x % 17) t",
        );
        sql(s, "VACUUM FULL ANALYZE; ");
        server.signal("INT");
        let log = server.wait(Duration::from_secs(60));
        log.stdout();
        assert!(!log.stderr.contains("PANIC"), "{log:#?}");
        assert!(!log.stderr.contains("was terminated by signal"), "{log:#?}");
    });
}
