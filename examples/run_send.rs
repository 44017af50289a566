//! Sends a run of a hundred images to whoever receives at its port, and prints what was sent.
//!
//! By itself it takes any free port and receives the run in the same process. With a port it waits for a receiver there:
//! `cargo run --example run_send -- 4242`

use acqbus::cdtp::{
    CdtpError, DataReceiver, DataTransmitter, ReceiverOptions, Run, RunCondition, RunStart, Tags,
    TransmitterOptions,
};
use acqbus::zsocket::Endpoint;

fn main() -> Result<(), CdtpError> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok());
    let endpoint = Endpoint::tcp("127.0.0.1", port.unwrap_or(0))?;
    let transmitter =
        DataTransmitter::bind("Camera.left", &endpoint, TransmitterOptions::default())?;
    println!("Camera.left sends at {}", transmitter.endpoint());
    let receiver = match port {
        Some(_) => None,
        None => Some(DataReceiver::start(ReceiverOptions::default(), |_| {})?),
    };
    if let Some(receiver) = &receiver {
        receiver.add_endpoint(transmitter.endpoint())?;
    }

    let start = RunStart::new("night_7").configuration(Tags::new().with("exposure_ms", 1.5));
    let run = Run::begin(&transmitter, start)?; // waits until a receiver is there
    let image = vec![0_u8; 640 * 480];
    for frame in 0..100 {
        let record = run.new_data_record().with_block(&image);
        run.send_data_record(record.with_tags(Tags::new().with("frame", frame)))?;
    }
    let summary = run.finish(RunCondition::GOOD)?; // an early return would end the run as ABORTED
    println!(
        "{}: {} records, {} bytes in {} messages",
        summary.condition, summary.records, summary.bytes, summary.messages
    );

    receiver.map_or(Ok(()), |receiver| receiver.stop_receiving())
}
