//! Whether somebody answers at an endpoint: its name is resolved and a connection made, and not one byte is sent.
//!
//! The system's resolver can block for half a minute and cannot be interrupted, so that it is left behind in a thread of
//! its own. Such a thread holds up neither its tick nor the end of the process.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::core::weather::Endpoint;

/// How long resolving and connecting may take together.
pub const REACH_LIMIT: Duration = Duration::from_secs(2);
/// The most addresses of one name that are tried, all at once.
const MOST_ADDRESSES: usize = 6;

/// An endpoint that is being asked.
#[derive(Debug)]
pub struct Reaching {
    endpoint: Endpoint,
    begun: Instant,
    news: Receiver<News>,
}

#[derive(Debug)]
enum News {
    /// The name stands for these addresses; this many are tried.
    Resolved(usize),
    /// It does not resolve, and why.
    Unresolved(String),
    /// One address has answered, or has not.
    Tried(Result<(), std::io::Error>),
}

/// Begins to ask; the answer is waited for by [`Reaching::answer`].
pub fn reach(endpoint: &Endpoint) -> Reaching {
    let (sender, news) = mpsc::channel();
    let place = (endpoint.host().to_owned(), endpoint.port());
    // A thread that cannot be made drops its end of the channel, and the answer says so.
    drop(thread::Builder::new().name("reach".to_owned()).spawn(move || resolve(&place, &sender)));
    Reaching { endpoint: endpoint.clone(), begun: Instant::now(), news }
}

/// Nobody may be waiting any more for what is sent here; that is no fault.
fn resolve(place: &(String, u16), news: &Sender<News>) {
    let addresses: Vec<SocketAddr> = match (place.0.as_str(), place.1).to_socket_addrs() {
        Ok(addresses) => addresses.take(MOST_ADDRESSES).collect(),
        Err(error) => {
            drop(news.send(News::Unresolved(error.to_string())));
            return;
        }
    };
    drop(news.send(News::Resolved(addresses.len())));
    for address in addresses {
        let sender = news.clone();
        let spawned = thread::Builder::new()
            .name("reach".to_owned())
            .spawn(move || drop(sender.send(News::Tried(TcpStream::connect_timeout(&address, REACH_LIMIT).map(drop)))));
        if let Err(error) = spawned {
            drop(news.send(News::Tried(Err(error))));
        }
    }
}

impl Reaching {
    /// Waits for the answer, until the limit since the beginning has passed.
    ///
    /// # Errors
    /// Nobody answers there; the sentence says what was asked and what came of it.
    pub fn answer(self) -> Result<(), String> {
        let endpoint = &self.endpoint;
        let mut left = None;
        let mut last = None;
        while left != Some(0) {
            match self.news.recv_timeout(REACH_LIMIT.saturating_sub(self.begun.elapsed())) {
                Ok(News::Tried(Ok(()))) => return Ok(()),
                Ok(News::Tried(Err(error))) => {
                    last = Some(error);
                    left = left.map(|left: usize| left - 1);
                }
                Ok(News::Resolved(count)) => left = Some(count),
                Ok(News::Unresolved(why)) => {
                    let why = why.trim_start_matches("failed to lookup address information: ");
                    return Err(format!("{} does not resolve ({why})", endpoint.host()));
                }
                Err(RecvTimeoutError::Timeout) if left.is_none() => {
                    return Err(format!("{} does not resolve within {}s", endpoint.host(), REACH_LIMIT.as_secs()));
                }
                Err(RecvTimeoutError::Timeout) => return Err(silent(endpoint)),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Err(match last {
            None => format!("{endpoint} has no address that could be tried"),
            Some(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                format!("{endpoint} refuses connections")
            }
            Some(error) if error.kind() == std::io::ErrorKind::TimedOut => silent(endpoint),
            Some(error) => format!("{endpoint} cannot be reached: {error}"),
        })
    }
}

fn silent(endpoint: &Endpoint) -> String {
    format!("{endpoint} does not answer within {}s", REACH_LIMIT.as_secs())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    fn at(port: u16) -> Endpoint {
        format!("127.0.0.1:{port}").parse().expect("endpoint")
    }

    #[test]
    fn somebody_who_listens_answers_and_is_sent_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let port = listener.local_addr().expect("address").port();
        assert_eq!(reach(&at(port)).answer(), Ok(()));
        let mut sent = Vec::new();
        let (mut peer, _) = listener.accept().expect("connection");
        peer.read_to_end(&mut sent).expect("end of the stream");
        assert!(sent.is_empty());
    }

    #[test]
    fn nobody_there_is_told_apart_from_no_name() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        assert_eq!(reach(&at(port)).answer(), Err(format!("127.0.0.1:{port} refuses connections")));
        let why = reach(&Endpoint::secure("no-such-host.invalid", 443)).answer().expect_err("no such host");
        assert!(why.starts_with("no-such-host.invalid does not resolve"), "{why}");
    }

    #[test]
    fn what_is_silent_is_waited_for_no_longer_than_the_limit() {
        // A listener whose queue is full takes no more connections and refuses none.
        let listener = nix_listener();
        let port = listener.local_addr().expect("address").port();
        let held: Vec<_> = (0..8).filter_map(|_| fill(port)).collect();
        let begun = Instant::now();
        let answer = reach(&at(port)).answer();
        assert_eq!(answer, Err(format!("127.0.0.1:{port} does not answer within 2s")), "{} held", held.len());
        assert!(begun.elapsed() < Duration::from_secs(20));
    }

    /// A listener whose queue holds as few connections as the system allows.
    fn nix_listener() -> TcpListener {
        use nix::sys::socket::{Backlog, listen};
        let listener = TcpListener::bind("127.0.0.1:0").expect("listener");
        listen(&listener, Backlog::new(1).expect("backlog")).expect("listening");
        listener
    }

    fn fill(port: u16) -> Option<TcpStream> {
        TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_millis(100)).ok()
    }
}
