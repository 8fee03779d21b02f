//! TLS: clients that speak it are served over HTTP/1.1 or HTTP/2; other connections are closed.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bigbatch_server::Transport;
use bigbatch_server::serve::Tls;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{Server, Setup, TestFile, post, read_all, served, status};

const LIMIT: Duration = Duration::from_millis(400);

fn generate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate")
}

fn certificate() -> (TestFile, TestFile, CertificateDer<'static>) {
    let CertifiedKey { cert, signing_key } = generate();
    let name = std::thread::current().name().unwrap_or("tls").replace("::", "-");
    let chain = TestFile::new(&format!("{name}.pem"), &cert.pem());
    let key = TestFile::new(&format!("{name}.key"), &signing_key.serialize_pem());
    (chain, key, cert.der().clone())
}

fn load(chain: &TestFile, key: &TestFile) -> Arc<Tls> {
    Arc::new(Tls::load(chain.0.clone(), key.0.clone()).expect("it is a pair"))
}

fn client(trusted: &CertificateDer<'static>, alpn: &[&[u8]]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("it is a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

#[test]
fn only_tls_is_answered_on_a_tls_port() {
    let (chain, key, trusted) = certificate();
    let tls = load(&chain, &key);
    let transport = Transport { header_timeout: LIMIT, ..Transport::default() };
    let server =
        Server::start(vec![served("a")], Setup { tls: Some(tls), transport, ..Setup::default() });
    let speak = || StreamOwned::new(client(&trusted, &[b"http/1.1"]), server.connect());
    let ask = || {
        let mut stream = speak();
        stream
            .write_all(&post("/embed", "", br#"{"inputs":"hello"}"#))
            .expect("the server listens");
        status(&read_all(&mut stream))
    };
    assert_eq!(ask(), 200);
    let garbage: [(&str, &[u8]); 4] = [
        ("plain HTTP", b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"),
        ("a broken record", &[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]),
        ("half a hello", &[0x16, 3, 1]),
        ("nothing", b""),
    ];
    for (what, bytes) in garbage {
        let started = Instant::now();
        let answer = server.exchange(bytes);
        assert_eq!(status(&answer), 0, "{what}: {answer}");
        assert!(
            started.elapsed() < LIMIT + Duration::from_secs(1),
            "{what}: {:?}",
            started.elapsed()
        );
        assert_eq!(ask(), 200, "after {what}");
    }
    // A slow head inside TLS gets the 408 too.
    let mut stream = speak();
    stream.write_all(b"GET /hea").expect("the server listens");
    assert_eq!(status(&read_all(&mut stream)), 408);
}

#[test]
fn a_connection_beyond_the_limit_is_refused_within_tls() {
    let (chain, key, trusted) = certificate();
    let tls = load(&chain, &key);
    let transport = Transport { max_connections: 1, ..Transport::default() };
    let server =
        Server::start(vec![served("a")], Setup { tls: Some(tls), transport, ..Setup::default() });
    // A request whose body does not end.
    let mut busy = StreamOwned::new(client(&trusted, &[b"http/1.1"]), server.connect());
    let unfinished = post("/embed", "", br#"{"inputs":"hello"}"#);
    busy.write_all(&unfinished[..unfinished.len() - 1]).expect("the server listens");
    let ask = |request: &[u8]| {
        let mut stream = StreamOwned::new(client(&trusted, &[b"http/1.1"]), server.connect());
        stream.write_all(request).expect("the server listens");
        status(&read_all(&mut stream))
    };
    assert_eq!(ask(&post("/embed", "", br#"{"inputs":"hello"}"#)), 503);
    assert_eq!(ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"), 200);
    busy.write_all(b"}").expect("it is served");
    assert_eq!(status(&read_all(&mut busy)), 200);
}

#[test]
fn http_2_is_agreed_on() {
    let (chain, key, trusted) = certificate();
    let tls = load(&chain, &key);
    let server = Server::start(vec![served("a")], Setup { tls: Some(tls), ..Setup::default() });
    let stream: TcpStream = server.connect();
    let mut stream = StreamOwned::new(client(&trusted, &[b"h2", b"http/1.1"]), stream);
    stream.flush().expect("both agree");
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).expect("both agree");
    }
    assert_eq!(stream.conn.alpn_protocol(), Some(b"h2".as_slice()));
}

#[test]
fn a_reload_changes_the_certificate_for_new_connections() {
    let (chain, key, old) = certificate();
    let tls = load(&chain, &key);
    let setup = Setup { tls: Some(tls.clone()), ..Setup::default() };
    let server = Server::start(vec![served("a")], setup);
    let request = b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let connect = |trusted| StreamOwned::new(client(trusted, &[b"http/1.1"]), server.connect());
    let accepts = |trusted| connect(trusted).write_all(request).is_ok();
    let mut open = connect(&old);
    open.flush().expect("both agree");
    while open.conn.is_handshaking() {
        open.conn.complete_io(&mut open.sock).expect("both agree");
    }
    let CertifiedKey { cert, signing_key } = generate();
    let new = cert.der().clone();
    std::fs::write(&chain.0, cert.pem()).expect("it is ours");
    assert!(tls.reload().is_err(), "the key is still that of the old certificate");
    assert_eq!((accepts(&old), accepts(&new)), (true, false), "the old pair stays");
    std::fs::write(&key.0, signing_key.serialize_pem()).expect("it is ours");
    tls.reload().expect("it is a pair");
    assert_eq!((accepts(&old), accepts(&new)), (false, true));
    open.write_all(request).expect("it is kept");
    assert_eq!(status(&read_all(&mut open)), 200);
}

#[test]
fn a_certificate_with_the_key_of_another_is_refused() {
    let (chain, _key, _) = certificate();
    let other = KeyPair::generate().expect("a key").serialize_pem();
    let other = TestFile::new("other.key", &other);
    let error = |chain, key| Tls::load(chain, key).err().expect("refused").to_string();
    let message = error(chain.0.clone(), other.0.clone());
    assert!(message.starts_with("--tls-cert and --tls-key: "), "{message}");
    assert!(error(other.0.clone(), other.0.clone()).starts_with("--tls-cert: "));
    assert!(error(chain.0.clone(), "no-such-file".into()).starts_with("--tls-key: no-such-file: "));
}
