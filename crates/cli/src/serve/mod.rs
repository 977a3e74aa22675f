//! A read-only web server over a folder of runs, for a browser on this machine.
//!
//! A thread per connection reads the request and writes the response, both with deadlines. Pages are made by a few at a time, so that
//! clients that stall block nobody.

mod http;
mod routes;
mod runs_folder;

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

pub(crate) use runs_folder::RunsFolder;

use http::{HttpResponse, is_closed, read_request, respond};
use routes::Site;

/// The most open connections; more wait until one is closed.
const MOST_CONNECTIONS: usize = 64;
/// The most pages that are made at once: each reads a whole run into memory.
const MOST_PAGES: usize = 2;

/// Serves the runs of `folder` on the port of `listener` from background threads, until the program ends.
///
/// # Errors
/// Where the port is not known or no thread can be started.
pub(crate) fn start(listener: TcpListener, folder: RunsFolder) -> io::Result<()> {
    let site = Arc::new(Site::new(folder, listener.local_addr()?.port()));
    let connections = Arc::new(Slots::new(MOST_CONNECTIONS));
    let pages = Arc::new(Slots::new(MOST_PAGES));
    let accept = move || {
        loop {
            let slot = Slots::take(&connections);
            // Errors are those of one connection, or of too many open files: both pass.
            let Ok((stream, _)) = listener.accept() else {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            };
            let (site, pages) = (Arc::clone(&site), Arc::clone(&pages));
            let answer = move || {
                let _slot = slot;
                let (response, is_head) = match read_request(&stream) {
                    Ok(request) => {
                        let response = site.route(&request).map_or_else(Some, |page| {
                            let _page = Slots::take(&pages);
                            (!is_closed(&stream)).then(|| site.answer(&page))
                        });
                        let Some(response) = response else { return };
                        (response, request.method == "HEAD")
                    }
                    Err(Some(bad)) => {
                        (HttpResponse::message(bad.status, "The request is malformed."), bad.is_head)
                    }
                    Err(None) => return,
                };
                // A client that is gone needs no answer.
                let _ = respond(&stream, &response, is_head);
            };
            // Without a thread, the connection is closed.
            let _ = std::thread::Builder::new().name("connection".into()).spawn(answer);
        }
    };
    std::thread::Builder::new().name("server".into()).spawn(accept)?;
    Ok(())
}

/// A number of slots. Taking one waits until one is free.
struct Slots {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A slot that is taken until this is dropped.
struct TakenSlot(Arc<Slots>);

impl Slots {
    fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), freed: Condvar::new() }
    }

    fn take(slots: &Arc<Self>) -> TakenSlot {
        let free = slots.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            slots.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        TakenSlot(Arc::clone(slots))
    }
}

impl Drop for TakenSlot {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
