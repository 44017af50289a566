//! TLS between the eventer server and its clients.

use std::io::Write;
use std::time::Duration;

use acqbus::event::{Binary, Payload, QueryServerParams, RegisterEvent, Subscription};
use acqbus::eventer::{ClientOptions, ClientTls, EventerClient, EventerError, Notice};
use acqbus::eventer::{ServerOptions, ServerTls};
use acqbus::store::EngineOptions;
use rcgen::{CertifiedKey, KeyPair, generate_simple_self_signed};

use rig::{LIMIT, RawClient, Rig, of, until};

#[path = "eventer_support/rig.rs"]
mod rig;

#[test]
fn clients_that_trust_the_certificate_are_served() {
    let made = certificate();
    let rig = rig(&made);
    let client =
        EventerClient::connect(options(&rig, &trusting(&made)).subscription(Subscription::all()))
            .unwrap();
    let large = vec![7; 5_000_000];
    let event = |bytes: &[u8]| {
        let payload = Payload::Binary(Binary::new("blob", bytes.to_vec()));
        RegisterEvent::new("blob".into()).with_payload(payload)
    };
    // Both larger than what goes through at once, in both directions.
    let events = client.register(vec![event(&large), event(&[1])]).unwrap();
    assert_eq!(events.len(), 2);
    let told = loop {
        match client.notices().recv_timeout(LIMIT).unwrap() {
            Notice::Events(events) => break events,
            _ => continue,
        }
    };
    assert_eq!(told, events);
    let params = QueryServerParams::new(1).into();
    let stored = client.query(&params).unwrap().events;
    assert_eq!(stored[stored.len() - 2..], events);
    client.close();
    until("it is gone", || rig.server.stats().open == 0);
}

#[test]
fn others_are_not_and_harm_nobody() {
    let made = certificate();
    let rig = rig(&made);
    let stranger = certificate();
    let refused = EventerClient::connect(options(&rig, &trusting(&stranger))).unwrap_err();
    assert!(!refused.is_timeout(), "{refused}");
    let named = trusting(&made).server_name("elsewhere.example");
    EventerClient::connect(options(&rig, &named)).unwrap_err();
    // One that speaks the protocol without TLS, one that says nothing, one that leaves in the middle of the handshake.
    let mut plain = RawClient::connect(rig.address());
    plain.send_in_vain(&[1; 100]);
    let mut silent = RawClient::connect(rig.address());
    let mut leaves = std::net::TcpStream::connect(rig.address()).unwrap();
    leaves.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
    drop(leaves);
    silent.expect_end();
    plain.expect_end();
    until("all are gone", || rig.server.stats().open == 0);
    let client = EventerClient::connect(options(&rig, &trusting(&made))).unwrap();
    assert_eq!(client.register(vec![of("a")]).unwrap().len(), 1);
}

#[test]
fn certificate_and_key_have_to_belong_together_and_be_readable() {
    let made = certificate();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    ServerTls::new(pem.as_bytes(), key.as_bytes()).unwrap();
    let other = certificate().signing_key.serialize_pem();
    for (pem, key) in [
        (&*pem, &*other),
        ("", &*key),
        (&*pem, ""),
        (&*pem, "rubbish"),
    ] {
        let refused = ServerTls::new(pem.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(refused, EventerError::Tls { .. }));
    }
    let dir = tempfile::tempdir().unwrap();
    let (pem_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&pem_path, &pem).unwrap();
    let refused = ServerTls::from_files(&pem_path, &key_path).unwrap_err();
    assert!(refused.to_string().contains("key.pem"), "{refused}");
    std::fs::write(&key_path, &key).unwrap();
    let tls = ServerTls::from_files(&pem_path, &key_path).unwrap();
    assert_eq!(format!("{tls:?}"), "ServerTls(..)");
}

fn certificate() -> CertifiedKey<KeyPair> {
    generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap()
}

fn rig(made: &CertifiedKey<KeyPair>) -> Rig {
    let key = made.signing_key.serialize_pem();
    let tls = ServerTls::new(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    let options = ServerOptions::default()
        .tls(Some(tls))
        .hello_timeout(Duration::from_secs(2));
    Rig::with(options, EngineOptions::default())
}

fn trusting(made: &CertifiedKey<KeyPair>) -> ClientTls {
    ClientTls::trusting(made.cert.pem().as_bytes()).unwrap()
}

fn options(rig: &Rig, tls: &ClientTls) -> ClientOptions {
    ClientOptions::new(rig.address().to_string()).tls(tls.clone())
}
