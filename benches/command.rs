//! Round trips of a command beside those of bare sockets, and the bytes of requests and replies.
//!
//! `acqbus bench rpc` measures the same in turns, with percentiles and targets.

use acqbus::rpc::{
    ApiCommand, ClientOptions, CommandRequest, CommandResponse, Dialect, RemoteClient, Response,
    RpcOptions, RpcService, decode_request, encode_reply, encode_request,
};
use acqbus::zsocket::{Context, Endpoint, Frame, Socket, SocketKind, SocketOptions, ZsocketError};
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

#[divan::bench(sample_count = 50, sample_size = 100)]
fn round_trip(bencher: Bencher<'_, '_>) {
    let service = RpcService::launch(RpcOptions::default().any_port()).expect("ports are free");
    service.set_delegate(|_: &CommandRequest| CommandResponse::success());
    let options = ClientOptions::default().ports(service.subscriber_port(), service.command_port());
    let client = RemoteClient::connect(options).expect("an address");
    bencher.bench_local(|| {
        client
            .request(ApiCommand::GetStatus, &())
            .expect("the service answers")
    });
}

#[divan::bench(sample_count = 50, sample_size = 100)]
fn round_trip_raw(bencher: Bencher<'_, '_>) {
    let (request, reply) = texts();
    let server = Context::new().expect("descriptors are left");
    let (replier, endpoint) = bound(&server, SocketKind::Rep).expect("a port is free");
    let thread = std::thread::spawn(move || {
        let mut frame = Frame::new();
        // Ends when the context is shut down.
        while let Ok(true) = replier.recv_into(&mut frame) {
            if replier.send_bytes(&reply, false).is_err() {
                break;
            }
        }
    });
    let requester = Context::new()
        .and_then(|context| context.socket(SocketKind::Req, &SocketOptions::default()))
        .expect("descriptors are left");
    requester.connect(&endpoint).expect("an address");
    let mut frame = Frame::new();
    bencher.bench_local(|| {
        requester.send_bytes(&request, false)?;
        requester.recv_into(&mut frame)
    });
    server.shutdown();
    thread.join().expect("the replier does not panic");
}

#[divan::bench]
fn request_bytes(bencher: Bencher<'_, '_>) {
    let request = CommandRequest::new(ApiCommand::GetStatus).with_nonce(1 << 50);
    bencher.bench(|| encode_request(black_box(&request), Some(CLIENT_ID)));
}

#[divan::bench]
fn request_read(bencher: Bencher<'_, '_>) {
    let (request, _) = texts();
    bencher.bench(|| decode_request(black_box(&request), 64, Dialect::Plain));
}

#[divan::bench]
fn reply_bytes(bencher: Bencher<'_, '_>) {
    let request = CommandRequest::new(ApiCommand::GetStatus).with_nonce(1 << 50);
    let response = CommandResponse::success();
    let mut out = Vec::with_capacity(512);
    bencher.bench_local(|| {
        out.clear();
        encode_reply(
            black_box(request.nonce()),
            request.command(),
            &response,
            Dialect::Plain,
            &mut out,
        );
    });
}

#[divan::bench]
fn reply_read(bencher: Bencher<'_, '_>) {
    let (_, reply) = texts();
    bencher.bench(|| Response::decode(black_box(&reply), 64));
}

fn texts() -> (Vec<u8>, Vec<u8>) {
    let request = CommandRequest::new(ApiCommand::GetStatus).with_nonce(1 << 50);
    let mut reply = Vec::new();
    let response = CommandResponse::success();
    encode_reply(
        request.nonce(),
        request.command(),
        &response,
        Dialect::Plain,
        &mut reply,
    );
    (encode_request(&request, Some(CLIENT_ID)), reply)
}

fn bound(context: &Context, kind: SocketKind) -> Result<(Socket, Endpoint), ZsocketError> {
    let socket = context.socket(kind, &SocketOptions::default())?;
    let endpoint = socket.bind(&Endpoint::tcp("127.0.0.1", 0)?)?;
    Ok((socket, endpoint))
}

const CLIENT_ID: &str = "0123456789abcdef0123456789abcdef";
