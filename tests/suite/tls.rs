//! Secure connections: to those who are who they say, and to nobody else.
//!
//! The certificates in `tls/` hold until 2126, but for `expired.pem` and `future.pem`, whose authority is `times.pem`. The authorities' keys are gone; more of them need a new one:
//! `openssl req -x509 …`, and `openssl x509 -req -CA ca.pem …` for each.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use sysupdate::fetch::{Fetch as _, FetchError, HttpSettings, Request, Response, Transport};

use super::server::{Answer, Server};

/// What a server wants to know of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clients {
    Anybody,
    Known,
}

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/suite/tls")
        .join(name)
}

/// A server with the certificate of a file, which says `ok` to everything.
fn serve(name: &str, clients: Clients) -> String {
    serve_answer(
        name,
        clients,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
    )
}

/// The base of a source whose server has the certificate of a file.
pub(crate) fn stranger(name: &str) -> String {
    let url = serve(name, Clients::Anybody);
    url.trim_end_matches("/f").to_owned()
}

/// How a server shows the certificate of a file.
fn config(name: &str, clients: Clients) -> Arc<ServerConfig> {
    let pem = fs::read(file(name)).expect("readable");
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.expect("a certificate"))
        .collect();
    let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        Clients::Anybody => builder.with_no_client_auth(),
        Clients::Known => {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_file(file("ca.pem")).expect("readable");
            roots.add(authority).expect("added");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    Arc::new(builder.with_single_cert(chain, key).expect("a pair"))
}

/// How a server shows a certificate that those trust who trust [`authority`].
pub(crate) fn trusted() -> Arc<ServerConfig> {
    config("server.pem", Clients::Anybody)
}

pub(crate) fn authority() -> PathBuf {
    file("ca.pem")
}

fn serve_answer(name: &str, clients: Clients, answer: String) -> String {
    let config = config(name, clients);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut stream = StreamOwned::new(connection, stream);
            // Who does not trust us says nothing more.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    format!("https://127.0.0.1:{port}/f")
}

fn get(url: &str, change: impl FnOnce(&mut HttpSettings)) -> Result<String, FetchError> {
    let mut settings = HttpSettings::default();
    settings.retry.attempts = 0;
    change(&mut settings);
    let transport = Transport::new(settings);
    let Response::Body(mut body) = transport.open(&Request::new(url))? else {
        panic!("nothing conditional was asked");
    };
    let mut text = String::new();
    body.reader
        .read_to_string(&mut text)
        .map(|_| text)
        .map_err(|error| FetchError::from_io(error).expect("an error of the transport"))
}

fn trusting(settings: &mut HttpSettings) {
    settings.ca_files = vec![file("ca.pem")];
}

#[track_caller]
fn is_refused(outcome: Result<String, FetchError>, why: &str) {
    let error = outcome.expect_err("refused");
    assert!(
        matches!(&error, FetchError::Tls { .. }) && error.to_string().contains(why),
        "no '{why}' in {error:?}"
    );
    assert!(!error.is_transient(), "it stays so");
}

#[test]
fn an_authority_of_our_own_is_trusted_once_it_is_named() {
    let url = serve("server.pem", Clients::Anybody);
    is_refused(get(&url, |_| {}), "UnknownIssuer");
    assert_eq!(get(&url, trusting).as_deref(), Ok("ok"));
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let url = serve("wrong-name.pem", Clients::Anybody);
    is_refused(get(&url, trusting), "not valid for");
}

#[test]
fn a_server_that_asks_who_we_are_is_told() {
    let url = serve("server.pem", Clients::Known);
    assert!(get(&url, trusting).is_err(), "nobody in particular");
    let directory = tempfile::tempdir().expect("a directory");
    let own = directory.path().join("client.pem");
    fs::copy(file("client.pem"), &own).expect("copied");
    let named = |settings: &mut HttpSettings| {
        trusting(settings);
        settings.client_certificate = Some(own.clone());
    };
    fs::set_permissions(&own, fs::Permissions::from_mode(0o644)).expect("set");
    is_refused(get(&url, named), "its mode must be 0600");
    fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).expect("set");
    assert_eq!(get(&url, named).as_deref(), Ok("ok"));
    // In two files, only the key's is a secret.
    let pem = fs::read_to_string(&own).expect("readable");
    let (certificate, key) = pem
        .split_once("-----BEGIN PRIVATE")
        .expect("a certificate and a key");
    let public = directory.path().join("client.crt");
    fs::write(&public, certificate).expect("written");
    fs::write(&own, format!("-----BEGIN PRIVATE{key}")).expect("written");
    let apart = |settings: &mut HttpSettings| {
        named(settings);
        settings.client_key = settings.client_certificate.replace(public.clone());
    };
    assert_eq!(get(&url, apart).as_deref(), Ok("ok"));
}

#[test]
fn files_that_hold_no_certificates_are_named() {
    let url = serve("server.pem", Clients::Anybody);
    for (path, why) in [
        ("/nonexistent", "cannot use '/nonexistent'"),
        ("/dev/null", "no certificate is in it"),
    ] {
        let named = |settings: &mut HttpSettings| settings.ca_files = vec![path.into()];
        is_refused(get(&url, named), why);
    }
    // A source without TLS has no need of them.
    let server = Server::new();
    server.answer("/f", Answer::ok("ok"));
    let plain = get(&format!("{}/f", server.base), |settings| {
        settings.ca_files = vec!["/nonexistent".into()];
    });
    assert_eq!(plain.as_deref(), Ok("ok"));
}

#[test]
fn redirects_lead_from_http_to_https_and_never_back() {
    let secure = serve("server.pem", Clients::Anybody);
    let server = Server::new();
    server.answer("/up", Answer::redirect(302, secure));
    server.answer("/f", Answer::ok("ok"));
    let up = format!("{}/up", server.base);
    is_refused(get(&up, |_| {}), "UnknownIssuer");
    assert_eq!(get(&up, trusting).as_deref(), Ok("ok"));
    let answer = format!(
        "HTTP/1.1 302 X\r\nLocation: {}/f\r\nContent-Length: 0\r\n\r\n",
        server.base
    );
    server.take_log();
    let down = serve_answer("server.pem", Clients::Anybody, answer);
    let error = get(&down, trusting).expect_err("refused");
    assert!(
        matches!(error, FetchError::RedirectRefused { .. }),
        "{error:?}"
    );
    assert_eq!(server.take_log(), []);
}
