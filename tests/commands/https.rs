//! `validate --target` over TLS, with a certificate that the machine trusts, and with one that it does not.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::mock::{Dialect, MockOptions, MockServer};
use crate::support::{Scratch, bigbatch, text};

/// Terminates TLS on a new port and forwards the plain bytes to port `plain`, until the process ends.
pub(crate) fn terminate_tls(plain: u16, certified: &CertifiedKey<rcgen::KeyPair>) -> SocketAddr {
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .expect("they belong together");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime starts").block_on(async {
            let listener = TcpListener::from_std(listener).expect("the runtime takes sockets");
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate aborts the handshake.
                    let Ok(mut outside) = acceptor.accept(stream).await else { return };
                    let inside = TcpStream::connect(("127.0.0.1", plain)).await;
                    let _ =
                        copy_bidirectional(&mut outside, &mut inside.expect("it listens")).await;
                });
            }
        });
    });
    address
}

#[test]
fn only_a_server_with_a_trusted_certificate_is_measured() {
    let scratch = Scratch::new();
    let plan = "name = \"tls\"\ntokens = [16]\nconcurrency = [2]\nrepeat_first = false\n\
                [cell]\nrequests_min = 20\nbatches_min = 0\n";
    let plan = scratch.file("plan.toml", plan);
    let out = scratch.path("out");
    let server = MockServer::start(MockOptions::new(Dialect::TeiEmbed));
    let certified =
        generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let trusted = scratch.file("trusted.pem", certified.cert.pem());
    let other = generate_simple_self_signed(vec!["localhost".to_owned()]).expect("another");
    let other = scratch.file("other.pem", other.cert.pem());
    let url = format!("https://localhost:{}", terminate_tls(server.port(), &certified).port());

    let validate = |trusting: &Path, url: &str| {
        let args = ["validate", "--plan", text(&plan), "--out", text(&out), "--target", url];
        let args = [&args[..], &["--tokenizer", "embedded", "--force"]].concat();
        bigbatch(args).env("SSL_CERT_FILE", trusting).run()
    };
    let done = validate(&trusted, &url);
    assert_eq!(done.code, Some(0), "{}{}", done.stdout, done.stderr);
    assert!(server.posts() >= 20, "the requests reached the server");
    assert!(done.stdout.contains("100 %"), "{}", done.stdout);

    let before = server.posts();
    for (trusting, url) in
        [(&other, url.clone()), (&trusted, url.replace("localhost", "127.0.0.1"))]
    {
        let done = validate(trusting, &url);
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{}", done.stderr);
        assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
        assert!(done.stderr.contains("certificate"), "{}", done.stderr);
    }
    assert_eq!(server.posts(), before, "no request is sent to an untrusted server");
}
