//! `serve`: the pages over a folder of runs, asked for by plain sockets and by a browser.

#[path = "../../page/tests/browser/cdp.rs"]
mod cdp;
mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Stdio};

use cdp::Browser;
use common::{MOCK, Place};
use predicates::str::{contains, starts_with};
use serde_json::{Value, json};

const CONTENT_SECURITY_POLICY: &str = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Names that no page may take for anything but text.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'& +%2f";

struct Server {
    child: Child,
    port: u16,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Server {
    fn start(place: &Place, more: &[&str]) -> Self {
        let mut child = place.start(&[&["serve", "runs", "--port", "0"], more].concat(), Stdio::piped());
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port =
            line.strip_prefix("Serving runs at http://127.0.0.1:").and_then(|rest| rest.split('/').next());
        let port = port.unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        Self { child, port }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap()
    }

    /// Sends `bytes`, and reads until the server closes.
    fn send(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut text = Vec::new();
        stream.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(head.contains(CONTENT_SECURITY_POLICY), "{head}");
        for header in
            ["X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer", "Cache-Control: no-store"]
        {
            assert!(head.lines().any(|line| line == header), "{header}: {head}");
        }
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    fn ask(&self, method: &str, target: &str) -> Answer {
        let host = format!("127.0.0.1:{}", self.port);
        self.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
    }

    /// The page at `target`.
    fn page(&self, target: &str) -> String {
        let answer = self.ask("GET", target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.body);
        answer.body
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of runs: two to compare, one of another sweep, a hostile name, an A/B pair, and what is no run.
fn place() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("runs")).unwrap();
    let measure = |name: &str, more: &[&str]| {
        let (code, _) = place.run(MOCK, &[&["--no-verify"], more].concat());
        assert_eq!(code, 0);
        std::fs::rename(place.path("run"), place.path(&format!("runs/{name}"))).unwrap();
    };
    measure("before", &["--replicates", "5"]);
    measure("after", &["--replicates", "5", "--option", "mock.slowdown=1.3"]);
    measure("longer", &["--prompt-length", "512"]);
    measure(HOSTILE, &["--prompt-length", "16"]);
    std::fs::create_dir(place.path("runs/pair")).unwrap();
    measure("pair/baseline", &["--batch-size", "1"]);
    measure("pair/candidate", &["--batch-size", "1"]);
    place
}

/// Breaks the second record of a run.
fn damage(place: &Place, run: &str) {
    let path = place.path(&format!("runs/{run}/measurements.jsonl"));
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let text = format!("{}\n{}\n", lines[0], lines[1].replacen("\"schema\":2", "\"schema\":9", 1));
    std::fs::write(path, text).unwrap();
}

#[test]
fn every_route_has_its_page() {
    let place = place();
    let server = Server::start(&place, &[]);
    let list = server.page("/");
    for link in ["/run/before", "/run/after", "/run/longer", "/run/pair/baseline", "/run/pair/candidate"] {
        assert!(list.contains(&format!("href=\"{link}\"")), "{link}: {list}");
    }
    let times: Vec<&str> = list.split("datetime=\"").skip(1).map(|rest| &rest[..20]).collect();
    assert_eq!(times.len(), 6);
    assert!(times.is_sorted_by(|one, next| one >= next), "newest first: {times:?}");
    assert!(list.contains("scripted, not measured"));
    assert!(list.contains("llama2-15m FP32"));

    for run in ["before", "pair/baseline"] {
        place.bench(&["report", &format!("runs/{run}"), "-o", "report.html"]).assert().success();
        let report = std::fs::read_to_string(place.path("report.html")).unwrap();
        assert!(server.page(&format!("/run/{run}")) == report, "{run}: the same bytes");
    }

    place.bench(&["report", "runs/before", "runs/after", "-o", "both.html"]).assert().success();
    let both = server.page("/compare?baseline=before&candidate=after");
    assert!(both == std::fs::read_to_string(place.path("both.html")).unwrap());
    assert!(both.contains(" regressed, "));
    let refused = server.page("/compare?baseline=before&candidate=longer");
    assert!(refused.contains("Not compared: "), "says why");

    for target in ["/history", "/history?cells=1"] {
        let history = server.page(target);
        assert!(history.contains("href=\"/run/before\""), "{history}");
        assert!(history.contains("mock: scripted, not measured"), "{history}");
    }
    assert!(server.page("/history?cells=1").contains("mock 1×256"));
    assert!(!server.page("/history").contains("mock 1×256"));

    let head = server.ask("HEAD", "/");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert!(head.head.contains(&format!("Content-Length: {}", list.len())), "{}", head.head);
}

#[test]
fn the_folder_is_read_anew_for_each_page() {
    let place = place();
    let server = Server::start(&place, &[]);
    assert!(server.page("/").contains("href=\"/run/after\""));
    std::fs::rename(place.path("runs/after"), place.path("runs/renamed")).unwrap();
    damage(&place, "before");
    std::fs::create_dir(place.path("runs/notes")).unwrap();
    let cut = place.path("runs/longer/measurements.jsonl");
    let text = std::fs::read_to_string(&cut).unwrap();
    std::fs::write(&cut, text.lines().next().unwrap().to_owned() + "\n").unwrap();

    let list = server.page("/");
    assert!(!list.contains("href=\"/run/after\"") && list.contains("href=\"/run/renamed\""));
    assert!(!list.contains("href=\"/run/before\""));
    let reason = "<bdi>before</bdi></b>: measurements.jsonl:2: schema: expected 1 or 2, found 9";
    assert!(list.contains(reason), "{list}");
    assert!(list.contains("<bdi>notes</bdi></b>: not a run's folder (no measurements.jsonl)"), "{list}");
    assert!(list.contains("incomplete: 1 of 2 records missing"), "{list}");
    assert_eq!(server.ask("GET", "/run/after").status, 404);
    let broken = server.ask("GET", "/run/before");
    assert_eq!(broken.status, 500);
    assert!(broken.body.contains("schema: expected 1 or 2, found 9"), "{}", broken.body);
    assert!(server.page("/history").contains("<bdi>before</bdi>"), "named among what is not shown");
}

#[test]
fn a_history_counts_each_run_once_and_keeps_the_names_of_revisions() {
    let place = place();
    place.bench(&["history", "kept", "--add", "runs/before", "--revision", "v1"]).assert().success();
    place.bench(&["history", "runs", "--add", "runs/after", "--revision", "v2"]).assert().success();
    let (code, _) = place.run(MOCK, &["--no-verify", "--history", "kept", "--revision", "v0"]);
    assert_eq!(code, 0);
    place.write("kept/broken.json", "{");
    let server = Server::start(&place, &["--history", "kept"]);
    let history = server.page("/history");
    for revision in ["v0", "v1", "v2"] {
        let rows = history.matches(&format!("<td><bdi>{revision}</bdi></td>")).count();
        let tables = history.matches("<table>").count();
        assert!(rows > 0 && rows <= tables, "{revision}: {rows} rows in {tables} tables");
    }
    assert!(history.contains("not in this folder"), "the run of v0");
    assert!(history.contains("<bdi>broken.json</bdi>"), "{history}");
    let list = server.page("/");
    assert!(
        list.contains("<bdi>v1</bdi>") && list.contains("<bdi>v2</bdi>") && !list.contains("<bdi>v0</bdi>")
    );
}

#[test]
fn a_run_in_progress_leaves_the_means_as_they_are() {
    let place = Place::new();
    for run in 0..7 {
        let slowdown = format!("mock.slowdown={}", if run < 3 { 1.0 } else { 1.3 });
        let more = ["--no-verify", "--no-peaks", "--batch-size", "1", "--option", &slowdown];
        let history = ["--history", "runs"];
        assert_eq!(place.run(MOCK, &[&more[..], &history].concat()).0, 0);
        std::fs::rename(place.path("run"), place.path(&format!("runs/{run}"))).unwrap();
    }
    let records = place.path("runs/6/measurements.jsonl");
    let text = std::fs::read_to_string(&records).unwrap();
    std::fs::write(&records, text.lines().next().unwrap().to_owned() + "\n").unwrap();
    std::fs::create_dir(place.path("runs/notes")).unwrap();

    let server = Server::start(&place, &[]);
    let history = server.page("/history");
    assert!(history.contains("Wall-Clock Latency: +30.0%"), "{history}");
    assert!(history.contains(">mock, 3 cells<"), "{history}");
    let reason =
        "<bdi>6</bdi></b>: incomplete: 2 of 3 records missing; only &quot;Show every cell&quot; has it";
    assert!(history.contains(reason) && !history.contains("href=\"/run/6\""), "{history}");
    assert!(history.contains("<bdi>notes</bdi></b>: not a run's folder"), "{history}");
    assert!(server.page("/history?cells=1").contains("href=\"/run/6\""));
}

#[test]
fn a_folder_that_is_there_twice_counts_once() {
    let place = place();
    std::os::unix::fs::symlink(".", place.path("runs/again")).unwrap();
    std::os::unix::fs::symlink("pair/baseline", place.path("runs/base")).unwrap();
    std::os::unix::fs::symlink("../before", place.path("runs/pair/a")).unwrap();
    // A copy that lacks a record, first in the order of names.
    std::fs::create_dir(place.path("runs/a-copy")).unwrap();
    for file in std::fs::read_dir(place.path("runs/before")).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, place.path("runs/a-copy").join(path.file_name().unwrap())).unwrap();
        }
    }
    let records = place.path("runs/a-copy/measurements.jsonl");
    let text = std::fs::read_to_string(&records).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    std::fs::write(&records, lines[..lines.len() - 1].join("\n") + "\n").unwrap();

    let server = Server::start(&place, &[]);
    let list = server.page("/");
    assert_eq!(list.matches("datetime=").count(), 7, "{list}");
    assert!(list.contains("href=\"/run/base\"") && !list.contains("href=\"/run/pair/baseline\""), "{list}");
    for link in ["before", "a-copy", "pair/candidate"] {
        assert!(list.contains(&format!("href=\"/run/{link}\"")), "{link}: {list}");
    }
    let history = server.page("/history");
    assert!(history.contains("<bdi>a-copy</bdi></b>: the same run as before"), "{history}");
    assert!(history.contains("href=\"/run/before\"") && !history.contains("href=\"/run/a-copy\""));
}

#[test]
fn a_list_needs_no_history_folder() {
    let place = place();
    std::fs::create_dir(place.path("kept")).unwrap();
    let server = Server::start(&place, &["--history", "kept"]);
    std::fs::remove_dir(place.path("kept")).unwrap();
    for target in ["/", "/history"] {
        let page = server.page(target);
        assert!(page.contains("href=\"/run/before\""), "{target}: {page}");
        assert!(page.contains("<bdi>kept</bdi></b>: no such file or folder"), "{target}: {page}");
    }
}

#[test]
fn a_file_of_the_same_size_and_time_is_read_anew() {
    let place = place();
    let server = Server::start(&place, &[]);
    assert!(server.page("/").contains("href=\"/run/before\""));
    let path = place.path("runs/before/measurements.jsonl");
    let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"schema\":2", "\"schema\":9", 1)).unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    assert!(!server.page("/").contains("href=\"/run/before\""));
}

#[test]
fn a_history_marks_where_a_level_changed() {
    let place = Place::new();
    for run in 0..8 {
        let slowdown = format!("mock.slowdown={}", if run < 4 { 1.0 } else { 1.3 });
        let revision = format!("v{run}");
        let more = ["--batch-size", "1", "--prompt-length", "16", "--option", &slowdown];
        let kept = ["--no-verify", "--no-peaks", "--history", "runs", "--revision", &revision];
        assert_eq!(place.run(MOCK, &[&more[..], &kept].concat()).0, 0);
        std::fs::rename(place.path("run"), place.path(&format!("runs/{run}"))).unwrap();
    }
    let server = Server::start(&place, &[]);
    for target in ["/history", "/history?cells=1"] {
        let history = server.page(target);
        let size = if target.ends_with('1') { " 1×16" } else { "" };
        let change = "+30.0%, from 256.3 ms to 333.2 ms";
        assert!(history.contains(&format!("Wall-Clock Latency{size}: {change}")), "{target}: {history}");
        // Four latencies and the wall clock; the memory is not scripted.
        assert!(history.matches("class=\"change worse\"").count() >= 5, "{target}");
        let words = "since <a href=\"/run/4\"><code><bdi>v4</bdi></code></a>";
        assert!(history.contains(words), "{target}: {history}");
        assert_eq!(history.matches("class=\"panel\"").count(), 6, "{target}");
        assert_eq!(history.matches("<a href=\"/run/4\"><use class=\"m p full e0\"").count(), 6, "{target}");
    }
}

#[test]
fn names_are_only_looked_up() {
    let place = place();
    place.run(MOCK, &["--no-verify"]);
    let server = Server::start(&place, &[]);
    for target in [
        "/none",
        "/run/",
        "/run/none",
        "/run/..%2frun",
        "/run/../run",
        "/run/..%2f..%2fetc%2fpasswd",
        "/run/before/../before",
        "/run/./before",
        "/run/before/",
        "/run//before",
        "/run/pair",
        "/run/before%00",
        "/..%2f..%2fetc%2fpasswd",
        "/runs/before/report.html",
        "/compare?baseline=..%2Frun&candidate=before",
        "/compare?baseline=before&candidate=..%2Frun",
    ] {
        let answer = server.ask("GET", target);
        assert_eq!(answer.status, 404, "{target}");
        assert!(answer.body.contains("404 Not Found") && !answer.body.contains("root:"), "{target}");
    }
    let whole = place.path("runs/before");
    assert_eq!(server.ask("GET", &format!("/run/{}", whole.display())).status, 404);
    for target in
        ["/compare", "/compare?baseline=before", "/compare?baseline=before&candidate=before", "/%ff", "*"]
    {
        assert_eq!(server.ask("GET", target).status, 400, "{target}");
    }
}

#[test]
fn names_stay_text() {
    let place = place();
    std::fs::create_dir(place.path("runs/a\u{202e}b\nc")).unwrap();
    let server = Server::start(&place, &[]);
    let escaped = "&lt;img src=x onerror=alert(1)&gt;&quot;'&amp; +%2f";
    for target in ["/", "/history"] {
        let page = server.page(target);
        assert!(page.contains(escaped) && !page.contains("<img"), "{target}: {page}");
    }
    let list = server.page("/");
    assert!(list.contains("<bdi>a b c</bdi></b>: its name has characters that are not text"), "{list}");
    let link = list.split("href=\"").find(|rest| rest.starts_with("/run/%3Cimg")).unwrap();
    let report = server.page(link.split('"').next().unwrap());
    assert!(report.starts_with("<!DOCTYPE html>") && !report.contains("<img"));
    let missing = server.ask("GET", "/run/%3Cimg%20src=x%3E");
    assert!(missing.status == 404 && !missing.body.contains("<img"), "{}", missing.body);
}

#[test]
fn only_this_machine_is_answered_and_only_by_its_own_name() {
    let place = Place::new();
    std::fs::create_dir(place.path("runs")).unwrap();
    let server = Server::start(&place, &[]);
    let port = server.port;
    let with = |hosts: &str| server.send(format!("GET / HTTP/1.1\r\n{hosts}\r\n").as_bytes());
    for host in ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"] {
        assert_eq!(with(&format!("Host: {host}:{port}\r\n")).status, 200, "{host}");
    }
    let own = format!("Host: 127.0.0.1:{port}\r\n");
    for hosts in [
        "Host: 127.0.0.1\r\n".into(),
        format!("Host: 127.0.0.1:{}\r\n", port ^ 1),
        format!("Host: example.com:{port}\r\n"),
        format!("Host: 127.0.0.1.example.com:{port}\r\n"),
        format!("Host: localhost.:{port}\r\n"),
    ] {
        let answer = with(&hosts);
        assert_eq!(answer.status, 403, "{hosts}");
        assert!(answer.body.contains("This server answers only at "), "{}", answer.body);
    }
    for hosts in [String::new(), format!("{own}Host: example.com\r\n")] {
        assert_eq!(with(&hosts).status, 400, "{hosts}");
    }
    let malformed = server.send(b"HEAD / HTTP/9\r\n\r\n");
    assert_eq!((malformed.status, malformed.body.as_str()), (400, ""));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let answer = server.ask(method, "/");
        assert_eq!(answer.status, 405, "{method}");
        assert!(answer.head.contains("Allow: GET, HEAD"), "{}", answer.head);
    }
    assert_eq!(server.send(b"\x16\x03\x01\r\n\r\n").status, 400);
    assert_eq!(server.send(format!("GET / HTTP/1.1\r\n{}\r\n", own.repeat(100)).as_bytes()).status, 431);
    assert!(server.page("/").contains("There is no run in this folder."));

    // Every other address of 127/8 is this machine's, too, and is not listened on.
    for address in ["127.0.0.2".parse::<Ipv4Addr>().unwrap().into(), Ipv6Addr::LOCALHOST.into()] {
        TcpStream::connect(SocketAddr::new(address, port)).unwrap_err();
    }
}

#[test]
fn clients_that_stall_hold_up_nobody() {
    let place = Place::new();
    std::fs::create_dir(place.path("runs")).unwrap();
    let server = Server::start(&place, &[]);
    let silent: Vec<TcpStream> = (0..16).map(|_| server.connect()).collect();
    let slow: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = server.connect();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
            stream
        })
        .collect();
    // These ask, and do not read.
    let deaf: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = server.connect();
            let request = format!("GET / HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", server.port);
            stream.write_all(request.as_bytes()).unwrap();
            stream
        })
        .collect();
    // A body is never waited for.
    let mut long = server.connect();
    long.write_all(b"GET / HTTP/1.1\r\nContent-Length: 1152921504606846976\r\n\r\n").unwrap();
    let gone = server.connect();
    gone.shutdown(Shutdown::Both).unwrap();
    assert!(server.page("/").contains("There is no run in this folder."));
    drop((silent, slow, deaf, long));
}

#[test]
fn what_cannot_be_served_is_refused_and_ctrl_c_ends_it() {
    let place = Place::new();
    place.run(MOCK, &["--no-verify", "--batch-size", "1"]);
    std::fs::create_dir(place.path("runs")).unwrap();
    let mut server = Server::start(&place, &[]);
    let port = server.port.to_string();
    let in_use = format!("error: --port: {port} is in use: choose another, or 0 for any free port\n");
    place.bench(&["serve", "runs", "--port", &port]).assert().code(2).stdout("").stderr(in_use);
    for (arguments, message) in [
        (&["serve", "none"][..], "error: none: no such file or folder\n"),
        (&["serve", "sweep.toml"], "error: sweep.toml: not a folder\n"),
        (&["serve", "run"], "error: run: a run, not a folder of runs: give the folder above"),
        (&["serve", "runs", "--history", "run"], "error: run: a run, not a folder of runs: "),
        (&["serve", "runs", "--history", "none"], "error: none: no such file or folder\n"),
    ] {
        place.bench(arguments).assert().code(2).stderr(starts_with(message));
    }
    place
        .bench(&["serve", "runs", "--port", "65536"])
        .assert()
        .code(2)
        .stderr(contains("expected a port from 0 to 65535"));

    // SAFETY: the child is not reaped, so its id is its own.
    unsafe { libc::kill(libc::pid_t::try_from(server.child.id()).unwrap(), libc::SIGINT) };
    assert_eq!(server.child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_browser_compares_two_runs_and_shows_the_history() {
    let Some(mut browser) = browser() else { return };
    let place = place();
    long_names(&place);
    let server = Server::start(&place, &[]);
    let origin = format!("http://127.0.0.1:{}", server.port);
    browser.open_url(&format!("{origin}/"), 1000, false);
    let compare = |browser: &mut Browser, baseline: &str, candidate: &str| {
        let pick = |name: &str, run: &str| {
            format!(
                "[...document.getElementsByName('{name}')].find(one => one.value === {}).click();",
                json!(run)
            )
        };
        let submit = "document.querySelector('form button').click()";
        browser.value(&(pick("baseline", baseline) + &pick("candidate", candidate) + submit));
        browser.wait_for_page(&format!("{origin}/compare?"));
        let names = "[...document.querySelectorAll('.compared h2 bdi')].map(one => one.textContent)";
        browser.value(names)
    };
    assert_eq!(compare(&mut browser, "before", "after"), json!(["after", "before"]));
    assert!(browser.value("document.querySelectorAll('.compared figure .panel').length").as_u64() > Some(0));
    // A name with every kind of character comes back as it was.
    browser.open_url(&format!("{origin}/"), 400, true);
    assert_eq!(compare(&mut browser, "pair/baseline", HOSTILE), json!([HOSTILE, "baseline"]));

    for (width, is_dark) in [(400, false), (1000, true), (1600, false)] {
        for target in ["/", "/history", "/history?cells=1"] {
            browser.open_url(&format!("{origin}{target}"), width, is_dark);
            let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(browser.value(overflow), 0, "{target}, {width} wide");
        }
    }
    for event in browser.events.drain(..) {
        let params = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Log.entryAdded" | "Runtime.consoleAPICalled" => panic!("{params:#}"),
            "Network.requestWillBeSent" => {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                let is_own = url.starts_with(&format!("{origin}/"))
                    || url.starts_with("data:")
                    || url == "about:blank";
                assert!(is_own, "asked for {url}");
            }
            _ => {}
        }
    }
}

/// Keeps runs of an engine and a device whose names have no place to break, alone and as a series.
fn long_names(place: &Place) {
    place.bench(&["history", "runs", "--add", "runs/before"]).assert().success();
    let folder = std::fs::read_dir(place.path("runs")).unwrap().map(|file| file.unwrap().path());
    let path = folder.into_iter().find(|path| path.extension().is_some_and(|one| one == "json")).unwrap();
    let entry: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for (run, machine) in [("1", "one"), ("2", "one"), ("3", "other")] {
        let mut entry = entry.clone();
        entry["run"] = json!(run);
        entry["machine"] = json!(machine);
        for table in entry["tables"].as_array_mut().unwrap() {
            table["heading"] = json!(format!("{}{}", table["heading"].as_str().unwrap(), "n".repeat(200)));
            for cell in table["cells"].as_array_mut().unwrap() {
                cell["engine"] = json!("e".repeat(200));
            }
        }
        place.write(&format!("runs/{run}.json"), &entry.to_string());
    }
}

/// The browser; `None` where there is none, and nobody said that there has to be one.
#[expect(clippy::print_stderr, reason = "says what is not tested")]
fn browser() -> Option<Browser> {
    match cdp::find() {
        Some(path) => Some(Browser::start(&path)),
        None => {
            let is_needed = std::env::var_os("LLAMA2_BENCH_NEEDS_CHROMIUM").is_some();
            assert!(
                !is_needed,
                "no chromium in PATH: install it, or say where it is in LLAMA2_BENCH_CHROMIUM"
            );
            eprintln!("skipped: no chromium in PATH (Debian: apt-get install chromium fonts-dejavu)");
            None
        }
    }
}
