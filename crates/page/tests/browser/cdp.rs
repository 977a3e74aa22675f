//! A headless Chromium, driven by the DevTools protocol over a pair of pipes. Tests of several crates include this file.

#![allow(dead_code)]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    session: Option<String>,
    last: u64,
    /// What the page told, not asked for.
    pub(crate) events: Vec<Value>,
    /// Closed when the browser is done with.
    _watchdog: Sender<()>,
    _profile: TempDir,
}

/// A browser that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Where Chromium is: `LLAMA2_BENCH_CHROMIUM`, or by its usual names in `PATH`.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("LLAMA2_BENCH_CHROMIUM") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    std::env::split_paths(&path)
        .find_map(|dir| names.iter().map(|name| dir.join(name)).find(|path| path.is_file()))
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors, which are ours alone.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]))
    }
}

impl Browser {
    pub(crate) fn start(chromium: &Path) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (its_input, to) = pipe();
        let (from, its_output) = pipe();
        let mut command = Command::new(chromium);
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let (input, output) = (its_input.as_raw_fd(), its_output.as_raw_fd());
        // SAFETY: only async-signal-safe calls. The ends are moved away first, where one of them is 3 or 4 itself.
        unsafe {
            command.pre_exec(move || {
                let high = |fd: i32| libc::fcntl(fd, libc::F_DUPFD, 10);
                let (input, output) = (high(input), high(output));
                if libc::dup2(input, 3) < 0 || libc::dup2(output, 4) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        drop((its_input, its_output));
        let (watchdog, done) = channel();
        let group = child.id() as i32;
        std::thread::spawn(move || {
            if done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // SAFETY: the group is the browser's own, which is not reaped yet.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
        });
        let mut browser = Self {
            child,
            to: File::from(to),
            from: BufReader::new(File::from(from)),
            session: None,
            last: 0,
            events: Vec::new(),
            _watchdog: watchdog,
            _profile: profile,
        };
        let target = browser.ask("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.ask("Target.attachToTarget", attach);
        browser.session = Some(session["sessionId"].as_str().unwrap().to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        browser.ask("Page.setLifecycleEventsEnabled", json!({"enabled": true}));
        browser
    }

    fn read(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        assert_eq!(bytes.pop(), Some(0), "Chromium ended");
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Asks for something, and waits for the answer.
    #[expect(clippy::needless_pass_by_value, reason = "it is written in place")]
    pub(crate) fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut request = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = self.session.as_ref().filter(|_| !method.starts_with("Browser.")) {
            request["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&request).unwrap();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let mut answer = self.read();
            if answer["id"] == json!(self.last) {
                assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// Waits for an event, which may have been told already.
    pub(crate) fn wait(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.events.iter().position(&is_it) {
            return self.events.remove(place);
        }
        loop {
            let event = self.read();
            if is_it(&event) {
                return event;
            }
            self.events.push(event);
        }
    }

    /// Opens a file, in a window of this width, in light or dark.
    pub(crate) fn open(&mut self, file: &Path, width: u32, is_dark: bool) {
        self.open_url(&format!("file://{}", file.display()), width, is_dark);
    }

    /// Opens an address, in a window of this width, in light or dark.
    pub(crate) fn open_url(&mut self, url: &str, width: u32, is_dark: bool) {
        let metrics = json!({"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false});
        self.ask("Emulation.setDeviceMetricsOverride", metrics);
        self.media("screen", is_dark);
        let loader = self.ask("Page.navigate", json!({"url": url}))["loaderId"].take();
        self.wait_for_load(&loader);
    }

    /// Waits until a page that begins with this address, and that a click leads to, is loaded.
    pub(crate) fn wait_for_page(&mut self, start: &str) {
        let is_it = |event: &Value| {
            let url = event["params"]["frame"]["url"].as_str().unwrap_or_default();
            event["method"] == "Page.frameNavigated" && url.starts_with(start)
        };
        let loader = self.wait(is_it)["params"]["frame"]["loaderId"].take();
        self.wait_for_load(&loader);
    }

    fn wait_for_load(&mut self, loader: &Value) {
        self.wait(|event| {
            let params = &event["params"];
            let is_load = event["method"] == "Page.lifecycleEvent" && params["name"] == "load";
            is_load && params["loaderId"] == *loader
        });
    }

    pub(crate) fn media(&mut self, media: &str, is_dark: bool) {
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.ask("Emulation.setEmulatedMedia", json!({"media": media, "features": features}));
    }

    /// The value of an expression, or of its promise.
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true});
        let answer = self.ask("Runtime.evaluate", params);
        assert!(answer.get("exceptionDetails").is_none(), "{answer:#}");
        answer["result"]["value"].clone()
    }

    /// The whole page as an image, in base64.
    pub(crate) fn screenshot(&mut self) -> String {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        self.ask("Page.captureScreenshot", params)["data"].as_str().unwrap().to_owned()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // SAFETY: the group is the browser's own.
        unsafe { libc::kill(-(self.child.id() as i32), libc::SIGKILL) };
        let _ = self.child.wait();
    }
}
