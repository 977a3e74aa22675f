//! One HTTP request per connection, and its response: GET and HEAD only, with limits on size and time.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// No browser sends a longer request head to a page without cookies.
const LONGEST_HEAD: usize = 16 << 10;
/// No browser sends as many headers.
const MOST_HEADERS: usize = 64;
/// Browsers open connections ahead and leave them idle: one without a request is closed after this time.
const IDLE_TIME: Duration = Duration::from_secs(2);
/// A request that began must be complete after this time.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// A client that takes no byte for this long is gone.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// A response must be taken after this time.
const RESPONSE_TIME: Duration = Duration::from_secs(300);
/// How long to wait for the client to close, so that it reads the response before the connection is reset.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Bytes written at once.
const CHUNK: usize = 64 << 10;

/// On every response: a page runs its own scripts and styles, and requests nothing from anywhere.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\n\
    Cache-Control: no-store\r\n\
    Connection: close\r\n";

/// A request without its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HttpRequest {
    pub(super) method: String,
    /// Path and query, as they were sent.
    pub(super) target: String,
    /// The values of all `Host` headers.
    pub(super) hosts: Vec<String>,
}

/// A request that can't be read.
#[derive(Debug)]
pub(super) struct BadRequest {
    pub(super) status: HttpStatus,
    pub(super) is_head: bool,
}

impl BadRequest {
    fn new(status: HttpStatus, head: &[u8]) -> Self {
        Self { status, is_head: head.starts_with(b"HEAD ") }
    }
}

/// The status of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpStatus {
    Ok,
    BadRequest,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    HeadersTooLarge,
    InternalError,
}

/// A response: a page of HTML.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: HttpStatus,
    pub(super) html: String,
}

impl HttpStatus {
    /// The status line's code and reason.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::HeadersTooLarge => "431 Request Header Fields Too Large",
            Self::InternalError => "500 Internal Server Error",
        }
    }
}

/// Reads the head of a request.
///
/// # Errors
/// What to answer; `None` if the client is gone or sent nothing.
pub(super) fn read_request(stream: &TcpStream) -> Result<HttpRequest, Option<BadRequest>> {
    let start = Instant::now();
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let deadline = start + if head.is_empty() { IDLE_TIME } else { REQUEST_TIME };
        let count = match read_until(stream, &mut chunk, deadline) {
            Ok(0) => return Err(None),
            Ok(count) => count,
            Err(error) if is_timeout(&error) && !head.is_empty() => {
                return Err(Some(BadRequest::new(HttpStatus::RequestTimeout, &head)));
            }
            Err(_) => return Err(None),
        };
        head.extend_from_slice(&chunk[..count]);
        match parse(&head) {
            Ok(Some(request)) => return Ok(request),
            Ok(None) => {}
            Err(status) => return Err(Some(BadRequest::new(status, &head))),
        }
    }
}

/// Parses a request's head; `None` if it is not complete.
fn parse(head: &[u8]) -> Result<Option<HttpRequest>, HttpStatus> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Err(httparse::Error::TooManyHeaders) => return Err(HttpStatus::HeadersTooLarge),
        Err(_) => return Err(HttpStatus::BadRequest),
        Ok(status) => match status {
            httparse::Status::Complete(length) if length <= LONGEST_HEAD => {}
            httparse::Status::Partial if head.len() <= LONGEST_HEAD => return Ok(None),
            _ => return Err(HttpStatus::HeadersTooLarge),
        },
    }
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err(HttpStatus::BadRequest);
    };
    let hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
    Ok(Some(HttpRequest {
        method: method.to_owned(),
        target: target.to_owned(),
        hosts: hosts.map(|header| String::from_utf8_lossy(header.value).into_owned()).collect(),
    }))
}

/// Writes a response, without its body for HEAD, and closes the connection.
///
/// # Errors
/// Where the client is gone or takes the response too slowly.
pub(super) fn respond(stream: &TcpStream, response: &HttpResponse, is_head: bool) -> io::Result<()> {
    let HttpResponse { status, html } = response;
    let allow = if *status == HttpStatus::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let mut bytes = format!(
        "HTTP/1.1 {}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n{allow}{HEADERS}\r\n",
        status.words(),
        html.len()
    )
    .into_bytes();
    if !is_head {
        bytes.extend_from_slice(html.as_bytes());
    }
    let deadline = Instant::now() + RESPONSE_TIME;
    stream.set_write_timeout(Some(WRITE_TIME))?;
    for chunk in bytes.chunks(CHUNK) {
        if Instant::now() >= deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut stream = stream;
        stream.write_all(chunk)?;
    }
    close(stream)
}

/// Sends the end of the response, then reads what the client still sends, for a short time.
fn close(stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    let deadline = Instant::now() + CLOSE_TIME;
    let mut chunk = [0; 4096];
    while read_until(stream, &mut chunk, deadline)? > 0 {}
    Ok(())
}

fn read_until(mut stream: &TcpStream, chunk: &mut [u8], deadline: Instant) -> io::Result<usize> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether the client closed the connection: nobody waits for the answer.
pub(super) fn is_closed(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    let is_closed = peeked.map_or_else(|error| !is_timeout(&error), |count| count == 0);
    stream.set_nonblocking(false).is_err() || is_closed
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn a_client_that_left_is_noticed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        assert!(!is_closed(&stream));
        drop(client);
        assert_eq!(stream.peek(&mut [0]).unwrap(), 0);
        assert!(is_closed(&stream));
    }

    #[test]
    fn a_head_is_parsed_when_it_is_complete() {
        let head = "GET /run/a?b=1 HTTP/1.1\r\nhOST: 127.0.0.1:8000\r\nHost: other\r\n\r\n";
        for length in 0..head.len() {
            assert_eq!(parse(&head.as_bytes()[..length]), Ok(None), "{length}");
        }
        let request = HttpRequest {
            method: "GET".into(),
            target: "/run/a?b=1".into(),
            hosts: vec!["127.0.0.1:8000".into(), "other".into()],
        };
        assert_eq!(parse(head.as_bytes()), Ok(Some(request)));
    }

    #[test]
    fn what_is_no_request_or_too_long_is_refused() {
        assert_eq!(parse(b"\x16\x03\x01\x02\x00"), Err(HttpStatus::BadRequest));
        assert_eq!(parse(b"GET / HTTP/2.0\r\n\r\n"), Err(HttpStatus::BadRequest));
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(LONGEST_HEAD));
        assert_eq!(parse(long.as_bytes()), Err(HttpStatus::HeadersTooLarge));
        assert_eq!(parse((long + "\r\n").as_bytes()), Err(HttpStatus::HeadersTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        assert_eq!(parse(many.as_bytes()), Err(HttpStatus::HeadersTooLarge));
    }
}
