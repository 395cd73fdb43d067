//! Authentication and authorization of requests.
//!
//! An endpoint with tokens answers no request without one, not even for the hub's health, except for the files of the
//! page, which hold nothing secret; a request without a valid token ends its connection. At an endpoint without tokens, the file system or the loopback interface limits who can connect,
//! and requests from web pages are refused.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Extension;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use qmp_host::lock;
use qmp_host::reader_memory::Recipient;
use qmp_hub::relay::{COMMAND_MAX_BYTES, OBSERVER_COMMAND_MAX_BYTES, Role, only_asks};
use qmp_hub::{ClientIdentity, Peer};

use super::browser_guard;
use super::endpoint::{Credentials, EvictionEntry, Token};
use super::endpoint_state::EndpointState;
use super::error::ApiError;
use super::page_files;
use crate::address::HttpAddress;

/// One connection: its peer, and the credentials that the peer has shown.
#[derive(Debug)]
pub(super) struct ConnectionState {
    pub(super) shared: Arc<EndpointState>,
    pub(super) peer: Peer,
    /// `Some` if the endpoint requires tokens or certificates.
    pub(super) unauthenticated: Option<EvictionEntry>,
    /// `Some` if the connection is over the limit: it gets short responses, and no streams.
    pub(super) spare: Option<EvictionEntry>,
    /// Tracks how the client reads its responses.
    pub(super) recipient: Arc<Recipient>,
    /// The token of the last request.
    token: Mutex<Option<Arc<Token>>>,
}

/// The client that makes a request.
#[derive(Clone, Debug)]
pub(super) struct Principal {
    connection: Arc<ConnectionState>,
    token: Option<Arc<Token>>,
}

impl ConnectionState {
    pub(super) fn new(
        shared: Arc<EndpointState>,
        peer: Peer,
        unauthenticated: Option<EvictionEntry>,
        spare: Option<EvictionEntry>,
    ) -> Self {
        let recipient = shared.memory.recipient();
        Self { shared, peer, unauthenticated, spare, recipient, token: Mutex::default() }
    }

    /// Whether the token that was shown is valid with the changed `keys`.
    pub(super) fn is_authorized(&self, credentials: &Credentials) -> bool {
        let token = lock(&self.token);
        match (&*token, &credentials.tokens) {
            (Some(token), Some(tokens)) => tokens.have(token),
            _ => true,
        }
    }

    fn requires_token(&self) -> bool {
        self.shared.credentials.borrow().tokens.is_some()
    }

    fn authenticated(&self, token: Option<Arc<Token>>) {
        if let Some(entry) = &self.unauthenticated {
            entry.release();
        }
        *lock(&self.token) = token;
    }

    fn check(&self, request: &Request) -> Result<Option<Arc<Token>>, ApiError> {
        let credentials = self.shared.credentials.borrow().clone();
        if let Some(tokens) = &credentials.tokens {
            let header_token =
                bearer(request.headers()).map_err(|desc| self.shared.unauthorized(&self.peer, desc))?;
            let wrong = || self.shared.unauthorized(&self.peer, "the token is not one of this hub");
            return tokens.find(header_token).map(Some).ok_or_else(wrong);
        }
        match (self.shared.endpoint.address(), &credentials.tls) {
            (HttpAddress::Tcp(_), None) => browser_guard::check_origin(request, "http")?,
            (HttpAddress::Tcp(_), Some(_)) => browser_guard::check_origin(request, "https")?,
            (HttpAddress::Unix(_), _) => {}
        }
        Ok(None)
    }
}

impl Principal {
    /// Checks that the client may give `command`.
    pub(super) fn may(&self, command: &str) -> Result<(), ApiError> {
        if self.is_tokenless() && !only_asks(command) {
            let desc = format!(
                "{command} needs a token, since every user of this host can reach this port: give it at the hub's unix \
                 socket, or add `token-file` to this address in the hub's configuration"
            );
            return Err(ApiError::new(StatusCode::FORBIDDEN, "NotAllowed", desc));
        }
        let Some(token) = self.token.as_ref().filter(|token| !token.role.permits(command)) else {
            return Ok(());
        };
        let desc = match token.role {
            Role::Observe => format!(
                "the token {} is for observers, who may use query-* and introspection, and not {command}; the role \"operate\" \
                 in the token file permits more",
                token.name
            ),
            Role::Operate { .. } => format!(
                "the token {} may not use {command}: the token file does not list it for this token",
                token.name
            ),
        };
        Err(ApiError::new(StatusCode::FORBIDDEN, "NotAllowed", desc))
    }

    /// The longest command that the client may send, in bytes.
    pub(super) fn command_max_bytes(&self) -> usize {
        let observes = match &self.token {
            Some(token) => token.role == Role::Observe,
            None => self.is_tokenless(),
        };
        if observes { OBSERVER_COMMAND_MAX_BYTES } else { COMMAND_MAX_BYTES }
    }

    /// Whether the client is connected to a TCP port that requires no token.
    fn is_tokenless(&self) -> bool {
        self.token.is_none() && matches!(self.connection.shared.endpoint.address(), HttpAddress::Tcp(_))
    }

    /// Identifies the client in the record of a command.
    pub(super) fn identity(&self) -> ClientIdentity {
        let token = self.token.as_ref().map(|token| token.name.clone());
        let at = match self.connection.shared.endpoint.address() {
            HttpAddress::Unix(path) => path.to_string_lossy().into(),
            HttpAddress::Tcp(_) => self.connection.shared.endpoint.to_string().into(),
        };
        ClientIdentity { peer: self.connection.peer.clone(), token, at }
    }
}

/// Passes a request on if it is authorized.
pub(super) async fn authorize(
    Extension(connection): Extension<Arc<ConnectionState>>,
    mut request: Request,
    next: Next,
) -> Response {
    if page_files::is_page(&request) && connection.requires_token() {
        // The connection stays unauthenticated: the page's files are all that it gets.
        return match browser_guard::unambiguous(&request) {
            Ok(()) => next.run(request).await,
            Err(error) => refused(error),
        };
    }
    match browser_guard::unambiguous(&request).and_then(|()| connection.check(&request)) {
        Ok(token) => {
            connection.authenticated(token.clone());
            let is_spare = connection.spare.is_some();
            if is_spare && is_stream(&request) {
                return too_many_clients().into_response();
            }
            request.extensions_mut().insert(Principal { connection, token });
            let mut answer = next.run(request).await;
            if is_spare {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            answer
        }
        Err(error) => refused(error),
    }
}

fn refused(error: ApiError) -> Response {
    let status = error.status;
    let mut answer = error.into_response();
    let headers = answer.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        let value = HeaderValue::from_static("Bearer realm=\"qmp-events\"");
        headers.insert(header::WWW_AUTHENTICATE, value);
    }
    // An unauthorized client must not hold a connection, and the end of an ambiguous request is uncertain.
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Whether the response may be long.
fn is_stream(request: &Request) -> bool {
    matches!(request.uri().path(), "/v1/events" | "/v1/records")
}

fn too_many_clients() -> ApiError {
    let desc = "the hub has reached its limit of clients or of open files (`ulimit -n`) and sends records to no more; \
                try again later";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TooManyClients", desc)
}

impl EndpointState {
    fn unauthorized(&self, peer: &Peer, desc: &str) -> ApiError {
        if let Some(more) = self.refused.pass(Instant::now()) {
            tracing::warn!("{}: {peer} was not authorized: {desc}{more}", self.endpoint);
        }
        ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", desc)
    }
}

/// Returns the token of the header `Authorization`.
fn bearer(headers: &HeaderMap) -> Result<&[u8], &'static str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Err("this hub requires a token; send the header `Authorization: Bearer TOKEN`");
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len()).unwrap_or_default();
    if values.next().is_some() || !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err("the header `Authorization` must be written as `Bearer TOKEN`");
    }
    Ok(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_token_is_read_from_the_header() {
        let form = Err("the header `Authorization` must be written as `Bearer TOKEN`");
        let cases: [(&[&str], Result<&str, &str>); 7] = [
            (&["Bearer abc"], Ok("abc")),
            (&["bearer  abc "], Ok("abc")),
            (&["Bearer "], Ok("")),
            (&["Basic YTpi"], form),
            (&["Bear"], form),
            (&["Bearer a", "Bearer b"], form),
            (&[], Err("this hub requires a token; send the header `Authorization: Bearer TOKEN`")),
        ];
        for (values, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().expect("a header"));
            }
            assert_eq!(bearer(&headers), expected.map(str::as_bytes), "{values:?}");
        }
    }
}
