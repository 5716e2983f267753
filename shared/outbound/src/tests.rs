use axum::Router;
use axum::body::Body;
use axum::response::Redirect;
use axum::routing::get;
use futures::StreamExt;
use reqwest::StatusCode;

use super::*;
use crate::testing::FakeServer;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

/// Resolves every name to these addresses.
fn resolving_to(addresses: &'static [&'static str]) -> Lookup {
    Arc::new(move |_| {
        Box::pin(async move {
            Ok(addresses
                .iter()
                .map(|address| address.parse().unwrap())
                .collect())
        })
    })
}

#[test]
fn the_guard_reads_urls_as_the_connection_will() {
    for (description, text, by_default, with_loopback) in [
        ("a public name", "https://example.com/x", true, true),
        ("any port", "https://example.com:8443/", true, true),
        ("a public address", "https://93.184.215.14/", true, true),
        ("plain HTTP", "http://example.com/", false, false),
        ("another scheme", "ftp://example.com/", false, false),
        (
            "a scheme without a host",
            "file:///etc/passwd",
            false,
            false,
        ),
        ("a user name", "https://user@example.com/", false, false),
        ("a password", "https://:secret@example.com/", false, false),
        ("a private address", "https://10.0.0.1/", false, false),
        (
            "metadata",
            "http://169.254.169.254/latest/meta-data/",
            false,
            false,
        ),
        ("metadata, IPv6", "http://[fd00:ec2::254]/", false, false),
        ("loopback", "http://127.0.0.1:3000/", false, true),
        ("loopback, TLS", "https://127.0.0.1/", false, true),
        ("loopback, IPv6", "http://[::1]:3000/", false, true),
        ("loopback, by name", "http://localhost:3000/", false, true),
        ("loopback, decimal", "http://2130706433/", false, true),
        ("loopback, octal", "http://0177.0.0.1/", false, true),
        ("loopback, hexadecimal", "http://0x7f.1/", false, true),
        (
            "loopback, full-width digits",
            "http://１２７.０.０.１/",
            false,
            true,
        ),
        ("private, decimal", "https://167772161/", false, false),
        ("metadata, hexadecimal", "https://0xA9FEA9FE/", false, false),
        (
            "IPv4-mapped loopback",
            "https://[::ffff:127.0.0.1]/",
            false,
            false,
        ),
        (
            "IPv4-mapped metadata",
            "https://[::ffff:a9fe:a9fe]/",
            false,
            false,
        ),
        (
            "a name that only begins like localhost",
            "http://localhost.example.com/",
            false,
            false,
        ),
    ] {
        let allowed = |allow_loopback| {
            OutboundClient::new(allow_loopback)
                .check(&url(text))
                .is_ok()
        };
        assert_eq!(allowed(false), by_default, "{description}");
        assert_eq!(
            allowed(true),
            with_loopback,
            "{description}, loopback allowed"
        );
    }
}

#[test]
fn the_platforms_own_services_are_never_reached() {
    let client = OutboundClient::guarding(true, vec![8000, 80]);
    for closed in [
        "http://127.0.0.1:8000/",
        "https://127.9.9.9:8000/",
        "http://[::1]:8000/x",
        "http://LOCALHOST:8000/",
        "http://2130706433:8000/",
        "http://localhost/",
    ] {
        let refused = client.check(&url(closed)).unwrap_err().to_string();
        assert_eq!(
            refused, "the URL leads to one of the platform's own services",
            "{closed}"
        );
    }
    for open in ["http://127.0.0.1:8001/", "https://example.com:8000/"] {
        assert_eq!(client.check(&url(open)), Ok(()), "{open}");
    }
}

#[tokio::test]
async fn a_name_leads_to_public_addresses_only() {
    for (description, addresses, expected) in [
        (
            "private",
            &["10.0.0.1"][..],
            "rebind.example was not found, or has no public address",
        ),
        (
            "loopback",
            &["127.0.0.1", "::1"],
            "rebind.example was not found, or has no public address",
        ),
        (
            "mapped metadata",
            &["::ffff:169.254.169.254"],
            "rebind.example was not found, or has no public address",
        ),
        (
            "nothing",
            &[],
            "rebind.example was not found, or has no public address",
        ),
    ] {
        for allow_loopback in [false, true] {
            let client = OutboundClient::build(allow_loopback, Vec::new(), resolving_to(addresses));
            let error = client
                .send(OutboundRequest::get(url("https://rebind.example/")))
                .await
                .unwrap_err();
            // Neither the text nor what is made of it tells one from the other.
            let expected = OutboundError::Unavailable(expected.to_owned());
            assert_eq!(error, expected, "{description}");
        }
    }

    let resolver = GuardedResolver {
        allow_loopback: true,
        lookup: resolving_to(&["10.0.0.1", "93.184.215.14"]),
    };
    let addresses: Vec<_> = resolver
        .resolve("mixed.example".parse().unwrap())
        .await
        .unwrap()
        .collect();
    assert_eq!(
        addresses,
        ["93.184.215.14:0".parse().unwrap()],
        "the private one of two is left out"
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let router = Router::new().route(
        "/",
        get(|| async { Redirect::temporary("http://169.254.169.254/") }),
    );
    let server = FakeServer::start(router).await;
    // By name, so that the guarded resolver of a real client is passed as well.
    let port = server.authority.rsplit_once(':').unwrap().1;
    let target = url(&format!("http://localhost:{port}/"));
    let response = OutboundClient::new(true)
        .send(OutboundRequest::get(target))
        .await
        .unwrap();
    assert_eq!(response.status, StatusCode::TEMPORARY_REDIRECT);
}

#[tokio::test]
async fn a_reply_beyond_the_cap_is_cut_off() {
    let endless = || async {
        Body::from_stream(futures::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096]))
        }))
    };
    let router = Router::new()
        .route("/fits", get(|| async { vec![b'x'; MAX_REPLY] }))
        .route("/declared", get(|| async { vec![b'x'; MAX_REPLY + 1] }))
        .route("/endless", get(endless));
    let server = FakeServer::start(router).await;
    let client = OutboundClient::new(true);
    let send = |path: &str| {
        client.send(OutboundRequest::get(url(&format!(
            "{}{path}",
            server.url()
        ))))
    };
    assert_eq!(send("/fits").await.unwrap().body.len(), MAX_REPLY);
    assert_eq!(
        send("/declared").await.unwrap_err(),
        OutboundError::TooLarge(MAX_REPLY)
    );
    assert_eq!(
        send("/endless").await.unwrap_err(),
        OutboundError::TooLarge(MAX_REPLY)
    );
}

#[tokio::test]
async fn a_body_comes_in_pieces_within_its_limits() {
    let pieces = |times: usize| {
        let pieces = futures::stream::iter(0..times)
            .then(|_| async { Ok::<_, std::io::Error>(Bytes::from_static(b"piece")) });
        async move { Body::from_stream(pieces) }
    };
    let hanging = || async {
        let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"one"))]);
        Body::from_stream(first.chain(futures::stream::pending()))
    };
    let broken = || async {
        let first = futures::stream::iter([Ok(Bytes::from_static(b"one"))]);
        let then = futures::stream::once(async {
            // The head is on its way by then.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Err(std::io::Error::other("broken"))
        });
        Body::from_stream(first.chain(then))
    };
    let router = Router::new()
        .route("/two", get(move || pieces(2)))
        .route("/many", get(move || pieces(100)))
        .route("/hanging", get(hanging))
        .route("/broken", get(broken));
    let server = FakeServer::start(router).await;
    let client = OutboundClient::new(true);
    let limits = StreamLimits {
        bytes: 100,
        idle: Duration::from_millis(200),
    };
    let read = async |path: &str| {
        let target = url(&format!("{}{path}", server.url()));
        let reply = client.open(OutboundRequest::get(target), limits).await;
        let pieces = reply.unwrap().chunks().collect::<Vec<_>>().await;
        let pieces: Result<Vec<Bytes>, OutboundError> = pieces.into_iter().collect();
        pieces.map(|pieces| pieces.concat())
    };
    assert_eq!(read("/two").await.unwrap(), b"piecepiece");
    assert_eq!(read("/many").await, Err(OutboundError::TooLarge(100)));
    assert_eq!(read("/hanging").await, Err(OutboundError::TimedOut));
    assert!(matches!(
        read("/broken").await,
        Err(OutboundError::Failed(_))
    ));
    let refused = OutboundRequest::get(url("https://10.0.0.1/"));
    let error = client.open(refused, limits).await.unwrap_err();
    assert!(matches!(error, OutboundError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_finish_is_given_up() {
    let drip =
        || async { Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>()) };
    let router = Router::new()
        .route("/silent", get(std::future::pending::<()>))
        .route("/drip", get(drip));
    let server = FakeServer::start(router).await;
    let client = OutboundClient::build(true, Vec::new(), resolving_to(&[]));
    for path in ["/silent", "/drip"] {
        let target = url(&format!("{}{path}", server.url()));
        let request = OutboundRequest {
            timeout: Duration::from_millis(200),
            ..OutboundRequest::get(target)
        };
        assert_eq!(
            client.send(request).await.unwrap_err(),
            OutboundError::TimedOut,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_host_that_does_not_listen_is_unavailable() {
    let authority = FakeServer::start(Router::new()).await.authority.clone();
    let target = url(&format!("http://{authority}/"));
    let error = OutboundClient::new(true)
        .send(OutboundRequest::get(target))
        .await
        .unwrap_err();
    assert!(matches!(error, OutboundError::Unavailable(_)), "{error:?}");
}
