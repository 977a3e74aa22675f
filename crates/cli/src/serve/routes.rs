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
    hosts: [String; 3],
}

/// The parameters of a query, in their order.
type QueryPairs = Vec<(String, String)>;

impl Site {
    pub(super) fn new(folder: RunsFolder, port: u16) -> Self {
        Self { folder, hosts: ["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}")) }
    }

    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let is_own = |host: &String| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        if !matches!(&request.hosts[..], [host] if is_own(host)) {
            let text = format!("This server answers only at {}.", self.hosts.join(", "));
            return HttpResponse::message(HttpStatus::Forbidden, &text);
        }
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            return HttpResponse::message(
                HttpStatus::MethodNotAllowed,
                "This server only answers GET and HEAD.",
            );
        }
        let Some((path, query)) = parse_target(&request.target) else {
            return HttpResponse::message(HttpStatus::BadRequest, "The address is malformed.");
        };
        let answer = match (path.as_str(), path.strip_prefix("/run/")) {
            ("/", _) => self.runs(),
            ("/compare", _) => self.comparison(&query),
            ("/history", _) => self.history(&query),
            (_, Some(name)) => self.run(name),
            _ => return HttpResponse::message(HttpStatus::NotFound, "There is no such page."),
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
    fn comparison(&self, query: &QueryPairs) -> Result<HttpResponse> {
        let value = |key: &str| {
            let mut values = query.iter().filter(|pair| pair.0 == key).map(|pair| pair.1.as_str());
            values.next().filter(|_| values.next().is_none())
        };
        let (Some(baseline), Some(candidate)) = (value("baseline"), value("candidate")) else {
            let text = "A comparison needs one baseline and one candidate: choose them in the list of runs.";
            return Ok(HttpResponse::message(HttpStatus::BadRequest, text));
        };
        if baseline == candidate {
            let text = "Baseline and candidate are the same run: choose two runs.";
            return Ok(HttpResponse::message(HttpStatus::BadRequest, text));
        }
        let found = self.folder.find()?;
        let (one, other) = match (found.run(baseline), found.run(candidate)) {
            (Some(one), Some(other)) => (one, other),
            (None, _) => return Ok(no_run(baseline)),
            (_, None) => return Ok(no_run(candidate)),
        };
        Ok(HttpResponse::ok(html_report::html_of_runs(vec![audited(one)?, audited(other)?])))
    }

    fn history(&self, query: &QueryPairs) -> Result<HttpResponse> {
        let shows_cells = query.iter().any(|(key, value)| key == "cells" && value == "1");
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
