//! Which page a request gets.

use std::borrow::Cow;

use anyhow::{Error, Result};
use compare::history::History;
use page::{AuditedRun, HistoryPage, message_page, runs_page};
use percent_encoding::percent_decode_str;
use results::Run;

use super::http::{HttpRequest, HttpResponse, HttpStatus};
use super::runs_folder::{FoundRun, RunsFolder};
use crate::html_report;
use crate::printer::in_our_words;

/// A change of a level below this share is not shown, as in `history`.
const THRESHOLD: f64 = 0.05;

/// The pages over a folder of runs.
pub(super) struct Site {
    folder: RunsFolder,
    /// The values of `Host` that name this server. Any other is another site's name that was made to lead here.
    hosts: Vec<String>,
}

/// A page that a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SitePage {
    Runs,
    Run(String),
    Comparison { baseline: String, candidate: String },
    History { shows_cells: bool },
}

/// The parameters of a query, in their order.
type QueryPairs = Vec<(String, String)>;

impl Site {
    pub(super) fn new(folder: RunsFolder, port: u16) -> Self {
        Self { folder, hosts: own_hosts(port) }
    }

    /// The page that a request asks for, or the answer to one that asks for none.
    pub(super) fn route(&self, request: &HttpRequest) -> Result<SitePage, HttpResponse> {
        let refuse = |status, text: &str| Err(HttpResponse::message(status, text));
        let [host] = &request.hosts[..] else {
            return refuse(HttpStatus::BadRequest, "A request needs one Host header.");
        };
        let (authority, target) = split_authority(&request.target);
        let is_own = |host: &str| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        if !is_own(host) || !authority.is_none_or(is_own) {
            let text = format!("This server answers only at {}.", self.hosts.join(", "));
            return refuse(HttpStatus::Forbidden, &text);
        }
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            return refuse(HttpStatus::MethodNotAllowed, "This server only answers GET and HEAD.");
        }
        let Some((path, query)) = parse_target(target) else {
            return refuse(HttpStatus::BadRequest, "The address is malformed.");
        };
        match (path.as_str(), path.strip_prefix("/run/")) {
            ("/", _) => Ok(SitePage::Runs),
            ("/compare", _) => compared(&query).or_else(|text| refuse(HttpStatus::BadRequest, text)),
            ("/history", _) => {
                let shows_cells = query.iter().any(|(key, value)| key == "cells" && value == "1");
                Ok(SitePage::History { shows_cells })
            }
            (_, Some(name)) => Ok(SitePage::Run(name.to_owned())),
            _ => refuse(HttpStatus::NotFound, "There is no such page."),
        }
    }

    pub(super) fn answer(&self, page: &SitePage) -> HttpResponse {
        let answer = match page {
            SitePage::Runs => self.runs(),
            SitePage::Run(name) => self.run(name),
            SitePage::Comparison { baseline, candidate } => self.comparison(baseline, candidate),
            SitePage::History { shows_cells } => self.history(*shows_cells),
        };
        answer.unwrap_or_else(|error| {
            HttpResponse::message(HttpStatus::InternalError, &in_our_words(&format!("{error:#}")))
        })
    }

    fn runs(&self) -> Result<HttpResponse> {
        let (runs, unreadable) = self.folder.list()?;
        Ok(HttpResponse::ok(runs_page(&self.folder.title(), &runs, &unreadable)))
    }

    /// The same as the run's `report.html`.
    fn run(&self, name: &str) -> Result<HttpResponse> {
        let found = self.folder.find()?;
        match found.run(name) {
            Some(run) => Ok(HttpResponse::ok(html_report::html(&audited(run)?))),
            None => Ok(no_run(name)),
        }
    }

    /// The same as `report BASELINE CANDIDATE`.
    fn comparison(&self, baseline: &str, candidate: &str) -> Result<HttpResponse> {
        let found = self.folder.find()?;
        let (one, other) = match (found.run(baseline), found.run(candidate)) {
            (Some(one), Some(other)) => (one, other),
            (None, _) => return Ok(no_run(baseline)),
            (_, None) => return Ok(no_run(candidate)),
        };
        Ok(HttpResponse::ok(html_report::html_of_runs(vec![audited(one)?, audited(other)?])))
    }

    fn history(&self, shows_cells: bool) -> Result<HttpResponse> {
        let kept = self.folder.history(shows_cells)?;
        let history = History::from_entries(&kept.entries, THRESHOLD);
        let page = HistoryPage {
            folder: &self.folder.title(),
            history: &history,
            names: &kept.names,
            unreadable: &kept.unreadable,
            shows_cells,
        };
        Ok(HttpResponse::ok(page.html()))
    }
}

impl HttpResponse {
    fn ok(html: String) -> Self {
        Self { status: HttpStatus::Ok, html }
    }

    /// A page with one sentence.
    pub(super) fn message(status: HttpStatus, text: &str) -> Self {
        Self { status, html: message_page(status.words(), text) }
    }
}

/// The names of this server; browsers leave out the port 80.
fn own_hosts(port: u16) -> Vec<String> {
    let names = ["127.0.0.1", "localhost", "[::1]"];
    let plain = names.iter().filter(|_| port == 80).map(ToString::to_string);
    names.iter().map(|name| format!("{name}:{port}")).chain(plain).collect()
}

/// The two runs to compare, or what is wrong with the query.
fn compared(query: &QueryPairs) -> Result<SitePage, &'static str> {
    let value = |key: &str| {
        let mut values = query.iter().filter(|pair| pair.0 == key).map(|pair| pair.1.clone());
        values.next().filter(|_| values.next().is_none())
    };
    let (Some(baseline), Some(candidate)) = (value("baseline"), value("candidate")) else {
        return Err("A comparison needs one baseline and one candidate: choose them in the list of runs.");
    };
    if baseline == candidate {
        return Err("Baseline and candidate are the same run: choose two runs.");
    }
    Ok(SitePage::Comparison { baseline, candidate })
}

/// Splits `http://HOST/PATH`, as a proxy's client sends it, into host and path.
fn split_authority(target: &str) -> (Option<&str>, &str) {
    const SCHEME: &str = "http://";
    if !target.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
        return (None, target);
    }
    let rest = &target[SCHEME.len()..];
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    (Some(authority), if path.is_empty() { "/" } else { path })
}

fn no_run(name: &str) -> HttpResponse {
    HttpResponse::message(HttpStatus::NotFound, &format!("{name}: there is no such run in this folder."))
}

fn audited(run: &FoundRun) -> Result<AuditedRun> {
    Ok(AuditedRun::new(Run::read(&run.path).map_err(Error::new)?))
}

/// Splits a request's target into its decoded path and query; `None` if it is not a path, or not UTF-8 when decoded.
fn parse_target(target: &str) -> Option<(String, QueryPairs)> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = decoded(path).filter(|path| path.starts_with('/'))?;
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(&key.replace('+', " "))?, decoded(&value.replace('+', " "))?))
    });
    Some((path, pairs.collect::<Option<_>>()?))
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_80_is_left_out_of_names() {
        assert_eq!(own_hosts(8000), ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"]);
        assert_eq!(own_hosts(80)[3..], ["127.0.0.1", "localhost", "[::1]"]);
    }

    #[test]
    fn a_request_is_routed_or_answered_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let site = Site::new(RunsFolder::new(dir.path(), None).unwrap(), 8000);
        let route = |method: &str, target: &str, hosts: &[&str]| {
            let hosts = hosts.iter().map(ToString::to_string).collect();
            let request = HttpRequest { method: method.into(), target: target.into(), hosts };
            site.route(&request).map_err(|response| response.status)
        };
        let own = "localhost:8000";
        assert_eq!(route("GET", "/", &[own]), Ok(SitePage::Runs));
        assert_eq!(route("GET", "HTTP://127.0.0.1:8000", &[own]), Ok(SitePage::Runs));
        assert_eq!(route("HEAD", "http://localhost:8000/run/a", &[own]), Ok(SitePage::Run("a".into())));
        assert_eq!(route("GET", "http://example.com/", &[own]), Err(HttpStatus::Forbidden));
        assert_eq!(route("GET", "http://a@localhost:8000/", &[own]), Err(HttpStatus::Forbidden));
        assert_eq!(route("GET", "/", &["example.com:8000"]), Err(HttpStatus::Forbidden));
        for hosts in [&[][..], &[own, own]] {
            assert_eq!(route("GET", "/", hosts), Err(HttpStatus::BadRequest));
        }
        assert_eq!(route("POST", "/", &[own]), Err(HttpStatus::MethodNotAllowed));
        assert_eq!(route("GET", "/none", &[own]), Err(HttpStatus::NotFound));
        assert_eq!(route("GET", "/compare?baseline=a", &[own]), Err(HttpStatus::BadRequest));
    }

    #[test]
    fn a_target_is_split_and_decoded() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(parse_target("/"), Some(("/".into(), vec![])));
        assert_eq!(parse_target("/run/..%2f..?"), Some(("/run/../..".into(), vec![])));
        assert_eq!(
            parse_target("/compare?baseline=a+b&candidate=%26%3D%2B&x"),
            Some(("/compare".into(), vec![pair("baseline", "a b"), pair("candidate", "&=+"), pair("x", "")]))
        );
        assert_eq!(parse_target("/%ff"), None);
        assert_eq!(parse_target("http://127.0.0.1/"), None);
        assert_eq!(parse_target("*"), None);
    }
}
